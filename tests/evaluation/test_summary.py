"""What is printed below a table of rows."""

import numpy as np
from helpers.studies import EAT, make_row

from eat_lightning.evaluation.summary import recall_notes
from eat_lightning.runs.by_class import recalls

NAMES = ["ham", "spam", "phishing", "list"]


def row(recall: dict[str, float], **changes):
    return make_row(**(EAT | {"recall": recall} | changes))


def test_recall_is_of_each_class_that_has_examples():
    labels, answers = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 0, 1, 1, 3, 1])
    assert recalls(NAMES, answers, labels) == {"ham": 1, "spam": 2 / 3, "phishing": 0}
    assert recalls([], answers, labels) == {}  # a regression


def test_a_class_that_is_never_found_is_told():
    found = {"ham": 0.95, "spam": 0.61, "phishing": 0.0}
    first = row(found)
    lost = "phishing is never predicted correctly: its recall is 0"
    shown = f"recall ({first.title}): ham 0.95, spam 0.61, phishing 0.00"
    assert recall_notes([first, row(found, seed=first.seed)]) == [shown, lost]
    better = row(found | {"phishing": 0.1})
    said = lost.replace("correctly:", f"correctly under {first.title}:")
    assert recall_notes([first, better]) == [shown, said]
    assert recall_notes([better]) == [shown.replace("0.00", "0.10")]
    assert recall_notes([row({})]) == []  # from before it was noted


def test_recall_is_that_of_the_setting_of_the_run():
    cheapest, usual = row({"ham": 0.5}), row({"ham": 0.9}, exit=EAT["exit"] | {"tau": 0.95})
    assert recall_notes([cheapest, usual], [usual.exit]) == [f"recall ({usual.title}): ham 0.90"]
