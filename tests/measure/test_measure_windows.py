"""Rows of long texts that are read in windows: of whole texts, as a backend answers them."""

from pathlib import Path

import numpy as np
import pytest
from helpers.finished import refused
from helpers.measured import FAST, UNTIMED, call, make_run

from eat_lightning.long_texts import LongTexts
from eat_lightning.runs.open import open_run
from eat_lightning.runs.row import read
from eat_lightning.runs.run import Run

WINDOWS = {"size": 9, "overlap": 3, "label": "negative"}


def words(**changes: object) -> list[str]:
    return ["long=windows", *(f"windows.{k}={v}" for k, v in (WINDOWS | changes).items())]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.mark.parametrize("join", ["any", "max"])
def test_a_row_is_of_texts_as_they_are_answered(run: Path, join: str):
    rows = call(f"run={run}", "exit.tau=0.6", "baselines=own", *words(join=join), *UNTIMED)
    row, static = rows[0], rows[-1]
    split = Run.open(run).data().split("validation")
    backend = open_run(Run.open(run), {"tau": 0.6})
    backend.read_long(LongTexts("windows", join=join, **WINDOWS))  # type: ignore[arg-type]
    answers = backend.answer([list(split.text(i)) for i in range(len(split))])
    assert {answer["windows"] for answer in answers} > {1, 2}
    said = np.array([backend.labels.index(answer["label"]) for answer in answers])
    assert row.accuracy == pytest.approx((said == split.labels).mean())
    assert row.depth == pytest.approx(np.mean([answer["depth"] for answer in answers]))
    assert (row.num_examples, row.data) == (len(split), split.source.digest[:16])
    assert row.windows == f"of 9 tokens, 3 shared, {join} of negative"
    assert join == "any" or row.flops < static.flops
    assert (static.flops_ratio == pytest.approx(1)) == (join == "max")  # `any` may end a text
    assert row.examples == ""
    assert not (run / "rows.jsonl").exists()
    assert row in read(run / "rows-windows.jsonl")


def test_whole_texts_are_timed(run: Path, capsys: pytest.CaptureFixture[str]):
    (row,) = call(f"run={run}", "exit.tau=0.6", "baselines=none", *words(), *FAST)
    assert (row.timed_examples, row.latency_batch, row.throughput_batch) == (6, 1, 4)
    said = capsys.readouterr().out
    assert "long texts: in windows of 9 tokens, 3 shared, any of negative" in said
    assert f"rows: {run / 'rows-windows.jsonl'}" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([*words(), "backend=onnx"], "backend=onnx is for long=cut, got windows"),
        ([*words(), "policy=veto"], "policy is for long=cut, got windows"),
    ],
)
def test_a_fault_is_named(run: Path, given: list[str], said: str):
    assert refused(call, f"run={run}", *given, *UNTIMED).startswith(said)
