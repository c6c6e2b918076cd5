"""Recorded passes over the calibration part: one for each reduction, made at its first use.

Shapes: B examples of the part.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from eat_lightning.data.split import in_windows
from eat_lightning.deploy.certify.plan import Prepared
from eat_lightning.infer.backend import Backend
from eat_lightning.infer.onnx_backend import Export, OnnxBackend
from eat_lightning.infer.recorded import Outcome, Recorded
from eat_lightning.infer.recorded_texts import RecordedTexts, TextOutcome
from eat_lightning.infer.stricter_exits import StricterExits
from eat_lightning.infer.torch_backend import TorchBackend
from eat_lightning.long_texts import CUT, Joiner, LongTexts
from eat_lightning.measure.settings import Setting
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops, static_flops
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
        self.windows, self.text_W = self.split, np.arange(len(self.split))
        if self.long.mode == "windows":
            self.torch_backend.read_long(self.long)
            self.windows, self.text_W = in_windows(self.split, self.torch_backend.reader)

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
            return replace(self.torch_backend, by_source={None: self.backbone(candidate)})
        rule = self.export.stricter(candidate.exit)
        exits = StricterExits(self.export.layers, rule, candidate.policies)
        return OnnxBackend(self.export, {None: exits})

    def outcome(self, candidate: Setting) -> Outcome | TextOutcome:
        recorded = self.recorded(candidate)
        if self.long.mode != "windows":
            return recorded.under(candidate.exit)
        backend = self.torch_backend
        joiner = Joiner(self.long, backend.kind, backend.labels)
        return RecordedTexts(recorded, self.text_W, joiner).under(candidate.exit)

    def recorded(self, candidate: Setting) -> Recorded:
        key = str(candidate.specs["reduction"])
        if key not in self.made:
            backend = self.backend(candidate)
            title = f"{backend.name}: certificate"
            self.made[key] = backend.record(self.windows, self.batch, title)
        return self.made[key]

    def answers_B(self, candidate: Setting, full: Setting) -> np.ndarray:
        """The answers by number, see `AnswerKind.numbered`. full: what they are compared with."""
        kind, full_BC = self.torch_backend.kind, self.outcome(full).logits_BC
        return kind.numbered(self.outcome(candidate).logits_BC, full_BC)

    def flops_B(self, candidate: Setting) -> np.ndarray:
        recorded, outcome = self.recorded(candidate), self.outcome(candidate)
        is_text = isinstance(outcome, Outcome)
        depth_W = outcome.depth_B if is_text else outcome.depth_W
        backbone, exit = self.backbone(candidate), candidate.exit
        flops_W = flops(backbone, exit, recorded.tokens_LB, depth_W, recorded.lengths)
        return self.by_text(flops_W if is_text else flops_W * outcome.counted_W)

    def whole_flops_B(self, candidate: Setting) -> np.ndarray:
        """FLOPs without exits, reduction, or an end before the last window."""
        return self.by_text(static_flops(self.backbone(candidate), self.windows.lengths))

    def by_text(self, flops_W: np.ndarray) -> np.ndarray:
        """Sum over the windows of each text."""
        return np.bincount(self.text_W, flops_W)

    def identity(self, candidate: Setting) -> dict[str, Any]:
        windows = {"windows": self.long.described(self.torch_backend.max_length)}
        return self.backend(candidate).identity() | {"exit": candidate.specs["exit"]} | windows
