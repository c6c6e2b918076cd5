"""Verify that two builds of one classifier answer alike."""
