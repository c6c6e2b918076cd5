"""What of the EAT paper holds: each of its claims beside our rows, and what they are made of."""

from __future__ import annotations

from pathlib import Path

from eat_lightning.report import result
from eat_lightning.report.section import Section
from eat_lightning.report.study import Study, open_study

from . import combined, tasks, verdicts
from .confidence import Confidence
from .levers import cells_of
from .tasks import TASKS, Tasks, Twelve


def page(results: Path) -> Section:
    """Every table and figure of the page."""

    def study(name: str) -> Study:
        return open_study([str(results / name)])

    own, twelve = Tasks(study("minilm")), Twelve(study("mpnet"), study("mpnet_gentle"))
    confidence = Confidence(own.study, result.read(results / "calibration.jsonl"))
    ablation, interplay = cells_of(study("ablation")), cells_of(study("interplay"))
    found = verdicts.Found(own, twelve, study("as_printed"), confidence, ablation, interplay)
    statics = {name: own.entry(task, "minilm").point for task, name in TASKS.items()}
    statics |= {"12 layers, SST-2": twelve.static("bert"), "ablation, SST-2": ablation[0].point}
    return Section(
        "paper",
        "What of the EAT paper holds",
        tables=[
            *(verdicts.table(found), own.table(), twelve.table(), tasks.training_table(statics)),
            *(tasks.retention_table(own), tasks.exits_table(own)),
            *(tasks.cost_table(own.costs), *confidence.tables()),
            *(combined.ablation_table(ablation), combined.interplay_table(interplay)),
            combined.taken_table(interplay),
        ],
        figures=[
            *(own.figure(), tasks.retention_figure(own), tasks.exits_figure(own)),
            *(confidence.figure(), combined.ablation_figure(ablation)),
            combined.interplay_figure(interplay),
        ],
        facts=[*combined.facts_of(interplay), *confidence.facts()],
    )
