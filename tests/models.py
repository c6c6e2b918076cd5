"""Small encoders, batches and the methods that exist, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

import eat_lightning
from eat_lightning.model.contracts import build, home
from eat_lightning.model.encoder import AdaptiveEncoder, Shape
from eat_lightning.model.packed import Batch, Layout, Packed

PACKAGE = Path(eat_lightning.__file__).parent
SETTINGS: dict[str, dict[str, Any]] = {  # so that a tiny encoder meets each method at work
    "longformer": {"window": 4},
    "bigbird": {"block": 2, "random": 1},
    "linformer": {"rank": 4},
    "nystrom": {"landmarks": 4, "conv": 3},
    "performer": {"features": 8},
    "reformer": {"bucket": 4, "rounds": 2},
    "norm_topk": {"ratio": 0.4, "layers": [2, 4]},
    "received_topk": {"ratio": 0.4, "layers": [2, 4]},
    "cls_topk": {"ratio": 0.4, "layers": [2, 4]},
    "confidence": {"tau": [0.6, 0.53], "layers": [3, 4]},
    "patience": {"patience": 1, "layers": [2, 3, 4]},
    "fixed": {"layer": 4},
    "berxit": {"threshold": [0.175, 0.825], "layers": [3, 4]},
    "ltp": {"layers": [2, 4], "final": 0.6},
    "power_bert": {"layers": [2, 4]},
    "tome": {"ratio": 0.3, "layers": [1, 2, 4]},
    "min_retention": {"share": 0.7, "sources": ["mail*"], "mimes": ["image/*"]},
    "veto": {"margin": 0.5},
    "per_source": {"taus": {"mail": 0.7, "web": 0.55}},
    "full_depth": {"sources": ["mail"]},
}
VOCAB, SEP = 50, 3


def kinds(slot: str) -> list[str]:
    """The methods that lie in a slot's folder."""
    return sorted(
        path.stem for path in (PACKAGE.parent / home(slot).replace(".", "/")).glob("[!_]*.py")
    )


def method(slot: str, kind: str, **changes: Any) -> Any:
    return build(slot, {"kind": kind} | SETTINGS.get(kind, {}) | changes)


def portable(slot: str) -> list[str]:
    """The methods of a slot that an export can hold."""
    return [kind for kind in kinds(slot) if not hasattr(method(slot, kind), "lost_in_export")]


def tiny_shape(**changes: Any) -> Shape:
    sizes: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": 16,
        "num_layers": 6,
        "num_heads": 4,
        "intermediate_size": 24,
        "max_positions": 40,
        "sep_token_id": SEP,
    }
    return Shape(**(sizes | changes))


def spread(model: nn.Module, seed: int = 2) -> nn.Module:
    """Weights that tell examples apart: with equal LayerNorm gammas all norms tie, and pruning is
    rounding noise; with small matrices all examples leave together."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            bias = 0.4 if "norm" in name.lower() else 0.05
            weight.add_((bias if weight.ndim == 1 else 0.5) * noise)
    return model


def tiny(
    attention: str = "dense",
    reduction: str = "none",
    exit: str = "never",
    num_labels: int = 3,
    head: dict[str, Any] | None = None,
    **changes: Any,
) -> AdaptiveEncoder:
    """An encoder in evaluation mode, its heads where the exit rule looks."""
    rule = method("exit", exit)
    torch.manual_seed(0)
    encoder = AdaptiveEncoder(
        tiny_shape(**changes),
        num_labels,
        method("attention", attention),
        method("reduction", reduction),
        rule,
        {"layers": list(rule.layers)} | (head or {}),
    )
    spread(encoder)
    if hasattr(encoder.reduction, "after_step"):  # learned values back within their bounds
        encoder.reduction.after_step()
    return encoder.eval()


def ragged(lengths: list[int] | tuple[int, ...] = (9, 1, 14, 2, 7), seed: int = 0) -> Batch:
    """Examples that start with [CLS] (2) and, where there is room, end with [SEP]."""
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(5, VOCAB, (n,), generator=generator).tolist() for n in lengths]
    ids = [([2, *example[1:-1], SEP] if len(example) > 1 else [2]) for example in ids]
    types = [[int(i > len(example) // 2) for i in range(len(example))] for example in ids]
    return Batch.from_lists(ids, types)


def alone(batch: Batch) -> list[Batch]:
    """Each example as a batch of one."""
    lengths = batch.lengths_B.tolist()
    parts = zip(batch.ids_N.split(lengths), batch.types_N.split(lengths), strict=True)
    return [Batch.from_lists([ids.tolist()], [types.tolist()]) for ids, types in parts]


def padded(batch: Batch, pad: int = 0, left: bool = False) -> dict[str, torch.Tensor]:
    """The same examples as Hugging Face wants them."""
    size, longest = batch.size, int(batch.lengths_B.max())
    ids, types, mask = (torch.zeros(size, longest, dtype=torch.int64) for _ in range(3))
    ids += pad
    for i, one in enumerate(alone(batch)):
        n = len(one.ids_N)
        place = slice(longest - n, longest) if left else slice(0, n)
        ids[i, place], types[i, place], mask[i, place] = one.ids_N, one.types_N, 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def packed(rows: list[list[float]], lengths: list[int], strength: float = 1.0) -> Packed:
    """Vectors given row by row; the last token of an example is its [SEP]."""
    layout = Layout(torch.tensor(lengths), torch.device("cpu"))
    last_N = layout.index_N == torch.tensor(lengths)[layout.segment_N] - 1
    return Packed(
        x_ND=torch.tensor(rows, dtype=torch.float32),
        layout=layout,
        position_N=layout.index_N,
        special_N=last_N | (layout.index_N == 0),
        strength_B=torch.full((len(lengths),), strength, dtype=torch.float64),
    )
