"""Weights in and out: model folders, Hugging Face's names, finished runs, files not trusted."""
