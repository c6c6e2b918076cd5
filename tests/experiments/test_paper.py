"""Levers on and off: shares, products and what one takes from the other, worked out by hand; and
how far backbones have seen the pairs of a cut."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.studies import keep, make_recorded, make_row

from eat_lightning.report.intervals import Interval
from eat_lightning.report.study import open_study
from experiments.paper.levers import Cell, cells_of
from experiments.paper.measures import Guesses, fitted

LENGTHS = np.array([4, 4, 8, 8, 12, 12])  # two short, two middle, two long
RULE = {"exit": {"kind": "confidence", "tau": 0.9, "layers": [1]}, "knob": "tau", "point": 0.9}
LTP = {"kind": "ltp", "layers": [1]}
# Of six examples those that the heads of layers 1 and 2 get right; whoever is right is sure.
WHOLE = [[1, 1, 1, 0, 0, 0], [0, 1, 1, 1, 0, 0]]
GONE = [[1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]]


def run(folder: Path, name: str, right: list[list[int]], share: float, rows: list[dict[str, Any]]):
    """Two layers; a share of the tokens enters the second. rows: what each has beside the rest."""
    tokens_LB = np.stack([LENGTHS, (share * LENGTHS).astype(int)])
    recorded = replace(make_recorded(right, [1, 2]), lengths=LENGTHS, tokens_LB=tokens_LB)
    same = {"model": "eat", "run": name, "num_layers": 2, "num_examples": 6, "depth": 2.0}
    same |= {"examples": "e.parquet", "exit_shares": {"2": 1.0}, "latency_ms": 1.0}
    keep(folder / name, [make_row(**same | row) for row in rows], recorded)


def fixed(flops: tuple[float, float], **more: Any) -> list[dict[str, Any]]:
    """Everybody at layer 1, and at layer 2."""
    rules = [{"kind": "fixed", "layer": layer} for layer in (1, 2)]
    about = {"baseline": "fixed depth", "latency_ms": None}
    return [{"exit": r, "flops": f, **about, **more} for r, f in zip(rules, flops, strict=True)]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cell]:
    """FLOPs of an unpruned example: 100 x its length / 8, half of that at layer 1, where three
    leave. Pruned, half of the tokens enter layer 2, and two leave at layer 1."""
    folder, ltp = tmp_path_factory.mktemp("levers"), {"reduction": LTP}
    run(folder, "none", WHOLE, 1, [{"flops": 100}, {"flops": 500 / 6, **RULE}, *fixed((50, 100))])
    pruned = [{"flops": 75, **ltp}, {"flops": 425 / 6, **ltp, **RULE}, *fixed((50, 75), **ltp)]
    run(folder, "ltp", GONE, 0.5, pruned)
    return {cell.name: cell for cell in cells_of(open_study([str(folder)]))}


def value(found: Interval | None) -> float:
    assert found is not None
    assert found.low <= found.value <= found.high
    return found.value


def test_savings_and_their_product(cells: dict[str, Cell]):
    shares = {name: round(cell.share, 3) for name, cell in cells.items()}
    assert shares == {"neither": 1, "ltp": 0.75, "confidence": 0.833, "ltp + confidence": 0.708}
    both = cells["ltp + confidence"]
    assert (both.parts, both.rule) == ("pruning + exits", "confidence, tau 0.9")
    assert both.product == pytest.approx(0.75 * 5 / 6)
    assert value(both.kept) == pytest.approx((1 - 425 / 600) / (1 - 0.625))
    assert cells["ltp"].product is cells["confidence"].kept is None


def test_what_one_takes_from_the_other(cells: dict[str, Cell]):
    both = cells["ltp + confidence"]
    assert value(both.left()) == pytest.approx(0.15 / 0.25)  # 1 - 425 / 500
    # At the depths of exits alone 25, 25, 50, 75, 112.5, 112.5: 0.8 of the 500 of exits alone.
    assert value(both.left(in_place=True)) == pytest.approx(0.2 / 0.25)
    assert value(both.interaction) == pytest.approx(-100 / 6)  # 3 - 3 - 4 + 3 of six
    # Exits save three examples half of their cost, on short ones both, on middle ones one of two.
    assert value(cells["confidence"].longer) == pytest.approx(0 - 50)


def test_a_temperature_is_fitted_where_it_is_needed():
    """A head that is right on half of what it is sure of wants a high one, a sure and right head
    none."""
    sure, labels = np.array([[0.0, 4.0]] * 40), np.array([0, 1] * 20)
    good = np.eye(2)[labels] * 8
    recorded = replace(make_recorded([[1] * 40, [1] * 40], [1, 2]), labels=labels)
    recorded = replace(recorded, guesses={1: sure, 2: good})
    found = fitted([Guesses(recorded, {1: 1.0, 2: 1.0})])
    assert found[1] > 10
    assert found[2] == 1
    assert fitted([])[1] == 1
