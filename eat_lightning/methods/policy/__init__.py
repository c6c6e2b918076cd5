"""Policies: what is asked of an example beside its exit rule (EAT, section 10)."""
