"""Claims that `eat report` makes of any study: one file or folder each, found by path."""
