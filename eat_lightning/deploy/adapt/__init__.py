"""A tuned classifier and texts without labels in; a faster one out, certified to answer the same.

It may import every room below it. `rerank` and `verify` stand above it. Its tests: tests/adapt.
"""
