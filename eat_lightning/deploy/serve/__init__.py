"""Gateway: accepts requests, and returns each answer as soon as it is ready. All buffers are
bounded.
"""
