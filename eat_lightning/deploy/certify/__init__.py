"""Choose exits whose risk is below a level, with a given confidence."""
