"""Procedures: how far from strict to lax a risk stays below its level, and what that promises."""
