"""`python -m eat_lightning.export run=<folder>`: export a finished run as ONNX graphs that need no
torch (target=onnx), or as a smaller encoder (target=encoder).

A graph keeps pruning and exits, or the export fails. Its answers are compared with the run's before
the folder is put in place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eat_lightning.bundle.graphs.plan import ExportSettings, export_slot_faults
from eat_lightning.cli import entry
from eat_lightning.config import parsed
from eat_lightning.errors import Faults


def export(config: dict[str, Any]) -> Path:
    """Write the folder and return it.

    Raises:
        ConfigError: with one line per error: before any graph is made for invalid settings and runs
            that cannot be exported, or before the folder is put in place for answers that differ.
    """
    plan = parsed(ExportSettings, config)
    import torch

    from eat_lightning.bundle.open_run import fitter_of
    from eat_lightning.runs.exit_choice import ExitChoice
    from eat_lightning.runs.run import Run

    if plan.threads:
        torch.set_num_threads(plan.threads)
    run = Run.open(plan.run)
    Faults(plan.faults(run)).check()
    choice = ExitChoice.of(plan.exit, run.model_config()["exit"])
    encoder, labels = run.model()
    encoder = fitter_of(run, encoder, choice, dir=plan.data.dir).on(choice.budget)
    if plan.target == "encoder":
        from eat_lightning.bundle.graphs.narrow import export_narrowed

        return export_narrowed(run, encoder, labels, plan)
    from eat_lightning.bundle.graphs.graph_folder import GraphFolder
    from eat_lightning.bundle.graphs.trace import with_open_exits

    Faults(export_slot_faults(encoder)).check()
    encoder = with_open_exits(encoder)
    graphs = GraphFolder(run, encoder, labels, plan.dtype)
    graphs.write(plan.folder, plan)
    return plan.folder


main = entry("export", export)
