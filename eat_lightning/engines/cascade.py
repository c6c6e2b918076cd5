"""Two classifiers in a row as one backend: the small one answers where it is sure, else the large.

Shapes: B examples, L layers of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eat_lightning.errors import ConfigError
from eat_lightning.infer.backend import Backend, Look, Source
from eat_lightning.infer.recorded import Recorded
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.contracts import Policy
from eat_lightning.model.reason import FIRST_REASON, Reason, reason_names
from eat_lightning.text_io import About, AnswerTrace, Texts

REASONS = ("small_model_sure",)


@dataclass
class CascadeBackend(Backend):
    """The layers of the large model follow those of the small one: depth counts both.

    An answer's tokens are those that the model behind it read.

    Args:
        least: margin of the small model's answer (`AnswerKind.margin`) with which it stands.
    """

    folder: Path
    small: Backend
    large: Backend
    least: float

    def __post_init__(self) -> None:
        large = self.large
        self.columns, self.labels, self.kind = large.columns, large.labels, large.kind
        self.max_length, self.by_source = large.max_length, {None: None}
        self.num_layers = self.small.num_layers + large.num_layers
        self.exits = [self.small.num_layers, self.num_layers]

    def run(
        self, source: Source, texts: Texts, about: About, deep: bool
    ) -> Iterator[tuple[np.ndarray, AnswerTrace, AnswerTrace]]:
        """deep: the large model answers all."""
        left, before = [*range(len(texts))], self.small.num_layers
        if not deep:
            left = []
            for rows_B, found, _ in self.small.run(None, texts, about, False):
                sure_B = self.kind.margin(torch.from_numpy(found.logits_BC)).numpy() >= self.least
                left += rows_B[~sure_B].tolist()
                if sure_B.any():
                    trace = self.part(found.take(np.flatnonzero(sure_B)), before, FIRST_REASON)
                    yield rows_B[sure_B], trace, trace
        if not left:
            return
        reason = Reason.FALLBACK if deep else Reason.LAST_LAYER
        given = [texts[row] for row in left], [about[row] for row in left]
        for rows_B, found, _ in self.large.run(None, *given, False):
            trace = self.part(found, self.num_layers, reason)
            yield np.array(left)[rows_B], trace, trace

    def part(self, found: AnswerTrace, depth: int, reason: int) -> AnswerTrace:
        """Let a model's trace be one of both. depth: layers of both that were run."""
        size = len(found.logits_BC)
        tokens_LB = np.zeros((self.num_layers, size), np.int64)
        tokens_LB[:depth] = found.tokens_LB[0]
        depth_B, reason_B = np.full(size, depth), np.full(size, int(reason))
        names = reason_names(REASONS)
        return AnswerTrace(found.logits_BC, depth_B, reason_B, tokens_LB, names, cut_B=found.cut_B)

    def look(self, text: Sequence[str], about: Mapping[str, str]) -> Look:
        return Look(self.answer([text], [about])[0], {}, {}, Never())

    def record(self, split: Any, batch: int = 32, title: str = "") -> Recorded:
        """ConfigError: two models have no common layers."""
        raise ConfigError(f"{self.folder} is a cascade of two models, which keeps no records")

    def identity(self, source: Source = None) -> dict[str, Any]:
        return {
            "small": self.small.identity(),
            "large": self.large.identity(),
            "least": self.least,
        }

    def policies(self, source: Source = None) -> Sequence[Policy]:
        return ()

    @contextmanager
    def cutting(self, side: str | None) -> Iterator[None]:
        with ExitStack() as both:
            both.enter_context(self.small.cutting(side))
            both.enter_context(self.large.cutting(side))
            yield
