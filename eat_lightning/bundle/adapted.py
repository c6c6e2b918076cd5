"""A folder that `adapt` or `rerank` wrote: what it holds, and what its certificate is bound to."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import pydantic.dataclasses
from pydantic import BeforeValidator, ConfigDict

from eat_lightning.answer_kind import AnswerKind, kind_of
from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.plan import ADAPTED, LISTS
from eat_lightning.bundle.sessions import ENGINES
from eat_lightning.errors import ConfigError, reading
from eat_lightning.files import sha256_of, write_json
from eat_lightning.long_texts import REFUSE, LongTexts
from eat_lightning.machine import MACHINE, machine, version_of
from eat_lightning.record.certificate import Certificate
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import Point, read_point
from eat_lightning.untrusted import json_of
from eat_lightning.weights.files import EXITS, SAFE, weights_digest

SMALL = "small"  # a folder of the first model of a cascade
CERTIFICATE = "adapted"  # its name in such a folder
GRAPHS = Path("onnx") / "adapted"  # the folder of the certified graphs, where an engine runs them
FIRST_GRAPHS = Path("onnx") / "first"  # those of the lower precision that answers first


class AboutFolder:
    """What a folder that `adapt` wrote says of itself, in a file of it."""

    file: ClassVar[str]
    point: Point

    def write(self, folder: Path) -> None:
        write_json(folder / self.file, vars(self))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """ConfigError, in one line, where it is damaged."""
        with reading(folder / cls.file):
            return cls(**json_of(folder / cls.file))


@dataclass(frozen=True)
class AdaptedHome:
    """A folder that `adapt` wrote, as the place of its certificate."""

    folder: Path

    @property
    def name(self) -> str:
        return str(self.folder)

    def certificate(self, point: Point) -> Certificate:
        """Its certificate, checked against its files and the point that they run at. ConfigError,
        in one line, where these are not what was certified; on another machine, or with other
        versions, a line says so."""
        found = Certificate.read(self, CERTIFICATE)
        for name, digest in bound(self.folder, point).items():
            if digest != found.holds_for.get(name):
                raise ConfigError(
                    f"run={self.folder}: its {name} are not those it was certified with"
                )
        for name, here in versions(point).items():
            if found.holds_for.get(name) != here:
                there = f"{name} {found.holds_for.get(name)}, and {here} runs here"
                print(f"note: {self.folder}: it was certified with {there}", file=sys.stderr)
        found.tell_machine()
        return found


def all_measured(given: Any) -> list[Measured]:
    """Candidates, from what a file has of them; ValueError or TypeError."""
    return [one if isinstance(one, Measured) else Measured.read(one) for one in given]


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class AboutAdapted(AboutFolder):
    """Contents of `adapted.json`.

    Args:
        columns: names of the texts of an example.
        labels: names of the classes; none of a score.
        answer: the kind of the answers, as `AnswerKind.spec` gives it.
        max_length: tokens of an example at most.
        point: that is certified; a small model before it lies in the folder `small`, and what it
            answers before it in another precision in this one.
        candidates: all that were tried, each a `Measured`.
        long: how texts that are too long are read, as `LongTexts` has it; empty: they are refused.
        threads: with which it was timed.
        scales: numbers by which logits are multiplied before they are printed as scores, by the
            layer where a text leaves.
    """

    columns: list[str]
    labels: list[str]
    answer: dict[str, Any]
    max_length: int
    point: Annotated[Point, BeforeValidator(read_point)]
    candidates: Annotated[list[Any], BeforeValidator(all_measured)]
    long: dict[str, Any] = field(default_factory=dict)
    threads: int = 1
    scales: dict[str, float] = field(default_factory=dict)

    file = ADAPTED

    def __post_init__(self) -> None:
        self.kind  # noqa: B018  # ValueError where answer and labels do not fit
        self.long_texts  # noqa: B018  # TypeError where there is no such setting
        if self.point.before is not None and self.point.before.before is not None:
            raise ValueError("point must have at most one before it")
        if any(not layer.isdecimal() or s <= 0 for layer, s in self.scales.items()):
            raise ValueError(f"scales must be positive numbers of layers, got {self.scales}")

    @property
    def kind(self) -> AnswerKind:
        return kind_of(self.answer, max(1, len(self.labels)))

    @property
    def long_texts(self) -> LongTexts:
        return LongTexts(**self.long) if self.long else REFUSE


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class AboutLists(AboutFolder):
    """Contents of `lists.json`.

    Args:
        keep: candidates of a list for which the guarantee holds.
        point: that is certified.
        max_length: tokens of a pair at most; longer candidates are cut.
        column: the logit of a classifier that orders, that of entailment; None: a score does.
    """

    keep: int
    point: Annotated[Point, BeforeValidator(read_point)]
    max_length: int
    column: int | None = None

    file = LISTS


def bound(folder: Path, point: Point) -> dict[str, Any]:
    """The point, and hashes of the files that decide what an adapted classifier answers."""
    found: dict[str, Any] = {"point": point.as_dict(), "weights": weights_digest(folder)}
    if (folder / EXITS).is_dir():
        found["exits"] = sha256_of([folder / EXITS / name for name in (SAFE, "config.json")])
    for each, graphs in graphs_of(point).items():
        found[each] = GraphModel(folder / graphs).digest
    if (small := folder / SMALL / ADAPTED).is_file():
        inner = bound(small.parent, AboutAdapted.read(small.parent).point)
        found["small model"] = sha256_of([small])
        found |= {f"small {name}": one for name, one in inner.items()}
    return found


def graphs_of(point: Point) -> dict[str, Path]:
    """The folders of the graphs that a folder's own model runs by, by their name in a
    certificate."""
    found = {} if point.engine == "torch" else {"graphs": GRAPHS}
    if point.before is not None and point.falls_back and point.before.engine != "torch":
        found["first graphs"] = FIRST_GRAPHS
    return found


def versions(point: Point) -> dict[str, str]:
    """Name the versions of its engines, which a certificate is valid for."""
    before = {} if point.before is None else versions(point.before)
    if point.engine == "torch":
        return before | {"torch": version_of("torch")}
    package = ENGINES[point.engine].package
    return before | {package: version(package)}


def holds_for(folder: Path, point: Point) -> dict[str, Any]:
    """What the certificate of a folder is bound to: point, files, versions and the machine."""
    return bound(folder, point) | versions(point) | {MACHINE: machine()}
