"""Reference of a drift monitor: observations of the calibration part, which count as normal. It is
kept with the run (or the export) as drift.json, or as drift@<source>.json where a source has
separate exits.

Each source has a reference, since one source's mails are not normal for another. Alarms of all
sources together keep the rate, since each keeps it among its examples.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.data.batching import sorted_batches
from eat_lightning.data.source import ORIGIN
from eat_lightning.deploy.drift.observation import FEATURES, Observation, observations
from eat_lightning.engines.plan import is_export
from eat_lightning.errors import ConfigError
from eat_lightning.files import as_dict
from eat_lightning.infer.backend import Backend, Source
from eat_lightning.long_texts import CUT
from eat_lightning.model.specification import kind_of
from eat_lightning.progress import shown
from eat_lightning.runs.certificate import Home, differences, of_export, of_source, with_methods
from eat_lightning.runs.run import write_json
from eat_lightning.text_io import refusal

FILE = "drift"
LEAST = 50  # examples: with fewer, no stream could be compared with them
# Of a backend's identity, what decides no observation: last bits move no rank.
UNSEEN = ("form", "device", "torch", "runtime", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Reference:
    """holds_for: what the observations were made with, see `made_with`. source: whose they are;
    None: whoever has no exits of its own."""

    seen: list[Observation]
    holds_for: dict[str, Any]
    source: Source = None

    def __post_init__(self) -> None:
        if len(self.seen) < LEAST:
            raise ConfigError(f"drift needs {LEAST} calibration examples, got {len(self.seen)}")

    @property
    def content(self) -> dict[str, Any]:
        """The reference as it goes to a file; no text and no label of the data is in it."""
        columns = {name: [getattr(each, name) for each in self.seen] for name in FEATURES}
        return {"holds_for": self.holds_for, "seen": columns}

    @property
    def identity(self) -> str:
        """Equal for references of equal content and source."""
        content = json.dumps([self.content, self.source], sort_keys=True, default=as_dict)
        return hashlib.sha256(content.encode()).hexdigest()

    @staticmethod
    def path_in(folder: Path, source: Source) -> Path:
        return folder / f"{of_source(FILE, source)}.json"

    def write(self, home: Home) -> Path:
        path = self.path_in(home.folder, self.source)
        write_json(path, self.content)
        return path

    @classmethod
    def read(cls, home: Home, source: Source = None, how: str = "drift") -> Reference:
        """ConfigError, in one line, where there is none or it is damaged. how: to make one."""
        path = cls.path_in(home.folder, source)
        if not path.is_file():
            raise ConfigError(f"{home.name} has no {FILE}.json: make it with {how}")
        try:
            content = json.loads(path.read_text())
            values = zip(*(content["seen"][name] for name in FEATURES), strict=True)
            seen = [Observation(*each) for each in values]
            for each in seen:
                each.places_F  # noqa: B018  numbers, or a TypeError
            return cls(seen, with_methods(dict(content["holds_for"])), source)
        except (ValueError, TypeError, KeyError, OSError) as error:
            reason = str(error).splitlines()[0]
            fault = f"{path}: not a drift reference ({reason})"
            raise ConfigError(f"{fault}; make it again with {how}") from None

    def check(self, here: dict[str, Any], how: str = "drift") -> None:
        """ConfigError, in one line, names what it was made with and what is here."""
        if differs := differences(self.holds_for, here):
            name = self.path_in(Path(), self.source)
            raise ConfigError(f"{name} holds for another {differs}; make it again with {how}")


def made_with(backend: Backend, source: Source) -> dict[str, Any]:
    """Return the identity of a source's observations: all that decides them, such as weights, cut,
    methods and dtype."""
    windows = {"windows": backend.reader.long.described(backend.max_length)}
    identity = backend.identity(source) | windows
    return {key: value for key, value in identity.items() if key not in UNSEEN}


def make_references(backend: Backend, split: Any, batch: int) -> list[Reference]:
    """Make the references of a backend's sources, from the part of the calibration cut that nothing
    else was fitted on. A source with too few examples has none. Raise ConfigError where that part
    gives no reference."""
    check_policies(backend, split.origins)
    made = []
    for source in backend.watched:
        rows = np.arange(len(split))
        if source is not None:
            if split.origins is None:
                raise ConfigError("the calibration part's data has no column source any more")
            rows = np.flatnonzero(np.array(split.origins) == source)
        if source is None or len(rows) >= LEAST:
            seen = normal(backend, source, split, rows, batch)
            made.append(Reference(seen, made_with(backend, source), source))
    if not made:
        raise ConfigError(f"drift needs {LEAST} calibration examples of a source, and none has")
    return made


def check_policies(backend: Backend, origins: list[str] | None) -> None:
    """ConfigError where a policy asks what the calibration part does not tell."""
    known = set() if origins is None else {ORIGIN}
    for policy in (policy for source in backend.by_source for policy in backend.policies(source)):
        if unknown := sorted({*policy.asks()} - known):
            kind = kind_of("policy", type(policy))
            fault = f"policy={kind} asks for {unknown[0]}, which the calibration part does not tell"
            raise ConfigError(f"{fault}: what is normal under it cannot be known")


def normal(
    backend: Backend, source: Source, split: Any, rows: np.ndarray, batch: int
) -> list[Observation]:
    """Return the observations of these rows of a split, in their order. All examples run every
    layer, so that batches stay as large as they are. ConfigError for a text that is refused."""
    windows = backend.reader.long.mode == "windows"
    reader = backend.reader if windows else replace(backend.reader, long=CUT)  # as the split's
    found: dict[int, Observation] = {}
    title = f"{backend.name}: what is normal"
    for part in shown(sorted_batches(split.lengths[rows], batch), title):
        chosen = rows[part]
        texts = [list(split.text(i)) for i in chosen]
        about = [{} if split.origins is None else {ORIGIN: split.origins[i]} for i in chosen]
        for left in backend.stream(texts, about, frozenset({source}), reader):
            places = [part[place] for place in left.places]
            if why := refusal(left.answers[0]):
                raise ConfigError(f"{why} in row {chosen[left.places[0]]} of the calibration part")
            found |= dict(zip(places, observations(left.exits), strict=True))
    return [found[i] for i in range(len(rows))]


def read_references(backend: Backend, certificate: str | None = None) -> dict[Source, Reference]:
    """Read the references kept with a run or an export, by source. Raise ConfigError where one is
    of other exits, or there is none; it gives the command that makes them.

    Args:
        certificate: the one that is in force.
    """
    folder = backend.folder
    made_of = of_export(folder) if is_export(folder) else f"{folder}"
    exits = "" if certificate is None else f" certificate={certificate}"
    how = f"python -m eat_lightning.{FILE} run={made_of}{exits}"
    there = {source: Reference.path_in(backend.folder, source) for source in backend.watched}
    kept = [source for source, path in there.items() if path.is_file()]
    found = {source: Reference.read(backend, source, how) for source in kept or [None]}
    for source, reference in found.items():
        reference.check(made_with(backend, source), how)
    return found
