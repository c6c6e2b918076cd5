"""A cross-encoder that `adapt queries=` wrote, opened as it was certified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pydantic.dataclasses
from pydantic import ConfigDict

from eat_lightning.answer_kind import kind_of
from eat_lightning.data.source import Source
from eat_lightning.data.split import make_split
from eat_lightning.data.tokens import tokenizer_for
from eat_lightning.engines.adapted import digests, encoder_of
from eat_lightning.errors import ConfigError
from eat_lightning.files import write_json
from eat_lightning.infer.rerank import ListSchedule, rerank
from eat_lightning.model.packed import Batch
from eat_lightning.weights.untrusted import json_of, one_line

LISTS = "lists.json"


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class AboutLists:
    """Contents of `lists.json`.

    Args:
        keep: candidates of a list for which the promise holds.
        counts: candidates that go on behind each depth.
        max_length: tokens of a pair at most; longer candidates are cut.
        holds_for: hashes of files, and versions.
        certificate: what was demanded and measured.
    """

    keep: int
    counts: dict[str, int]
    max_length: int
    holds_for: dict[str, str]
    certificate: dict[str, Any]

    @property
    def schedule(self) -> ListSchedule:
        return ListSchedule({int(depth): count for depth, count in self.counts.items()})

    def write(self, folder: Path) -> None:
        write_json(folder / LISTS, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> AboutLists:
        """ConfigError, in one line, where it is damaged, or files are not those it holds for."""
        try:
            made = cls(**json_of(folder / LISTS))
            made.schedule  # noqa: B018  # ValueError where a depth is no number
        except (ValueError, TypeError, OSError) as error:
            raise ConfigError(
                f"{folder / LISTS}: cannot be read ({one_line(error, 120)})"
            ) from None
        for name, digest in digests(folder, "torch").items():
            if digest != made.holds_for.get(name):
                raise ConfigError(f"run={folder}: its {name} are not those it was certified with")
        return made


@pydantic.dataclasses.dataclass(frozen=True)
class RankedCandidate:
    """A candidate in its place.

    Args:
        index: of the candidate, as it was given.
        score: at the depth that it got to; scores of two depths are not comparable.
        depth: layers that it ran.
    """

    index: int
    score: float
    depth: int


class Reranker:
    """Orders the candidates of a query, most of which leave before the last layer.

    Args:
        folder: written by `eat adapt queries=...`.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.about = AboutLists.read(self.folder)

    @cached_property
    def tokenizer(self) -> Any:
        return tokenizer_for(str(self.folder))

    @cached_property
    def encoder(self) -> Any:
        config = json_of(self.folder / "config.json")
        kind = kind_of({**config, "answer": {"tolerance": 1.0}}, 1)
        return encoder_of(self.folder, kind, 2, self.tokenizer)

    def rank(self, query: str, candidates: Sequence[str]) -> list[RankedCandidate]:
        """Order all candidates, the best first."""
        if not candidates:
            return []
        found = rerank(
            self.encoder,
            self.batch(query, candidates),
            np.zeros(len(candidates), int),
            self.about.schedule,
        )
        return [
            RankedCandidate(int(i), float(found.score_B[i]), int(found.depth_B[i]))
            for i in np.argsort(found.place_B)
        ]

    def batch(self, query: str, candidates: Sequence[str]) -> Batch:
        """Pair a query with each candidate; of a pair that is too long the longer text is cut."""
        num = len(candidates)
        source = Source([[query] * num, list(candidates)], np.zeros(num, np.float32))
        return make_split("list", source, self.tokenizer, self.about.max_length).batch(
            np.arange(num)
        )
