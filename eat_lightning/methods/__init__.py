"""The shelf: one published idea, one file, one yaml."""
