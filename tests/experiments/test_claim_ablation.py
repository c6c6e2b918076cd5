"""Pruning x window x exits: cells, products and effects, against numbers worked out by hand."""

from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from studies import EAT, STATIC, claim_in, keep, make_recorded, make_row

from eat_lightning.report import figures
from eat_lightning.report.claim import Claim
from eat_lightning.report.table import Table

claim = partial(claim_in, "ablation")
# FLOPs, milliseconds and examples/s by (pruning, window, exits): the window is a mask.
COST: dict[tuple[int, ...], tuple[float, float, float]] = {
    (0, 0, 0): (100.0, 10.0, 200.0),
    (1, 0, 0): (80.0, 8.5, 240.0),
    (0, 1, 0): (100.0, 10.2, 190.0),
    (0, 0, 1): (70.0, 7.5, 280.0),
    (1, 1, 0): (80.0, 8.6, 230.0),
    (1, 0, 1): (60.0, 6.8, 320.0),
    (0, 1, 1): (70.0, 7.6, 270.0),
    (1, 1, 1): (60.0, 6.9, 310.0),
}
RIGHT = {  # of 8 examples, by (pruning, exits)
    (0, 0): [1, 1, 1, 1, 1, 1, 0, 0],
    (1, 0): [1, 1, 1, 1, 1, 0, 0, 0],
    (0, 1): [1, 1, 1, 1, 1, 1, 1, 0],
    (1, 1): [1, 1, 1, 1, 0, 0, 0, 0],
}
NAMES = ["none of them", "pruning", "window", "exits", "pruning + window", "pruning + exits"]
NAMES += ["window + exits", "pruning + window + exits"]


def fields(cell: tuple[int, ...], timed: bool = True, **more: Any) -> dict[str, Any]:
    pruning, window, exits = cell
    flops, ms, rate = COST[cell]
    found: dict[str, Any] = {
        "model": "eat_paper",
        "reduction": EAT["reduction"] if pruning else STATIC["reduction"],
        "attention": {"kind": "longformer", "window": 32} if window else STATIC["attention"],
        **({"exit": EAT["exit"], "knob": "tau", "point": 0.9} if exits else {}),
        **{"flops": flops, "flops_ratio": flops / 100},
        "accuracy": sum(RIGHT[pruning, exits]) / 8,
    }
    if timed:
        found |= {"latency_ms": ms, "latency_low_ms": 0.98 * ms, "latency_high_ms": 1.02 * ms}
        found |= {"throughput": rate, "throughput_batch": 32, "session": "one", "threads": 1}
    return found | more


def run_of(folder: Path, cell: tuple[int, ...], timed: bool = True, **more: Any) -> Path:
    """A cell that was trained, with its examples."""
    pruning, _, exits = cell
    name = f"run-{''.join(map(str, cell))}"
    row = make_row(run=name, examples="e.parquet", **fields(cell, timed, **more))
    recorded = make_recorded([RIGHT[pruning, 1], RIGHT[pruning, exits]], [4, 6])
    return keep(folder / name, [row], recorded)


def table(made: Claim, ending: str = "") -> Table:
    return next(t for t in made.tables if t.name == f"ablation-sst2{ending}")


def texts(found: Table, key: str) -> dict[str, str]:
    """A column's texts by the first column's."""
    first = found.columns[0].key
    return {
        line.cells[first].text: line.cells[key].text for line in found.lines if key in line.cells
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Claim:
    folder = tmp_path_factory.mktemp("ablation")
    for cell in product((0, 1), repeat=3):
        run_of(folder, cell)
    return claim(folder)


def test_do_savings_multiply(whole: Claim):
    found = table(whole, "-products")
    assert list(texts(found, "cell")) == NAMES[4:]
    line = found.lines[1]  # pruning + exits
    assert line.cells["flops_product"].text == "1.786"  # 1 / 0.8 / 0.7
    assert line.cells["flops_measured"].text == "1.667"
    assert line.cells["flops_ratio"].text == "0.933"  # 0.56 / 0.6
    # 10 / 8.5 x 10 / 7.5 = 1.5686, measured 1.4706.
    assert line.cells["single_ratio"].value == pytest.approx(1.470588 / 1.568627, rel=1e-5)
    low = (0.98 / 1.02) / (1.02 / 0.98) ** 2
    assert line.cells["single_ratio"].low == pytest.approx(low * 1.470588 / 1.568627, rel=1e-5)
    assert "run-101" in line.source.runs[0]
    assert {run[-3:] for run in line.source.runs} == {"101", "100", "001", "000"}
    assert any("1.57 (time, batch 1; 1.47, 0.94 of it)" in line for line in whole.answer)


def test_the_figure_has_its_marks(whole: Claim):
    (figure,) = whole.figures
    svg = figures.svg(figure)
    gids = {mark.gid for mark in figure.marks}
    assert len(gids) == len(figure.marks) == 8 * 3 + 7
    assert all(f'id="{gid}"' in svg for gid in gids)
    (mark,) = [
        m for m in figure.marks if m.title == "pruning + exits" and "FLOPs" in dict(m.details)
    ]
    assert dict(mark.details)["FLOPs"] == "0.600"
    assert dict(mark.details)["single savings multiplied"] == "0.560"
