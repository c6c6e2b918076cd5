"""Runs to certify, and what is asked of them by a certificate's name, for tests."""

from pathlib import Path

from helpers import finished

from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.deploy.certify.command import certify
from eat_lightning.evaluation.command import measure
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.norm_topk import NormTopK
from eat_lightning.record.certificate import Certificate
from eat_lightning.record.point import Point

UNTIMED = ["timing.enabled=false", "baselines=none"]
FREE = {"tau": None, "layers": None, "patience": None}
RULE = Confidence(0.9, [2, 3, 4])


def own() -> Point:
    return Point.of(attention=Dense(), reduction=NormTopK(0.3, [2]), exit=Never(), policies=())


def make_run(folder: Path, task: str = "sst2", exit: str = "confidence", **data) -> Path:
    """A finished run without training, whose early answers are often not the last one's."""
    head = {"layers": [3, 4] if exit == "confidence" else []}
    encoder = finished.tiny_for(task, exit, head=head, max_positions=300)
    data = {"num_validation": 60, "cache_dir": str(folder / "cache")} | data
    named = {"encoder": {"pretrained": None}, "seed": 1, "model": "eat", "study": "s"}
    return finished.finish(folder, encoder, task, data, **named)


def config_of(name: str, run: Path, *overrides: str) -> dict:
    return finished.config_of(name, f"run='{run}'", *overrides)


def call(run: Path, *overrides: str) -> Certificate:
    return certify(config_of("certify", run, *overrides))


def answers(run: Path, certificate: str, *lines: str, **how) -> list[dict]:
    answerer = TorchModel.open(run, certificate=certificate, **how)
    return answerer([line.encode() for line in lines])


def measured(run: Path, certificate: str, *overrides: str) -> list:
    return measure(config_of("measure", run, f"certificate={certificate}", *UNTIMED, *overrides))
