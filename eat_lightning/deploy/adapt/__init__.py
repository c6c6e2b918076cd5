"""A tuned classifier and texts without labels in; a faster one out, certified to answer the same.

It may import every room below it, and nothing but `__main__` imports it. Its tests: tests/adapt.
"""
