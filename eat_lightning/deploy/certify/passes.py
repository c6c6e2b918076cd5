"""Recorded passes over the calibration part: one for each reduction, made at its first use.

Shapes: B examples of the part.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from eat_lightning.deploy.certify.plan import Prepared
from eat_lightning.infer.backend import Backend
from eat_lightning.infer.onnx_backend import Export, OnnxBackend
from eat_lightning.infer.recorded import Outcome, Recorded
from eat_lightning.infer.stricter_exits import StricterExits
from eat_lightning.infer.torch_backend import TorchBackend
from eat_lightning.measure.settings import Setting
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops
from eat_lightning.runs.open import open_run

NEVER = {"_target_": "eat_lightning.methods.exit.never.Never"}


@dataclass
class Passes:
    """torch_backend: the run in torch, at full depth. export: what is run in its place; the run's
    encoder then tells what a layer costs, and answers nothing."""

    torch_backend: TorchBackend
    export: Export | None
    split: Any
    batch: int
    made: dict[str, Recorded] = field(default_factory=dict)

    @classmethod
    def of(cls, prepared: Prepared, split: Any) -> Passes:
        plan, export = prepared.plan, prepared.export
        policies = () if export else prepared.chains[0][0].policies
        backend = open_run(
            prepared.run, NEVER, plan.dtype, None, policies, plan.prepack, plan.device
        )
        return cls(backend, export, split, plan.batch)

    def backbone(self, candidate: Setting) -> AdaptiveEncoder:
        return self.torch_backend.encoder.replacing(
            **candidate.methods, policies=candidate.policies
        )

    def backend(self, candidate: Setting) -> Backend:
        """Return a backend that answers as this candidate does."""
        if self.export is None:
            return replace(self.torch_backend, by_source={None: self.backbone(candidate)})
        rule = self.export.stricter(candidate.specs["exit"])
        exits = StricterExits(self.export.layers, rule, candidate.policies)
        return OnnxBackend(self.export, {None: exits})

    def outcome(self, candidate: Setting) -> Outcome:
        key = str(candidate.specs["reduction"])
        if key not in self.made:
            backend = self.backend(candidate)
            title = f"{backend.name}: certificate"
            self.made[key] = backend.record(self.split, self.batch, title)
        return self.made[key].under(candidate.exit)

    def answers_B(self, candidate: Setting, full: Setting) -> np.ndarray:
        """The answers by number, see `AnswerKind.numbered`. full: what they are compared with."""
        kind, full_BC = self.torch_backend.kind, self.outcome(full).logits_BC
        return kind.numbered(self.outcome(candidate).logits_BC, full_BC)

    def flops_B(self, candidate: Setting) -> np.ndarray:
        outcome = self.outcome(candidate)
        tokens_LB, lengths_B = outcome.recorded.tokens_LB, outcome.recorded.lengths
        backbone, exit = self.backbone(candidate), candidate.exit
        return flops(backbone, exit, tokens_LB, outcome.depth_B, lengths_B)

    def identity(self, candidate: Setting) -> dict[str, Any]:
        return self.backend(candidate).identity() | {"exit": candidate.specs["exit"]}
