"""A method of one's own: files to start from, and the checks that every method must pass."""
