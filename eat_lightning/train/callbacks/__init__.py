"""Callbacks: the schedule, the temperatures, the record."""
