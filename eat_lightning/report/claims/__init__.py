"""Claims that `eat report` makes for any study: one file or folder each, found by path."""
