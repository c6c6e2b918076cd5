"""Trials of the monitor on recorded streams, by hand; the study's script draws from their rows."""

import numpy as np
import pytest

from eat_lightning.infer.record import Recorded
from eat_lightning.methods.exit.confidence import Confidence
from experiments.drift.trials import (
    CONTROL,
    RECOVERY,
    SHIFT,
    Stream,
    control_trial,
    recovery_trial,
    shift_trial,
)


def made_of(num: int, seed: int, longer: int = 0) -> Recorded:
    """Two classes, heads at 1 and 2 of 2 layers. The early head is right for 3 of 4, and sure of
    it; the last one always."""
    rng = np.random.default_rng(seed)
    label_B = rng.integers(0, 2, num)
    right_B = rng.random(num) < 0.75
    early_B = np.where(right_B, label_B, 1 - label_B)
    sure_B = rng.uniform(0.5, 4, num)
    tokens_B = rng.integers(4, 20, num) + longer
    return Recorded(
        label_B,
        tokens_B,
        {1: guess(early_B, sure_B), 2: guess(label_B, np.full(num, 3.0))},
        np.stack([tokens_B, tokens_B // 2]),
        Confidence(0.9, [1]),
    )


def guess(class_B: np.ndarray, lead_B: np.ndarray) -> np.ndarray:
    logits_BC = np.zeros((len(class_B), 2), np.float32)
    logits_BC[np.arange(len(class_B)), class_B] = lead_B
    return logits_BC


def stream(name: str, num: int = 800, seed: int = 0, longer: int = 0) -> Stream:
    return Stream.of(name, made_of(num, seed, longer), Confidence(0.9, [1]))


USUAL = stream("reference", 400, 1), stream("dev", 800, 2)


def test_a_stream_by_hand():
    found = stream("dev", 300)
    e = found.examples
    left = e["depth"] == 1
    assert 0.3 < left.mean() < 0.7
    assert (e["full"] == e["label"]).all()
    assert (e["early"][~left] == e["label"][~left]).all()
    tokens_B = np.array([each.tokens for each in found.seen])
    both = (tokens_B + tokens_B // 2) / (2 * tokens_B)
    assert e["cost_full"].to_numpy() == pytest.approx(both)
    assert e["cost_early"].to_numpy() == pytest.approx(np.where(left, 0.5, both))


def test_a_shift_is_answered_at_full_depth_from_its_alarm_on():
    shifted = stream("long", 800, 3, longer=12)
    trial = shift_trial("t", *USUAL, shifted, seed=0, most=600)
    assert (trial.kind, trial.alarms, trial.num_shifted) == (SHIFT, 0, 600)
    assert trial.delay is not None
    assert trial.delay < 100
    assert trial.feature == "tokens"
    assert trial.full_share == pytest.approx((600 - trial.delay) / 600)
    assert trial.accuracy_full == 1
    assert trial.changed_early == pytest.approx(1 - trial.accuracy_early)
    # Errors are left to the examples before the alarm.
    assert (1 - trial.accuracy_watched) * 600 <= trial.delay
    assert trial.accuracy_early < trial.accuracy_watched <= 1
    assert trial.cost_early < trial.cost_watched < trial.cost_full


def test_an_unshifted_stream_raises_no_alarm_and_a_shift_that_goes_is_forgotten():
    calm = control_trial("t", *USUAL, seed=0, num=1500)
    assert (calm.kind, calm.alarms, calm.full_share) == (CONTROL, 0, 0)
    assert control_trial("t", *USUAL, seed=0, num=500, redrawn=True).alarms == 0
    gone = recovery_trial("t", *USUAL, stream("long", 900, 3, longer=12), seed=0)
    assert (gone.kind, gone.feature) == (RECOVERY, "tokens")
    assert 500 < gone.back < 3000
