"""Risks: what an early answer may cost, as a loss of each example."""
