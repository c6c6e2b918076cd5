"""Pruning with exits: shares, products and who saves on what, worked out by hand."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies import claim_in, keep, line_of, make_recorded, make_row

from eat_lightning.record.record import Record
from eat_lightning.report.claim import Claim
from eat_lightning.report.table import Table
from eat_lightning.runs.row import write

claim = partial(claim_in, "interplay")

LENGTHS = np.array([4, 4, 8, 8, 12, 12])  # two short, two middle, two long
RULE = {"exit": {"kind": "confidence", "tau": 0.9, "layers": [1]}, "knob": "tau", "point": 0.9}
LTP = {"kind": "ltp", "layers": [1]}
# Of six examples those that the heads of layers 1 and 2 get right; whoever is right is sure.
WHOLE = [[1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 0, 0]]
GONE = [[1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]]


def recorded_of(right: list[list[int]], share: float = 1.0) -> Record:
    """Two layers; a share of the tokens enters the second."""
    tokens_LB = np.stack([LENGTHS, (share * LENGTHS).astype(int)])
    return replace(make_recorded(right, [1, 2]), lengths=LENGTHS, tokens_LB=tokens_LB)


def row_of(run: str, flops: float, right: float, **more: Any) -> Any:
    same = {"model": "eat", "run": run, "num_layers": 2, "num_examples": 6, "depth": 2.0}
    cost = {"flops": flops, "flops_ratio": flops / 100, "exit_shares": {"2": 1.0}}
    return make_row(**({"examples": "e.parquet"} | same | cost | {"accuracy": right / 6} | more))


def fixed(run: str, flops: list[float], **more: Any) -> list[Any]:
    """Everybody at layer 1, and at layer 2."""
    rules = [{"kind": "fixed", "layer": layer} for layer in (1, 2)]
    return [
        row_of(run, cost, 3, exit=rule, baseline="fixed depth", **more)
        for rule, cost in zip(rules, flops, strict=True)
    ]


def unpruned_run(folder: Path, **more: Any) -> None:
    """FLOPs of an example: 100 x its length / 8, and half of that at layer 1, where three leave."""
    rows = [row_of("none", 100, 3, **more), row_of("none", 500 / 6, 4, **RULE | more)]
    keep(folder / "none", [*rows, *fixed("none", [50, 100])], recorded_of(WHOLE))


def pruned_run(folder: Path, **more: Any) -> None:
    """Half of the tokens enter layer 2, and two leave at layer 1."""
    ltp: dict[str, Any] = {"reduction": LTP}
    rows = [row_of("ltp", 75, 3, **ltp), row_of("ltp", 425 / 6, 3, **ltp | RULE | more)]
    rows += fixed("ltp", [50, 75], **ltp)
    static = {"baseline": "own static", "examples": "s.parquet"}
    keep(folder / "ltp", rows, recorded_of(GONE, 0.5))
    recorded_of(WHOLE).to_parquet(folder / "ltp" / "s.parquet")
    write(folder / "ltp" / "rows.jsonl", [row_of("ltp", 100, 3, **static)])


def table(made: Claim, ending: str = "") -> Table:
    return next(t for t in made.tables if t.name == f"interplay-sst2{ending}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Claim:
    folder = tmp_path_factory.mktemp("interplay")
    unpruned_run(folder)
    pruned_run(folder)
    return claim(folder)


def test_savings_and_their_product(whole: Claim):
    lines = table(whole).lines
    cells = [[x.cell(k).text for k in ("reduction", "setting", "flops")] for x in lines]
    assert cells == [
        ["none", "never", "1.000"],
        ["ltp", "never", "0.750"],
        ["none", "confidence, tau 0.9", "0.833"],
        ["ltp", "confidence, tau 0.9", "0.708"],
    ]
    both = lines[3]
    assert both.cell("product").text == "0.625"  # 0.75 x 0.8333
    assert both.cell("kept").value == pytest.approx((1 - 425 / 600) / (1 - 0.625))
    low, high = both.cell("kept").low, both.cell("kept").high
    assert low is not None
    assert high is not None
    assert low < 7 / 9 < high
    assert lines[1].cell("product").text == lines[2].cell("kept").text == ""
    assert any("multiply to: ltp + confidence 0.78" in answer for answer in whole.answer)


def test_what_one_takes_from_the_other(whole: Claim):
    both = line_of(table(whole, "-taken"), setting="confidence, tau 0.9")
    assert both.cell("left").value == pytest.approx(0.15 / 0.25)  # 1 - 425 / 500
    # At the depths of exits alone 25, 25, 50, 75, 112.5, 112.5: 0.8 of the 500 of exits alone.
    assert both.cell("in_place").value == pytest.approx(0.2 / 0.25)
    assert both.cell("interaction").value == pytest.approx(-100 / 6)  # 3 - 3 - 4 + 3 of six
    # The same weights with all tokens: head 1 is right on one more, which leaves there.
    assert both.cell("heads").value == pytest.approx(-100 / 6)
    assert both.cell("later").value == pytest.approx(1 / 6)
