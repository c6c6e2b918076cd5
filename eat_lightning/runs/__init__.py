"""Run folders, rows, certificates, and what is looked at before one is opened."""
