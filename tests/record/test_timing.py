"""Settings take turns, nothing disturbs them, and the numbers are those a person would compute."""

import gc

import numpy as np
import pytest
import torch

from eat_lightning.model.packed import Batch
from eat_lightning.record.timing import (
    TimedCall,
    drawn_at_mean_cost,
    speed_up,
    time_all,
    time_interleaved,
    undisturbed,
)


class Split:
    """Examples of given lengths."""

    def __init__(self, lengths: list[int]):
        self.lengths = np.array(lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, rows: np.ndarray) -> Batch:
        return Batch.from_lists([[1] * n for n in self.lengths[rows]], index=torch.tensor(rows))


def test_settings_take_turns_in_rotating_order():
    seen: list[str] = []
    settings = {
        name: ((lambda x, name=name: seen.append(f"{name}{x}")), [0, 1, 2]) for name in "ab"
    }
    took = time_interleaved(settings, repeats=2, block=2)
    # A turn begins with an untimed run of its first input; b comes first every other turn.
    turns = ["a0 a0 a1", "b0 b0 b1", "b2 b2", "a2 a2", "a0 a0 a1", "b0 b0 b1", "b2 b2", "a2 a2"]
    assert seen == " ".join(turns).split()
    assert {name: times.shape for name, times in took.items()} == {"a": (2, 3), "b": (2, 3)}


def test_threads_and_garbage_collection_are_put_back():
    before = torch.get_num_threads(), gc.isenabled()

    def fail_within() -> None:
        with undisturbed(threads=before[0] + 1):
            assert (torch.get_num_threads(), gc.isenabled()) == (before[0] + 1, False)
            assert torch.is_inference_mode_enabled()
            raise KeyError

    with pytest.raises(KeyError):
        fail_within()
    assert (torch.get_num_threads(), gc.isenabled()) == before


def test_all_numbers_of_a_setting():
    sizes: list[int] = []
    candidate = TimedCall(lambda batch: sizes.append(batch.size), Split([4, 1, 3, 2, 4]))
    how = {"warmup": 2, "repeats": 2, "batch": 2}
    first, fields = (times["a"] for times in time_all({"a": candidate}, **how))
    assert (first["repeats"], fields["repeats"]) == (1, 2)
    assert fields["latency_low_ms"] <= first["latency_ms"] <= fields["latency_high_ms"]
    # Sorted: (4, 4), (3, 2), (1); padded 8 + 6 + 1 of 14 real tokens.
    assert fields["padding_factor_sorted"] == pytest.approx(15 / 14)
    assert fields["padding_factor"] >= fields["padding_factor_sorted"]
    assert (fields["latency_batch"], fields["throughput_batch"]) == (1, 2)
    assert fields["timed_examples"] == 5
    assert sizes.count(1) == 2 + (5 + 1) * 2 + 2 * 2  # warm-up, latency, the batch of one left over
    assert min(fields["throughput"], fields["throughput_sorted"], fields["latency_ms"]) > 0
    *_, found = time_all({"a": candidate}, **how, orders=("",))
    assert fields.keys() - found["a"].keys() == {k for k in fields if "sorted" in k}
    *_, found = time_all({"a": candidate}, **how, orders=())
    assert not {"throughput", "batches_RI"} & found["a"].keys()
    assert found["a"]["latency_ms"] > 0
    *_, found = time_all({"a": candidate}, **how, alone=False, orders=("",))
    assert "latency_RI" not in found["a"]
    assert found["a"]["throughput"] > 0


def test_all_texts_run_alone_and_in_batches_before_a_time_is_taken():
    sizes: list[int] = []
    candidate = TimedCall(lambda batch: sizes.append(batch.size), Split([1] * 10))
    how = {"examples": 10, "warmup": 10, "repeats": 1, "batch": 4, "orders": ("",)}
    assert len([*time_all({"a": candidate}, **how)]) == 1
    assert sizes[:13] == [1] * 10 + [4, 4, 2]


def test_a_speed_up_has_the_interval_of_other_examples_and_repeats():
    """Of two inputs the ratio is 4 to 1 alone, 4 and 2 to 1 and 1 together; 3 on average."""
    slower_RI, took_RI = np.array([[4.0, 2.0]]), np.ones((1, 2))
    assert speed_up(slower_RI, took_RI) == (3.0, 2.0, 4.0)
    repeats = speed_up(np.array([[2.0] * 5, [4.0] * 5]), np.ones((2, 5)))
    assert repeats == (3.0, 2.0, 4.0)
    assert speed_up(took_RI, took_RI) == (1.0, 1.0, 1.0)


def test_timed_examples_cost_what_all_do():
    rng = np.random.default_rng(0)
    costs = [rng.exponential(size=500), rng.exponential(size=500)]
    rows = drawn_at_mean_cost(costs, 500, 40)
    assert len(set(rows.tolist())) == 40
    shares = [cost_B[rows].mean() / cost_B.mean() for cost_B in costs]
    assert np.abs(np.subtract(shares, 1)).max() < 0.02  # of one draw the standard error is 0.15
    split = Split([1] * 500)
    candidates = {i: TimedCall(lambda batch: None, split, cost_B=c) for i, c in enumerate(costs)}
    (found,) = time_all(candidates, examples=40, warmup=0, repeats=1)
    assert [found[i]["timed_cost"] for i in (0, 1)] == pytest.approx([1, 1], abs=0.02)
    assert TimedCall(print, split, cost_B=np.arange(500)).cost_share(np.array([0, 499])) == 1


def test_examples_are_random_and_the_same_for_all_settings():
    rows: dict[str, list[int]] = {"a": [], "b": []}

    def noting(name: str):
        return lambda batch: rows[name].extend(batch.index_B.tolist())

    split = Split(list(range(1, 41)))
    candidates = {name: TimedCall(noting(name), split) for name in rows}
    list(time_all(candidates, examples=10, warmup=0, repeats=1, batch=4))
    assert rows["a"] == rows["b"]
    assert len(set(rows["a"])) == 10
    assert set(rows["a"]) != set(range(10))
