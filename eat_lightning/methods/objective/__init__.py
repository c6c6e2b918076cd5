"""Objectives: the loss over all exits."""
