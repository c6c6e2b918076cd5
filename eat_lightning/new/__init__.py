"""Templates for your own method, and the checks that every method must pass."""
