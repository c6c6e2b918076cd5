"""`eat drift`: make a monitor's reference, or replay a stream."""
