"""What tells the models of a study apart, in words."""

from typing import Any

import pytest
from helpers.studies import EAT, make_row

from eat_lightning.runs.names import names_of

RULE: dict[str, Any] = {"exit": EAT["exit"], "knob": "tau", "point": 0.9}
TOP = {"kind": "norm_topk", "ratio": 0.3, "layers": [2, 4]}


def names(*runs: dict[str, Any]) -> list[str]:
    rows = [make_row(**{"model": "eat", "run": str(i), **run}) for i, run in enumerate(runs)]
    found = names_of(rows)
    return [found[row.setting] for row in rows]


@pytest.mark.parametrize(
    ("runs", "wanted"),
    [
        ([{"encoder": "a"}, {"encoder": "b"}], ["eat, a", "eat, b"]),
        ([{}, {"num_layers": 12, "exit_shares": {"12": 1.0}}], ["eat, 6 layers", "eat, 12 layers"]),
        ([RULE, RULE | {"seed": 2}], ["eat", "eat"]),
        ([RULE, RULE | {"objective": {"kind": "sweet"}}], ["eat", "eat, sweet"]),
        (
            [
                RULE | {"head": {"kind": "pooled", "pool": "mean"}},
                RULE | {"head": {"kind": "shared"}},
            ],
            ["eat", "eat, shared"],
        ),
        ([RULE, {"exit": {"kind": "berxit", "threshold": 0.4}}], ["eat", "eat, berxit"]),
        (
            [{"reduction": TOP}, {"reduction": {**TOP, "ratio": 0.1}}, {}],
            ["eat, norm_topk, ratio 0.3", "eat, norm_topk, ratio 0.1", "eat"],
        ),
        (
            [{"temperature": {"6": 1.0}}, {"temperature": {"4": 1.0, "6": 1.0}}],
            ["eat, no exits", "eat, heads 4/6"],
        ),
    ],
)
def test_what_differs_is_named(runs: list[dict[str, Any]], wanted: list[str]):
    assert names(*runs) == wanted
