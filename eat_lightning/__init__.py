"""Adaptive Transformer encoders: models that spend less on easy inputs."""

__version__ = "0.2.0"
# `python -m eat_lightning.predict` finds deploy/predict. Code imports eat_lightning.deploy.predict:
# under the short name a module would be another copy.
__path__.append(f"{__path__[0]}/deploy")
