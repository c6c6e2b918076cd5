"""Recorded passes: replay under any point, the dial fitted on them, claims, and timing."""
