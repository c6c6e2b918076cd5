"""Claims that fit any study, against numbers worked out by hand."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.budgeted import AT_6, run
from helpers.finished import config_of
from helpers.frontiers import eat_run, fixed_rows, static_run
from helpers.studies import EAT, claim_in, keep, line_of, make_recorded, make_row
from matplotlib.text import Text

from eat_lightning.errors import ConfigError
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.flops import dense_flops, layer_flops
from eat_lightning.model.shape import Shape
from eat_lightning.record.record import Record
from eat_lightning.report import __main__ as command
from eat_lightning.report import figures
from eat_lightning.report.__main__ import CLAIMS_DIR, claim_of
from eat_lightning.report.claims.cost.formulas import Expected, coefficients
from eat_lightning.report.section import Section
from eat_lightning.report.study import open_study
from eat_lightning.report.table import Line


def line(found: Section, setting: str) -> Line:
    return line_of(found.tables[0], model="eat", setting=setting)


def test_a_line_has_what_the_rows_say(tmp_path: Path):
    static_run(tmp_path)
    eat_run(tmp_path)
    made = line(claim_in("frontier", tmp_path), "tau 0.9").cells
    values = {key: made[key].value for key in ("accuracy", "to_own", "to_trained", "depth")}
    assert values == {"accuracy": 100.0, "to_own": 12.5, "to_trained": 50.0, "depth": 4.5}
    assert made["to_trained"].bold
    assert (made["speed_up"].value, made["batch_speed_up"].value) == (2.0, 2.0)
    held = [made[f"to_{key}"].value for key in ("padded_speed_up", "padded_batch")]
    assert held == pytest.approx([2.4, 4.0])
    assert made["to_trained_speed_up"].value == 1.6


def test_seeds_are_mean_and_sd(tmp_path: Path):
    worse = {4: [1, 1, 1, 1, 0, 0, 0, 0], 6: [1, 1, 1, 1, 1, 1, 0, 0]}
    eat_run(tmp_path)
    eat_run(tmp_path, seed=2, right=worse)
    made = line(claim_in("frontier", tmp_path), "tau 0.9")
    assert made.cells["accuracy"].text == "87.50 ± 17.68"  # of 100 and 75
    assert made.cells["seed"].text == "2 (1, 2)"
    assert made.cells["to_own_p"].text == "1.00 (1.00 to 1.00)"
    assert made.flags == ()


def test_fixed_depth_is_a_curve_over_counted_flops(tmp_path: Path):
    static_run(tmp_path)
    gain: dict[str, Any] = {
        "adaptivity_gain": 0.05,
        "adaptivity_gain_low": 0.01,
        "adaptivity_gain_high": 0.09,
    }
    eat_run(tmp_path, **gain)
    fixed_rows(tmp_path)
    found = claim_in("frontier", tmp_path)
    assert line(found, "fixed depth 4").cells["accuracy"].value == 75.0
    made = line(found, "tau 0.9").cells["gain"]
    assert (made.text, made.bold) == ("+5.00 (+1.00 to +9.00)", True)
    (figure,) = found.figures
    with figures.style(figure.name):
        texts = [text.get_text() for text in figures.drawn(figure).findobj(Text)]
    assert "layer 2" in texts


def test_formula_5_with_dense_attention_and_with_a_window():
    """Examples of 8 and 12 tokens, halved after the first of two layers; half leave there."""
    tokens_L, squares_L = np.array([10.0, 5.0]), np.array([104.0, 26.0])
    terms = (1.0, 10.0, tokens_L, squares_L, np.array([1.0, 0.5]), 0.625)
    assert Expected(*terms).adaptive == (104 + 10 * 10) + 0.5 * (26 + 10 * 5)
    assert Expected(*terms, 4).adaptive == (10 * 4 + 10 * 10) + 0.5 * (5 * 4 + 10 * 5)
    assert Expected(*terms).terms["ratio"] == 242 / 408


def test_coefficients_are_those_of_the_counted_flops(tmp_path: Path):
    eat_run(tmp_path)
    study = open_study([str(tmp_path)])
    assert coefficients(study, study.measured[0]) == (16.0, 384.0)  # width 4, inner width 16
    shape = Shape(10, 4, num_layers=1, num_heads=1, intermediate_size=16, max_positions=10)
    tokens_LB = np.full((1, 1), 10)
    counted = layer_flops(shape, tokens_LB, tokens_LB, dense_flops(shape, tokens_LB))
    assert counted.item() == 16.0 * 100 + 384.0 * 10


def test_costs_side_by_side(tmp_path: Path):
    static_run(tmp_path)
    eat_run(tmp_path)
    (line,) = claim_in("cost", tmp_path).tables[0].lines
    # All ten tokens stay, 6 of 8 leave at 4: 4 layers and a quarter of two more, of six.
    assert line.cells["formula"].value == pytest.approx(4.5 / 6)
    assert line.cells["flops_ratio"].value == 0.6
    assert (line.cells["time"].value, line.cells["time"].low) == (0.5, 1 / 2.1)
    assert line.cells["attention"].value == pytest.approx(100 * 1600 / 5440)


@pytest.fixture
def calibrated(tmp_path: Path) -> Section:
    """At tau 0.9 a right guess is 95 % sure and a wrong one 60 %; six of eight leave at 4."""
    at_4, at_6 = [1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0, 1, 0]
    fields: dict[str, Any] = {"temperature": {"4": 2.0, "6": 1.0}, "ece_after": {"4": 0.1}}
    shares = {"exit_shares": {"4": 0.75, "6": 0.25}, "depth": 4.5, "accuracy": 7 / 8}
    row = make_row(model="eat", run="e", examples="e.parquet", **EAT | fields | shares)
    keep(tmp_path / "e", [row], make_recorded([at_4, at_6], [4, 6]))
    return claim_in("calibration", tmp_path)


def test_an_exit_by_hand(calibrated: Section):
    made = line_of(calibrated.tables[0], layer="4").cells
    assert made["ece_after"].value == pytest.approx(100 * (6 * 0.05 + 2 * 0.6) / 8)
    assert made["adaptive_ece_after"].value == pytest.approx(100 * (6 * 0.05 + 2 * 0.6) / 8)
    assert made["brier_after"].value == pytest.approx((6 * 2 * 0.05**2 + 2 * 2 * 0.6**2) / 8)
    # Odds of 19 and 1.5 were 19^2 and 1.5^2 before a temperature of 2.
    sure, unsure = 361 / 362, 2.25 / 3.25
    assert made["ece_before"].value == pytest.approx(100 * (6 * (1 - sure) + 2 * unsure) / 8)
    assert made["confidence_before"].value == pytest.approx(100 * (6 * sure + 2 * unsure) / 8)
    # The surest six are right: risks 0 six times, 1/7, 2/8.
    area = 100 * (1 / 7 + 2 / 8) / 8
    assert [made[f"aurc_{when}"].value for when in ("before", "after")] == [pytest.approx(area)] * 2


def test_the_oracle_by_hand(calibrated: Section):
    """Six are right at 4, one at 6 only, one nowhere."""
    made = line_of(calibrated.tables[1], way="oracle")
    assert made.cells["accuracy"].value == 87.5
    assert made.cells["depth"].value == (6 * 4 + 6 + 6) / 8
    assert made.cells["least_depth"].value == (6 * 4 + 6 + 4) / 8
    assert made.cells["to_last"].value == pytest.approx(25.0)  # the last layer: five of eight
    assert not made.cells["to_last"].bold


# Tokens at first, after layer 2 and after layer 4 by algorithm 1: 1 + ceil(0.7 (t - 1)), twice.
TOKENS = ((5, 4, 4), (11, 8, 6), (21, 15, 11), (41, 29, 21), (101, 71, 50))


@pytest.fixture
def pruned(tmp_path: Path) -> Section:
    first, middle, last = np.array(TOKENS).T
    guesses = np.tile(np.log([0.05, 0.95]).astype(np.float32), (len(first), 1))
    tokens_LB = np.stack([first, first, middle, middle, last, last])
    labels = np.ones(len(first), np.int64)
    recorded = Record(labels, first, {4: guesses, 6: guesses}, tokens_LB, Never())
    same = {"run": "r", "model": "eat", "num_examples": 5, "examples": "e.parquet"}
    keep(tmp_path / "r", [make_row(**same, reduction=EAT["reduction"])], recorded)
    log(tmp_path / "r")
    return claim_in("retention", tmp_path)


def log(folder: Path) -> None:
    """40 steps: nothing is pruned up to step 20, all at full strength from then on."""
    (folder / "config.yaml").write_text("task: {name: sst2}\nstudy: s\ntrainer: {max_epochs: 4}\n")
    (folder / "done.json").write_text(json.dumps({"steps": 40}))
    (folder / "csv").mkdir()
    names = ["train/strength", "train/scheduled_retention", "train/retention"]
    lines = [",".join(["epoch", "step", *names, "select/retention"])]
    for step in range(40):
        values = ["0", "1", "1"] if step < 20 else ["1", "0.49", "0.6"]
        lines.append(",".join(["0", str(step), *values, "0.55" if step == 39 else ""]))
    (folder / "csv" / "metrics.csv").write_text("\n".join(lines) + "\n")


def test_every_layer_run(pruned: Section):
    texts = {key: cell.text for key, cell in pruned.tables[0].lines[0].cells.items()}
    assert texts["setting"] == "every layer run"
    first, _, last = np.array(TOKENS).T
    assert texts["scheduled"] == "0.490"
    assert texts["with_cls"] == f"{np.mean(0.49 + 0.51 / first):.3f}"
    assert texts["predicted"] == texts["retention"] == f"{np.mean(last / first):.3f}"
    assert texts["length_1"] == f"{(4 / 5 + 6 / 11) / 2:.3f}"


def test_the_end_of_training(pruned: Section):
    (line,) = pruned.tables[1].lines
    ends = ("scheduled", "observed", "above", "select")
    assert [line.cells[key].text for key in ends] == ["0.490", "0.600", "+0.110", "0.550"]


claim = partial(claim_in, "budgets")


def test_each_method_has_its_own_line_panel_and_gain(tmp_path: Path):
    run(tmp_path, "joint", 0.8)
    run(tmp_path, "sweet", 0.9, objective={"kind": "sweet"})
    found = claim(tmp_path)
    (table,), (figure,) = found.tables, found.figures
    texts = [[x.cells[k].text for k in ("model", "setting", "full")] for x in table.lines]
    assert texts == [["eat", "budget 0.5", "75.00"], ["eat, sweet", "budget 0.5", "75.00"]]
    assert table.lines[0].cells["gain"].text == "+5.00 (+1.00 to +9.00)"
    assert table.lines[0].cells["gain"].bold
    assert figures.pair(figure)
    assert found.answer[0].startswith(
        "sst2, budget 0.5: of 2 methods eat gains most on these examples: +5.00 (+1.00 "
        "to +9.00) points over fixed"
    )


def test_two_rules_of_one_run_are_told_apart_by_the_same_names_for_all_seeds(tmp_path: Path):
    gap = {"kind": "margin", "lead": [0.4], "layers": [4]}
    run(tmp_path, "a", 0.8)
    run(tmp_path, "a", 0.4, rule=gap)
    run(tmp_path, "b", 0.3, seed=2, rule=gap)  # one rule alone was measured of it
    found = claim(tmp_path)
    texts = {x.cells["model"].text: x.cells["seeds"].text for x in found.tables[0].lines}
    assert texts == {"eat, confidence": "1 (1)", "eat, margin": "2 (1, 2)"}


def compare(folder: Path, against: str) -> Section:
    study = open_study([str(folder)], against=against)
    return claim_of(CLAIMS_DIR / "compare.py")(study)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One method right on 6 of 8 for two seeds, the other on the first 4 of them."""
    for seed in (1, 2):
        run(tmp_path, f"joint{seed}", 0.8, seed)
        few = [[1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]]
        run(tmp_path, f"sweet{seed}", 0.9, seed, right=few, objective={"kind": "sweet"})
    return tmp_path


def test_a_line_is_a_method_minus_the_one_that_is_named(folder: Path):
    found = compare(folder, "eat, sweet")
    (line,) = found.tables[0].lines
    names = ("model", "setting", "seeds", "its_seeds")
    assert [line.cells[k].text for k in names] == ["eat", "budget 0.5", "2 (1, 2)", "2 (1, 2)"]
    titles = [column.title for column in found.tables[0].columns]
    assert titles.count("FLOPs of eat, sweet") == titles.count("seeds of eat, sweet") == 1
    gained = 100 * (sum(AT_6) - 4) / 8
    assert line.cells["points"].value == pytest.approx(gained)
    assert line.cells["points"].text in found.answer[0]
    (back,) = compare(folder, "eat").tables[0].lines
    assert back.cells["points"].value == pytest.approx(-gained)


def test_only_seeds_that_both_have_are_compared(folder: Path):
    (before,) = compare(folder, "eat, sweet").tables[0].lines
    run(folder, "joint3", 0.8, 3, right=[[0] * 8, [0] * 8])
    (line,) = compare(folder, "eat, sweet").tables[0].lines
    assert line.cells["seeds"].text == "2 (1, 2)"
    assert line.cells["points"].value == before.cells["points"].value


def test_a_method_that_is_not_there_is_refused(folder: Path):
    config = config_of("report", f"study=[{folder}]", "against='eat, joint'")
    with pytest.raises(
        ConfigError, match='against="eat" or against="eat, sweet", got \'eat, joint'
    ):
        command.report(config)
    assert not (folder / "report").exists()
