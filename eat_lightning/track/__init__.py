"""Rows and runs on Weights & Biases."""
