"""Fine-tune one run, or a sweep."""
