"""The study of the dial: its counts, by hand."""

from eat_lightning.runs.jsonl import read
from experiments.budgets.dial import GONE, ROWS, Trial, report, summary


def trial(fit: str, cost: list[float], accuracy: list[float]) -> Trial:
    return Trial("sst2", 6, "a", 0, fit, [0.4, 0.5, 0.6], cost, accuracy, [0.9, 0.95, 1.0])


def test_steps_that_turn_back_are_counted():
    found = [
        trial("one dial", [0.39, 0.5, 0.6], [0.8, 0.81, 0.808]),  # loses 0.2 points once
        trial("hull", [0.39, 0.38, 0.63], [0.8, 0.79, 0.82]),  # loses 1, spends less, then more
    ]
    dial, hull = summary(found).to_dict("records")
    names = ("steps", "lose accuracy", "more than 0.25", "spend falls", "under by 0.05")
    assert [dial[name] for name in names] == ["2", "1", "0", "0", "0"]
    assert [hull[name] for name in names] == ["2", "1", "1", "1", "1"]
    assert (hull["over by 0.02"], hull["more than 0.5"]) == ("1", "1")
    assert (dial["accuracy"], dial["agreement"], dial["spent"]) == ("80.60", "95.00", "0.497")


def test_the_page_follows_from_the_kept_rows():
    page = (ROWS.parents[1] / "dial.md").read_text("utf-8")
    kept = read(ROWS, Trial, "trial")
    assert any(each.fit == GONE for each in kept)
    tables = [part for part in report(kept).split("\n\n") if part.startswith("|")]
    assert len(tables) == 4
    assert [table for table in tables if table not in page] == []
