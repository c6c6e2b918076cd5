"""Relevance of texts for a query, by a model that reads pairs and gives one score."""

from __future__ import annotations

from eat_lightning.deploy.serve.model import About
from eat_lightning.deploy.serve.peers.call import Scored
from eat_lightning.deploy.serve.worker import Refused


def is_reranker(about: About) -> bool:
    return about.problem_type == "regression" and len(about.columns) == 2


def check_reranker(about: About) -> None:
    if not is_reranker(about):
        raise Refused(424, "model is not a re-ranker model: it must read pairs and give one score")


def relevance(scored: Scored, raw: bool = False) -> float:
    """The score within 0 and 1, or as the head gave it."""
    return scored.scores("none" if raw else "sigmoid")[0]
