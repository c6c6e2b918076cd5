"""Recorded passes over the calibration part: one for each reduction, made at its first use.

Shapes: B examples of the part.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from eat_lightning.deploy.certify.plan import Prepared
from eat_lightning.infer.backend import Backend
from eat_lightning.infer.onnx_backend import Export
from eat_lightning.infer.recorded import Outcome, Recorded
from eat_lightning.infer.recorded_texts import RecordedTexts, flops_of, static_flops_of
from eat_lightning.infer.stricter_exits import StricterExits
from eat_lightning.infer.text_windows import TextWindows
from eat_lightning.infer.torch_backend import TorchBackend
from eat_lightning.long_texts import CUT, LongTexts
from eat_lightning.measure.settings import Setting
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.runs.open import open_run

NEVER = {"_target_": "eat_lightning.methods.exit.never.Never"}


@dataclass
class Passes:
    """torch_backend: the run in torch, at full depth. export: what is run in its place; the run's
    encoder then tells what a layer costs, and answers nothing. long: with windows a text counts
    once, however many it has."""

    torch_backend: TorchBackend
    export: Export | None
    split: Any
    batch: int
    long: LongTexts = CUT
    made: dict[str, Recorded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        answers = self.torch_backend if self.export is None else self.export
        answers.read_long(self.long)
        self.texts = TextWindows.of(self.split, answers.reader, answers.kind, answers.labels)

    @classmethod
    def of(cls, prepared: Prepared, split: Any) -> Passes:
        plan, export = prepared.plan, prepared.export
        policies = () if export else prepared.chains[0][0].policies
        backend = open_run(
            prepared.run, NEVER, plan.dtype, None, policies, plan.prepack, plan.device
        )
        return cls(backend, export, split, plan.batch, plan.long_texts)

    def backbone(self, candidate: Setting) -> AdaptiveEncoder:
        return self.torch_backend.encoder.replacing(
            **candidate.methods, policies=candidate.policies
        )

    def backend(self, candidate: Setting) -> Backend:
        """Return a backend that answers as this candidate does."""
        if self.export is None:
            return replace(self.torch_backend, encoder=self.backbone(candidate))
        rule = self.export.stricter(candidate.exit)
        exits = StricterExits(self.export.layers, rule, candidate.policies)
        return self.export.with_exits(exits)

    def outcome(self, candidate: Setting) -> Outcome:
        return self.recorded(candidate).under(candidate.exit)

    def recorded(self, candidate: Setting) -> RecordedTexts:
        key = str(candidate.specs["reduction"])
        if key not in self.made:
            backend = self.backend(candidate)
            title = f"{backend.name}: certificate"
            self.made[key] = backend.record(self.texts.windows, self.batch, title)
        return self.texts.recorded(self.made[key])

    def answers_B(self, candidate: Setting, full: Setting) -> np.ndarray:
        """The answers by number, see `AnswerKind.numbered`. full: what they are compared with."""
        kind, full_BC = self.torch_backend.kind, self.outcome(full).logits_BC
        return kind.numbered(self.outcome(candidate).logits_BC, full_BC)

    def flops_B(self, candidate: Setting) -> np.ndarray:
        return flops_of(self.backbone(candidate), candidate.exit, self.outcome(candidate))

    def whole_flops(self, candidate: Setting) -> float:
        """Mean FLOPs without exits, reduction, or an end before the last window."""
        return float(static_flops_of(self.backbone(candidate), self.recorded(candidate)).mean())

    def identity(self, candidate: Setting) -> dict[str, Any]:
        windows = {"windows": self.long.described(self.torch_backend.max_length)}
        return self.backend(candidate).identity() | {"exit": candidate.specs["exit"]} | windows
