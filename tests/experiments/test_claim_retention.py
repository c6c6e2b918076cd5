"""Tokens kept: by schedule, by count and as observed, against numbers worked out by hand."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from studies import EAT, claim_in, keep, make_row

from eat_lightning.model.specification import build
from eat_lightning.record.record import Record
from eat_lightning.report.claim import Claim
from eat_lightning.report.table import Table

claim = partial(claim_in, "retention")
# Tokens at first, after layer 2 and after layer 4 by algorithm 1: 1 + ceil(0.7 (t - 1)), twice.
TOKENS = [(5, 4, 4), (5, 4, 4), (11, 8, 6), (11, 8, 6), (21, 15, 11), (21, 15, 11), (41, 29, 21)]
TOKENS += [(101, 71, 50)]
WHOLE = [last / first for first, _, last in TOKENS]
SURE = [1, 0, 1, 0, 1, 0, 1, 0]  # who leaves at layer 4


def recorded() -> Record:
    sure, unsure = np.log([0.05, 0.95]), np.log([0.45, 0.55])
    early = np.array([sure if is_sure else unsure for is_sure in SURE], np.float32)
    first, middle, last = np.array(TOKENS).T
    tokens_LB = np.stack([first, first, middle, middle, last, last])
    labels = np.ones(len(TOKENS), np.int64)
    return Record(labels, first, {4: early, 6: early}, tokens_LB, build("exit", {"kind": "never"}))


def run_of(folder: Path) -> Path:
    rule = {
        "exit": EAT["exit"],
        "knob": "tau",
        "point": 0.9,
        "exit_shares": {"4": 0.5, "6": 0.5},
        "depth": 5.0,
    }
    shared = {"run": "r", "model": "eat", "reduction": EAT["reduction"], "examples": "e.parquet"}
    keep(folder / "r", [make_row(**shared | rule), make_row(**shared)], recorded())
    log(folder / "r")
    return folder


def log(folder: Path) -> None:
    """40 steps in 4 epochs: nothing is pruned up to step 20, all at full strength from then on."""
    config = {"task": {"name": "sst2"}, "study": "s", "trainer": {"max_epochs": 4}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "done.json").write_text(json.dumps({"steps": 40}))
    (folder / "csv").mkdir()
    names = ["train/strength", "train/scheduled_retention", "train/retention", "select/retention"]
    lines = [",".join(["epoch", "step", *names])]
    for step in range(40):
        values = ["0", "1", "1"] if step < 20 else ["1", "0.49", "0.6"]
        lines.append(",".join(["0", str(step), *values, "0.55" if step == 39 else ""]))
    (folder / "csv" / "metrics.csv").write_text("\n".join(lines) + "\n")


def texts(found: Table, line: int) -> dict[str, str]:
    return {key: cell.text for key, cell in found.lines[line].cells.items()}


def test_every_layer_run(tmp_path: Path):
    whole: Claim = claim(run_of(tmp_path))
    found = texts(whole.tables[0], 0)
    assert found["setting"] == "every layer run"
    lengths = np.array([first for first, *_ in TOKENS])
    assert found["scheduled"] == "0.490"
    assert found["with_cls"] == f"{np.mean(0.49 + 0.51 / lengths):.3f}"
    assert found["predicted"] == found["retention"] == f"{np.mean(WHOLE):.3f}"
    assert whole.tables[0].lines[0].cells["retention"].flags == ()
    titles = [c.title for c in whole.tables[0].columns if c.key.startswith("length")]
    assert titles == ["5 tokens", "6 to 11 tokens", "12 to 21 tokens", "22 to 101 tokens"]
    assert found["length_1"] == "0.800"  # 4 of 5
    assert found["length_4"] == f"{(21 / 41 + 50 / 101) / 2:.3f}"
