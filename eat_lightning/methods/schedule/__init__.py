"""Schedules: what trains when, and how strongly a reduction acts."""
