"""A finished run: what its exits answer on the cut and on dev, and what leaving there costs.

Shapes: B examples, E layers at which examples may leave.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from eat_lightning.data.calibration import FITTED_ON
from eat_lightning.files import sha256_of
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops
from eat_lightning.record.passes import record
from eat_lightning.record.record import Record
from eat_lightning.runs.run import Run
from eat_lightning.weights.files import model_files


@dataclass(frozen=True)
class Model:
    """A finished run under the name that tables give it.

    Args:
        cut: examples on which operating points are chosen.
        dev: examples on which results are reported.
        data: a hash of the texts of both.
    """

    name: str
    run: Run
    encoder: AdaptiveEncoder
    cut: Record
    dev: Record
    data: str

    @property
    def task(self) -> str:
        return self.run.task.name

    @property
    def seed(self) -> int:
        return self.run.config["seed"]

    @property
    def layers(self) -> list[int]:
        """Layers with a head, the last one included."""
        return sorted(self.cut.guesses)

    @property
    def last(self) -> int:
        return self.layers[-1]

    def costs(self, of: Record, layers: Sequence[int]) -> Float[np.ndarray, "e b"]:
        """FLOPs of leaving at each of `layers` where the heads of all of them guess."""
        early = [layer for layer in layers if layer < self.last]
        rule = Confidence(layers=early) if early else Never()
        depths = [np.full(len(of), layer) for layer in layers]
        return np.stack([flops(self.encoder, rule, of.tokens_LB, d, of.lengths) for d in depths])

    def full_cost(self, of: Record) -> Float[np.ndarray, " b"]:
        """FLOPs of every layer and the last head."""
        return self.costs(of, [self.last])[0]

    def full_answers(self, of: Record) -> np.ndarray:
        return of.guesses[self.last].argmax(1)


def open_model(name: str, path: str, records: Path) -> Model:
    """Open a finished run. Its passes over cut and dev are made once and kept in `records`."""
    run = Run.open(path)
    encoder, _ = run.model()
    data, weights = run.data(), sha256_of(model_files(run.folder / "model"))

    def record_of(*parts: str) -> Record:
        splits = [data.split(part) for part in parts]
        texts = hashlib.sha256("".join(split.source.digest for split in splits).encode())
        file = records / f"{run.name[:40]}-{weights[:8]}-{texts.hexdigest()[:8]}.parquet"
        if not file.is_file():
            title = f"{run.name}: all exits, {' and '.join(parts)}"
            records.mkdir(parents=True, exist_ok=True)
            passes = [record(encoder, split, title=title) for split in splits]
            Record.concat(passes).to_parquet(file)
        return Record.read(file)

    digests = [data.split(part).source.digest for part in (*FITTED_ON, "validation")]
    texts = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
    return Model(name, run, encoder, record_of(*FITTED_ON), record_of("validation"), texts)
