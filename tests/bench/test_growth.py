"""Growth: exponents and ceilings by hand, what is counted, what is compared, and what is kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eat_lightning.bench.scaling import __main__ as entry
from eat_lightning.bench.scaling.compaction import CompactionRow, compaction
from eat_lightning.bench.scaling.fit import exponent
from eat_lightning.bench.scaling.measured import Ended, checked, difference, ended, measured
from eat_lightning.bench.scaling.points import depths, heads, lengths, ratios
from eat_lightning.bench.scaling.profiled import profiled, resident_peak
from eat_lightning.bench.scaling.rows import GrowthRow, read, write
from eat_lightning.bench.scaling.subjects import DENSE, PRUNED, WINDOW, WithoutKernel, body, text
from eat_lightning.bench.scaling.targets import Target, lengths_of, targets
from eat_lightning.errors import ConfigError
from eat_lightning.methods.attention.longformer import Longformer
from eat_lightning.model.encoder import AdaptiveEncoder, with_slots
from eat_lightning.model.packed import Packed

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_heads": 2,
    "intermediate_size": 32,
    "num_layers": 6,
    "vocab_size": 40,
}


def config(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    given = {
        **{"encoder": SIZES, "window": 8, "ratio": 0.3, "lengths": [150, 300], "at": 300},
        **{"dense_up_to": 300, "mask_up_to": 150, "batches": [1, 2], "ratios": [0.0, 0.5]},
        **{"repeats": 2, "threads": 1, "seed": 0, "to": str(tmp_path / "growth"), "force": True},
    }
    return given | changes


def row(contestant: str, length: int, ms: float, attention: float | None = None) -> GrowthRow:
    return GrowthRow(
        axis="length",
        contestant=contestant,
        size=length,
        length=length,
        batch=1,
        layers_run=6,
        heads=1,
        retention=1.0,
        ms_R=(ms, 2 * ms, 2 * ms),
        attention_R=None if attention is None else (attention, 2 * attention, 2 * attention),
        peak_bytes=100 * length,
        resident_bytes=None,
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
    (found,) = lengths_of(rows)
    assert found.ceiling is not None
    assert found.of_ceiling is not None
    assert found.ceiling.value == pytest.approx(4)  # three quarters of the time would be gone
    assert found.of_ceiling.value == pytest.approx(0.8)  # 3.2x of 4x
    assert str(found.faster(DENSE, PRUNED)) == "4.00 (4.00 to 4.00)"


def test_targets_are_computed():
    rows = [row(DENSE, n, n * n / 10, n * n / 10.5) for n in (64, 128)]
    rows += [row(WINDOW, n, n**1.05, 1.0) for n in (64, 128)]
    met = {target.what: target.met for target in targets(rows, at=128)}
    assert met == {
        "time's exponent in T, window": True,
        "memory's exponent in T, window": True,
        "window over dense at 128, of the ceiling": False,
    }
    assert Target("a", 1.1, True, 1.1, "").met
    assert not Target("a", 12, False, 11.9, "").met


def test_bytes_of_tensors_by_hand():
    def run(size: int) -> None:
        first = torch.zeros(size)  # 4,000 bytes
        second = torch.zeros(500)  # 6,000 alive
        del first
        torch.zeros(250)  # 3,000 alive
        del second

    found = profiled(run, 1000)
    assert found.peak_bytes == 6000
    assert set(found.operators) >= {"aten::zeros", "aten::empty"}


def test_pages_of_the_process():
    result, peak = resident_peak(lambda size: torch.ones(size).sum().item(), 1 << 24)
    assert result == 1 << 24
    assert peak is None or (1 << 26) * 0.9 < peak < (1 << 26) * 1.5


def test_memory_of_the_mask_is_quadratic_and_of_the_band_linear():
    encoder = body(SIZES, 1200, seed=0)
    peaks: dict[str, list[int]] = {}
    for name, pattern in (("mask", WithoutKernel(8)), ("band", Longformer(8))):
        own = with_slots(encoder, attention=pattern)
        with torch.inference_mode():
            peaks[name] = [profiled(own, text([n], 40)).peak_bytes for n in (600, 1200)]
    assert peaks["band"][1] / peaks["band"][0] == pytest.approx(2, rel=0.05)
    assert peaks["mask"][1] / peaks["mask"][0] > 3


def test_points_run_what_they_say(tmp_path: Path):
    encoder, given = body(SIZES, 300, seed=0), config(tmp_path)
    how = {"repeats": 1, "mask_up_to": 0}
    with torch.inference_mode():
        deep = measured(depths(encoder, given), **how)[0]
        asked = measured(heads(encoder, given), **how)[0]
        kept = measured(ratios(encoder, given), **how)[0]
    assert [r.layers_run for r in deep] == [r.size for r in deep] == [1, 2, 3, 4, 5, 6]
    assert [r.heads for r in asked] == [r.size for r in asked] == [1, 2, 3, 4, 5, 6]
    assert {r.layers_run for r in asked} == {6}
    # of 300 tokens half of the 299 go twice: 300, 151, 76
    assert [r.retention for r in kept] == [1.0, pytest.approx((300 + 151 + 76) / 900)]
    assert [r.size for r in kept] == [r.retention for r in kept]
    for r in deep:
        assert r.attention_R is not None
        assert 0 < r.attention_R[0] < r.ms_R[0]


def test_dense_as_the_clock_calls_it_is_dense(tmp_path: Path):
    encoder = body(SIZES, 300, seed=0)
    points = {p.contestant: p for p in lengths(encoder, config(tmp_path)) if p.length == 150}
    batch = text([150], 40)
    with torch.inference_mode():
        clocked = points[DENSE].encoder(batch).logits_BC
        torch.testing.assert_close(clocked, encoder(batch).logits_BC)
        found = {name: checked(points[name], 150) for name in (DENSE, WINDOW, PRUNED)}
        assert checked(points[WINDOW], 149) == {}
        apart = difference(ended(points[WINDOW].encoder, batch), ended(encoder, batch))
    assert found[DENSE] == {}
    for name in (WINDOW, PRUNED):
        assert found[name]["difference"] < 1e-4
        assert found[name]["kept_alike"] == 1
    assert apart["difference"] > 1e-3  # the window is not what the dense one sees


def test_a_difference_is_found():
    ours = Ended(torch.tensor([[1.0], [2.0], [5.0]]), torch.tensor([0, 3, 4]))
    theirs = Ended(torch.tensor([[1.5], [2.0], [9.0]]), torch.tensor([0, 3, 7]))
    assert difference(ours, theirs) == {"difference": 0.5, "kept_alike": 2 / 3}


def test_compaction_runs_one_example_less(monkeypatch: pytest.MonkeyPatch):
    encoder, sizes = body(SIZES, 60, seed=0), []
    run_layer = AdaptiveEncoder.run_layer

    def counted(self: AdaptiveEncoder, packed: Packed, number: int) -> Any:
        sizes.append((packed.layout.size, packed.layout.num_tokens))
        return run_layer(self, packed, number)

    monkeypatch.setattr(AdaptiveEncoder, "run_layer", counted)
    (found,) = compaction(encoder, 2, batches=[3], tokens=[5])
    assert set(sizes) == {(3, 15), (2, 10)}
    assert len(found.ride_R) == len(found.compact_R) == 2
    assert CompactionRow(3, 5, (3.0, 3.0), (2.0, 2.0)).pays == 1.5


def test_whole_growth(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = entry.growth(config(tmp_path))
    folder = tmp_path / "growth"
    assert read(folder / "rows.jsonl") == rows
    assert len(rows) == 2 * 5 + 2 + 6 + 6 + 2
    assert {r.session for r in rows} == {rows[0].session}
    names = {path.name for path in folder.iterdir()}
    tables = {f"growth-{name}.md" for name in ("targets", "lengths", "exponents", "operators")}
    assert names >= tables | {"growth.png", "growth.svg", "growth.pdf", "rows.jsonl"}
    assert "growth-compaction.md" in names
    said = (folder / "growth-targets.md").read_text()
    assert "attention product alone at 300" in said
    assert "met" in said
    assert "Proposition 1" in capsys.readouterr().out
    fewer = entry.growth(config(tmp_path, lengths=[150, 200], at=150, dense_up_to=150))
    assert read(folder / "rows.jsonl") == fewer  # of one call
    assert [r.contestant for r in fewer if r.length == 200 and r.axis == "length"] == [
        *(WINDOW, PRUNED, "window product")
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lengths": [512]}, "lengths must be a list of two numbers or more, got [512]"),
        ({"lengths": [512, 1]}, "lengths[1] must be 2 or more, got 1"),
        ({"ratios": [0.1, 1.0]}, "ratios must be in [0, 1), got 1.0"),
        ({"at": 200}, "at must be one of lengths up to dense_up_to, [150, 300], got 200"),
        ({"dense_up_to": 150}, "at must be one of lengths up to dense_up_to, [150], got 300"),
        ({"window": 7}, "attention.window must be even and at least 2, got 7"),
        ({"mask_up_to": -1}, "mask_up_to must be 0 or more, got -1"),
        ({"encoder": SIZES | {"num_layers": 2}}, "encoder.num_layers must be 3 or more, got 2"),
    ],
)
def test_faults_are_told_before_anything_runs(tmp_path: Path, changes: Any, said: str):
    with pytest.raises(ConfigError) as caught:
        entry.growth(config(tmp_path, **changes))
    assert said in str(caught.value)


def test_rows_that_cannot_be(tmp_path: Path):
    good = row(WINDOW, 64, 1.0)
    write(tmp_path / "rows.jsonl", [good])
    assert read(tmp_path / "rows.jsonl") == [good]
    (tmp_path / "rows.jsonl").write_text('{"axis": "length"}\n')
    with pytest.raises(ConfigError, match="line 1: not a row"):
        read(tmp_path / "rows.jsonl")
    with pytest.raises(ValueError, match="ms_R must be in"):
        row(WINDOW, 64, 0.0)
