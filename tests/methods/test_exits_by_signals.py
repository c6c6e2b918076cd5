"""Exit rules that observe a signal: who leaves, what is observed and what is learned, by hand."""

import math
from typing import Any

import pytest
import torch
from helpers.models import alone, method, packed, ragged, tiny, tiny_shape

from eat_lightning.methods.exit.berxit import LearningToExit
from eat_lightning.methods.exit.cap import CertaintyAware, unseen_share
from eat_lightning.methods.exit.cats import MetaConsistency
from eat_lightning.methods.exit.prototype import PrototypeDistance, distance_ratio, harmonic
from eat_lightning.methods.exit.random import Random
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.model.training import Context


@pytest.mark.parametrize(
    ("rule", "signals_EBS", "leaves"),
    [
        (LearningToExit(0.2, [3, 4]), [[[0.3], [0.1], [0.0]], [[0.3], [0.19], [0.21]]], [0, 1, 0]),
        (LearningToExit([0.2, 0.31], [3, 4]), [[[0.3]] * 3, [[0.3], [0.19], [0.21]]], [1, 1, 1]),
        (MetaConsistency(0.8, [3, 4]), [[[0.9]] * 3, [[0.5], [0.79], [0.8]]], [0, 0, 1]),
        (MetaConsistency([0.99, 0.6], [3, 4]), [[[0.9]] * 3, [[0.5], [0.79], [0.8]]], [0, 1, 1]),
        (CertaintyAware(0.33), [[[0.0]]], [0]),  # equal logits and no share: a third
        (CertaintyAware([0.34], [4]), [[[0.0]]], [1]),
        # Equal probabilities: entropy 1. Ratios 1/8 and 7/8: means 2/9 and 14/15.
        (PrototypeDistance(0.23), [[[1.0, 4.0], [4.0, 1.0]]], [1, 0]),
        (PrototypeDistance(0.22), [[[1.0, 4.0], [4.0, 1.0]]], [0, 0]),
        (PrototypeDistance([0.94], [4]), [[[1.0, 4.0], [4.0, 1.0]]], [1, 1]),
        (MetaConsistency(1.0), [[[1.0]]], [0]),  # what saturates does not leave at the strict end
        (Random(0.3, [3, 4]), [[[0.9], [0.9]], [[0.29], [0.31]]], [1, 0]),
    ],
)
def test_who_leaves_by_a_signal(rule: Any, signals_EBS: list, leaves: list[int]):
    """Guesses of two classes say nothing."""
    given_EBS = torch.tensor(signals_EBS)
    logits_EBC = torch.zeros(*given_EBS.shape[:2], 2)
    assert rule.decides(logits_EBC, given_EBS).tolist() == leaves


def test_one_regressor_for_all_exits_trains_into_the_body():
    made = LearningToExit(weight=2.0)
    made.bind(tiny_shape(), [4, 6], 2)
    guesses = {4: torch.tensor([[2.0, 0.0], [2.0, 0.0]]), 6: torch.tensor([[2.0, 0.0], [0.0, 2.0]])}
    signals = {4: torch.tensor([[0.25], [0.5]]), 6: torch.tensor([[0.0], [0.1]])}
    context = Context(guesses, torch.tensor([0, 1]), 6, signals=signals)
    # Wrong: at 4 the second, at 6 none.
    expected = [2 * (0.25**2 + 0), 2 * (0.5**2 + 0.1**2)]
    assert made.penalties(context)["exit_signal"].tolist() == pytest.approx(expected)
    encoder = tiny("dense", "none", "berxit").train()
    trace = encoder(ragged())
    terms = encoder.exit.penalties(
        Context(trace.guesses, torch.tensor([0, 1, 2, 0, 1]), 6, signals=trace.signals)
    )
    terms["exit_signal"].sum().backward()
    assert encoder.exit.regressor.weight.grad.abs().sum() > 0
    assert encoder.layers[0].up.weight.grad.abs().sum() > 0


def test_the_share_by_hand():
    """W sees the first two of three entries; without a bias z' is z."""
    weight_CD = torch.tensor([[2.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    pooled_BD = torch.tensor([[3.0, 0.0, 4.0], [0.0, 5.0, 0.0], [0.0, 0.0, 7.0]])
    found = unseen_share(pooled_BD, weight_CD, torch.zeros(2))
    assert found[:, 0].tolist() == pytest.approx([0.8, 0.0, 1.0], abs=1e-6)
    # b = (6, 0): W^+ b adds 3 to the first entry, (6, 0, 4).
    moved = unseen_share(pooled_BD[:1], weight_CD, torch.tensor([6.0, 0.0]))
    assert moved.item() == pytest.approx(4 / math.sqrt(52))


def test_weights_of_dependent_classes():
    """Two classes with opposite weights see one direction: 4 of 3, 4."""
    weight_CD = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    found = unseen_share(torch.tensor([[3.0, 4.0]]), weight_CD, torch.zeros(2))
    assert found.item() == pytest.approx(0.8)


def test_the_uncertainty_is_the_appended_class():
    logits_EBC, share_EB1 = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[0.5]]])
    expected = math.e / (math.e + math.e + math.e**2)
    value_B = CertaintyAware(alpha=2.0)._value(logits_EBC, share_EB1)
    assert value_B.tolist() == pytest.approx([expected])


def test_it_reads_the_weights_that_the_encoder_has_now():
    """Weights that were loaded after the rule was made count, and a twin reads the same ones."""
    encoder, seen = tiny(exit="cap"), []
    encoder.heads["4"].classes.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        encoder.heads["4"].classes.weight.copy_(torch.eye(3, 16))
        encoder.heads["4"].classes.bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
    for one in (encoder, encoder.replacing(exit=CertaintyAware(0.2, [3, 4]))):
        found_B = one(ragged(), ALL_EXITS).signals[4][:, 0]
        z_BD = seen[-1] + torch.eye(3, 16)[0] - torch.eye(3, 16)[2]  # W^+ b is b itself
        outside_B = (z_BD[:, 3:].square().sum(1) / z_BD.square().sum(1)).sqrt()
        torch.testing.assert_close(found_B, outside_B, atol=1e-5, rtol=1e-5)


def test_it_reads_the_vector_the_class_and_how_sure_it_is():
    made = MetaConsistency(width=1)
    made.bind(tiny_shape(hidden_size=2), [4, 6], 3)
    first, _, last = made.meta["4"]
    with torch.no_grad():
        # Two of the vector, three of the class, largest probability, lead.
        first.weight.copy_(torch.tensor([[1.0, 0.0, 0.0, 0.5, 0.0, 2.0, 4.0]]))
        first.bias.zero_()
        last.weight.fill_(1.0)
        last.bias.zero_()
    logits_BC = torch.tensor([[0.1, 0.5, 0.4]]).log()
    (read,) = made.observe(packed([[0.0, 0.0]], [1]), torch.tensor([[0.3, 9.0]]), logits_BC, 4)
    expected = 1 / (1 + math.exp(-math.tanh(0.3 + 0.5 + 2 * 0.5 + 4 * 0.1)))
    assert read.tolist() == pytest.approx([expected])


def test_it_learns_to_agree_with_the_last_layer_whatever_the_label():
    made = MetaConsistency(weight=2.0)
    one, other = [2.0, 0.0], [0.0, 2.0]
    last_BC = torch.tensor([one, one])
    guesses = {4: torch.tensor([one, other]), 6: last_BC}
    signals = {4: torch.tensor([[0.9], [0.25]]), 6: torch.tensor([[0.1], [0.1]])}
    context = Context(guesses, torch.tensor([1, 1]), 6, signals=signals, full_BC=last_BC)
    expected = [-2 * math.log(0.9), -2 * math.log(0.75)]
    assert made.penalties(context)["exit_signal"].tolist() == pytest.approx(expected)


def test_only_the_classifiers_learn_by_it():
    encoder = tiny("dense", "none", "cats").train()
    trace = encoder(ragged())
    context = Context(
        trace.guesses, torch.zeros(5).long(), 6, signals=trace.signals, full_BC=trace.guesses[6]
    )
    encoder.exit.penalties(context)["exit_signal"].sum().backward()
    moved = {name for name, p in encoder.named_parameters() if p.grad is not None}
    assert moved == {f"exit.meta.{k}.{i}.{p}" for k in (3, 4) for i in (0, 2) for p in NAMES}


NAMES = ("weight", "bias")


def test_the_ratio_by_hand():
    """Own 1 and nearest other 4; own 4 and other 1; on the own prototype; half-way."""
    distance_BC = torch.tensor([[1.0, 4.0, 9.0], [4.0, 1.0, 9.0], [0.0, 3.0, 3.0], [2.0, 2.0, 5.0]])
    ratio_B = distance_ratio(distance_BC, torch.zeros(4).long())
    assert ratio_B.tolist() == pytest.approx([1 / 8, 7 / 8, 0, 1 / 2])


def test_the_mean_by_hand():
    ratio_B, entropy_B = torch.tensor([0.25, 0.25, 0.0, 0.0]), torch.tensor([0.5, 1.0, 0.5, 0.0])
    once, twice = (harmonic(ratio_B, entropy_B, share).tolist() for share in (1.0, 2.0))
    assert once == pytest.approx([2 / (4 + 2), 2 / (4 + 1), 0, 0])
    assert twice == pytest.approx([3 / (8 + 2), 3 / (8 + 1), 0, 0])


def test_distances_in_the_space_of_the_layer():
    made = PrototypeDistance(width=2)
    made.bind(tiny_shape(hidden_size=2), [4, 6], 2)
    with torch.no_grad():
        made.space["4"].weight.copy_(torch.eye(2))
        made.space["4"].bias.zero_()
        made.prototypes["4"].copy_(torch.tensor([[0.0, 0.0], [3.0, 0.0]]))
    at_BD = torch.tensor([[3.0, 4.0]])
    found = made.observe(packed([[0.0, 0.0]], [1]), at_BD, torch.zeros(1, 2), 4)
    assert found.tolist() == [pytest.approx([5.0, 4.0])]


def test_the_space_learns_to_bring_examples_to_their_prototype():
    made = PrototypeDistance(weight=2.0, pull=0.1)
    context = Context(
        {4: torch.zeros(1, 2)}, torch.tensor([0]), 6, signals={4: torch.tensor([[1.0, 2.0]])}
    )
    expected = 2 * (math.log(1 + math.exp(1 - 4)) + 0.1 * 1)
    assert made.penalties(context)["exit_signal"].tolist() == pytest.approx([expected])
    encoder = tiny("dense", "none", "prototype").train()
    trace = encoder(ragged())
    context = Context(trace.guesses, torch.arange(5) % 3, 6, signals=trace.signals)
    encoder.exit.penalties(context)["exit_signal"].sum().backward()
    for learned in (encoder.exit.prototypes["3"], encoder.layers[0].up.weight):
        assert learned.grad.abs().sum() > 0


def draws(encoder, batch) -> dict[int, torch.Tensor]:
    return {k: s_BS[:, 0] for k, s_BS in encoder(batch, ALL_EXITS).signals.items()}


def test_draws_are_uniform_and_of_their_own_at_each_exit():
    encoder, batch = tiny(exit="random", num_layers=6), ragged((7,) * 600)
    found = torch.stack([*draws(encoder, batch).values()])  # at 3, 4 and 6
    counts = torch.stack([torch.histc(each, 4, 0, 1) for each in found])
    assert ((counts - 150).abs() < 45).all()  # four standard deviations are 42
    assert torch.corrcoef(found).fill_diagonal_(0).abs().max() < 0.15
    assert len(found[0].unique()) > 590


def test_an_example_has_its_luck_alone_and_pruned_and_with_another_seed_another():
    batch = ragged()
    encoder = tiny(exit="random")
    together = draws(encoder, batch)[4]
    assert [float(draws(encoder, one)[4]) for one in alone(batch)] == together.tolist()
    pruned = tiny("dense", "norm_topk", "random")
    assert torch.equal(draws(pruned, batch)[4], together)
    encoder = encoder.replacing(exit=method("exit", "random", seed=1))
    assert not torch.equal(draws(encoder, batch)[4], together)


def test_everybody_leaves_there_whatever_they_say():
    encoder, batch = tiny(exit="fixed"), ragged()
    trace = encoder(batch)
    assert trace.depth_B.tolist() == [4] * 5
    assert (trace.tokens_LB[4:] == 0).all()
    whole = encoder(batch, ALL_EXITS)
    torch.testing.assert_close(trace.logits_BC, whole.guesses[4])
