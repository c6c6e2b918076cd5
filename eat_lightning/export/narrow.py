"""A finished run as a plain smaller encoder: fewer heads and inner neurons in each layer.

What is written is a run folder, so that every command takes it, and training goes on from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from eat_lightning.errors import ConfigError
from eat_lightning.export.beside import beside
from eat_lightning.export.plan import NARROWED, ExportPlan
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.runs.run import Run, git_commit, write_json, write_text
from eat_lightning.weights.checkpoint import save_model
from eat_lightning.weights.narrow import importance, narrowed, width_faults
from eat_lightning.weights.untrusted import json_of

BATCH = 8  # examples whose losses are added up before the absolute value is taken


def export_narrowed(
    run: Run, encoder: AdaptiveEncoder, labels: list[str], plan: ExportPlan
) -> Path:
    """Rank heads and neurons on examples of the run's training data, and write the folder.

    Raises ConfigError where the encoder cannot be so narrow.
    """
    heads = plan.heads or encoder.shape.num_heads
    inner = plan.inner or encoder.shape.intermediate_size
    if faults := width_faults(encoder, heads, inner):
        raise ConfigError.of(faults)
    split = run.data(dir=plan.data.dir).split("train")
    found = importance(encoder, batches(split, plan.examples))
    made = narrowed(encoder, heads, inner, found)
    about = {
        "run": run.name,
        "heads": heads,
        "inner": inner,
        "examples": min(plan.examples, len(split)),
        "commit": git_commit(),
    }
    with beside(plan.folder) as folder:
        write_run(run, made, labels, about, folder)
    print(f"{plan.folder}: {heads} heads and {inner} inner neurons in each layer")
    return plan.folder


def batches(split: Any, examples: int) -> Iterator[Batch]:
    """So many examples, spread evenly over a split."""
    rows_B = np.linspace(0, len(split) - 1, min(examples, len(split))).round().astype(np.int64)
    for start in range(0, len(rows_B), BATCH):
        yield split.batch(rows_B[start : start + BATCH])


def write_run(
    run: Run, made: AdaptiveEncoder, labels: list[str], about: dict[str, Any], folder: Path
) -> None:
    """The run's own settings and what was noted of it, with another model and another name."""
    objective = json_of(run.folder / "model" / "config.json").get("objective")
    save_model(made, labels, folder / "model", objective)
    run.tokenizer().save_pretrained(folder / "model")
    name = f"{run.config.get('model', run.name)}-h{about['heads']}-i{about['inner']}"
    write_text(folder / "config.yaml", yaml.safe_dump(run.config | {"model": name}))
    write_json(folder / NARROWED, about)
    write_json(folder / "done.json", run.done)
