"""Adaptive Transformer encoders: models that spend less on easy inputs."""

__version__ = "0.2.0"
