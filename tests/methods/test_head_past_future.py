"""GPFEE: a head that sees the exits before it and imitates those to come."""

import math

import pytest
import torch
from helpers.models import ragged, tiny

from eat_lightning.answer_kind import SingleLabel
from eat_lightning.methods.head.past_future import PastFuture
from eat_lightning.model.training import Context


class Sizes:
    hidden_size, dropout, biases = 1, 0.0, True


def by_hand(imitation: float = 1.0) -> dict[int, PastFuture]:
    """Three exits of width 1: classes of 2, 3 and 5, imitations tanh(10 x), tanh(20 x)."""
    heads = {k: PastFuture(activation=None, imitation=imitation) for k in (2, 3, 6)}
    for layer, head in heads.items():
        head.bind(Sizes(), [*heads], 1)
        head.join(layer, heads)
    with torch.no_grad():
        for head, classes, ahead in zip(heads.values(), (2.0, 3.0, 5.0), (9, 10, 20), strict=True):
            for linear in (head.classes, head.imitate, head.gate, head.gate_out):
                linear.weight.zero_()
                linear.bias.zero_()
            head.classes.weight.fill_(classes)
            head.imitate.weight.fill_(float(ahead))
        heads[3].gate_out.bias.fill_(math.log(3.0))  # a gate of 3/4
    return heads


def test_past_is_known_and_future_imitated():
    first, second, last = by_hand().values()
    own, before = torch.tensor([[0.1]]), torch.tensor([[0.2]])
    ahead = 3 * math.tanh(10 * 0.1) + 5 * math.tanh(20 * 0.1)
    assert first.guess(own, []).item() == pytest.approx(2 * 0.1 + ahead)  # a gate of 1/2
    past, future = 2 * 0.2 + 3 * 0.1, 5 * math.tanh(20 * 0.1)
    assert second.guess(own, [before]).item() == pytest.approx(1.5 * past + 0.5 * future)
    found = last.guess(own, [before, before])
    assert found.item() == pytest.approx(2 * 0.2 + 3 * 0.2 + 5 * 0.1)


def test_earlier_exits_get_no_gradient_of_a_later_guess():
    _, second, _ = by_hand().values()
    own = torch.tensor([[0.1]], requires_grad=True)
    before = torch.tensor([[0.2]], requires_grad=True)
    second.guess(own, [before]).sum().backward()
    assert before.grad is None
    assert own.grad is not None


def test_imitation_is_learned_from_detached_vectors():
    heads = by_hand(imitation=0.5)
    pools = {k: torch.tensor([[0.1], [-0.1]], requires_grad=True) for k in (2, 3)}
    pools[6] = torch.tensor([[0.1], [0.1]], requires_grad=True)
    context = Context({}, torch.tensor([0, 0]), 6, pools=pools, kind=SingleLabel(2))
    assert heads[2].penalties(context) == heads[3].penalties(context) == {}
    term_B = heads[6].penalties(context)["imitation"]
    # In one dimension a cosine is a sign: 2 -> 3 agrees, 2 -> 6 and 3 -> 6 not for the second.
    torch.testing.assert_close(term_B, torch.tensor([0.0, 0.5 * 4 / 3]))
    term_B.sum().backward()
    assert pools[6].grad is None
    assert heads[6].imitate.weight.grad is not None
    assert heads[2].imitate.weight.grad is None  # nobody comes before the first


def test_each_head_sees_those_that_an_exit_rule_does_not_ask():
    encoder = tiny(exit="confidence", head={"kind": "past_future", "layers": "all"})
    assert encoder.exit.layers == [3, 4]
    trace = encoder(ragged())
    assert {1, 2, 3} <= trace.guesses.keys()
    assert set(trace.depth_B.tolist()) <= {3, 4, 6}
    assert [*trace.inside.pools][:3] == [1, 2, 3]
