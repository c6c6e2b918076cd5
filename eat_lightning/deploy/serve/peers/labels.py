"""Labels with their scores, as text-embeddings-inference and Hugging Face's services give them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from eat_lightning.deploy.serve.model import About


class Prediction(BaseModel):
    label: str
    score: float


def label_names(about: About) -> list[str]:
    """Names in their order; a model with one score has transformers' default one."""
    return [*about.labels] or ["LABEL_0"]


def predictions(labels: Sequence[str], scores: Sequence[float]) -> list[dict[str, object]]:
    """Every label once, the highest score first."""
    order = sorted(range(len(labels)), key=lambda i: -scores[i])
    return [{"label": labels[i], "score": scores[i]} for i in order]
