"""Pruning with exits: shares, products and who saves on what, worked out by hand."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies import STATIC, claim_in, keep, line_of, make_recorded, make_row

from eat_lightning.errors import ConfigError
from eat_lightning.infer.recorded import Recorded
from eat_lightning.report import figures
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


def recorded_of(right: list[list[int]], share: float = 1.0) -> Recorded:
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


def test_splits_of_a_run_are_not_averaged(whole: Claim, tmp_path: Path):
    """A run may be measured on two splits, of other numbers of examples."""
    unpruned_run(tmp_path)
    pruned_run(tmp_path)
    five = make_recorded([right[:5] for right in WHOLE], [1, 2], num_layers=2)
    five.to_parquet(tmp_path / "none" / "five.parquet")
    other = {"split": "certificate", "num_examples": 5, "examples": "five.parquet"}
    write(tmp_path / "none" / "rows.jsonl", [row_of("none", 100, 2.5, **other)])
    assert [x.cells for x in table(claim(tmp_path)).lines] == [x.cells for x in table(whole).lines]


def test_what_one_takes_from_the_other(whole: Claim):
    both = line_of(table(whole, "-taken"), setting="confidence, tau 0.9")
    assert both.cell("left").value == pytest.approx(0.15 / 0.25)  # 1 - 425 / 500
    # At the depths of exits alone 25, 25, 50, 75, 112.5, 112.5: 0.8 of the 500 of exits alone.
    assert both.cell("in_place").value == pytest.approx(0.2 / 0.25)
    assert both.cell("interaction").value == pytest.approx(-100 / 6)  # 3 - 3 - 4 + 3 of six
    # The same weights with all tokens: head 1 is right on one more, which leaves there.
    assert both.cell("heads").value == pytest.approx(-100 / 6)
    assert both.cell("later").value == pytest.approx(1 / 6)


def test_who_saves_on_what(whole: Claim):
    found = table(whole, "-lengths")
    texts = [[x.cell(k).text for k in ("short", "middle", "long")] for x in found.lines]
    assert texts == [["0.0"] * 3, ["25.0"] * 3, ["50.0", "25.0", "0.0"], ["50.0", "25.0", "25.0"]]
    assert found.lines[2].cell("longer").text == "-50.00 (-50.00 to -50.00)"
    assert "4 to 4 (2), 8 to 8 (2), 12 to 12 (2)" in found.caption
    assert any("exits alone" in x and "confidence -50.0" in x for x in whole.answer)


def test_the_figure_has_its_marks(whole: Claim):
    (figure,) = whole.figures
    figures.svg(figure)  # raises where a mark was not drawn
    titles = [mark.title for mark in figure.marks]
    assert sorted(titles) == sorted(["ltp", "confidence", "ltp + confidence", "ltp", "confidence"])
    (both,) = [mark for mark in figure.marks if mark.title == "ltp + confidence"]
    assert dict(both.details)["product"] == "0.625"


def test_a_rule_has_one_setting_under_all_reductions(tmp_path: Path):
    """tau 0.5 costs nearer to half of full FLOPs, and was measured without pruning alone."""
    unpruned_run(tmp_path)
    pruned_run(tmp_path)
    low = {"exit": RULE["exit"] | {"tau": 0.5}, "knob": "tau", "point": 0.5}
    write(tmp_path / "none" / "rows.jsonl", [row_of("none", 50, 3, **low)])
    settings = {x.cell("setting").text for x in table(claim(tmp_path)).lines}
    assert settings == {"never", "confidence, tau 0.9"}


def test_equal_budgets(tmp_path: Path):
    unpruned_run(tmp_path)
    pruned_run(tmp_path)
    for run, flops, reduction, tau in (
        ("none", 80, STATIC["reduction"], 0.9),
        ("ltp", 70, LTP, 0.95),
    ):
        rule = {"exit": RULE["exit"] | {"tau": [tau]}, "knob": "tau", "point": [tau]}
        row = row_of(run, flops, 3, reduction=reduction, budget=0.8, **rule)
        write(tmp_path / run / "rows.jsonl", [row])
    made = claim(tmp_path)
    alone, pruned = table(made, "-budgets").lines
    assert alone.cell("points").text == ""
    assert pruned.cell("points").value == pytest.approx(-100 / 6)  # 3 of six beside 4
    assert "0 of 1 are shown to be above exits alone, 0 below" in made.answer[-1]


def test_times_multiply_within_one_session(tmp_path: Path):
    """10 ms, with pruning 8, with exits 5, with both 4.5: 10 / 4.5 beside 10 / 8 x 10 / 5."""

    def timed(ms: float) -> dict[str, Any]:
        ends = {"latency_low_ms": ms, "latency_high_ms": ms}
        return {"latency_ms": ms, "session": "one", "threads": 1, **ends}

    for run, reduction, right, share in (
        ("none", STATIC["reduction"], WHOLE, 1.0),
        ("ltp", LTP, GONE, 0.5),
    ):
        pair = (10.0, 5.0) if run == "none" else (8.0, 4.5)
        rows = [row_of(run, 100, 3, reduction=reduction, **timed(pair[0]))]
        rows.append(row_of(run, 80, 3, reduction=reduction, **RULE | timed(pair[1])))
        keep(tmp_path / run, rows, recorded_of(right, share))
    found = claim(tmp_path)
    both = table(found).lines[-1]
    assert both.cell("time_ratio").value == pytest.approx((10 / 4.5) / (10 / 8 * 10 / 5))
    assert not found.notes


def test_cells_that_are_missing_are_named(tmp_path: Path):
    unpruned_run(tmp_path)
    ltp = row_of("ltp", 75, 3, reduction=LTP)
    keep(tmp_path / "ltp", [ltp], recorded_of(GONE, 0.5))
    made = claim(tmp_path)
    assert any("cells that are missing: ltp x confidence" in note for note in made.notes)
    assert [t.name for t in made.tables] == [
        f"interplay-sst2{e}" for e in ("", "-taken", "-lengths")
    ]


def test_nothing_to_compare(tmp_path: Path):
    unpruned_run(tmp_path)
    with pytest.raises(ConfigError, match=r"experiments/interplay/page\.md"):
        claim(tmp_path)


def test_what_is_left_out_is_named_with_the_reason(tmp_path: Path):
    unpruned_run(tmp_path)
    pruned_run(tmp_path)
    own = {"kind": "mine.Mine", "layers": [1]}
    keep(tmp_path / "own", [row_of("own", 75, 3, reduction=own)], recorded_of(GONE, 0.5))
    staged = row_of("staged", 75, 3, reduction=LTP, schedule={"kind": "two_stage"})
    keep(tmp_path / "staged", [staged], recorded_of(GONE, 0.5))
    notes = claim(tmp_path).notes
    assert any(n.startswith("sst2: left out, reduction mine.Mine (only none,") for n in notes)
    assert any(n.startswith("sst2: left out, schedule two_stage (only anneal,") for n in notes)


def test_nothing_to_compare_says_what_was_left_out(tmp_path: Path):
    unpruned_run(tmp_path)
    own = row_of("own", 75, 3, reduction={"kind": "mine.Mine"})
    keep(tmp_path / "own", [own], recorded_of(GONE, 0.5))
    with pytest.raises(ConfigError, match=r"left out, reduction mine\.Mine"):
        claim(tmp_path)
