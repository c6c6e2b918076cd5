"""Run folders, rows and certificates, and the checks before one is opened."""
