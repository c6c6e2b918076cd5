"""A tuned cross-encoder and lists in; a faster one out, certified to return the same best.

Its steps lie in `deploy.adapt`, with which it shares exits, scratch and costs.
"""
