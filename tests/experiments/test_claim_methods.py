"""Methods: a line for each at one budget, the largest gain first."""

from functools import partial
from pathlib import Path
from typing import Any

from studies import claim_in, keep, make_recorded, make_row

claim = partial(claim_in, "methods")
RIGHT = [[1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0]]


def run(folder: Path, objective: str, gain: float, budget: float | None = 0.5, **more: Any) -> None:
    exit = {"kind": "confidence", "tau": [0.9], "layers": [4]}
    ends = {"adaptivity_gain_low": gain - 0.01, "adaptivity_gain_high": gain + 0.01}
    row = make_row(
        **{"model": "eat", "run": objective, "objective": {"kind": objective}, "exit": exit},
        **{"knob": "tau", "point": [0.9], "budget": budget, "adaptivity_gain": gain, **ends},
        **{"exit_shares": {"4": 0.5, "6": 0.5}, "depth": 5.0, "examples": "e.parquet"},
        accuracy=0.75,
        **more,
    )
    keep(folder / objective, [row], make_recorded(RIGHT, [4, 6]))


def test_the_largest_gain_comes_first_and_what_was_published_beside_it(tmp_path: Path):
    run(tmp_path, "joint", 0.005)
    run(tmp_path, "sweet", 0.03)
    run(tmp_path, "depth_weighted", 0.2, budget=0.4)
    found = claim(tmp_path)
    (table,) = found.tables
    texts = [[x.cells[k].text for k in ("model", "gain")] for x in table.lines]
    assert texts == [["eat, sweet", "+3.00 (+2.00 to +4.00)"], ["eat", "+0.50 (-0.50 to +1.50)"]]
    assert table.lines[0].cells["published"].text.startswith("+1.1 points over joint exits")
    assert found.answer[0] == (
        "sst2: 1 of 2 methods gain over fixed depth by their interval at budget 0.5."
    )
    assert found.answer[1] == "sst2: eat, sweet gains most, +3.00 (+2.00 to +4.00) points."
    assert found.notes == ["sst2, eat, depth_weighted: no row at budget 0.5, only at 0.4."]
