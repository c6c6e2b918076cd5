"""Reductions: making an example shorter between layers."""
