"""A model on the plane: what its exits give for the cut and for dev, and what leaving there costs.

Shapes: B examples, E layers at which examples may leave.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eat_lightning.data.calibration import FITTED_ON
from eat_lightning.files import sha256_of
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.fixed import Fixed
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops
from eat_lightning.model.specification import Specification
from eat_lightning.record.passes import record
from eat_lightning.record.record import Record
from eat_lightning.runs.budgets import Fitter
from eat_lightning.runs.row import FIXED, read
from eat_lightning.runs.run import Run


@dataclass(frozen=True)
class Model(ABC):
    """A model's records, and what leaving costs.

    Args:
        name: as tables have it.
        task: judged by accuracy.
        run: the folder's name.
        cut: examples that operating points are chosen on.
        dev: examples on which all is reported.
        data: a hash of the texts of both.
    """

    name: str
    task: str
    run: str
    cut: Record
    dev: Record
    data: str

    @property
    def layers(self) -> list[int]:
        """Layers with a head, the last one included."""
        return sorted(self.cut.guesses)

    @property
    def last(self) -> int:
        return self.layers[-1]

    @abstractmethod
    def costs(self, of: Record, layers: Sequence[int]) -> Float[np.ndarray, "e b"]:
        """Count the FLOPs of leaving at each of `layers` where the heads of all of them guess."""

    def fixed_cost(self, of: Record, layer: int) -> Float[np.ndarray, " b"]:
        """Count the FLOPs of everybody leaving at one layer."""
        return self.costs(of, [layer])[0]


@dataclass(frozen=True)
class RunModel(Model):
    """A finished run.

    Args:
        opened: the run.
        encoder: of the run.
        dev_data: a hash of dev's texts, as rows have it.
    """

    opened: Run
    encoder: AdaptiveEncoder
    dev_data: str = ""

    def costs(self, of: Record, layers: Sequence[int]) -> Float[np.ndarray, "e b"]:
        early = [layer for layer in layers if layer < self.last]
        rule = Confidence(layers=early) if early else Never()
        if len(layers) == len(early) == 1:
            rule = Fixed(layers[0])
        depths = [np.full(len(of), layer) for layer in layers]
        return np.stack([flops(self.encoder, rule, of.tokens_LB, d, of.lengths) for d in depths])


def open_model(name: str, path: str | Path, records: Path) -> RunModel:
    """Open a finished run under a name. Its records are those that `measure` has kept beside it,
    or they are made and kept in a folder."""
    run = Run.open(path)
    encoder, _ = run.model()
    data = run.data()
    cut, dev = [data.split(part) for part in FITTED_ON], [data.split("validation")]
    texts = hashlib.sha256("".join(s.source.digest for s in (*cut, *dev)).encode()).hexdigest()
    weights = sha256_of([run.folder / "model" / "model.safetensors"])[:8]
    stem = f"{run.name[:40]}-{weights}-{texts[:8]}"

    def recorded(name: str, splits: Sequence[Any], kept: Sequence[Path]) -> Record:
        labels = np.concatenate([split.labels for split in splits])
        for path in (*kept, records / f"{stem}-{name}.parquet"):
            if path.is_file() and np.array_equal((said := Record.read(path)).labels, labels):
                return said
        title = f"{run.name}: all exits, {name}"
        said = Record.concat([record(encoder, split, title=title) for split in splits])
        records.mkdir(parents=True, exist_ok=True)
        said.to_parquet(path)
        return said

    rows = [row for row in read(run.folder / "rows.jsonl") if row.split == "validation"]
    reduction = Specification.of("reduction", encoder.reduction)
    passed = [row for row in rows if row.dtype == "fp32" and row.reduction == reduction]
    files = [
        row.examples
        for row in passed
        if row.baseline == FIXED or (row.exit.kind == "never" and not row.baseline)
    ]
    both = (
        recorded("cut", cut, [Fitter(run, encoder).cut_path(encoder)]),
        recorded("dev", dev, [run.folder / file for file in dict.fromkeys(files)]),
    )
    about = name, run.task.name, run.name, *both, texts[:16], run, encoder
    return RunModel(*about, dev[0].source.digest[:16])
