"""A tuned cross-encoder and lists in; a faster one out, certified to return the same best."""
