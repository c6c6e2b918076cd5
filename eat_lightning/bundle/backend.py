"""Interface of models that answer: a run in torch, or an export in onnxruntime or OpenVINO.

`predict`, `serve`, `drift`, `certify` and `attack` use only this interface.

Shapes: B examples of a batch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.errors import ConfigError, Faults
from eat_lightning.long_texts import Answerer, LongTexts, ReadText
from eat_lightning.model.policy import Policy
from eat_lightning.model.trace import Trace

if TYPE_CHECKING:
    from eat_lightning.model.contracts import ExitRule
    from eat_lightning.record.point import Point
    from eat_lightning.record.record import Record


class Backend(Answerer):
    """A model ready to answer, and its folder.

    Args:
        dtype: in which its layers are computed.
        exits: layers at which an example may exit, including the last.
        max_length: maximum number of tokens of a text or pair.
    """

    folder: Path
    dtype: str
    exits: list[int]
    max_length: int

    @abstractmethod
    def record(self, split: Any, batch: int = 32, title: str = "") -> Record:
        """Record the logits of every head for every example of a split, without early exits.

        Args:
            split: a `Split`, or any object with `labels`, `lengths`, `text(row)` and `batch(rows)`.
        """

    @abstractmethod
    def look(self, text: Sequence[str], about: Mapping[str, str]) -> Trace:
        """Answer one example (a text for each column), with the logits and the signals of all exits
        up to the one where it leaves.
        """

    @property
    @abstractmethod
    def exit_rule(self) -> ExitRule:
        """The exit rule."""

    @property
    @abstractmethod
    def point(self) -> Point:
        """The point at which it answers."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return everything that determines the answers. Certificates and references are valid for
        it only.
        """

    @property
    @abstractmethod
    def policies(self) -> Sequence[Policy]: ...

    def read_long(self, long: LongTexts) -> None:
        """Set how long texts are read.

        Raises:
            ConfigError: for a setting that this model does not support.
        """
        Faults(long.faults(self.kind, self.labels, self.max_length)).check()
        self.reader = replace(self.reader, long=long)

    def read_one(self, text: Sequence[str]) -> ReadText:
        """Read a text that fits or may be truncated. Raises ConfigError for any other."""
        [read] = self.reader([text])
        if len(read.windows) != 1:
            why = read.refused or f"a text must fit in one window, got {len(read.windows)}"
            raise ConfigError(f"text: {why}")
        return read

    @property
    def name(self) -> str:
        return self.folder.resolve().name
