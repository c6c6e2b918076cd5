"""Architectures of transformers, a file each, found by looking."""
