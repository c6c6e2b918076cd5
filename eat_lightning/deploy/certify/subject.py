"""The run or export that a certificate is for, and its results on the calibration part for any
candidate, from one pass per reduction and replays.

Shapes: B examples of the part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.model import Model
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.deploy.certify.plan import Prepared
from eat_lightning.long_texts import CUT, LongTexts
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.trace import Trace
from eat_lightning.record.flops import replay_with_flops, static_flops_of
from eat_lightning.record.point import Point
from eat_lightning.record.record import Record
from eat_lightning.record.windows import TextWindows

NEVER = {"_target_": "eat_lightning.methods.exit.never.Never"}


@dataclass
class CertifySubject:
    """The run or the export that a certificate is for.

    Args:
        torch_model: the run in torch, at full depth.
        export: answers in place of the run, whose encoder then only gives the cost of layers.
        split: the calibration part.
        batch: examples per batch.
        long: with windows, a text counts once.
        records: by backbone, each made at its first use.
    """

    torch_model: TorchModel
    export: GraphModel | None
    split: Any
    batch: int
    long: LongTexts = CUT
    records: dict[str, Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        answers = self.torch_model if self.export is None else self.export
        answers.read_long(self.long)
        self.texts = TextWindows.of(self.split, answers.reader, answers.kind, answers.labels)

    @classmethod
    def of(cls, prepared: Prepared, split: Any) -> CertifySubject:
        plan, export = prepared.plan, prepared.export
        policies = () if export else prepared.chains[0][0].policies_like(())
        model = TorchModel.open(
            prepared.run.folder,
            exit=NEVER,
            dtype=plan.dtype,
            policies=policies,
            prepack=plan.prepack,
            device=plan.device,
        )
        return cls(model, export, split, plan.batch, plan.long_texts)

    def backbone(self, candidate: Point) -> AdaptiveEncoder:
        return candidate.on(self.torch_model.encoder)

    def model(self, candidate: Point) -> Model:
        """Return a model that answers as this candidate does."""
        return (self.export or self.torch_model).at(candidate)

    def record(self, candidate: Point) -> Record:
        key = candidate.backbone
        if key not in self.records:
            model = self.model(candidate)
            title = f"{model.name}: certificate"
            self.records[key] = model.record(self.texts, self.batch, title)
        return self.records[key]

    def trace(self, candidate: Point) -> Trace:
        """What a candidate makes of the part, with the FLOPs of each example."""
        return replay_with_flops(self.backbone(candidate), self.record(candidate), candidate)

    def whole_flops(self, candidate: Point) -> float:
        """Mean FLOPs without exits, without reduction, and with all windows."""
        return float(static_flops_of(self.backbone(candidate), self.record(candidate)).mean())

    def identity(self, candidate: Point) -> dict[str, Any]:
        windows = {"windows": self.long.described(self.torch_model.max_length)}
        return self.model(candidate).identity() | {"exit": candidate.methods["exit"]} | windows
