"""Medians and workloads by hand, and one small race from end to end."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.exports import make_run

from eat_lightning.config import CONFIG_DIR
from eat_lightning.report import result
from experiments.speed import run
from experiments.speed.candidates import RELEASED, shape_of
from experiments.speed.race import drawn, median

NAMED = sorted(p for p in Path(CONFIG_DIR).glob("encoder/*bert_*.yaml"))


def test_interval_of_a_median():
    found = median(np.array([4.0, 6.0, 20.0]) / np.array([2.0, 2.0, 5.0]))
    assert (found.value, found.low, found.high) == (3.0, 2.0, 4.0)
    # P(fewer than 2 of 9 below the median) = 10 / 512 on each side: the second and the eighth
    found = median(np.arange(9.0)[::-1])
    assert (found.value, found.low, found.high) == (4.0, 1.0, 7.0)


def test_sorted_batches_are_at_even_distances():
    lengths = np.arange(100)
    first, second = drawn(lengths, 10, 20, "sorted", seed=0)
    assert list(lengths[first]) == list(range(79, 69, -1))  # of ten batches the third
    assert list(lengths[second]) == list(range(29, 19, -1))  # and the eighth
    assert [len(rows) for rows in drawn(lengths, 32, 64, "as they come", seed=0)] == [32, 32]


@pytest.mark.parametrize("body", RELEASED)
def test_a_body_has_as_many_layers_as_its_yaml(body: str):
    node = yaml.safe_load(Path(CONFIG_DIR, "encoder", f"{body}.yaml").read_text())
    assert node["num_layers"] == shape_of(body).num_layers


@pytest.mark.parametrize("path", NAMED, ids=lambda path: path.stem)
def test_layers_are_those_of_the_name(path: Path):
    node = yaml.safe_load(path.read_text())
    if named := re.search(r"L-(\d+)_|_(\d+)L_", node["pretrained"]):
        assert node["num_layers"] == int(named[1] or named[2])


@pytest.mark.slow
def test_a_run_races_in_int8(tmp_path: Path):
    folder = make_run(tmp_path / "eat", "dense", "norm_topk", "confidence")
    words = [f"run={folder}", "batches=[4]", "repeats=2", "force=true", f"to={tmp_path}"]
    run.main(["trained", *words])
    kept = result.read(tmp_path / "times.jsonl")
    rows = {r["candidate"]: r for r in kept if r["order"] == "sorted"}
    assert {"HF fp32", "HF int8", "static int8", "EAT int8", "EAT prepacked fp32"} <= rows.keys()
    assert rows["EAT int8"]["flops_ratio"] < 1
    assert rows["HF fp32"]["over_hf"].value == 1
    assert rows["EAT int8"]["over_best_static"].low > 0
