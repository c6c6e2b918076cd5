"""`python -m eat_lightning.score input=<files> output=<folder> run=<folder>`: score a corpus."""

from __future__ import annotations

from typing import Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed


def score(config: dict[str, Any]) -> int:
    """Score what is missing; returns the number of files that could not be read completely.

    Raises:
        ConfigError: with one line per error: for settings, inputs and folders before a model is
            loaded, and where nothing can be written any more.
    """
    from eat_lightning.deploy.score.plan import ScoreSettings

    plan = parsed(ScoreSettings, config)
    from eat_lightning.deploy.score.corpus import Corpus

    return Corpus.open(plan).score()


main = entry(
    "score", score, many="input", kept="finished shards are kept; the same command resumes"
)
