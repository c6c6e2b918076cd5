"""The contract of whatever answers: a run in torch, or an export in onnxruntime or OpenVINO.

`predict`, `serve`, `drift`, `certify` and `attack` stand on it, and know of no other difference.

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
    from eat_lightning.record.record import Record


class Backend(Answerer):
    """A model ready to answer, and the folder it lies in. dtype: in which its layers are computed.
    exits: layers where an example may leave, the last one included. max_length: tokens of a text,
    or of a pair, that it reads at once."""

    folder: Path
    dtype: str
    exits: list[int]
    max_length: int

    @abstractmethod
    def record(self, split: Any, batch: int = 32, title: str = "") -> Record:
        """Every head's guess for every example of a split, with nobody leaving. split: a `Split`,
        or whatever has its `labels`, `lengths`, `text(row)` and `batch(rows)`."""

    @abstractmethod
    def look(self, text: Sequence[str], about: Mapping[str, str]) -> Trace:
        """Answer one example (a text for each column), with the guesses and the signals of the
        exits on its path."""

    @property
    @abstractmethod
    def exit_rule(self) -> ExitRule:
        """The rule by which examples leave."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return the facts that decide the answers, for which certificates and references are
        valid."""

    @property
    @abstractmethod
    def policies(self) -> Sequence[Policy]: ...

    def read_long(self, long: LongTexts) -> None:
        """Read long texts so from here on. ConfigError with what does not go with this model."""
        Faults(long.faults(self.kind, self.labels, self.max_length)).check()
        self.reader = replace(self.reader, long=long)

    def read_one(self, text: Sequence[str]) -> ReadText:
        """Read a text that fits, or that may be cut. ConfigError for another one."""
        [read] = self.reader([text])
        if len(read.windows) != 1:
            why = read.refused or f"a text must fit in one window, got {len(read.windows)}"
            raise ConfigError(f"text: {why}")
        return read

    @property
    def name(self) -> str:
        return self.folder.resolve().name
