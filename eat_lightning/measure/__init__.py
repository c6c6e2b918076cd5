"""Accuracy, depth, retention, FLOPs and time of finished runs."""
