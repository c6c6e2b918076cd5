"""A batch of examples end to end, without padding: `Batch` (token ids), `Packed` (vectors) and
`Layout` (which row belongs to which example).

Shapes: B examples, L longest length, N packed tokens, D width, C classes, M rows kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from eat_lightning.validation import Misshaped, shape_text

T = TypeVar("T")

# splitmix64's 0x9E37...15, 0xBF58...B9 and 0x94D0...EB as signed numbers, and its shifts.
GOLDEN = -7046029254386353131
MIXING = ((30, -4658895280553007687), (27, -7723592293110705685), (31, 1))


HOST_COPIES: Any = WeakIdKeyDictionary()  # by a tensor on a device: its version and its copy


def on_host(x: Tensor) -> Tensor:
    """Return a tensor's copy on the host. It is fetched again only after the tensor has changed,
    since a fetch waits for all work that the device has been given."""
    if x.device.type == "cpu" or x.is_inference():  # an inference tensor has no version
        return x.cpu()
    version, value = HOST_COPIES.get(x, (None, x))
    if version != x._version:
        version, value = x._version, x.cpu()
        HOST_COPIES[x] = version, value
    return value


@dataclass
class Batch:
    """The token ids of B examples, packed end to end, with known facts about each.

    Args:
        ids_N: token ids.
        types_N: segment ids.
        lengths_B: number of tokens of each example, on the CPU, so that shapes are known without
        waiting for the device.
        labels_B: labels.
        index_B: indices in the split.
        teacher_BC: logits of the teacher.
        num_global: number of examples of this step over all processes, by which losses are divided.
        idle: whether this process has no example of the step; its placeholder does not count.
        about: facts about each example for policies, such as its `source` or `mime` type.
    """

    ids_N: Int[Tensor, " n"]
    types_N: Int[Tensor, " n"]
    lengths_B: Int[Tensor, " b"]
    labels_B: Tensor | None = None
    index_B: Int[Tensor, " b"] | None = None
    teacher_BC: Float[Tensor, "b c"] | None = None
    num_global: int = 0
    idle: bool = False
    about: Sequence[Mapping[str, str]] | None = None

    @classmethod
    def from_lists(
        cls,
        ids: Sequence[Sequence[int]],
        types: Sequence[Sequence[int]] | None = None,
        labels: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Batch:
        """Pack examples that are given as lists of token ids."""
        flat = torch.tensor([i for example in ids for i in example], dtype=torch.int64)
        flat_types = (
            torch.zeros_like(flat)
            if types is None
            else torch.tensor([t for example in types for t in example], dtype=torch.int64)
        )
        lengths = torch.tensor([len(example) for example in ids], dtype=torch.int64)
        index = torch.arange(len(ids)) if index is None else index
        return cls(flat, flat_types, lengths, labels, index, num_global=len(ids))

    @property
    def size(self) -> int:
        return self.lengths_B.shape[0]  # not len(): a trace for export keeps it open

    def layout(self) -> Layout:
        return Layout(self.lengths_B, self.ids_N.device)

    def known(self, key: str) -> list[str | None]:
        """Return the value of a known field for each example, None where it is missing."""
        if self.about is None:
            return [None] * self.size
        return [about.get(key) for about in self.about]

    def take(self, rows_M: Int[Tensor, " m"]) -> Batch:
        """Return only these examples, in the order of `rows_M`, which is on the CPU."""
        rows, lengths = rows_M.tolist(), self.lengths_B.tolist()
        ids, types = self.ids_N.split(lengths), self.types_N.split(lengths)
        return replace(
            self,
            ids_N=torch.cat([ids[row] for row in rows]),
            types_N=torch.cat([types[row] for row in rows]),
            lengths_B=self.lengths_B[rows_M],
            labels_B=of_examples(self.labels_B, rows_M),
            index_B=of_examples(self.index_B, rows_M),
            teacher_BC=of_examples(self.teacher_BC, rows_M),
            about=None if self.about is None else [self.about[row] for row in rows],
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        def move(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(device, non_blocking=non_blocking)

        return replace(
            self,
            ids_N=self.ids_N.to(device, non_blocking=non_blocking),
            types_N=self.types_N.to(device, non_blocking=non_blocking),
            labels_B=move(self.labels_B),
            teacher_BC=move(self.teacher_BC),
        )


class Layout:
    """The example and the position of each packed token. A new layout is made when lengths change.
    An export overrides `after` and the methods that read lengths, which a traced graph knows only
    when it runs.

    Args:
        lengths_B: number of remaining tokens of each example (on the CPU).
        device: where the packed rows are.

    Attributes:
        size: number of examples.
        num_tokens: number of tokens of all examples.
        longest: number of tokens of the longest example.
        even: whether all examples have the same length.
    """

    def __init__(self, lengths_B: Int[Tensor, " b"], device: torch.device):
        self.lengths_B = lengths_B
        self.device = device
        lengths = lengths_B.tolist()
        self.size, self.num_tokens, self.longest = len(lengths), sum(lengths), max(lengths)
        self.even = self.num_tokens == self.size * self.longest
        self.cache: dict[object, Any] = {}

    def cached(self, key: object, make: Callable[[], T]) -> T:
        """Return the cached value of this key, which `make` computes the first time. Values depend
        on the lengths alone, so layers with the same lengths share them."""
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]

    def there(self, x_B: Shaped[Tensor, " b"]) -> Shaped[Tensor, " b"]:
        """Copy one number per example from the CPU to the device."""
        return x_B.to(self.device, non_blocking=True)

    @cached_property
    def offsets_B(self) -> Int[Tensor, " b"]:
        """Row of each example's first token, which is [CLS]."""
        return self.there(self.lengths_B.cumsum(0) - self.lengths_B)

    @cached_property
    def segment_N(self) -> Int[Tensor, " n"]:
        """The example of each row, 0 for the first of the batch."""
        rows = torch.arange(self.size, device=self.device)
        if self.even:
            return rows.repeat_interleave(self.longest, output_size=self.num_tokens)
        repeats = self.there(self.lengths_B)
        return torch.repeat_interleave(rows, repeats, output_size=self.num_tokens)

    @cached_property
    def index_N(self) -> Int[Tensor, " n"]:
        """Position among the remaining tokens, 0 for [CLS]."""
        if self.even:
            return torch.arange(self.longest, device=self.device).repeat(self.size)
        return torch.arange(self.num_tokens, device=self.device) - self.offsets_B[self.segment_N]

    @cached_property
    def real_BL(self) -> Bool[Tensor, "b l"]:
        """Whether a place of the padded block holds a token."""
        return torch.arange(self.longest, device=self.device) < self.there(self.lengths_B)[:, None]

    @cached_property
    def source_N(self) -> Int[Tensor, " bl"]:
        """The packed row for each place of the padded block, flattened. A place past the end of an
        example repeats its last token, which is finite and masked: so padding is one gather."""
        last_B1 = self.there(self.lengths_B)[:, None] - 1
        place_L = torch.arange(self.longest, device=self.device)
        return (self.offsets_B[:, None] + torch.minimum(place_L, last_B1)).flatten()

    @cached_property
    def target_N(self) -> Int[Tensor, " n"]:
        """The place of each packed row in the flattened padded block."""
        return self.segment_N * self.longest + self.index_N

    def longest_of(self, lengths_B: Int[Tensor, " b"]) -> int | None:
        """Return the largest of the original lengths; None in an export, which cannot know it."""
        return self.cached("longest", lambda: int(lengths_B.max()))

    def holds(self, lengths_B: Int[Tensor, " b"]) -> bool:
        """Whether examples of these lengths have as many tokens as this layout."""
        return int(lengths_B.sum()) == self.num_tokens

    def check_rows(self, must: str, given: Tensor) -> None:
        """Raise Misshaped, which begins with `must`, unless a method gave one value per row."""
        if not isinstance(given, Tensor) or given.shape != (self.num_tokens,):
            raise Misshaped(f"{must}, got {shape_text(given)}")

    def rows_at(self, stays_BL: Bool[Tensor, "b l"], lengths_B: Int[Tensor, " b"]) -> Tensor:
        """Return the packed rows that a mask over the padded block keeps.

        Args:
            stays_BL: the mask.
            lengths_B: how many rows of each example it keeps.
        """
        num_kept = int(lengths_B.sum())
        return torch.nonzero_static(self.unpad(stays_BL), size=num_kept).flatten()

    def after(self, rows_M: Int[Tensor, " m"], lengths_B: Int[Tensor, " b"]) -> Layout:
        """Return the layout of only these rows, `lengths_B` of each example."""
        return type(self)(lengths_B, self.device)

    def means(
        self,
        x_ND: Float[Tensor, "n d"],
        weight_N: Float[Tensor, " n"],
        place_N: Int[Tensor, " n"],
        num_places: int,
    ) -> Float[Tensor, "m d"]:
        """Return the weighted mean of the rows of each place; zeros where no row has a weight."""
        total_MD = x_ND.new_zeros(num_places, x_ND.shape[1])
        total_MD = total_MD.index_add(0, place_N, x_ND * weight_N[:, None])
        count_M = weight_N.new_zeros(num_places).index_add(0, place_N, weight_N)
        return total_MD / torch.where(count_M > 0, count_M, 1)[:, None]

    def pad(self, x_N: Tensor) -> Tensor:
        """(N, ...) -> (B, L, ...); without a copy where all lengths are equal."""
        padded = x_N if self.even else x_N.index_select(0, self.source_N)
        return padded.view(self.size, self.longest, *x_N.shape[1:])

    def unpad(self, x_BL: Tensor) -> Tensor:
        """(B, L, ...) -> (N, ...)."""
        flat = x_BL.reshape(self.size * self.longest, *x_BL.shape[2:])
        return flat if self.even else flat.index_select(0, self.target_N)


@dataclass
class Packed:
    """The vectors of B examples, packed end to end, with further values for methods.

    Args:
        x_ND: the vectors.
        layout: the example and the position of each row.
        position_N: position in the original text, never renumbered.
        special_N: true for [CLS] and [SEP].
        strength_B: how much of its ratio a reduction applies to each example, 0 ... 1 (on the CPU).
        size_N: number of original tokens that a row represents (None: 1 each), by which mean
            pooling is weighted.
        weight_N: added to every query's score for a row as a key, such as the log size of merged
            tokens or the log gate of soft pruning (None: 0 each, so attention uses the fused
            product).
        notes: further values of each row by name, dropped along with the rows: a method's own, and
            those of `NOTES` for methods that `want` them.
        penalties: further terms of the loss for each example, by name.
        forwarded_BD: for each example, the sum of rows that were forwarded to the end, for heads
            that pool the mean.
        forwarded_B: number of these rows.
        original_B: number of tokens of each example before any reduction (on the CPU).
        soft: whether this is a soft stage of training, in which a reduction gates rows and drops
        none.
    """

    x_ND: Float[Tensor, "n d"]
    layout: Layout
    position_N: Int[Tensor, " n"]
    special_N: Bool[Tensor, " n"]
    strength_B: Float[Tensor, " b"]
    size_N: Tensor | None = None
    weight_N: Tensor | None = None
    notes: Mapping[str, Tensor] = field(default_factory=dict)
    penalties: Mapping[str, Tensor] = field(default_factory=dict)
    forwarded_BD: Tensor | None = None
    forwarded_B: Tensor | None = None
    original_B: Tensor | None = None
    soft: bool = False

    @property
    def span(self) -> int | None:
        """Tokens of the longest original text, so any two positions are less than this apart; None
        in an export."""
        return None if self.original_B is None else self.layout.longest_of(self.original_B)

    def with_x(self, x_ND: Float[Tensor, "n d"]) -> Packed:
        return replace(self, x_ND=x_ND)

    def with_penalty(self, name: str, term_B: Float[Tensor, " b"]) -> Packed:
        """Add a value per example to the term of the loss that has this name."""
        before = self.penalties.get(name)
        total_B = term_B if before is None else before + term_B
        return replace(self, penalties={**self.penalties, name: total_B})

    def take(self, rows_M: Int[Tensor, " m"], lengths_B: Int[Tensor, " b"]) -> Packed:
        """Return only these rows, in their order. `only` instead drops whole examples.

        Args:
            lengths_B: number of rows that each example keeps.
        """
        size_N, weight_N = self.size_N, self.weight_N
        return replace(
            self,
            x_ND=self.x_ND.index_select(0, rows_M),
            layout=self.layout.after(rows_M, lengths_B),
            position_N=self.position_N.index_select(0, rows_M),
            special_N=self.special_N.index_select(0, rows_M),
            size_N=None if size_N is None else size_N.index_select(0, rows_M),
            weight_N=None if weight_N is None else weight_N.index_select(0, rows_M),
            notes={name: x_N.index_select(0, rows_M) for name, x_N in self.notes.items()},
        )

    def rows_of(self, stay_B: Bool[Tensor, " b"]) -> Int[Tensor, " m"]:
        """Return the packed rows of the examples that a mask on the host marks."""
        on_device = stay_B.to(self.layout.device, non_blocking=True)
        mask_N = on_device.index_select(0, self.layout.segment_N)
        size = int(self.layout.lengths_B[stay_B].sum())
        return torch.nonzero_static(mask_N, size=size).flatten()

    def only(self, stay_B: Bool[Tensor, " b"], rows_M: Tensor | None = None) -> Packed:
        """Return only the examples that a mask on the host marks.

        Args:
            stay_B: the mask.
            rows_M: their rows, if `rows_of` was called already.
        """
        rows_M = self.rows_of(stay_B) if rows_M is None else rows_M
        taken = self.take(rows_M, self.layout.lengths_B[stay_B])
        return replace(
            taken,
            strength_B=self.strength_B[stay_B],
            penalties={name: of_examples(x_B, stay_B) for name, x_B in self.penalties.items()},
            forwarded_BD=of_examples(self.forwarded_BD, stay_B),
            forwarded_B=of_examples(self.forwarded_B, stay_B),
            original_B=of_examples(self.original_B, stay_B),
        )


def of_examples(x_B: Any, rows: Tensor) -> Any:
    """Index one value per example by indices or a mask on the host; None stays None."""
    return None if x_B is None else x_B[rows.to(x_B.device)]


def mixed(x: Int[Tensor, ...]) -> Int[Tensor, ...]:
    """Hash each integer to 64 bits with the finaliser of splitmix64 (Steele et al. 2014). Sums and
    products wrap around."""
    x = x + GOLDEN
    for shift, factor in MIXING:
        x = (x ^ ((x >> shift) & (2 ** (64 - shift) - 1))) * factor  # torch's shift keeps the sign
    return x


def example_noted(batch: Batch, layout: Layout, special_N: Bool[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Give each row a hash of its example's token ids in their order. It is a sum of integers, so
    the order of the additions does not change it."""
    each_N = mixed(mixed(batch.ids_N) + layout.index_N)
    total_B = each_N.new_zeros(layout.size).index_add(0, layout.segment_N, each_N)
    return total_B.index_select(0, layout.segment_N)


def text_noted(batch: Batch, layout: Layout, special_N: Bool[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Give each row the number of its text within a pair: 1 up to the first separator, 2 after it,
    and 0 for special tokens. Separators are counted, since many backbones have no segment ids."""
    passed_N = special_N.long().cumsum(0)
    start_N = passed_N.index_select(0, layout.offsets_B.index_select(0, layout.segment_N))
    number_N = (passed_N - start_N).clamp(max=1) + 1
    return torch.where(special_N, 0, number_N)


Note = Callable[[Batch, Layout, Bool[Tensor, " n"]], Tensor]
NOTES: dict[str, Note] = {
    "ids": lambda batch, layout, special_N: batch.ids_N,
    "example": example_noted,
    "text": text_noted,
}
