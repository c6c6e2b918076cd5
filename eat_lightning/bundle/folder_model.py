"""The folder that `eat adapt` or `eat rerank` wrote, as a model in Python."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eat_lightning.bundle.adapted import AboutAdapted, AboutFolder, AboutLists, AdaptedHome
from eat_lightning.bundle.open import open_adapted
from eat_lightning.bundle.plan import ADAPTED, LISTS, check_torch, is_adapted, is_of_lists
from eat_lightning.errors import ConfigError
from eat_lightning.files import folder_swap
from eat_lightning.record.certificate import Certificate

if TYPE_CHECKING:
    from pandas import DataFrame

    from eat_lightning.bundle.backend import Backend


@contextmanager
def as_value_error() -> Iterator[None]:
    """Raise what is wrong with a folder as a ValueError, as Python's callers expect."""
    try:
        yield
    except ConfigError as error:
        raise ValueError(str(error)) from None


class Model(ABC):
    """A model as it was certified: an `Adapted` classifies, a `Reranker` ranks.

    ValueError, in one line, for a folder that is damaged or of another kind.

    Args:
        folder: the folder that the command wrote.
        threads: of onnxruntime or OpenVINO; None: those with which it was timed. This package's
            kernels follow `torch.set_num_threads`.
        check: answer the folder's canaries first; ValueError where an answer is not the certified
            one, as it may happen on another processor.
    """

    file: ClassVar[str]
    command: ClassVar[str]

    def __init__(self, folder: str | Path, threads: int | None = None, check: bool = False):
        self.folder, self.threads, self.check = Path(folder), threads, check
        if not (self.folder / self.file).is_file():
            there = f"has no {self.file}, which `eat {self.command}` writes"
            missing = there if self.folder.exists() else "there is no such folder"
            raise ValueError(f"folder={folder}: {missing}")
        if check:
            self.backend  # noqa: B018  # opened now, and checked

    @property
    @abstractmethod
    def about(self) -> AboutFolder:
        """What the folder says of itself."""

    @abstractmethod
    def opened(self) -> Backend:
        """Open the folder. ConfigError where it is damaged."""

    @cached_property
    def backend(self) -> Backend:
        with as_value_error():
            return self.opened()

    @property
    def certificate(self) -> Certificate:
        """The guarantee, and the counts that it stands on."""
        with as_value_error():
            return AdaptedHome(self.folder).certificate(self.about.point)

    def classify(self, texts: Sequence[Any], batch: int = 32) -> list[dict[str, Any]]:
        """See `Adapted.classify`; ValueError for a reranker."""
        raise ValueError(f"folder={self.folder} is a reranker: call rank(query, texts)")

    def rank(
        self, query: str, texts: Sequence[str], keep: int | None = 10, template: str = "{}"
    ) -> list[RankedCandidate]:
        """See `Reranker.rank`; ValueError for a classifier."""
        raise ValueError(f"folder={self.folder} is a classifier: call classify(texts)")

    def save(self, folder: str | Path) -> None:
        """Copy it to a new folder. FileExistsError where there is one."""
        if Path(folder).exists():
            raise FileExistsError(f"{folder} is there already")
        with folder_swap(Path(folder)) as beside:
            shutil.copytree(self.folder, beside, dirs_exist_ok=True)


class Adapted(Model):
    """A classifier that `eat adapt` wrote; for its arguments see `Model`."""

    file, command = ADAPTED, "adapt"

    @cached_property
    def about(self) -> AboutAdapted:
        with as_value_error():
            return AboutAdapted.read(self.folder)

    def opened(self) -> Backend:
        return open_adapted(self.folder, self.threads, self.check)

    @property
    def table(self) -> DataFrame:
        """All candidates that were tried, a row each."""
        from pandas import json_normalize

        return json_normalize(
            [{"name": each.name, **each.as_dict()} for each in self.about.candidates]
        )

    def classify(self, texts: Sequence[Any], batch: int = 32) -> list[dict[str, Any]]:
        """Answer texts, or pairs of them: label, confidence, depth, reason, retention.

        confidence: that of the pipeline's `score`, but for texts that leave early only near it.
        A text that is refused for its length has `error` alone.
        """
        if isinstance(texts, str):
            raise ValueError("texts must be a list of texts, or of pairs, got one text")
        if None in texts:
            raise ValueError("texts must be a list of texts, or of pairs, got None among them")
        rows = [[text] if isinstance(text, str) else list(text) for text in texts]
        wanted = len(self.about.columns)
        if wrong := [row for row in rows if len(row) != wanted]:
            raise ValueError(f"each example must have {wanted} texts, got {len(wrong[0])}")
        groups = [rows[i : i + batch] for i in range(0, len(rows), batch)]
        return [answer for group in groups for answer in self.backend.answer(group)]


@dataclass(frozen=True)
class RankedCandidate:
    """One candidate of a ranked list.

    Args:
        index: index of the candidate in the input.
        score: its score at the depth where it left; scores of different depths are not comparable.
        depth: number of layers that it ran.
    """

    index: int
    score: float
    depth: int


class Reranker(Model):
    """A reranker that `eat rerank` wrote: most candidates exit before the last layer.

    For its arguments see `Model`. It has no canaries, so `check=True` is a ValueError.
    """

    file, command = LISTS, "rerank"

    @property
    def about(self) -> AboutFolder:
        with as_value_error():
            return AboutLists.read(self.folder)

    def opened(self) -> Backend:
        if self.check:
            raise ConfigError(f"folder={self.folder}: a reranker has no canaries to check")
        check_torch(self.folder, "a reranker")
        from eat_lightning.bundle.reranker import open_lists

        return open_lists(self.folder)

    def rank(
        self, query: str, texts: Sequence[str], keep: int | None = 10, template: str = "{}"
    ) -> list[RankedCandidate]:
        """Rank candidates, best first. Pairs that are too long are cut.

        Args:
            keep: number of best candidates to return; None: all of them, although the certificate
                covers only as many as it was made for.
            template: a sentence into which each candidate is inserted, such as "This example is
                {}." for labels.
        """
        if not texts:
            return []
        found = self.backend.answer([[query, template.format(text)] for text in texts])
        ranked = [
            RankedCandidate(index, answer["score"], answer["depth"])
            for index, answer in enumerate(found)
        ]
        return sorted(ranked, key=lambda each: (-each.depth, -each.score))[:keep]


def load(folder: str | Path, threads: int | None = None, check: bool = False) -> Model:
    """Do the work of `eat_lightning.load`."""
    if Path(folder).exists() and not is_adapted(folder):
        raise ValueError(f"folder={folder}: neither `eat adapt` nor `eat rerank` wrote it")
    model = (Reranker if is_of_lists(folder) else Adapted)(folder, threads, check)
    model.backend  # noqa: B018  # a damaged folder is told here, not at the first text
    return model
