"""Another dtype against fp32, setting by setting and example by example."""

from functools import partial
from pathlib import Path

import pytest
from studies import claim_in, keep, make_recorded, make_row

claim = partial(claim_in, "dtypes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """int8 turns one of eight answers; an example leaves at 4 where it is sure (right)."""
    rule = {"kind": "confidence", "tau": 0.9, "layers": [4]}
    found = {}
    for dtype, early in (("fp32", [1, 1, 0, 0, 0, 0, 0, 0]), ("int8", [1, 0, 0, 0, 0, 0, 0, 0])):
        last = [1, 1, 1, 1, 1, 0, 0, 0] if dtype == "fp32" else [1, 1, 1, 1, 0, 0, 0, 0]
        name = f"examples-{dtype}.parquet"
        found[dtype] = make_recorded([early, last], [4, 6])
        fields = {"dtype": dtype, "examples": name, "exit": rule, "knob": "tau", "point": 0.9}
        row = make_row(accuracy=sum(last) / 8, threads=None, **fields)
        keep(tmp_path / "run", [row], found[dtype])
    return tmp_path


def test_by_hand(folder: Path):
    made = claim(folder)
    (line,) = made.tables[0].lines
    cells = line.cells
    assert cells["dtype"].value == "int8"
    assert cells["against"].value == pytest.approx(-12.5)
    assert cells["agree"].value == pytest.approx(87.5)  # the fifth's answer turned
    assert cells["same_depth"].value == pytest.approx(87.5)  # the second stayed on
    assert cells["same_tokens"].value == pytest.approx(87.5)
    assert made.answer == [
        "sst2, minilm, int8: -12.50 to -12.50 points against fp32, 87.50 % of the answers or more "
        "are the same, 1 setting; within 0.3 points and 99 %: no."
    ]
