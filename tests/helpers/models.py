"""Small encoders, batches and the methods that exist, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import torch

from eat_lightning.model.contracts import Attention, ExitRule, overrides
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch, Layout, Packed
from eat_lightning.model.specification import build, registry
from eat_lightning.new.toy import VOCAB, alone, ragged, spread, tiny_encoder, tiny_shape

__all__ = ["VOCAB", "alone", "ragged", "spread", "tiny_shape"]  # for tests, beside what is here
SETTINGS: dict[str, dict[str, Any]] = {  # so that a tiny encoder meets each method at work
    "longformer": {"window": 4},
    "bigbird": {"block": 2, "random": 1},
    "linformer": {"rank": 8},
    "nystrom": {"landmarks": 4, "conv": 7},
    "performer": {"features": 8},
    "reformer": {"bucket": 4, "rounds": 2},
    "norm_topk": {"ratio": 0.4, "layers": [2, 4]},
    "received_topk": {"ratio": 0.4, "layers": [2, 4]},
    "cls_topk": {"ratio": 0.4, "layers": [2, 4]},
    "confidence": {"tau": [0.6, 0.53], "layers": [3, 4]},
    "patience": {"patience": 1, "layers": [2, 3, 4]},
    "fixed": {"layer": 4},
    "berxit": {"threshold": [0.175, 0.825], "layers": [3, 4]},
    "entropy": {"entropy": [0.75, 0.9], "layers": [3, 4]},
    "margin": {"lead": [0.3, 0.15], "layers": [3, 4]},
    "fpabee": {"divergence": [0.0, 0.01, 0.03], "layers": [2, 3, 4]},
    "pcee": {"uncertainty": 0.6, "patience": 2, "layers": [2, 3, 4]},
    "vote": {"votes": 3, "layers": [2, 3, 4]},
    "beem": {"alpha": [0.17, 0.4, 0.5], "layers": [2, 3, 4]},
    "cats": {"consistency": [0.9, 0.75], "layers": [3, 4]},
    "cap": {"cap": [0.2, 0.25], "layers": [3, 4]},
    "prototype": {"edr": [0.55, 0.62], "layers": [3, 4]},
    "every_label": {"tau": [0.6, 0.53], "layers": [3, 4]},
    "fpabee_labels": {"divergence": [0.0, 0.05, 0.1], "layers": [2, 3, 4]},
    "predicted_error": {"bound": [0.2, 0.5], "layers": [3, 4]},
    "exit/random": {"rate": [0.4, 0.5], "layers": [3, 4]},
    "head/attention": {"width": 8},  # as wide as the encoder: sums stay small beside rounding
    "ltp": {"layers": [2, 4], "final": 0.6},
    "power_bert": {"layers": [2, 4]},
    "tome": {"ratio": 0.3, "layers": [1, 2, 4]},
    "first": {"ratio": 0.4, "layers": [2, 4]},
    "reduction/random": {"ratio": 0.4, "layers": [2, 4]},
    "spatten": {"ratio": 0.2, "layers": [1, 2, 4]},
    "ats": {"samples": 0.6, "layers": [2, 4], "least": 3},
    "mean_pool": {"ratio": 0.5, "layers": [2, 4]},
    "lengthdrop": {"ratio": [0.2, 0.4], "layers": [2, 4]},
    "transkimmer": {"layers": [0, 2], "margin": 1.0},
    "min_retention": {"share": 0.7, "sources": ["mail*"], "mimes": ["image/*"]},
    "veto": {"margin": 0.5},
    "per_source": {"taus": {"mail": 0.7, "web": 0.55}},
    "full_depth": {"sources": ["mail"]},
}


def kinds(slot: str) -> list[str]:
    """The methods that lie in a slot's folder."""
    return sorted(registry(slot))


def settings_of(slot: str, kind: str) -> dict[str, Any]:
    return SETTINGS.get(f"{slot}/{kind}", SETTINGS.get(kind, {}))


def method(slot: str, kind: str, **changes: Any) -> Any:
    return build(slot, {"kind": kind} | settings_of(slot, kind) | changes)


def portable(slot: str) -> list[str]:
    """The methods of a slot that an export can hold."""
    found = {kind: method(slot, kind) for kind in kinds(slot)}
    if slot == "exit":  # no graph has signals
        found = {kind: m for kind, m in found.items() if not overrides(m, ExitRule.observe)}
    return [kind for kind, made in found.items() if not made.export_blockers()]


def has_mask(kind: str) -> bool:
    """Whether `sees` says what an attention does; else there is no place for a relative bias."""
    return not method("attention", kind).approximate


def combined(*choices: Iterable[Any]) -> list[tuple[Any, ...]]:
    """One of each of three shelves (none: attentions, reductions and exit rules), so that every
    pair of choices is met: the shortest shelf goes round along the diagonals of the other two."""
    shelves = [list(c) for c in choices or map(kinds, ("attention", "reduction", "exit"))]
    short = min(range(3), key=lambda k: len(shelves[k]))
    one, two = (k for k in range(3) if k != short)
    found = []
    for (i, x), (j, y) in product(enumerate(shelves[one]), enumerate(shelves[two])):
        z = shelves[short][(i + j) % len(shelves[short])]
        found.append(tuple({one: x, two: y, short: z}[k] for k in range(3)))
    return found


def each_once(*choices: Iterable[Any]) -> list[tuple[Any, ...]]:
    """As few combinations as meet every choice of every shelf: for what takes seconds."""
    shelves = [list(choice) for choice in choices]
    longest = max(map(len, shelves))
    return [tuple(shelf[i % len(shelf)] for shelf in shelves) for i in range(longest)]


def tiny(
    attention: str = "dense",
    reduction: str = "none",
    exit: str = "never",
    num_labels: int = 3,
    head: dict[str, Any] | None = None,
    **changes: Any,
) -> AdaptiveEncoder:
    """An encoder in evaluation mode, its heads where the exit rule looks."""
    slots = {"attention": attention, "reduction": reduction, "exit": exit}
    methods = {slot: method(slot, kind) for slot, kind in slots.items()}
    return tiny_encoder(**methods, num_labels=num_labels, head=head, **changes)


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


class Nearest(Attention):
    """A pattern of a user's own: everybody sees [CLS] and `half_window` neighbours to the left."""

    def __init__(self, half_window: int = 1):
        self.half_window = half_window

    @classmethod
    def faults(cls, num_layers: int | None, half_window: int = 1) -> list[str]:
        return (
            [] if half_window > 0 else [f"attention.half_window must be above 0, got {half_window}"]
        )

    def sees(self, q, k):
        return ((q.index >= k.index) & (q.index - k.index <= self.half_window)) | (k.index == 0)

    def sees_all(self, longest: int, layer: int) -> bool:
        return longest == 1
