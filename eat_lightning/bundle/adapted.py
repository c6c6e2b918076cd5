"""A folder that `adapt` or `rerank` wrote: what it holds, and what its certificate is bound to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import pydantic.dataclasses
from pydantic import BeforeValidator, ConfigDict

from eat_lightning.answer_kind import AnswerKind, kind_of
from eat_lightning.bundle.bundle import CERTIFICATE, CLASSES, LISTS, Bundle
from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.sessions import ENGINES
from eat_lightning.errors import ConfigError, reading
from eat_lightning.files import sha256_of, write_json
from eat_lightning.long_texts import REFUSE, LongTexts
from eat_lightning.machine import MACHINE, machine, version_of
from eat_lightning.record.certificate import EARLIER, Certificate
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import Point, read_point
from eat_lightning.untrusted import json_of
from eat_lightning.weights.files import SAFE, weights_digest

FORMATS = (1, 2)  # of bundle.json; 2 where there are factors, which earlier versions ignored
SMALL = "small"  # what a point calls the weights of a smaller model
INT8_FACTORS = "int8 factors"  # in what a certificate holds for


class AboutFolder:
    """What a bundle says of itself, in bundle.json."""

    answers: ClassVar[str]
    point: Point

    def write(self, folder: Path) -> None:
        """Write bundle.json into a folder in which the weights are."""
        bundle = Bundle(folder)
        about = {"format": FORMATS[bundle.factors.is_file()], "answers": self.answers}
        write_json(bundle.about, about | vars(self))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """ConfigError, in one line, where it is damaged, or another kind of bundle."""
        path = Bundle(folder).about
        if not path.is_file():
            raise ConfigError(f"run={folder}: has no {path.name}, which `eat adapt` writes")
        with reading(path):
            found = dict(json_of(path))
            for key, known in (("format", FORMATS), ("answers", (cls.answers,))):
                if (got := found.pop(key, None)) not in known:
                    wanted = " or ".join(map(str, known))
                    raise ValueError(f"{key} must be {wanted}, got {got!r:.40}")
            return cls(**found)


@pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class AboutAdapted(AboutFolder):
    """What a bundle of a classifier says of itself.

    Args:
        columns: names of the texts of an example.
        labels: names of the classes; none of a score.
        answer: the kind of the answers, as `AnswerKind.spec` gives it.
        max_length: tokens of an example at most.
        point: that is certified. A smaller model that answers first is the bundle `before`; where
            the model itself does, in another precision, it is this one.
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
    long: dict[str, Any] = field(default_factory=dict)
    threads: int = 1
    scales: dict[str, float] = field(default_factory=dict)

    answers = CLASSES

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
    """What a bundle of a cross-encoder says of itself.

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

    answers = LISTS


def write_dial(bundle: Bundle, candidates: Sequence[Measured]) -> None:
    """Keep all points that were tried, with what was measured of them."""
    write_json(bundle.dial, {"points": [*candidates]})


def read_dial(bundle: Bundle) -> list[Measured]:
    """The points that were tried, the original first; none where the bundle keeps none.

    Raises:
        ConfigError: in one line, where the file is damaged.
    """
    if not bundle.dial.is_file():
        return []
    with reading(bundle.dial):
        return [Measured.read(each) for each in json_of(bundle.dial)["points"]]


def own_certificate(bundle: Bundle, point: Point) -> Certificate:
    """A bundle's certificate, checked against its files and the point that they run at. On another
    machine, or with other versions, a line says so.

    Raises:
        ConfigError: in one line, where files or point are not what was certified.
    """
    found = Certificate.read(bundle, CERTIFICATE)
    here = bound(bundle, point)
    gone = [name for name in found.holds_for if name.endswith(INT8_FACTORS) and name not in here]
    for name in [*here, *gone]:  # a folder opens without factors too, and answers otherwise
        if here.get(name) != found.holds_for.get(name):
            raise ConfigError(f"run={bundle.name}: its {name} are not those it was certified with")
    check_computation(found, point, f"run={bundle.name}")
    for name, here in versions(point).items():
        if found.holds_for.get(name) != here:
            there = f"{name} {found.holds_for.get(name)}, and {here} runs here"
            print(f"note: {bundle.name}: it was certified with {there}", file=sys.stderr)
    found.tell_machine()
    return found


def check_computation(certificate: Certificate, point: Point, given: str) -> None:
    """Check that this version computes what was certified.

    Args:
        given: the folder as the user named it, for the error.

    Raises:
        ConfigError: in one line, where it computes otherwise.
    """
    for what, here in point.computation.items():
        there = certificate.holds_for.get(what, EARLIER)
        if there != here:
            raise ConfigError(
                f"{given}: it was certified with the {what} {there}, and {here} runs here; "
                "certify it again, or run it with the version that wrote it"
            )


def bound(bundle: Bundle, point: Point) -> dict[str, Any]:
    """The point, and hashes of the files that decide what a bundle answers."""
    found: dict[str, Any] = {"point": point.as_dict(), "weights": weights_digest(bundle.folder)}
    if bundle.exits.is_dir():
        found["exits"] = sha256_of([bundle.exits / name for name in (SAFE, "config.json")])
    if bundle.factors.is_file():
        found[INT8_FACTORS] = sha256_of([bundle.factors])
    for name, at in graphs_of(point).items():
        found[name] = GraphModel(bundle.graphs(at.engine, at.dtype), engine=at.engine).digest
    if (first := bundle.before).about.is_file():
        inner = bound(first, AboutAdapted.read(first.folder).point)
        found["small model"] = sha256_of([first.about])
        found |= {f"small {name}": one for name, one in inner.items()}
    return found


def graphs_of(point: Point) -> dict[str, Point]:
    """The points of a bundle's own model that run by graphs, by the graphs' name in a
    certificate."""
    found = {} if point.engine == "torch" else {"graphs": point}
    if point.before is not None and point.falls_back and point.before.engine != "torch":
        found["first graphs"] = point.before
    return found


def versions(point: Point) -> dict[str, str]:
    """Name the versions of its engines, which a certificate is valid for."""
    before = {} if point.before is None else versions(point.before)
    if point.engine == "torch":
        return before | {"torch": version_of("torch")}
    package = ENGINES[point.engine].package
    return before | {package: version(package)}


def holds_for(bundle: Bundle, point: Point) -> dict[str, Any]:
    """What the certificate of a bundle is bound to: point, files, versions and the machine."""
    return bound(bundle, point) | versions(point) | point.computation | {MACHINE: machine()}
