"""Answer lines of text."""
