"""Early exits: who leaves where, what it costs, depth by the text, and the figures."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies import EAT, STATIC, claim_in, keep, make_recorded, make_row

from eat_lightning.report.claim import Claim
from eat_lightning.report.study import open_study
from eat_lightning.report.table import Line
from eat_lightning.runs.row import Row
from experiments.passes import passes

claim = partial(claim_in, "exits")

# Of eight, five are sure at 3 and leave; one more at 4; of the last two the last layer gets one.
AT_3 = [1, 1, 1, 1, 1, 0, 0, 0]
AT_4 = [1, 1, 1, 1, 1, 1, 0, 0]
AT_6 = [1, 1, 1, 0, 0, 1, 1, 0]
LENGTHS = np.array([4, 5, 6, 7, 8, 9, 10, 11])


def eat_row(seed: int = 1, tau: float = 0.9, **more: Any) -> Row:
    fields = {"model": "eat", "seed": seed, "run": f"eat{seed}", "examples": "e.parquet"}
    rule = {
        "exit": {"kind": "confidence", "tau": tau, "layers": [3, 4]},
        "knob": "tau",
        "point": tau,
    }
    shares = {"exit_shares": {"3": 0.625, "4": 0.125, "6": 0.25}, "depth": 3.875}
    return make_row(**{**fields, **EAT, **rule, **shares, "accuracy": 0.875, **more})


def run(folder: Path, seed: int = 1, at_3: list[int] = AT_3, **more: Any) -> Path:
    recorded = make_recorded([at_3, AT_4, AT_6], [3, 4, 6])
    recorded = replace(recorded, lengths=LENGTHS, difficulty=np.array([0, 0, 0, 0, 1, 1, 1, 1]))
    return keep(folder / f"eat{seed}", [eat_row(seed, **more)], recorded)


def line(found: Claim, where: str, rule: str = "tau 0.9", table: int = 0) -> Line:
    key = "where" if table == 0 else "bin"
    (only,) = (
        x
        for x in found.tables[table].lines
        if (x.cells[key].text, x.cells["rule"].text) == (where, rule)
    )
    return only


@pytest.fixture
def found(tmp_path: Path) -> Claim:
    run(tmp_path)
    return claim(tmp_path)


def test_who_left_where_by_hand(found: Claim):
    places = [x.cells["where"].text for x in found.tables[0].lines]
    assert places == ["layer 3", "layer 4", "any early exit", "layer 6 (last)"]
    made = line(found, "layer 3").cells
    assert (made["n"].text, made["share"].value) == ("5", 62.5)
    assert (made["accuracy"].value, made["last"].value) == (100, 60)
    assert (made["harm"].value, made["help"].value) == (0, 40)
    assert made["to_last"].value == pytest.approx(25)  # two of eight
    assert made["p"].value == pytest.approx(0.5)  # both discordant pairs on one side
    # Wilson's upper end for none of five: z^2 / (5 + z^2).
    assert made["harm"].high == pytest.approx(100 * 1.959964**2 / (5 + 1.959964**2))


def test_depth_by_length_and_difficulty(found: Claim):
    # One example a bin; the two of length 10 and 11 ran all layers.
    made = line(found, "11 tokens", table=1).cells
    assert (made["depth"].value, made["n"].value) == (6, 1)
    easy, hard = (line(found, f"difficulty {d}", table=1).cells for d in (0, 1))
    assert (easy["depth"].value, hard["depth"].value) == (3, (3 + 4 + 6 + 6) / 4)
    assert (easy["accuracy"].value, hard["accuracy"].value) == (100, 75)
    assert found.answer[-1] == (
        "sst2, eat at tau 0.9: depth 3.00 at difficulty 0, depth 4.75 at difficulty 1."
    )


def test_passes_are_told_apart(tmp_path: Path):
    """By what differs: the same model reduced more, in another dtype; threads are no other pass."""
    rows = [
        eat_row(threads=1),
        eat_row(threads=2),
        eat_row(tau=0.8),
        eat_row(
            **{
                "exit": STATIC["exit"],
                "knob": None,
                "point": None,
                "exit_shares": {"6": 1.0},
                "depth": 6.0,
            }
        ),
        eat_row(dtype="bf16"),
        eat_row(run="d", model="distil"),
    ]
    keep(tmp_path / "r", [replace(row, examples="") for row in rows])
    found = passes(open_study([str(tmp_path)]), "sst2")
    assert [p.name for p in found] == ["distil", "eat, bf16", "eat, fp32"]
    assert [point.setting for point in found[-1].points] == ["tau 0.8", "tau 0.9", "never"]
    assert found[-1].usual.setting == "tau 0.9"
    assert len({p.slug for p in found}) == 3
