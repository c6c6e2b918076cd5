"""Heads that are no pooled vector and a classifier: FastBERT's, GPFEE's and shared ones."""

import math

import pytest
import torch
from helpers.models import packed, ragged, tiny

from eat_lightning.answer_kind import SingleLabel
from eat_lightning.methods.head.attention import AttentionHead
from eat_lightning.methods.head.past_future import PastFuture
from eat_lightning.model.packed import Packed
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.model.training import Context


class Sizes:
    hidden_size, dropout, biases = 1, 0.0, True


def fastberts(pool: str = "cls") -> AttentionHead:
    """Width 1, all maps the identity: narrow and out are tanh, scores are products."""
    head = AttentionHead(pool, width=1, num_heads=1)
    head.bind(Sizes(), [3, 6], 2)
    with torch.no_grad():
        for linear in (head.narrow, head.qkv, head.mix, head.out):
            linear.weight.fill_(1.0)
            linear.bias.zero_()
        head.classes.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        head.classes.bias.zero_()
    return head.eval()


def guessed(head: AttentionHead, rows: Packed) -> torch.Tensor:
    return head.guess(head.pooled(rows))


def seen(rows: list[float]) -> torch.Tensor:
    """What each row gets of all rows."""
    narrow = torch.tanh(torch.tensor(rows))
    return torch.softmax(narrow[:, None] * narrow[None], 1) @ narrow


def test_cls_sees_all_rows_of_its_example():
    found = guessed(fastberts(), packed([[0.5], [1.0], [-2.0], [3.0], [0.1]], [3, 2]))
    for i, rows in enumerate(([0.5, 1.0, -2.0], [3.0, 0.1])):
        pooled = torch.tanh(seen(rows)[0])
        torch.testing.assert_close(found[i], torch.stack([pooled, -pooled]))


def test_mean_is_that_of_the_attended_rows():
    found = guessed(fastberts("mean"), packed([[0.5], [1.0], [-2.0]], [3]))
    torch.testing.assert_close(found[0, 0], torch.tanh(seen([0.5, 1.0, -2.0]).mean()))


def test_a_key_weighs_as_much_as_the_tokens_it_stands_for():
    rows = packed([[0.5], [1.0], [1.0]], [3])
    merged = packed([[0.5], [1.0]], [2])
    merged.weight_N = torch.log(torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(guessed(fastberts(), merged), guessed(fastberts(), rows))


def gpfees(imitation: float = 1.0) -> dict[int, PastFuture]:
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
    first, second, last = gpfees().values()
    own, before = torch.tensor([[0.1]]), torch.tensor([[0.2]])
    ahead = 3 * math.tanh(10 * 0.1) + 5 * math.tanh(20 * 0.1)
    assert first.guess(own, []).item() == pytest.approx(2 * 0.1 + ahead)  # a gate of 1/2
    past, future = 2 * 0.2 + 3 * 0.1, 5 * math.tanh(20 * 0.1)
    assert second.guess(own, [before]).item() == pytest.approx(1.5 * past + 0.5 * future)
    found = last.guess(own, [before, before])
    assert found.item() == pytest.approx(2 * 0.2 + 3 * 0.2 + 5 * 0.1)


def test_earlier_exits_get_no_gradient_of_a_later_guess():
    _, second, _ = gpfees().values()
    own = torch.tensor([[0.1]], requires_grad=True)
    before = torch.tensor([[0.2]], requires_grad=True)
    second.guess(own, [before]).sum().backward()
    assert before.grad is None
    assert own.grad is not None


def test_imitation_is_learned_from_detached_vectors():
    heads = gpfees(imitation=0.5)
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


def encoder_with(**head):
    return tiny(exit="confidence", head={"kind": "shared", **head})


def names(encoder) -> set[str]:
    return {name.rpartition(".")[0] for name, _ in encoder.heads.named_parameters()}


def test_all_exits_have_the_last_ones_parameters():
    encoder = encoder_with()
    assert names(encoder) == {"6.dense", "6.classes"}
    with torch.no_grad():
        encoder.heads["6"].classes.weight.zero_()
        encoder.heads["6"].classes.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    guesses = encoder(ragged(), ALL_EXITS).guesses
    for layer in (3, 4, 6):
        assert (guesses[layer] == torch.tensor([1.0, 2.0, 3.0])).all()


def test_with_classes_of_their_own_only_the_pooler_is_shared():
    encoder = encoder_with(separate_classes=True)
    assert names(encoder) == {"6.dense", "3.classes", "4.classes", "6.classes"}
    assert encoder.heads["3"].dense is encoder.heads["6"].dense
