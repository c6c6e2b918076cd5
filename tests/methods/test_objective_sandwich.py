"""The sandwich: largest on labels, smallest and random ones on the largest's answer."""

import math

import pytest
import torch
from helpers.models import kinds, method, ragged, tiny

from eat_lightning.methods.objective.sandwich import Sandwich
from eat_lightning.model.training import Context

EVEN, TILTED = [0.0, 0.0], [math.log(3.0), 0.0]
VARIED = [k for k in kinds("reduction") if not Sandwich().fits(method("reduction", k))]


def guesses(at_4: list[float], at_6: list[float]) -> dict[int, torch.Tensor]:
    return {k: torch.tensor([x], requires_grad=True) for k, x in ((4, at_4), (6, at_6))}


def test_by_hand():
    """The largest answers 3/4 1/4; the smallest 1/2 1/2 twice, the random one agrees twice."""
    largest, smallest, between = guesses(EVEN, TILTED), guesses(EVEN, EVEN), guesses(TILTED, TILTED)
    context = Context(smallest, torch.tensor([0]), 6, passes=[largest, between])
    found = Sandwich(num_random=1)(context)
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    labelled = math.log(2) + math.log(4 / 3)
    assert found.parts["inplace_4"].item() == pytest.approx(divergence)
    assert found.total.item() == pytest.approx((labelled + 2 * divergence) / 3)
    found.total.backward()
    # The target has no gradient of divergence: cross-entropy's alone, probability - label.
    torch.testing.assert_close(largest[6].grad, torch.tensor([[-0.25, 0.25]]) / 3)


def test_as_released_the_divergence_is_the_other_way_round():
    largest, smallest = guesses(EVEN, TILTED), guesses(EVEN, EVEN)
    context = Context(smallest, torch.tensor([0]), 6, passes=[largest])
    found = Sandwich(num_random=0, released=True)(context)
    divergence = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert found.parts["inplace_6"].item() == pytest.approx(divergence)
    found.total.backward()
    assert smallest[6].grad.abs().sum() > 0


@pytest.mark.parametrize("kind", VARIED)
def test_sub_models_lie_between_everything_and_the_reduction_as_set(kind: str):
    encoder = tiny("dense", kind).train()
    torch.manual_seed(3)
    largest, *between = Sandwich(num_random=3).passes(0, encoder)
    own, name = encoder.reduction, encoder.reduction.knob.name
    strict = own.knob.strict
    assert getattr(largest.reduction, name) == strict
    point = getattr(own, name)
    points = point if isinstance(point, list) else [point] * len(own.layers)
    for drawn in between:
        found = getattr(drawn.reduction, name)
        assert isinstance(found, list) == (name in ("ratio", "samples"))
        found = found if isinstance(found, list) else [found] * len(points)
        for low, x, high in zip([strict] * len(points), found, points, strict=True):
            assert min(low, high) <= x <= max(low, high)
        assert encoder.replacing(reduction=drawn.reduction)(ragged()).guesses[6].isfinite().all()
    assert getattr(between[0].reduction, name) != getattr(between[1].reduction, name)


def test_the_largest_reduces_nothing_and_draws_are_repeatable():
    encoder = tiny("dense", "norm_topk").train()
    drawn = []
    for _ in range(2):
        torch.manual_seed(1)
        drawn.append(Sandwich(layer_drop=0.5).passes(7, encoder))
    largest, first, second = drawn[0]
    again = drawn[1]
    trace = encoder.replacing(reduction=largest.reduction)(ragged())
    assert (trace.tokens_LB == ragged().lengths_B).all()
    assert largest.skips == frozenset()
    assert first.skips | second.skips
    assert [p.skips for p in drawn[0]] == [p.skips for p in again]
    assert first.reduction.ratio == again[1].reduction.ratio
