"""File gating on a study whose shares one can count, and the data set from packages of our own."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from studies import EAT, keep, make_recorded, make_row

from eat_lightning.report.__main__ import CLAIMS_DIR, claim_of
from eat_lightning.report.claim import Claim
from eat_lightning.report.study import open_study
from experiments.file_gating import original, recipe

KINDS = ["as is", "as is", "renamed", "renamed", "scrambled", "unknown type"]
LABELS = [0, 0, 1, 1, 1, 2]
ANSWERS = [0, 1, 1, 0, 2, 2]


def study_in(folder: Path) -> Path:
    guesses = np.eye(3, dtype=np.float32)[ANSWERS] * 9
    made = make_recorded([[1] * 6] * 2, [4, 6])
    made = replace(made, labels=np.array(LABELS), guesses={4: guesses, 6: guesses}, origins=KINDS)
    ended = replace(made, labels=np.ones(6, int), origins=["end lost"] * 6)
    for split, each in {"validation": made, "end_lost": ended}.items():
        fields = {"task": "file_gating", "model": "eat", "split": split, "run": "r"}
        fields |= {"num_examples": 6, "examples": f"{split}.parquet", "flops_ratio": 0.5}
        exit = {"kind": "confidence", "tau": 0.9, "layers": [4]}
        row = make_row(**{**EAT, **fields, "exit": exit, "exit_shares": {"4": 1.0}, "depth": 4.0})
        keep(folder / "r", [row], each)
    data = folder / "data" / "file_gating"
    data.mkdir(parents=True)
    tally = {"peer": "libmagic", "n": 4, "right": 3, "deep": 1}
    (data / "peers.json").write_text(
        json.dumps(
            [
                tally | {"kind": "as is"},
                tally | {"kind": "renamed"},
                tally | {"kind": "unknown type"},
            ]
        )
    )
    config = f"task: {{name: file_gating}}\nstudy: s\ndata: {{dir: {folder / 'data'}}}\n"
    (folder / "r" / "config.yaml").write_text(config)
    return folder


def claim(folder: Path) -> Claim:
    return claim_of(CLAIMS_DIR / "file_gating" / "claim.py")(open_study([str(folder / "r")]))


def test_shares_by_class_and_kind(tmp_path: Path):
    found = claim(study_in(tmp_path))
    cells = {line.cells["kind"].text: line.cells for line in found.tables[0].lines[:9]}
    assert cells["all"]["right"].value == pytest.approx(50)
    assert cells["all"]["flops"].text == "0.500"
    assert (cells["all matching"]["deep"].value, cells["all matching"]["n"].value) == (50, 2)
    assert cells["all mismatch"]["deep"].value == pytest.approx(200 / 3)
    assert cells["all mismatch"]["right"].value == pytest.approx(100 / 3)  # one is called unknown
    assert cells["renamed"]["deep"].value == 50
    assert cells["end lost"]["n"].value == 6
    assert cells["scrambled"]["depth"].text == "4.00"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty packages with a text and a file of a type that nobody claims."""
    info, files = tmp_path / "info", tmp_path / "files"
    info.mkdir()
    files.mkdir()
    for n in range(40):
        (files / f"{n}.txt").write_text(f"text {n}\n" * 60)
        (files / f"{n}.mo").write_bytes(bytes([n]) * 300)
        (info / f"p{n}.list").write_text(f"{files / f'{n}.txt'}\n{files / f'{n}.mo'}\n")
    monkeypatch.setattr(original, "DPKG", info)
    monkeypatch.setattr(original.sysconfig, "get_paths", lambda: {"purelib": str(tmp_path)})
    return tmp_path


def test_the_data_set_is_the_same_again_and_shares_no_file(packages: Path, monkeypatch):
    module = recipe
    monkeypatch.setattr(module, "PEERS", {"none": lambda: lambda content: "text/plain"})
    parts = []
    for name in ("one", "two"):
        module.build(packages / name, seed=1, per_ext=40, per_maker=0)
        folder = packages / name / "file_gating"
        parts.append(
            {s: pq.read_table(folder / f"{s}.parquet").to_pydict() for s in ("train", "validation")}
        )
    assert parts[0] == parts[1]
    train, held = parts[0]["train"], parts[0]["validation"]
    assert len(held["label"]) > 10
    assert set(train["label"]) == set(held["label"]) == {0, 1, 2}
    matching = [
        {h for h, kind in zip(p["head"], p["source"], strict=True) if kind == "as is"}
        for p in (train, held)
    ]
    assert not matching[0] & matching[1]
    tallies = json.loads((folder / "peers.json").read_text())
    assert {t["kind"] for t in tallies} >= {"as is", "renamed", "end lost"}
