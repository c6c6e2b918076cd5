"""Runs to measure, and `measure` asked in this process, for tests."""

from pathlib import Path

from helpers import finished
from helpers.models import method

from eat_lightning.evaluation.command import measure
from eat_lightning.overrides import with_paths_listed

FAST = ["timing.examples=6", "timing.warmup=1", "timing.repeats=2", "timing.batch=4"]
UNTIMED = ["timing.enabled=false"]


def make_run(folder: Path, task: str = "sst2", exit: str = "confidence", **config) -> Path:
    """A finished run without training."""
    head = {"layers": [2, 3, 4], "pool": "mean"}
    encoder = finished.tiny_for(task, exit, head=head, max_positions=300)
    if exit == "confidence":
        encoder = encoder.replacing(exit=method("exit", exit, tau=0.5, layers=[3, 4]))
    sizes = {"num_train": 400, "num_validation": 40, "calibration": 120}
    data = sizes | {"cache_dir": str(folder / "cache")}
    found = {"ece_before": 0.05, "ece_after": 0.01, "temperature": 1.5}
    done = {"calibration": {"4": found, "6": found} if encoder.num_labels > 1 else {}}
    named = {"encoder": {"pretrained": None}, "seed": 1, "model": "eat", "study": "s"}
    return finished.finish(folder, encoder, task, data, done, **(named | config))


def call(*arguments: str) -> list:
    """What the command does, in this process."""
    return measure(finished.config_of("measure", *with_paths_listed(list(arguments), "run")))


def rule(row) -> dict:
    return {**row.exit.arguments}
