"""What is normal: the calibration part's observations, kept with the run (or the export) as
drift.json, or as drift@<source>.json where a source has exits of its own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eat_lightning.drift.observation import FEATURES, Observation, columns
from eat_lightning.errors import ConfigError
from eat_lightning.runs.certificate import (
    DTYPES,
    POLICIES,
    WITHOUT,
    Home,
    combination,
    of_source,
    short,
)
from eat_lightning.runs.run import Run, write_json

FILE = "drift"
LEAST = 50  # examples: with fewer, no stream could be told from them


@dataclass(frozen=True)
class Reference:
    """holds_for: what the observations were made with, see `watched`. source: whose they are;
    None: whoever has no exits of its own."""

    seen: list[Observation]
    holds_for: dict[str, Any]
    source: str | None = None

    def __post_init__(self) -> None:
        if len(self.seen) < LEAST:
            raise ConfigError(f"drift needs {LEAST} calibration examples, got {len(self.seen)}")

    @property
    def identity(self) -> str:
        """Two are one where both say the same."""
        content = json.dumps([self.content, self.source], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def content(self) -> dict[str, Any]:
        return {"holds_for": self.holds_for, "seen": columns(self.seen)}

    @staticmethod
    def path_in(folder: Path, source: str | None) -> Path:
        return folder / f"{of_source(FILE, source)}.json"

    @staticmethod
    def missing(home: Home) -> str:
        return f"{home.name} has no {FILE}.json: make it with python -m eat_lightning.drift run=..."

    def write(self, home: Home) -> Path:
        """No text and no label of the data is in it."""
        path = self.path_in(home.folder, self.source)
        write_json(path, self.content)
        return path

    @classmethod
    def read(cls, home: Home, source: str | None = None) -> Reference:
        """ConfigError, in one line, where there is none or it is damaged."""
        path = cls.path_in(home.folder, source)
        if not path.is_file():
            raise ConfigError(cls.missing(home))
        try:
            content = json.loads(path.read_text())
            values = zip(*(content["seen"][name] for name in FEATURES), strict=True)
            seen = [Observation(*each) for each in values]
            for each in seen:
                each.places_F  # noqa: B018  numbers, or a TypeError
            return cls(seen, dict(content["holds_for"]), source)
        except (ValueError, TypeError, KeyError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"{path}: not a drift reference ({reason}); make it again") from None

    def check(self, here: dict[str, Any]) -> None:
        """ConfigError, in one line, names what it was made with and what is here."""
        held = WITHOUT | self.holds_for
        differs = [
            f"{key} ({short(held.get(key))} there, {short(here[key])} here)"
            for key in here
            if here[key] != held.get(key)
        ]
        if differs:
            name = self.path_in(Path(), self.source)
            raise ConfigError(f"{name} holds for another {', '.join(differs)}; make it again")


def watched(run: Run, encoder: Any, dtype: str = "fp32") -> dict[str, Any]:
    """What decides the observations: by hash the weights, the model's settings and the calibration
    cut; attention, reduction, exit rule, policies and dtype. Not the device, nor whether weights
    are prepacked: last bits move no rank."""
    from eat_lightning.model.contracts import spec
    from eat_lightning.model.policies import specs_of

    specs: dict[str, Any] = {slot: spec(slot, getattr(encoder, slot)) for slot in POLICIES}
    specs["policy"] = specs_of(encoder.policies)
    made = combination(run, specs, DTYPES[dtype], "cpu")
    return {key: value for key, value in made.items() if key not in ("form", "device", "torch")}
