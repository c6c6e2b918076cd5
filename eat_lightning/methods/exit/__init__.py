"""Exit rules: when an example may leave."""
