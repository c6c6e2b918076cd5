"""What is normal: the calibration part's observations, kept with the run as drift.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eat_lightning.certificate import DTYPES, POLICIES, combination, short
from eat_lightning.drift.observation import FEATURES, Observation, columns
from eat_lightning.errors import ConfigError
from eat_lightning.runs import Run, write_json

FILE = "drift.json"
LEAST = 50  # examples: with fewer, no stream could be told from them


@dataclass(frozen=True)
class Reference:
    """holds_for: what the observations were made with, see `watched`."""

    seen: list[Observation]
    holds_for: dict[str, Any]

    def __post_init__(self) -> None:
        if len(self.seen) < LEAST:
            raise ConfigError(f"drift needs {LEAST} calibration examples, got {len(self.seen)}")

    def write(self, run: Run) -> Path:
        """No text and no label of the data is in it."""
        path = run.folder / FILE
        write_json(path, {"holds_for": self.holds_for, "seen": columns(self.seen)})
        return path

    @classmethod
    def read(cls, run: Run) -> Reference:
        """ConfigError, in one line, where there is none or it is damaged."""
        path = run.folder / FILE
        if not path.is_file():
            raise ConfigError(
                f"{run.name} has no {FILE}: make it with python -m eat_lightning.drift run=..."
            )
        try:
            content = json.loads(path.read_text())
            values = zip(*(content["seen"][name] for name in FEATURES), strict=True)
            seen = [Observation(*each) for each in values]
            for each in seen:
                each.places_F  # noqa: B018  numbers, or a TypeError
            return cls(seen, dict(content["holds_for"]))
        except (ValueError, TypeError, KeyError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"{path}: not a drift reference ({reason}); make it again") from None

    def check(self, here: dict[str, Any]) -> None:
        """ConfigError, in one line, names what it was made with and what is here."""
        differs = [
            f"{key} ({short(self.holds_for.get(key))} there, {short(here[key])} here)"
            for key in here
            if here[key] != self.holds_for.get(key)
        ]
        if differs:
            raise ConfigError(f"{FILE} holds for another {', '.join(differs)}; make it again")


def watched(run: Run, encoder: Any, dtype: str = "fp32") -> dict[str, Any]:
    """What decides the observations: by hash the weights, the model's settings and the calibration
    cut; attention, reduction, exit rule and dtype. Not the device, nor whether weights are
    prepacked: last bits move no rank."""
    from eat_lightning.slots import spec

    policies = {slot: spec(slot, getattr(encoder, slot)) for slot in POLICIES}
    made = combination(run, policies, DTYPES[dtype], "cpu")
    return {key: value for key, value in made.items() if key not in ("form", "device", "torch")}
