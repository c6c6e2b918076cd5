"""Choose exits that keep a stated risk, with a stated confidence."""
