"""Traceable stretches of an encoder between its exits, built from encoder.py's own functions.

Shapes: B examples, L longest length (of `tokens_LB`: layers), N packed tokens, D width, C classes,
E exits so far, M rows kept. Sizes are symbolic; tracing never reads their values.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from eat_lightning.methods.exit._points import ByPoint, decided_at, point_tensor
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.contracts import (
    Attention,
    ExitRule,
    Kernel,
    Policy,
    Where,
    only_open,
)
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.evidence import NAMES, Evidence
from eat_lightning.model.layer import replace_part, sharing
from eat_lightning.model.packed import Batch, Layout, Packed
from eat_lightning.model.reason import FIRST_REASON, coded
from eat_lightning.model.specification import MODEL_SLOTS

EVIDENCE = [*NAMES.values()]
POINT = "point"  # name of the weight with which an exit compares


class Lost(Exception):
    """Error: a reduction's result would not reach the next stretch."""


class OpenLayout(Layout):
    """A layout with symbolic sizes.

    Args:
        alone: for one example, which needs no padding and no mask.
    """

    def __init__(self, lengths_B: Tensor, num_tokens: Any, alone: bool):
        self.lengths_B, self.device, self.even = lengths_B, lengths_B.device, alone
        self.num_tokens, self.cache = num_tokens, {}
        self.size: Any = 1 if alone else lengths_B.shape[0]
        self.longest: Any = num_tokens if alone else lengths_B.max().item()
        # For the tracer, which must know whether this size broadcasts; the graph takes a 1 too.
        torch._check(self.longest >= 2)
        torch._check(num_tokens >= 1)  # an operation may ask whether there are none (RoPE's roll)

    def longest_of(self, lengths_B: Tensor) -> None:
        return None

    def holds(self, lengths_B: Tensor) -> bool:
        return False  # not known before the graph runs; to take every row changes nothing

    def check_rows(self, must: str, given: Tensor) -> None:
        """Skip the check: shapes were compared when the encoder ran, and are symbolic here."""

    def rows_at(self, stays_BL: Tensor, lengths_B: Tensor) -> Tensor:
        return torch.nonzero(self.unpad(stays_BL)).flatten()

    def after(self, rows_M: Tensor, lengths_B: Tensor) -> Layout:
        return OpenLayout(lengths_B, rows_M.shape[0], alone=self.even)

    def means(self, x_ND: Tensor, weight_N: Tensor, place_N: Tensor, num_places: int) -> Tensor:
        if not self.even:
            return super().means(x_ND, weight_N, place_N, num_places)
        # One product of weights that all exits share, if no reduction drops tokens.
        weight_MN = weight_N * (place_N == torch.arange(num_places)[:, None])
        count_M1 = weight_MN.sum(1, keepdim=True)
        return weight_MN / torch.where(count_M1 > 0, count_M1, 1) @ x_ND

    @cached_property
    def segment_N(self) -> Tensor:
        row_N = torch.arange(self.num_tokens)
        if self.even:
            return torch.zeros_like(row_N)
        # ONNX has no repeat_interleave: the examples that end at or before a row are counted.
        return (row_N[:, None] >= self.lengths_B.cumsum(0)).sum(1)

    @cached_property
    def index_N(self) -> Tensor:
        row_N = torch.arange(self.num_tokens)
        return row_N if self.even else row_N - self.offsets_B[self.segment_N]


class OpenBatch(Batch):
    alone = False

    def layout(self) -> Layout:
        return OpenLayout(self.lengths_B, self.ids_N.shape[0], self.alone)


class AtAnyLength(Attention):
    """An attention pattern that counts as global only if it hides nothing at the maximum length.
    The choice of mask must not depend on a length that is unknown in tracing.
    """

    def __init__(self, pattern: Attention, max_length: int):
        self.pattern, self.max_length = pattern, max_length
        self.longest = Layout(torch.tensor([max_length]), torch.device("cpu"))
        self.wants, self.approximate = pattern.wants, pattern.approximate

    def sees(self, q: Where, k: Where) -> Tensor:
        return self.pattern.sees(q, k)

    def sees_all(self, longest: int, layer: int) -> bool:
        return self.pattern.sees_all(self.max_length, layer)

    def kernel(self, layout: Layout, layer: int) -> Kernel | None:
        """Return the pattern's own product if it has one at the maximum length: a band instead of a
        mask of length x length, which is valid at every length.
        """
        return self.pattern.kernel(self.longest, layer)


class Stretch(nn.Module):
    """Layers `first` to `last`, with the reduction before them and the head after them.

    The first stretch (`begins`) includes the embedding, and consists of it alone if the first exit
    is at layer 0. A stretch takes a state (token ids, or the previous outputs) and returns what it
    changes: the hidden states of all examples, `logits_BC`, `reason_B` (0 = stays), and the tokens
    entering each layer. The caller removes examples that exit.
    """

    def __init__(
        self, encoder: AdaptiveEncoder, first: int, last: int, alone: bool, begins: bool = True
    ):
        super().__init__()
        pattern = AtAnyLength(encoder.attention, encoder.shape.max_length)
        self.encoder = encoder.replacing(attention=pattern)
        self.methods = {slot: getattr(encoder, slot) for slot in MODEL_SLOTS}
        self.first, self.last, self.alone, self.begins = first, last, alone, begins
        self.register_buffer(POINT, point_after(encoder, last))
        self.drop_unused()

    def drop_unused(self) -> None:
        """Leave the weights of other layers out, each of which costs the tracer time."""
        layers = sharing(self.encoder.layers)
        used = [layers[number - 1] for number in range(max(self.first, 1), self.last + 1)]
        for name, layer in self.encoder.layers.named_children():
            if all(layer is not other for other in used):
                replace_part(layers, name, nn.Identity())
        replace_part(self.encoder, "layers", layers)
        if not self.begins:
            replace_part(self.encoder, "embedding", nn.Identity())

    def forward(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        encoder = self.encoder
        packed, evidence = self.enter(state)
        tokens = []
        for number in range(max(self.first, 1), self.last + 1):
            packed = encoder.shorten(packed, evidence, number - 1)
            tokens.append(packed.layout.lengths_B)
            packed, evidence = encoder.run_layer(packed, number)
        head = encoder.heads.at(self.last)
        logits_BC = encoder.kind.padded(head.guess(head.pooled(encoder.for_heads(packed))))
        out = {"logits_BC": logits_BC} | ({"tokens_LB": torch.stack(tokens)} if tokens else {})
        if self.last < len(encoder.layers):
            guesses_EBC = logits_BC[None]
            if hands_on_guesses(encoder.exit, self.alone):
                before = [state["guesses_EBC"]] if "guesses_EBC" in state else []
                out["guesses_EBC"] = guesses_EBC = torch.cat([*before, guesses_EBC])
            out["reason_B"] = self.decided(guesses_EBC)
            out |= self.leave(packed, evidence)
        return {name: value for name, value in out.items() if value is not state.get(name)}

    def decided(self, guesses_EBC: Tensor) -> Tensor:
        """Return the code of the reason, 0 for an example that stays.

        A rule that reads one exit gets this one alone, so that the graph does not depend on how
        many there are.
        """
        rule = self.encoder.exit
        if compares(rule):
            seen_EBC = guesses_EBC[-1:] if reads_one_exit(rule) else guesses_EBC
            decided_B = decided_at(rule, self.get_buffer(POINT), seen_EBC)
        else:
            decided_B = rule.decides(guesses_EBC, None)
        return decided_B * FIRST_REASON if len(rule.reasons) == 1 else coded(decided_B)

    def enter(self, state: dict[str, Tensor]) -> tuple[Packed, Evidence]:
        if self.begins:
            batch = OpenBatch(state["ids_N"], state["types_N"], state["lengths_B"])
            batch.alone = self.alone
            return self.encoder.embed(batch), Evidence()
        layout = OpenLayout(state["lengths_B"], state["x_ND"].shape[0], self.alone)
        strength_B = self.encoder.strength.cpu().double().expand(layout.size)
        position_N, special_N = state["position_N"], state["special_N"]
        evidence = Evidence(**{name: state[name] for name in EVIDENCE if name in state})
        notes = {name: state[f"{name}_N"] for name in self.encoder.heads.wants}
        packed = Packed(state["x_ND"], layout, position_N, special_N, strength_B, notes=notes)
        return packed, evidence

    def leave(self, packed: Packed, evidence: Evidence) -> dict[str, Tensor]:
        """Return the tensors that the next stretch needs, by name.

        Raises:
            Lost: where tokens have sizes or weights.
        """
        if packed.size_N is not None or packed.weight_N is not None:
            raise Lost("it merges or gates tokens, which stretches do not pass on")
        kept = {"x_ND": packed.x_ND, "lengths_B": packed.layout.lengths_B}
        kept |= {"position_N": packed.position_N, "special_N": packed.special_N}
        kept |= {f"{name}_N": packed.notes[name] for name in self.encoder.heads.wants}
        return kept | vars(evidence)


def point_after(encoder: AdaptiveEncoder, layer: int) -> Tensor | None:
    """The point of the exit behind a layer; None where there is no such."""
    rule = encoder.exit
    if not compares(rule) or layer not in rule.layers or layer == len(encoder.layers):
        return None
    return point_tensor(rule, [*rule.layers].index(layer) + 1)


def compares(rule: ExitRule) -> TypeGuard[ByPoint]:
    """Whether a rule decides by its point alone, and not in a way of its own."""
    return isinstance(rule, ByPoint) and type(rule).decides is ByPoint.decides


def reads_one_exit(rule: ExitRule) -> bool:
    return rule.last_only and isinstance(rule, ByPoint)


def hands_on_guesses(rule: ExitRule, alone: bool) -> bool:
    """Whether later stretches get the guesses so far. In a batch they always do, since traces and
    policies read them too."""
    return not (alone and reads_one_exit(rule))


def with_open_exits(encoder: AdaptiveEncoder, policies: Sequence[Policy] = ()) -> AdaptiveEncoder:
    """Return the encoder without exits that are never taken, so that no graph ends there. With
    policies, all exits are kept because policies read their logits.
    """
    rule = only_open(encoder.exit, policies)
    return encoder.replacing(policies=(), exit=rule if rule.layers else Never())


def banded_layers(encoder: AdaptiveEncoder) -> list[int]:
    """Return the layers whose graph computes banded attention. The others compute length x length
    products, as the encoder itself does: without a window, at lengths where a band is not faster,
    with a relative bias, and where a reduction needs the attention that each token received.
    """
    traced = Stretch(encoder, 1, encoder.shape.num_layers, alone=False).encoder
    with torch.no_grad():
        packed = encoder.embed(Batch.from_lists([[0, 0]]))
    found = []
    for layer in range(1, encoder.shape.num_layers + 1):
        needs = encoder.reduction.needs if layer in encoder.reduction.layers else frozenset()
        if traced.kernel(packed, layer, needs) is not None:
            found.append(layer)
    return found


def stretches(encoder: AdaptiveEncoder, alone: bool) -> list[Stretch]:
    """Return a stretch for each exit, and one for the layers after the last exit."""
    num_layers = len(encoder.layers)
    lasts = [layer for layer in encoder.exit.layers if layer < num_layers] + [num_layers]
    firsts = [min(1, lasts[0]), *(layer + 1 for layer in lasts[:-1])]
    return [
        Stretch(encoder, first, last, alone, begins=number == 0)
        for number, (first, last) in enumerate(zip(firsts, lasts, strict=True))
    ]


def sample(stretch: Stretch, num_guesses: int) -> dict[str, Tensor]:
    """Return example inputs of a stretch. Tracing uses only their shapes."""
    encoder = stretch.encoder
    lengths_B = torch.tensor([11] if stretch.alone else [11, 5, 7])
    size, num_tokens = len(lengths_B), int(lengths_B.sum())
    zeros_N = torch.zeros(num_tokens, dtype=torch.int64)
    if stretch.begins:
        return {"ids_N": zeros_N, "types_N": zeros_N.clone(), "lengths_B": lengths_B}
    state = {
        "x_ND": torch.zeros(num_tokens, encoder.shape.hidden_size),
        "lengths_B": lengths_B,
        "position_N": zeros_N,
        "special_N": zeros_N.bool(),
    }
    if hands_on_guesses(encoder.exit, stretch.alone):
        state["guesses_EBC"] = torch.zeros(num_guesses, size, encoder.kind.width)
    state |= {f"{name}_N": zeros_N.clone() for name in encoder.heads.wants}
    after = encoder.reduction.place == "after_layer" and stretch.first > 1
    if after and stretch.first - 1 in encoder.reduction.layers:
        needed = [f"{name}_N" for name in encoder.reduction.needs]
        state |= {name: torch.zeros(num_tokens) for name in EVIDENCE if name in needed}
    return state
