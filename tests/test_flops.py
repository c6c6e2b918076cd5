"""FLOPs are those of the executed shapes: torch's own counter agrees, and a person's sum does."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from eat_lightning.attention.dense import Dense
from eat_lightning.attention.longformer import Longformer
from eat_lightning.encoder import AdaptiveEncoder, Shape
from eat_lightning.exit.confidence import Confidence
from eat_lightning.exit.never import Never
from eat_lightning.exit.patience import Patience
from eat_lightning.flops import flops, head_flops, static_flops
from eat_lightning.packed import Batch
from eat_lightning.reduction.cls_topk import ClsTopK
from eat_lightning.reduction.none import Keep
from eat_lightning.reduction.norm_topk import NormTopK
from eat_lightning.reduction.received_topk import ReceivedTopK

SHAPE = Shape(vocab_size=50, hidden_size=32, num_layers=4, num_heads=4, intermediate_size=64)
HEAD = {"layers": [1, 2, 3], "pool": "mean", "activation": "tanh"}


def cpu_attention(q, k, v, *args, out_shape=None, **kwargs):
    return sdpa_flop_count(q, k, v)


# The stock counter drops attention on a CPU (pytorch#195460).
MAPPING = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: cpu_attention}


def counted(encoder: AdaptiveEncoder, batch: Batch) -> int:
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=MAPPING) as counter:
        encoder(batch)
    return counter.get_total_flops()


class WithinLayer(NormTopK):
    place = "after_attention"


def make(attention, reduction, exit, head=HEAD) -> AdaptiveEncoder:
    torch.manual_seed(0)
    encoder = AdaptiveEncoder(SHAPE, 3, attention, reduction, exit, head)
    for weight in encoder.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    return encoder.eval()


@pytest.mark.parametrize("attention", [Dense(), Longformer(window=4)], ids=["dense", "window"])
@pytest.mark.parametrize(
    "reduction",
    [
        Keep(),
        WithinLayer(0.3, [1, 3]),
        *(R(0.3, [1, 3]) for R in (NormTopK, ClsTopK, ReceivedTopK)),
    ],
    ids=["none", "within", "norm", "cls", "received"],
)
@pytest.mark.parametrize(
    "exit",
    [Never(), Confidence(1.0, [2]), Confidence(1e-9, [1, 3]), Patience(1, [1, 2, 3])],
    ids=["never", "stay", "at_1", "patience"],
)
def test_torch_counts_the_same(attention, reduction, exit):
    encoder = make(attention, reduction, exit)
    batch = Batch.from_lists([[3 + i % 40 for i in range(23)]])
    with torch.inference_mode():
        tokens_LB = encoder(batch, leave=False).tokens_LB.numpy()
        depth_B = encoder(batch).depth_B.numpy()
    ours = flops(encoder, exit, tokens_LB, depth_B)
    assert ours == pytest.approx([counted(encoder, batch)], rel=1e-3)


def test_static_body_is_the_same_encoder_with_everything_off():
    encoder = make(Dense(), Keep(), Never(), HEAD | {"activation": None})
    lengths_B = np.array([5, 9])
    tokens_LB, depth_B = np.tile(lengths_B, (4, 1)), np.array([4, 4])
    expected = flops(encoder, encoder.exit, tokens_LB, depth_B)
    assert static_flops(encoder, lengths_B) == pytest.approx(expected)


def test_bert_base_at_128_tokens_is_22_3_gflops():
    with torch.device("meta"):
        shape = Shape(30522, 768, 12, 12, 3072)
        encoder = AdaptiveEncoder(shape, 2, Dense(), Keep(), Never(), {"activation": "tanh"})
    body = static_flops(encoder, np.array([128]))[0] - head_flops(encoder)
    assert body == 12 * 2 * (128 * 768 * (4 * 768 + 2 * 3072) + 2 * 128 * 128 * 768)
    assert body / 1e9 == pytest.approx(22.3, abs=0.06)


def test_counts_differ_by_example():
    encoder = make(Dense(), NormTopK(0.5, [1]), Confidence(0.9, [2]))
    tokens_LB = np.array([[9, 21], [5, 11], [5, 11], [5, 11]])
    one, other = flops(encoder, encoder.exit, tokens_LB, np.array([2, 4]))
    alone = flops(encoder, encoder.exit, tokens_LB[:, 1:], np.array([4]))
    assert one < other == alone[0]
