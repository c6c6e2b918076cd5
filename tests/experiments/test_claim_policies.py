"""The table of policies says what the rows say."""

from functools import partial
from pathlib import Path

from studies import claim_in, keep, make_row

claim = partial(claim_in, "policies")

VETO = {"kind": "veto", "margin": 0.9, "mode": None, "run": "somewhere/task=sst2,model=minilm"}


def test_rule_and_policy_stand_side_by_side(tmp_path: Path):
    plain = make_row(exit_reasons={"confident": 0.75, "last_layer": 0.25}, accuracy=0.91)
    reasons = {"confident": 0.5, "last_layer": 0.25, "vetoed": 0.25}
    keep(tmp_path / "run", [make_row(policy=[VETO], exit_reasons=reasons, accuracy=0.925), plain])
    first, second = (line.cells for line in claim(tmp_path).tables[0].lines)
    assert (first["policy"].text, first["score"].text, first["confident"].text) == (
        *("", "91.00", "75.0"),
    )
    assert second["policy"].text == "veto margin 0.9 by task=sst2 model=minilm"
    assert (second["score"].text, second["vetoed"].text) == ("92.50", "25.0")
    assert first["vetoed"].text == ""
