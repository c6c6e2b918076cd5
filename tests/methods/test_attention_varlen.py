"""The product for variable lengths gets each example's rows; what it does not take is padded."""

import pytest
import torch
import torch.nn.functional as F

from eat_lightning.methods.attention._varlen import begins_of, padded_attention, varlen_attention
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.model.packed import Layout

LENGTHS = [9, 1, 14, 2]


def qkv_and_layout(dtype: torch.dtype) -> tuple[torch.Tensor, Layout]:
    torch.manual_seed(0)
    layout = Layout(torch.tensor(LENGTHS), torch.device("cpu"))
    return torch.randn(sum(LENGTHS), 3, 2, 8).to(dtype), layout


def one_by_one(q, k, v, begins_q, begins_k, max_q, max_k):
    """What varlen_attn promises, in plain words."""
    assert (max_q, max_k) == (max(LENGTHS), max(LENGTHS))
    assert begins_q.dtype == torch.int32
    assert all(part.is_contiguous() for part in (q, k, v))
    mixed = []
    for begin, end in zip(begins_q.tolist()[:-1], begins_q.tolist()[1:], strict=True):
        own = [part[begin:end].transpose(0, 1) for part in (q, k, v)]
        mixed.append(F.scaled_dot_product_attention(*own).transpose(0, 1))
    return torch.cat(mixed)


def test_each_example_sees_itself_alone(monkeypatch: pytest.MonkeyPatch):
    from torch.nn.attention import varlen

    monkeypatch.setattr(varlen, "varlen_attn", one_by_one)
    qkv, layout = qkv_and_layout(torch.bfloat16)
    found = varlen_attention(qkv, layout, 0.0)
    assert found.shape == (26, 2, 8)
    torch.testing.assert_close(found, padded_attention(qkv, layout, 0.0), atol=2e-2, rtol=0)


def test_fp32_and_dropout_go_the_padded_way(monkeypatch: pytest.MonkeyPatch):
    from torch.nn.attention import varlen

    monkeypatch.setattr(varlen, "varlen_attn", None)
    qkv, layout = qkv_and_layout(torch.float32)
    q, k, v = qkv.unbind(1)
    begins = begins_of(layout)
    wanted = one_by_one(*map(torch.Tensor.contiguous, (q, k, v)), begins, begins, 14, 14)
    torch.testing.assert_close(varlen_attention(qkv, layout, 0.0), wanted)
    dropped = varlen_attention(qkv.bfloat16(), layout, 0.5)
    assert dropped.shape == (26, 2, 8)


def test_not_on_a_processor_nor_where_lengths_are_equal():
    _, layout = qkv_and_layout(torch.float32)
    assert Dense().kernel(layout, 1) is None
    layout.device = torch.device("cuda")
    assert Dense().kernel(layout, 1) is varlen_attention
    even = Layout(torch.tensor([4, 4]), torch.device("cpu"))
    even.device = torch.device("cuda")
    assert Dense().kernel(even, 1) is None
