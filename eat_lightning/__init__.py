"""Adaptive Transformer encoders: models that spend less on easy inputs."""

__version__ = "0.2.0"

# `python -m eat_lightning.predict` finds the commands of deploy/. Code imports them by their full
# names (eat_lightning.deploy.predict), since no module may be loaded under two names.
__path__.append(f"{__path__[0]}/deploy")
