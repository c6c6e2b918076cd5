"""Production: answer, certify, serve, score a corpus, and watch for drift.

May import every room of the core; the core imports nothing from here. Tests: tests/deploy.
"""
