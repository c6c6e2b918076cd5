"""Settings of `predict`."""

from __future__ import annotations

from eat_lightning.bundle.plan import AnswerSettings


class PredictSettings(AnswerSettings):
    """text: one example, whose way is shown; else lines of standard input are answered."""

    text: str | list[str] | None
