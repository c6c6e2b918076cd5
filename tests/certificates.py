"""Runs to certify, and what is asked of them by a certificate's name, for tests."""

from pathlib import Path

import finished
import numpy as np
import parquet
import yaml

from eat_lightning.deploy.certify.__main__ import certify
from eat_lightning.measure.__main__ import measure
from eat_lightning.measure.settings import Setting
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.norm_topk import NormTopK
from eat_lightning.runs.certificate import Certificate
from eat_lightning.runs.open import open_run
from eat_lightning.runs.run import Run

UNTIMED = ["timing.enabled=false", "baselines=none"]
FREE = {"tau": None, "layers": None, "patience": None}
RULE = Confidence(0.9, [2, 3, 4])


def own() -> Setting:
    return Setting(Dense(), NormTopK(0.3, [2]), Never())


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
    (certificate,) = certify(config_of("certify", run, *overrides))
    return certificate


def answers(run: Path, certificate: str, *lines: str, **how) -> list[dict]:
    answerer = open_run(Run.open(run), certificate=certificate, **how)
    return answerer([line.encode() for line in lines])


def measured(run: Path, certificate: str, *overrides: str) -> list:
    return measure(config_of("measure", run, f"certificate={certificate}", *UNTIMED, *overrides))


def write(path: Path, num: int, seed: int) -> None:
    """Texts with a label and where they come from."""
    rng = np.random.default_rng(seed)
    words = np.array(["good", "bad", "film", "not", "fine", "dull"])
    texts = [" ".join([*rng.choice(words, 6), str(i)]) for i in range(num)]
    names = [["mail", "chat", "rare"][0 if i % 2 else 1 if i % 50 else 2] for i in range(num)]
    labels = rng.integers(0, 2, num).tolist()
    parquet.write(path, sentence=texts, label=labels, source=names)


def run_of_sources(folder: Path) -> Path:
    """A run on texts of chat and mail, and of a rare source."""
    write(folder / "data/sst2/train.parquet", 1500, 0)
    write(folder / "data/sst2/validation.parquet", 60, 1)
    glue = {"_target_": "eat_lightning.data.glue.GlueData", "dir": str(folder / "data")}
    run = make_run(folder / "run", **glue, calibration=1200, num_validation=None)
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["data"]["num_validation"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run
