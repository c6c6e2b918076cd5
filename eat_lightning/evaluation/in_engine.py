"""Measure a run's settings as graphs in onnxruntime or OpenVINO.

The logits of every exit are recorded in the same engine, so that the score, depth and time of a row
describe the same graphs. The graphs are stored beside the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eat_lightning.bundle.graph_model import GraphModel, state_of
from eat_lightning.bundle.graphs.plan import export_slot_faults
from eat_lightning.bundle.run_graphs import RunGraphs
from eat_lightning.errors import Faults
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.record.record import Record
from eat_lightning.record.timing import TimedCall

if TYPE_CHECKING:
    from eat_lightning.evaluation.settings import PlannedRow


@dataclass(frozen=True)
class InEngine:
    """A run in an engine other than torch.

    Args:
        graphs: of the run's encoder, in fp32 with plain weights.
        batch: examples per batch of a record.
    """

    graphs: RunGraphs
    engine: str
    batch: int

    def check(self, settings: Sequence[PlannedRow]) -> None:
        """Raise ConfigError for settings that no graph supports, such as a rule that observes."""
        backbones = map(self.backbone, settings)
        found = [fault for backbone in backbones for fault in export_slot_faults(backbone)]
        Faults(f"backend={self.engine}: {fault}" for fault in found).check()

    def backbone(self, setting: PlannedRow) -> AdaptiveEncoder:
        return self.graphs.encoder.replacing(**setting.point.built)

    def opened(self, encoder: AdaptiveEncoder) -> GraphModel:
        return replace(self.graphs, encoder=encoder).open(self.engine)

    def record(self, setting: PlannedRow, split: Any) -> Record:
        """Record the logits of every head for each example, from graphs with an exit at
        each head.
        """
        backbone = self.backbone(setting)
        early = [layer for layer in map(int, backbone.heads) if layer < backbone.shape.num_layers]
        looking = backbone.replacing(exit=Confidence(layers=early) if early else Never())
        title = f"{self.graphs.run.name}: all exits in {self.engine}"
        return self.opened(looking).record(split, self.batch, title)

    def candidate(self, setting: PlannedRow, split: Any) -> TimedCall:
        """Return a callable that runs the setting's own graphs, from token ids to an answer."""
        return TimedCall(self.opened(self.backbone(setting)).run_state, split, state_of)
