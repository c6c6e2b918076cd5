"""Measure accuracy, depth, token retention, FLOPs and latency of finished runs."""
