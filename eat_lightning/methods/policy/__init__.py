"""Policies: requests for an example in addition to its exit rule (EAT, section 10)."""
