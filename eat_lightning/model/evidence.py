"""Evidence: values from a layer's attention by which a reduction chooses tokens.

A reduction lists the names that it `needs`, and only those are computed; an unknown name is refused
when the encoder is built. All values are in fp32, since in bf16 most scores of a sentence tie. They
have no gradient unless the reduction trains on them (`grad = True`, as LTP does).

Shapes: B examples, L longest length, N packed tokens, D width, H heads, K head width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import SimpleNamespace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.model.packed import Layout

# Evidence that needs the attention of every query, which a fused product does not give.
MATRIX = frozenset({"received", "diagonal"})


class Evidence(SimpleNamespace):
    """Values from the attention of a layer. Only those that the reduction `needs` are set.

    Attributes:
        received_N: the attention that a token receives, summed over queries and averaged over heads
            (PoWER-BERT, Goyal et al. 2020).
        diagonal_N: the part of it that comes from the token itself.
        cls_N: the attention of [CLS] to each token, averaged over heads (EViT, Liang et al. 2022).
        keys_NK: the keys, averaged over heads (ToMe, Bolya et al. 2023).
        value_norm_N: the L2 norm of the values of all heads (ATS, Fayyaz et al. 2022).
    """

    received_N: Float[Tensor, " n"]
    diagonal_N: Float[Tensor, " n"]
    cls_N: Float[Tensor, " n"]
    keys_NK: Float[Tensor, "n k"]
    value_norm_N: Float[Tensor, " n"]

    def take(self, rows_M: Int[Tensor, " m"]) -> Evidence:
        """Return only these rows, in their order."""
        return Evidence(**{name: x.index_select(0, rows_M) for name, x in vars(self).items()})


NAMES = {name.rpartition("_")[0]: name for name in Evidence.__annotations__}


def evidence_faults(needs: Iterable[str]) -> list[str]:
    """Return a line for each name that a reduction needs and that is no evidence."""
    unknown = sorted({*needs} - NAMES.keys())
    known = ", ".join(NAMES)
    return [f"reduction.needs must be among {known}, got {name!r}" for name in unknown]


def gather_evidence(
    layout: Layout,
    q: Float[Tensor, "b h l k"],
    k: Float[Tensor, "b h l k"],
    v: Float[Tensor, "b h l k"],
    mask: Tensor | None,
    needs: frozenset[str],
) -> Evidence:
    """Return the evidence named in `needs`. The whole attention matrix is computed only for
    `received` and `diagonal`."""
    evidence = Evidence()
    if needs & MATRIX:
        weights_BHLL = attention_weights(q, k, mask)
        if not layout.even:
            weights_BHLL = weights_BHLL * layout.real_BL[:, None, :, None]
        mean_BLL = weights_BHLL.mean(1)
        if "received" in needs:
            evidence.received_N = layout.unpad(mean_BLL.sum(1))
        if "diagonal" in needs:
            evidence.diagonal_N = layout.unpad(mean_BLL.diagonal(dim1=1, dim2=2))
    if "cls" in needs:
        row_mask = mask if mask is None or mask.shape[-2] == 1 else mask[..., :1, :]
        weights_BH1L = attention_weights(q[:, :, :1], k, row_mask)
        evidence.cls_N = layout.unpad(weights_BH1L.mean(1)[:, 0])
    if "keys" in needs:
        evidence.keys_NK = layout.unpad(k.float().mean(1))
    if "value_norm" in needs:
        evidence.value_norm_N = layout.unpad(v.float().transpose(1, 2).flatten(2).norm(dim=-1))
    return evidence


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Float[Tensor, "b h q k"]:
    """Return the attention weights, in fp32 even under autocast."""
    with torch.autocast(q.device.type, enabled=False):  # it would multiply in bf16
        scores = (q.float() @ k.float().transpose(-1, -2)) / math.sqrt(q.shape[-1])
        if mask is not None and mask.dtype == torch.bool:
            scores = scores.masked_fill(~mask, float("-inf"))
        elif mask is not None:
            scores = scores + mask.float()
        return scores.softmax(-1)
