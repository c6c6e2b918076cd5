"""The bench: who leaves is as told, shares are of what the machine can do, rows add up."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from frontiers import eat_run

from eat_lightning import bench as entry
from eat_lightning.benching.ceilings import Ceilings, ceilings
from eat_lightning.benching.contestants import contestants, work
from eat_lightning.benching.race import Heat, faster, heats, race, rows_of
from eat_lightning.benching.rows import read, write
from eat_lightning.errors import ConfigError

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_heads": 2,
    "intermediate_size": 32,
    "num_layers": 12,
    "vocab_size": 40,
}
LENGTHS = {"sst2": np.array([4, 11, 7, 21, 5, 9])}


def one_heat(batch: int = 3) -> list[Heat]:
    return heats(LENGTHS, [batch], 6, 0.5, 40, seed=0)


def test_as_many_leave_as_were_told_to():
    heat = one_heat()[0]
    eat = next(c for c in contestants(SIZES, 0.3, torch.float32) if c.name == "EAT")
    with torch.inference_mode():
        traces = [eat.run(given) for given in heat.works]
    depth_B = torch.cat([trace.depth_B for trace in traces])
    easy_B = torch.cat([given.easy_B for given in heat.works])
    assert depth_B.tolist() == [4 if easy else 6 for easy in easy_B]
    assert int(easy_B.sum()) == 3
    tokens_LB = torch.cat([trace.tokens_LB for trace in traces], dim=1)
    lengths_B = tokens_LB[0]
    assert torch.equal(tokens_LB[2], 1 + torch.ceil(0.7 * (lengths_B - 1)).long())


def test_off_is_off():
    off = next(c for c in contestants(SIZES, 0.3, torch.float32) if c.name == "EAT off")
    with torch.inference_mode():
        trace = off.run(work(np.array([9, 5]), np.array([True, True]), 40))
    assert trace.depth_B.tolist() == [6, 6]
    assert trace.tokens_LB.tolist() == [[9, 5]] * 6


def test_sorted_batches_are_less_padded_and_hold_the_same_examples():
    come, by_length = one_heat()
    assert (come.order, by_length.order) == ("as they come", "sorted")
    assert by_length.padding_factor < come.padding_factor
    assert sorted(np.concatenate(come.lengths)) == sorted(np.concatenate(by_length.lengths))
    assert [len(x) for x in by_length.lengths] == [3, 3]
    for batch in (1, 6):  # nothing to sort, or one batch of all
        assert [heat.order for heat in one_heat(batch)] == ["as they come"]


def test_padding_factor_by_hand():
    works = [work(np.array(x), np.zeros(len(x), bool), 40) for x in ([2, 6], [5, 5])]
    assert Heat("sst2", 2, "sorted", works).padding_factor == pytest.approx(22 / 18)


def test_limit_is_the_slower_of_the_two():
    bound = Ceilings(gflops=100, gbytes=10)
    assert bound.limit_ms(2e9, 1e6) == pytest.approx(20.0)
    assert bound.limit_ms(1e6, 1e8) == pytest.approx(10.0)


def test_ratio_of_means_and_extremes_of_repeats():
    found = faster("speed_up", np.array([4.0, 6.0]), np.array([2.0, 2.0]))
    assert found == {"speed_up": 2.5, "speed_up_low": 2.0, "speed_up_high": 3.0}


def test_rows_say_what_was_run(tmp_path: Path):
    runners, heat = contestants(SIZES, 0.3, torch.float32), one_heat()[0]
    with torch.inference_mode():
        bound = ceilings(runners[0].shape, torch.float32, rows=64, repeats=1)
        took = race(runners, heat, repeats=2)
    rows = {r.contestant: r for r in rows_of(runners, heat, took, bound, dtype="fp32", threads=1)}
    assert rows["static"].num_layers == 12
    assert rows["static"].speed_up == rows["static half"].conversion == 1
    assert rows["HF BERT"].over_bert == rows["HF DistilBERT"].over_distilbert == 1
    assert rows["HF BERT"].flops == rows["static"].flops
    assert rows["EAT"].depth == 5
    assert rows["EAT"].flops_ratio < rows["EAT pruning"].flops_ratio < 1
    for row in rows.values():
        assert row.conversion == pytest.approx(row.speed_up * row.flops_ratio)
        assert row.peak_share == pytest.approx(row.flops / row.ms / 1e6 / bound.gflops)
        assert row.distance == pytest.approx(row.ms / row.limit_ms)
    # half of six examples leave, in both batches some stay: each layer's matrices are read twice
    matrices = 6 * 2 * 16 * (4 * 16 + 2 * 32) * 4 / 6
    limit = bound.limit_ms(rows["EAT"].flops, matrices)
    assert rows["EAT"].limit_ms == pytest.approx(limit)
    write(tmp_path / "rows.jsonl", rows.values())
    assert write(tmp_path / "rows.jsonl", rows.values()) == [*rows.values()]


def config(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    given = {
        **{"encoder": SIZES, "ratio": 0.3, "leaving": 0.5, "lengths": str(tmp_path / "study")},
        **{"tasks": None, "batches": [1, 2], "examples": 4, "repeats": 2, "dtype": "fp32"},
        **{"threads": 1, "seed": 0, "to": str(tmp_path / "bench"), "force": True},
    }
    return given | changes


def test_whole_bench_on_a_kept_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    eat_run(tmp_path / "study")
    rows = entry.bench(config(tmp_path))
    assert len(rows) == 7 * 3  # batch 1; 2 as they come and sorted
    entry.bench(config(tmp_path, dtype="bf16"))
    kept = read(tmp_path / "bench" / "rows.jsonl")
    assert {row.dtype for row in kept} == {"fp32", "bf16"}
    names = {path.name for path in (tmp_path / "bench").iterdir()}
    assert {"bench-fp32.md", "bench-bf16.csv", "roofline-fp32.png", "roofline-bf16.pdf"} <= names
    assert "what the machine can do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ratio": 1.0}, "ratio must be in [0, 1), got 1.0"),
        ({"leaving": 1.5}, "leaving must be in [0, 1], got 1.5"),
        ({"batches": [1, 0]}, "batches must be 1 or more, got 0"),
        ({"batches": 8}, "batches must be a list such as [1,32], got 8"),
        ({"dtype": "int8"}, "dtype must be fp32 or bf16, got 'int8'"),
        ({"repeats": 0}, "repeats must be 1 or more, got 0"),
        ({"encoder": SIZES | {"num_layers": 8}}, "encoder.num_layers must be a multiple of 6"),
        ({"encoder": SIZES | {"num_heads": 3}}, "must be a multiple of num_heads=3, got 16"),
    ],
)
def test_faults_are_told_before_anything_runs(tmp_path: Path, changes: Any, said: str):
    with pytest.raises(ConfigError) as caught:
        entry.bench(config(tmp_path, **changes))
    assert said in str(caught.value)


def test_lengths_of_a_task_that_is_not_there(tmp_path: Path):
    eat_run(tmp_path / "study")
    with pytest.raises(ConfigError, match="has no examples of cola"):
        entry.bench(config(tmp_path, tasks=["cola"]))


def test_a_damaged_row_is_named(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="line 1: not a row"):
        read(tmp_path / "rows.jsonl")
