"""Attention patterns: who sees whom."""
