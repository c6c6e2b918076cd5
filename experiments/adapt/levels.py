"""One classifier adapted at several levels of agreement, in one scratch folder.

Shapes: R repeats, I texts.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import yaml

from eat_lightning.config import CONFIG_DIR
from eat_lightning.deploy.adapt.folder import AdaptResult
from eat_lightning.deploy.adapt.plan import AdaptSettings
from eat_lightning.deploy.adapt.run import adapt
from eat_lightning.deploy.adapt.search import Bench
from eat_lightning.errors import ConfigError
from eat_lightning.files import folder_swap
from eat_lightning.machine import processor
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import Point
from eat_lightning.record.timing import speed_up
from eat_lightning.report.intervals import Interval
from eat_lightning.report.result import Result
from eat_lightning.runs.run import git_commit
from eat_lightning.untrusted import json_of

LEVELS = (0.99, 0.98, 0.95, 0.97, 0.995)  # shares of answers that are kept; the usual one first
TEXTS, FRESH = "texts.parquet", "fresh.parquet"  # that `eat adapt` gets, and that nothing sees
EVEN = 0.5  # chance of holding of a candidate that was not tested
OF_HYDRA = {"defaults", "hydra", "classifier"}  # keys of the yaml that are no settings


def drawn(base: Path, draw: int) -> Path:
    """Return the folder of a draw: the first is `base`. Others share its model, and part its texts
    anew into those that `eat adapt` gets and those that nothing sees."""
    if draw == 1:
        return base
    folder, model = base / f"draw-{draw}", base / "model"
    if not folder.is_dir():
        parts = [pd.read_parquet(base / name) for name in (TEXTS, FRESH)]
        both: Any = pd.concat(parts).sample(frac=1, random_state=draw)
        with folder_swap(folder) as beside:
            both[: len(parts[0])].to_parquet(beside / TEXTS, index=False)
            both[len(parts[0]) :].to_parquet(beside / FRESH, index=False)
            (beside / "model").symlink_to(model.resolve(), target_is_directory=True)
    return folder


def settings_of(base: Path, to: Path, agree: float, more: Mapping[str, Any]) -> AdaptSettings:
    usual = yaml.safe_load(Path(CONFIG_DIR, "adapt.yaml").read_text("utf-8"))
    given = {"model": str(base / "model"), "texts": str(base / TEXTS), "to": str(to)}
    known = {key: value for key, value in usual.items() if key not in OF_HYDRA}
    return AdaptSettings.of({**known, **given, "agree": agree, **more})


@dataclass(frozen=True)
class Times:
    """Milliseconds of the candidates that took turns in the last timing of an adaptation.

    Args:
        took: by key of the point, R x I.
    """

    made: AdaptResult
    took: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, made: AdaptResult, scratch: Path) -> Times:
        """Read the timing in which the original and the chosen candidate have the times that they
        have in the result."""
        wanted = {each.point.key: each.ms for each in (made.first, made.chosen)}
        for path in scratch.glob("times-finalists-*.json"):
            kept = json_of(path)
            if all(kept["ms"].get(key) == ms for key, ms in wanted.items()):
                batch = str(made.plan.batch)
                taken = {key: np.array(both[batch]) for key, both in kept["taken"].items()}
                return cls(made, taken)
        raise ConfigError(f"{scratch}: keeps no times of {made.chosen.name}")

    @property
    def rival(self) -> Measured:
        """The fastest without exits that is certified or has even odds, where a higher precision
        may answer again what a lower one is unsure of."""
        found = [each for each in self.made.candidates[1:] if each.point.key in self.took]
        plain = [c for c in found if not c.point.has_exits]
        likely = [c for c in plain if c.holds or (c.tested is None and c.chance >= EVEN)]
        return min(likely, key=self.made.ms, default=self.made.first)

    def over(self, slower: Measured, faster: Measured) -> Interval | None:
        """How many times as fast a candidate is, with the interval over the same texts."""
        keys = slower.point.key, faster.point.key
        if not all(key in self.took for key in keys):
            return None
        return Interval(*speed_up(*(self.took[key] for key in keys)))

    def row(self, candidate: Measured) -> dict[str, Any]:
        """All that is known of a candidate; `expected` is what its choice was based on."""
        took_RI = self.took.get(candidate.point.key)
        names, ms = ("p50", "p90", "p99"), [None] * 3
        if took_RI is not None and self.made.plan.batch == 1:
            ms = np.percentile(took_RI, [50, 90, 99]).tolist()
        known = {"name": candidate.name, "ms": candidate.ms.get(str(self.made.plan.batch))}
        known |= {"expected": None if isnan(candidate.cost) else candidate.cost}
        known |= dict(zip(names, ms, strict=True)) | {"fault": candidate.fault or None}
        for name, tallies in (("selected", candidate.counts), ("tested", candidate.tested)):
            known[name] = tallies[0].changed if tallies else None
        over = {"times_original": self.made.first, "times_rival": self.rival}
        return known | {name: self.over(other, candidate) for name, other in over.items()}


def at_level(
    base: Path,
    to: Path,
    task: str,
    agree: float,
    more: Mapping[str, Any],
    draw: int = 1,
    bench: Bench | None = None,
) -> Result:
    """Adapt at one level in the scratch folder of the others, and return its row.

    Args:
        base: folder of a draw. Its first level has the minutes that it took; the passes of others
            were made before.
    """
    scratch = to.with_name(f"{to.name}.part")
    began, is_first = perf_counter(), not scratch.exists()
    shutil.rmtree(to, ignore_errors=True)
    made = adapt(settings_of(base, to, agree, more), bench=bench, keep=True)
    minutes = (perf_counter() - began) / 60 if is_first else None
    times = Times.of(made, scratch)
    original, chosen, rival = made.original, made.chosen, times.rival
    first = chosen.point.before or chosen.point
    form = Point.whole(first.engine, first.dtype)
    [whole] = [each for each in made.candidates if each.point == form]
    count = (chosen.tested or [])[0]
    values = times.row(chosen) | {
        "rival": rival.name,
        "rival_ms": made.ms(rival),
        "layers": chosen.depth / original.num_layers,
        "time": made.ms(chosen) / made.ms(whole) if form.key in times.took else None,
        "num": count.num,
        "allowed": count.allowed,
        "minutes": minutes,
        "candidates": [times.row(each) for each in made.candidates],
    }
    model = f"{original.config['model_type']}, {original.num_layers} layers of {original.width}"
    what = {"task": task, "model": model, "agree": agree, "draw": draw, "batch": made.plan.batch}
    where = {"confidence": made.plan.confidence, "threads": made.plan.threads}
    where |= {"commit": git_commit()}
    return Result(what | {"processor": processor()}, values, where)
