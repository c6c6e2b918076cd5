"""Scaling: exponents and ceilings by hand, what is counted, what is compared, and what is kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eat_lightning.runs import jsonl
from experiments.scaling import __main__ as entry
from experiments.scaling.fit import exponent, lengths_of, ratios, spread
from experiments.scaling.points import DENSE, PRUNED, WINDOW
from experiments.scaling.rows import ScalingRow

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_heads": 2,
    "intermediate_size": 32,
    "num_layers": 6,
    "vocab_size": 40,
}


def config(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    given = {
        **{
            "encoder": SIZES,
            "window": 8,
            "attentions": [],
            "ratio": 0.3,
            "lengths": [150, 300],
            "at": 300,
        },
        **{"dense_up_to": 300, "batches": [1, 2], "ratios": [0.0, 0.5]},
        **{"repeats": 2, "threads": 1, "seed": 0, "to": str(tmp_path / "growth"), "force": True},
    }
    return given | changes


def row(candidate: str, length: int, ms: float, attention: float | None = None) -> ScalingRow:
    return ScalingRow(
        axis="length",
        candidate=candidate,
        size=length,
        length=length,
        batch=1,
        layers_run=6,
        heads=1,
        retention=1.0,
        ms_R=(ms, 2 * ms, 2 * ms),
        attention_R=None if attention is None else (attention, 2 * attention, 2 * attention),
        peak_bytes=100 * length,
        flops=1.0,
    )


def test_exponents_by_hand():
    x = [1.0, 2.0, 4.0, 8.0]
    found = exponent(x, [3 * value**2 for value in x])
    assert (found.value, found.factor) == (pytest.approx(2), pytest.approx(3))
    assert found.low == pytest.approx(found.high) == pytest.approx(2)
    # residuals of +-d about a flat line: slope 0 by symmetry, and an interval on both its sides
    noisy = exponent(x, [np.e, 1.0, 1.0, np.e])
    assert noisy.value == pytest.approx(0)
    assert noisy.low == pytest.approx(-noisy.high)
    # s^2 = 4 x 0.25 / 2, Sxx = 5 ln(2)^2, t(0.975, 2) = 4.303
    assert noisy.high == pytest.approx(4.3027 * np.sqrt(0.5 / (5 * np.log(2) ** 2)), rel=1e-4)
    assert str(exponent([1, 2], [3, 6])) == "1.00"  # a line through two points has no interval
    with pytest.raises(ValueError, match="two different values"):
        exponent([2, 2], [1, 3])


def test_the_ceiling_is_amdahls():
    rows = [row(DENSE, 64, 10.0, 7.5), row(WINDOW, 64, 3.125, 0.5), row(PRUNED, 64, 2.5, 0.5)]
    found = ratios(lengths_of(rows)[64])
    assert found["ceiling"] == pytest.approx([4, 4, 4])  # three quarters of the time would be gone
    assert found["of the ceiling"] == pytest.approx([0.8, 0.8, 0.8])  # 3.2x of 4x
    assert spread(found["dense / window, pruned"]) == "4.00 (4.00 to 4.00)"
    assert ratios(lengths_of(rows[1:])[64]) == {}


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
