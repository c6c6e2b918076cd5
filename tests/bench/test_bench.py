"""The bench: who leaves is as told, shares are of what the machine can do, rows add up."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from frontiers import eat_run

from eat_lightning.bench import __main__ as entry
from eat_lightning.bench.speed.ceilings import Ceilings, ceilings
from eat_lightning.bench.speed.contestants import (
    Contestant,
    Field,
    contestants,
    idling,
    random_encoder,
    work,
)
from eat_lightning.bench.speed.heats import Heat, Pool, drawn, enough, heats, random_words
from eat_lightning.bench.speed.race import faster, median, race, ready, rows_of, spending
from eat_lightning.bench.speed.rows import read, write
from eat_lightning.errors import ConfigError
from eat_lightning.infer.latency import undisturbed
from eat_lightning.model.encoder import Shape

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_heads": 2,
    "intermediate_size": 32,
    "num_layers": 12,
    "vocab_size": 40,
}
LENGTHS = np.array([4, 11, 7, 21, 5, 9])


def the_heats(batch: int = 3, sure: np.ndarray | None = None) -> list[Heat]:
    works = random_words({"sst2": Pool(LENGTHS, sure)}, 0.5, 40, seed=0)
    return list(heats({"sst2": LENGTHS}, [batch], 6, 0, works))


def found(name: str) -> Contestant:
    return next(c for c in contestants(SIZES, 0.3, "fp32").contestants if c.name == name)


def test_as_many_leave_as_were_told_to():
    heat, eat = the_heats()[0], found("EAT")
    with torch.inference_mode():
        traces = [eat.run(given) for given in heat.works]
    depth_B = torch.cat([trace.depth_B for trace in traces])
    easy_B = torch.cat([given.easy_B for given in heat.works])
    assert depth_B.tolist() == [4 if easy else 6 for easy in easy_B]
    assert int(easy_B.sum()) == 3
    tokens_LB = torch.cat([trace.tokens_LB for trace in traces], dim=1)
    lengths_B = tokens_LB[0]
    assert torch.equal(tokens_LB[2], 1 + torch.ceil(0.7 * (lengths_B - 1)).long())


def test_those_a_trained_model_was_surest_of_leave():
    sure = np.array([0.6, 0.9, 0.5, 0.8, 0.7, 0.95])
    works = random_words({"sst2": Pool(LENGTHS, sure)}, 0.5, 40, seed=0)
    given = works("sst2", [np.array([0, 1, 2]), np.array([3, 4, 5])])
    assert [w.easy_B.tolist() for w in given] == [[False, True, False], [True, False, True]]


def test_off_is_off():
    off = found("EAT off")
    with torch.inference_mode():
        trace = off.run(work(np.array([9, 5]), np.array([True, True]), 40))
    assert trace.depth_B.tolist() == [6, 6]
    assert trace.tokens_LB.tolist() == [[9, 5]] * 6


def test_idle_scores_and_heads_change_no_answer_and_cost_flops():
    encoder = random_encoder(Shape(**SIZES), seed=0)
    field = idling(encoder, "fp32")
    heat = the_heats()[0]
    by_name = {c.name: c for c in field.contestants}
    with torch.inference_mode():
        answers = {name: c.run(heat.works[0]) for name, c in by_name.items()}
    for trace in answers.values():
        assert torch.equal(trace.logits_BC, answers["static"].logits_BC)
        assert trace.depth_B.tolist() == [12] * 3
    counted = {name: spending(c, heat).flops for name, c in by_name.items()}
    assert counted["static"] == counted["static again"]
    assert counted["off, no scores"] == counted["off, norm scores"] > counted["static"]
    assert counted["off, received scores"] > counted["off, [CLS] scores"]


def test_batches_by_length_are_of_the_whole_dev_set():
    lengths = np.arange(100)
    rows = drawn(lengths, 10, 30, "sorted", seed=0)  # of ten batches the second, sixth and ninth
    assert [lengths[r].max() for r in rows] == [89, 49, 19]
    assert all(np.ptp(lengths[r]) == 9 for r in rows)
    come = drawn(lengths, 10, 35, "as they come", seed=0)
    assert [len(r) for r in come] == [10, 10, 10]
    assert len(np.unique(np.concatenate(come))) == 30


def test_nothing_to_sort():
    for batch in (1, 12):  # single examples; more than there are, which then come twice
        assert [heat.order for heat in the_heats(batch)] == ["as they come"]
    assert the_heats(12)[0].num_examples == 12


def test_as_many_examples_as_a_batch_asks_for():
    assert [enough(batch) for batch in (1, 8, 32, 128)] == [24, 16, 64, 128]


def test_padding_factor_by_hand():
    works = [work(np.array(x), np.zeros(len(x), bool), 40) for x in ([2, 6], [5, 5])]
    assert Heat("sst2", 2, "sorted", works).padding_factor == pytest.approx(22 / 18)


def test_limit_is_the_slower_of_the_two():
    bound = Ceilings(gflops=100, gbytes=10)
    assert bound.limit_ms(2e9, 1e6) == pytest.approx(20.0)
    assert bound.limit_ms(1e6, 1e8) == pytest.approx(10.0)


def test_ratio_is_of_turns_taken_together():
    assert faster(np.array([4.0, 6.0, 20.0]), np.array([2.0, 2.0, 5.0])) == [3.0, 2.0, 4.0]


def test_interval_of_a_median():
    assert median(np.arange(5.0)) == [2.0, 0.0, 4.0]
    # P(fewer than 2 of 9 below the median) = 10 / 512 on each side: the second and the eighth
    assert median(np.arange(9.0)[::-1]) == [4.0, 1.0, 7.0]


def rows_by_name(field: Field, heat: Heat, bounds: dict[str, Ceilings]) -> dict[str, Any]:
    with undisturbed(1):
        took = race(ready(field.contestants, heat), heat, repeats=2)
    how = {"race": "fp32", "threads": 1}
    return {row.contestant: row for row in rows_of(field, heat, took, bounds, **how)}


def test_rows_say_what_was_run(tmp_path: Path):
    field, heat = contestants(SIZES, 0.3, "fp32"), the_heats()[0]
    bound = ceilings(field.contestants[0].shape, "fp32", rows=64, repeats=1)
    rows = rows_by_name(field, heat, {"fp32": bound})
    assert rows["static"].num_layers == 12
    assert rows["static"].speed_up == rows["static half"].conversion == 1
    assert rows["HF BERT"].over["BERT"] == rows["HF DistilBERT"].over["DistilBERT"] == [1, 1, 1]
    assert rows["HF BERT"].flops == rows["static"].flops
    assert rows["EAT"].depth == rows["EAT prepacked"].depth == 5
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


def test_a_model_that_answers_otherwise_does_not_race():
    field, heat = contestants(SIZES, 0.3, "fp32"), the_heats()[0]
    runners = {c.name: c for c in field.contestants}
    bert = runners["HF BERT"]
    bert.answers_like, bert.run = "static", lambda given: torch.ones(3, 2)
    with undisturbed(1), pytest.raises(ConfigError, match="HF BERT answers otherwise than static"):
        ready(field.contestants, heat)
    bert.answers_like = None
    runners["static half prepacked"].answers_like = "static half prepacked"
    with undisturbed(1):
        assert ready(field.contestants, heat).seconds > 0


def test_repeats_that_fit():
    assert entry.as_fits(5, 2.0, None) == 5
    assert entry.as_fits(5, 2.0, 7.0) == 3
    assert entry.as_fits(5, 2.0, 3.0) == 0  # one would say nothing of noise
    assert entry.as_fits(1, 2.0, 3.0) == 1


def config(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    given = {
        **{"what": "speed", "run": None, "data": {"dir": None}, "minutes": None, "near": [8, 20]},
        **{"encoder": SIZES, "ratio": 0.3, "leaving": 0.5, "lengths": str(tmp_path / "study")},
        **{"tasks": None, "batches": [1, 2], "examples": 4, "repeats": 2, "dtype": "fp32"},
        **{"threads": 1, "seed": 0, "to": str(tmp_path / "bench"), "force": True},
        "compilers": ["compiled", "frozen", "AOTI"],
    }
    return given | changes


@pytest.fixture
def no_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where neither onnxruntime nor OpenVINO is installed."""
    monkeypatch.setattr("eat_lightning.bench.speed.peers.find_spec", lambda name: None)


def test_whole_bench_on_a_kept_study(
    tmp_path: Path, no_peers: None, capsys: pytest.CaptureFixture[str]
):
    eat_run(tmp_path / "study")
    rows = entry.bench(config(tmp_path))
    assert len(rows) == 10 * 3  # batch 1; 2 as they come and sorted
    assert "onnxruntime: no rows, onnx, onnxscript, onnxruntime is not" in capsys.readouterr().out
    entry.bench(config(tmp_path, dtype="bf16"))
    entry.bench(config(tmp_path, what="cost", batches=[2]))
    kept = read(tmp_path / "bench" / "rows.jsonl")
    assert {row.race for row in kept} == {"fp32", "bf16", "cost-fp32"}
    files = {path.name for path in (tmp_path / "bench").iterdir()}
    assert {"bench-fp32.md", "bench-bf16.csv", "roofline-fp32.png", "bench-cost-fp32.md"} <= files
    assert "what the machine can do" in capsys.readouterr().out
    assert "cost of adaptivity" in (tmp_path / "bench" / "targets.md").read_text()


def test_heats_are_kept_one_by_one(tmp_path: Path, no_peers: None, monkeypatch: pytest.MonkeyPatch):
    eat_run(tmp_path / "study")
    busy = iter([[], [], ["a run trains here"]])  # before anything, after one heat, after two
    monkeypatch.setattr("eat_lightning.measure.plan.busy_faults", lambda timing: next(busy))
    with pytest.raises(ConfigError, match="training began meanwhile"):
        entry.bench(config(tmp_path, batches=[1, 2]))
    assert {row.batch for row in read(tmp_path / "bench" / "rows.jsonl")} == {1}


def test_what_does_not_fit_is_named(
    tmp_path: Path, no_peers: None, capsys: pytest.CaptureFixture[str]
):
    eat_run(tmp_path / "study")
    with pytest.raises(ConfigError, match="no heat fitted: give more minutes="):
        entry.bench(config(tmp_path, minutes=1e-9))
    assert (
        "sst2, batch 1, as they come: left out, minutes=1e-09 are over" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ratio": 1.0}, "ratio must be in [0, 1), got 1.0"),
        ({"leaving": 1.5}, "leaving must be in [0, 1], got 1.5"),
        ({"batches": [1, 0]}, "batches must be 1 or more, got 0"),
        ({"batches": 8}, "batches must be a list such as [1,32], got 8"),
        ({"near": [0]}, "near must be 1 or more, got 0"),
        ({"dtype": "int8"}, "dtype must be one of fp32, bf16, got 'int8'"),
        ({"what": "speeds"}, "what must be one of speed, cost, training, compiled, got 'speeds'"),
        ({"repeats": 0}, "repeats must be 1 or more, got 0"),
        ({"minutes": 0}, "minutes must be in (0, inf), got 0"),
        ({"encoder": SIZES | {"num_layers": 8}}, "encoder.num_layers must be a multiple of 6"),
        ({"encoder": SIZES | {"num_heads": 3}}, "must be a multiple of num_heads=3, got 16"),
        ({"run": "nowhere"}, "run=nowhere is not a run folder"),
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
