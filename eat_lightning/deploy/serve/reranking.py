"""Relevance of texts to a query, by a model that reads pairs and returns one score."""

from __future__ import annotations

import math
from collections.abc import Sequence

from eat_lightning.deploy.serve.call import Scored
from eat_lightning.deploy.serve.model import About
from eat_lightning.deploy.serve.worker import Refused
from eat_lightning.record.lists import REASONS


def is_reranker(about: About) -> bool:
    return about.problem_type == "regression" and len(about.columns) == 2


def check_reranker(about: About) -> None:
    if not is_reranker(about):
        raise Refused(424, "model is not a re-ranker model: it must read pairs and give one score")


def ranked(scored: Sequence[Scored], raw: bool = False) -> list[tuple[int, float]]:
    """Return positions and scores, highest first. Candidates dropped early are ranked after those
    that got further, and their scores are capped by the preceding one.
    """
    found, lowest = [], math.inf
    for index in sorted(range(len(scored)), key=lambda i: place(scored[i])):
        lowest = min(lowest, relevance(scored[index], raw))
        found.append((index, lowest))
    return found


def place(scored: Scored) -> tuple[float, float]:
    """Sort key of a candidate: deeper first, since scores at two depths are not comparable."""
    left_early = scored.answer["exit_reason"] in REASONS
    return -scored.answer["depth"] if left_early else -math.inf, -relevance(scored, raw=True)


def relevance(scored: Scored, raw: bool = False) -> float:
    """The score mapped to (0, 1), or the raw output of the head."""
    return scored.scores("none" if raw else "sigmoid")[0]
