"""The study of scaling from end to end: what is compared, and what is kept."""

from pathlib import Path
from typing import Any

import pytest
from finished import config_of

from eat_lightning.runs import jsonl
from experiments.scaling import __main__ as entry
from experiments.scaling.points import PRUNED, WINDOW
from experiments.scaling.rows import ScalingRow

SIZES = {"hidden_size": 16, "num_heads": 2, "intermediate_size": 32, "vocab_size": 40}
SMALL = {"encoder": SIZES | {"num_layers": 6}, "window": 8, "lengths": [150, 300], "at": 300}
SMALL |= {"dense_up_to": 300, "batches": [1, 2], "ratios": [0.0, 0.5], "repeats": 2, "force": True}


def config(to: Path, **changes: Any) -> dict[str, Any]:
    return config_of("growth") | SMALL | {"to": str(to / "growth")} | changes


@pytest.mark.slow
def test_whole_bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = entry.scaling(config(tmp_path))
    folder = tmp_path / "growth"
    assert jsonl.read(folder / "rows.jsonl", ScalingRow) == rows
    assert len(rows) == 2 * 5 + 2 + 6 + 6 + 2
    assert {r.session for r in rows} == {rows[0].session}
    assert {path.name for path in folder.iterdir()} == {"rows.jsonl", "report.md", "scaling.svg"}
    report = (folder / "report.md").read_text()
    for title in ("Against the dense encoder", "Exponents", "Time by operator", "Memory"):
        assert title in report
    assert "Proposition 1" in capsys.readouterr().out
    fewer = entry.scaling(config(tmp_path, lengths=[150, 200], at=150, dense_up_to=150))
    assert jsonl.read(folder / "rows.jsonl", ScalingRow) == fewer  # of one call
    assert [r.candidate for r in fewer if r.length == 200 and r.axis == "length"] == [
        *(WINDOW, PRUNED, "window product")
    ]
