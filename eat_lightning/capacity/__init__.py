"""How many replicas a stream of requests needs, adaptive and static."""
