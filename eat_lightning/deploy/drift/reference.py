"""Reference of a drift monitor: observations of the calibration part, which count as normal. It is
kept with the run (or the export) as drift.json."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eat_lightning.data.batching import sorted_batches
from eat_lightning.data.source import ORIGIN
from eat_lightning.deploy.drift.observation import FEATURES, Observation, observations
from eat_lightning.engines.plan import is_export
from eat_lightning.errors import ConfigError
from eat_lightning.infer.backend import Backend
from eat_lightning.long_texts import CUT
from eat_lightning.machine import MACHINE
from eat_lightning.model.specification import kind_of
from eat_lightning.progress import shown
from eat_lightning.record.certificate import Home, differences, with_methods
from eat_lightning.runs.identity import of_export
from eat_lightning.runs.run import write_json

FILE = "drift.json"
LEAST = 50  # examples: with fewer, no stream could be compared with them
# Of a backend's identity, what decides no observation: last bits move no rank.
UNSEEN = ("form", "device", "torch", "runtime", "onnxruntime", "openvino", MACHINE)


@dataclass(frozen=True)
class Reference:
    """holds_for: what the observations were made with, see `made_with`."""

    seen: list[Observation]
    holds_for: dict[str, Any]

    def __post_init__(self) -> None:
        if len(self.seen) < LEAST:
            raise ConfigError(f"drift needs {LEAST} calibration examples, got {len(self.seen)}")

    @property
    def content(self) -> dict[str, Any]:
        """The reference as it goes to a file; no text and no label of the data is in it."""
        columns = {name: [getattr(each, name) for each in self.seen] for name in FEATURES}
        return {"holds_for": self.holds_for, "seen": columns}

    def write(self, home: Home) -> Path:
        path = home.folder / FILE
        write_json(path, self.content)
        return path

    @classmethod
    def read(cls, home: Home, how: str = "drift") -> Reference:
        """ConfigError, in one line, where there is none or it is damaged. how: to make one."""
        path = home.folder / FILE
        if not path.is_file():
            raise ConfigError(f"{home.name} has no {FILE}: make it with {how}")
        try:
            content = json.loads(path.read_text())
            values = zip(*(content["seen"][name] for name in FEATURES), strict=True)
            seen = [Observation(*each) for each in values]
            for each in seen:
                each.places_F  # noqa: B018  numbers, or a TypeError
            return cls(seen, with_methods(dict(content["holds_for"])))
        except (ValueError, TypeError, KeyError, OSError) as error:
            reason = str(error).splitlines()[0]
            fault = f"{path}: not a drift reference ({reason})"
            raise ConfigError(f"{fault}; make it again with {how}") from None

    def check(self, here: dict[str, Any], how: str = "drift") -> None:
        """ConfigError, in one line, names what it was made with and what is here."""
        if differs := differences(self.holds_for, here):
            raise ConfigError(f"{FILE} holds for another {differs}; make it again with {how}")


def made_with(backend: Backend) -> dict[str, Any]:
    """Return the identity of observations: all that decides them, such as weights, cut, methods
    and dtype."""
    windows = {"windows": backend.reader.long.described(backend.max_length)}
    identity = backend.identity() | windows
    return {key: value for key, value in identity.items() if key not in UNSEEN}


def make_reference(backend: Backend, split: Any, batch: int) -> Reference:
    """Make a backend's reference from the part of the calibration cut that nothing else was fitted
    on. Raise ConfigError where that part gives none."""
    known = set() if split.origins is None else {ORIGIN}
    for policy in backend.policies:
        if unknown := sorted({*policy.asks()} - known):
            kind = kind_of("policy", type(policy))
            fault = f"policy={kind} asks for {unknown[0]}, which the calibration part does not tell"
            raise ConfigError(f"{fault}: what is normal under it cannot be known")
    return Reference(normal(backend, split, batch), made_with(backend))


def normal(backend: Backend, split: Any, batch: int) -> list[Observation]:
    """Return the observations of a split, in its order. All examples run every layer, so that
    batches stay as large as they are. ConfigError for a text that is refused."""
    windows = backend.reader.long.mode == "windows"
    reader = backend.reader if windows else replace(backend.reader, long=CUT)  # as the split's
    found: dict[int, Observation] = {}
    title = f"{backend.name}: what is normal"
    for rows in shown(sorted_batches(split.lengths, batch), title):
        texts = [list(split.text(i)) for i in rows]
        about = [{} if split.origins is None else {ORIGIN: split.origins[i]} for i in rows]
        for trace in backend.stream(texts, about, deep=True, reader=reader):
            for place, why in trace.errors.items():
                raise ConfigError(f"{why} in row {rows[place]} of the calibration part")
            found |= dict(zip(rows[trace.rows_B].tolist(), observations(trace), strict=True))
    return [found[i] for i in range(len(split))]


def read_reference(backend: Backend, certificate: str | None = None) -> Reference:
    """Read the reference of a run or an export. Raise ConfigError where there is none, or it is of
    other exits; it gives the command that makes one.

    Args:
        certificate: the one that is in force.
    """
    folder = backend.folder
    made_of = of_export(folder) if is_export(folder) else f"{folder}"
    exits = "" if certificate is None else f" certificate={certificate}"
    how = f"python -m eat_lightning.drift run={made_of}{exits}"
    found = Reference.read(backend, how)
    found.check(made_with(backend), how)
    return found
