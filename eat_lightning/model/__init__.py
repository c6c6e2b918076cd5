"""The encoder and what its parts agree on: packed rows, trace, contracts, FLOPs."""
