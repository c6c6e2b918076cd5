"""A least retention for chosen examples, by hand."""

import pytest
from models import ragged, tiny

from eat_lightning.methods.policy.min_retention import MinRetention, gentlest

LONG = (21, 21, 21)


@pytest.mark.parametrize(
    ("share", "ratios", "strength"),
    [
        (0.81, [0.2, 0.2], 0.5),  # 0.9 x 0.9
        (0.72, [0.2, 0.4], 0.5),  # 0.9 x 0.8
        (0.5, [0.3], 1.0),  # 0.7 is more than asked for
        (1.0, [0.3], 0.0),
        (0.9, [], 1.0),
        (0.9, None, 0.0),
    ],
)
def test_the_gentlest_strength(share: float, ratios: list[float] | None, strength: float):
    assert gentlest(share, ratios) == pytest.approx(strength, abs=1e-9)


def test_tokens_by_hand():
    """0.81 of 21 at ratio 0.4 in two layers: strength 0.25, so 2 of 20 go, then 1 of 18."""
    encoder, batch = tiny("dense", "norm_topk"), ragged(LONG)
    encoder.policies = (MinRetention(0.81, sources=["mail"], mimes=["image/*"]),)
    batch.about = [{"source": "mail"}, {"source": "web"}, {"mime": "Image/PNG; q=1"}]
    tokens = encoder(batch).tokens_LB.T.tolist()
    assert tokens == [[21, 21, 19, 19, 18, 18], [21, 21, 13, 13, 9, 9], [21, 21, 19, 19, 18, 18]]


@pytest.mark.parametrize("share", [0.5, 0.66, 0.8, 0.95])
def test_nobody_keeps_less(share: float):
    encoder = tiny("dense", "norm_topk")
    encoder.policies = (MinRetention(share),)
    retention_B = encoder(ragged(tuple(range(1, 39)))).retention_B
    assert (retention_B >= share).all()
    assert share > 0.9 or (retention_B < 1).any()


def test_the_models_own_strength_is_not_raised():
    encoder, batch = tiny("dense", "norm_topk"), ragged(LONG)
    encoder.strength.fill_(0.125)  # 0.05 of 20, then of 19
    encoder.policies = (MinRetention(0.81),)
    assert encoder(batch).tokens_LB[:, 0].tolist() == [21, 21, 20, 20, 20, 20]
