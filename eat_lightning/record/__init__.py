"""Recorded passes and what is made of them: points in order, claims about them, certificates."""
