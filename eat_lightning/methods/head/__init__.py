"""Exit heads: from the vectors of an example to a guess."""
