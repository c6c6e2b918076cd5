"""FastBERT's student classifier: a head with an attention of its own."""

import torch
from helpers.models import packed

from eat_lightning.methods.head.attention import AttentionHead
from eat_lightning.model.packed import Packed


class Sizes:
    hidden_size, dropout = 1, 0.0


def by_hand(pool: str = "cls") -> AttentionHead:
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
    found = guessed(by_hand(), packed([[0.5], [1.0], [-2.0], [3.0], [0.1]], [3, 2]))
    for i, rows in enumerate(([0.5, 1.0, -2.0], [3.0, 0.1])):
        pooled = torch.tanh(seen(rows)[0])
        torch.testing.assert_close(found[i], torch.stack([pooled, -pooled]))


def test_mean_is_that_of_the_attended_rows():
    found = guessed(by_hand("mean"), packed([[0.5], [1.0], [-2.0]], [3]))
    torch.testing.assert_close(found[0, 0], torch.tanh(seen([0.5, 1.0, -2.0]).mean()))


def test_a_key_weighs_as_much_as_the_tokens_it_stands_for():
    rows = packed([[0.5], [1.0], [1.0]], [3])
    merged = packed([[0.5], [1.0]], [2])
    merged.weight_N = torch.log(torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(guessed(by_hand(), merged), guessed(by_hand(), rows))
