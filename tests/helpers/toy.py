"""Toy data of which environment variables change or forbid parts, so that a test sees who reads
them. A run that names it is opened with EAT_IMPORT=helpers.toy."""

import os

from eat_lightning.data.source import Source
from eat_lightning.data.toy import ToyData

TARGET = f"{__name__}.WatchedToy"
# Names of parts, with commas between them.
TURNED, REWORDED, FORBIDDEN = "TOY_TURNED", "TOY_REWORDED", "TOY_FORBIDDEN"


class WatchedToy(ToyData):
    """Two classes. Of a part that is turned every label is the other one; one that is reworded has
    the same text everywhere."""

    def source(self, name: str) -> Source:
        assert name not in named_in(FORBIDDEN), f"{name} was looked at"
        found = super().source(name)
        if name in named_in(TURNED):
            found.labels = 1 - found.labels
        if name in named_in(REWORDED):
            found.texts = [["bad"] * len(found) for _ in found.texts]
        return found


def named_in(variable: str) -> list[str]:
    return os.environ.get(variable, "").split(",")
