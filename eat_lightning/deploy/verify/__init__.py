"""Verify that two builds of one classifier give the same answers."""
