"""Recorded guesses of every exit for every example of a split, from any backend, and their replay
under an exit rule.

Arrays alone, and a parquet file of them: neither backend is imported here.
Shapes: B examples of the split (in its order), L layers, C classes, E exits so far.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eat_lightning.answer_kind import MULTI, SINGLE, AnswerKind, kind_of
from eat_lightning.errors import ConfigError
from eat_lightning.files import replacing
from eat_lightning.model.trace import Trace, run_tokens
from eat_lightning.validation import raise_faults

if TYPE_CHECKING:
    import pyarrow as pa

    from eat_lightning.model.contracts import ExitRule, Policy
    from eat_lightning.model.packed import Batch

MOST_EXAMPLES = 10_000_000  # of a file that is read


@dataclass
class Recorded:
    """Every head's logits for every example (divided by its temperature), and the tokens entering
    each layer when nobody leaves.

    exit, policies: those the encoder had. signals: what its exit rule observed at each exit, B x S.
    origins: where each example comes from. group_B: equal numbers for examples that belong
    together, such as pairs of one premise. batch: the examples of some rows, for which policies
    ask. data: the hash of the examples. All of these are None or empty where they are not known.
    kind: of the answers.
    """

    labels: np.ndarray
    lengths: np.ndarray
    guesses: dict[int, np.ndarray]
    tokens_LB: np.ndarray
    exit: ExitRule
    difficulty: np.ndarray | None = None
    origins: list[str] | None = None
    policies: Sequence[Policy] = ()
    signals: dict[int, np.ndarray] = field(default_factory=dict)
    batch: Callable[[np.ndarray], Batch] | None = None
    group_B: np.ndarray | None = None
    data: str = ""
    kind: AnswerKind = None  # type: ignore[assignment]  # None: by the shapes of labels and logits

    @classmethod
    def of(
        cls,
        split: Any,
        guesses: dict[int, np.ndarray],
        tokens_LB: np.ndarray,
        exit: ExitRule,
        **known: Any,
    ) -> Recorded:
        """Record the guesses of a split's examples. known: further fields."""
        known |= {name: getattr(split, name) for name in ("difficulty", "origins", "batch")}
        data = "" if split.source is None else split.source.digest[:16]
        return cls(split.labels, split.lengths, guesses, tokens_LB, exit, data=data, **known)

    def __post_init__(self) -> None:
        if self.kind is None:
            several = {"problem_type": MULTI} if self.labels.ndim == 2 else {}
            shape = next((guess.shape for guess in self.guesses.values()), ())
            self.kind = kind_of(several, max(1, shape[1]) if len(shape) == 2 else 2)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Width of the heads' logits: 1 for a score, 2 for one with its predicted error."""
        return next(iter(self.guesses.values())).shape[1]

    @property
    def in_margins(self) -> bool:
        """True where every label is class 0 and every first logit is 0."""
        firsts = [guess_BC[:, 0] for guess_BC in self.guesses.values()]
        return self.kind.problem_type == SINGLE and not any(x.any() for x in [self.labels, *firsts])

    def under(self, exit: ExitRule | None = None) -> Outcome:
        """Replay an exit rule (None: the encoder's own) with the policies: what happens to an
        example depends on no other, so who leaves where follows from the records."""
        import torch

        from eat_lightning.model.policy import joined
        from eat_lightning.model.recorder import TraceRecorder

        exit = self.exit if exit is None else exit
        last = len(self.tokens_LB)
        recorder = TraceRecorder(last, len(self), exit)
        recorder.guesses = {k: torch.from_numpy(guess_BC) for k, guess_BC in self.guesses.items()}
        recorder.signals = {k: torch.from_numpy(s_BS) for k, s_BS in self.signals.items()}
        whole = None
        if self.policies:
            assert self.batch is not None
            whole = self.batch(np.arange(len(self)))
            recorder.state.request(joined(policy.requests(whole, None) for policy in self.policies))
        for layer in sorted({*exit.layers} - {last}):
            if not len(recorder.here_B):
                break
            looked = [k for k in exit.layers if k <= layer]
            stack_EBC = recorder.stack(looked)
            reason_B = recorder.decided(looked, stack_EBC)
            if whole is not None:
                reason_B = recorder.review(self.policies, reason_B, stack_EBC, whole)
            recorder.leave(layer, reason_B)
        recorder.leave(last, recorder.at_end())
        trace = recorder.end()
        logits_BC = trace.logits_BC.numpy()
        return Outcome(self, logits_BC, trace.depth_B.numpy(), trace.reason_B.numpy(), trace.names)

    @classmethod
    def joined(cls, parts: Sequence[Recorded]) -> Recorded:
        """Passes of one encoder over several splits, one behind the other, without policies."""

        def by_layer(columns: list[dict[int, np.ndarray]]) -> dict[int, np.ndarray]:
            return {layer: np.concatenate([c[layer] for c in columns]) for layer in columns[0]}

        return cls(
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            by_layer([part.guesses for part in parts]),
            np.concatenate([part.tokens_LB for part in parts], axis=1),
            parts[0].exit,
            signals=by_layer([part.signals for part in parts]),
            kind=parts[0].kind,
        )

    def take(self, rows: np.ndarray) -> Recorded:
        """Records of some examples. rows: their places in the order wanted, or a mask."""
        at_B, batch = np.arange(len(self))[rows], self.batch
        return replace(
            self,
            labels=self.labels[at_B],
            lengths=self.lengths[at_B],
            guesses={layer: guess_BC[at_B] for layer, guess_BC in self.guesses.items()},
            tokens_LB=self.tokens_LB[:, at_B],
            signals={layer: signal_BS[at_B] for layer, signal_BS in self.signals.items()},
            difficulty=None if self.difficulty is None else self.difficulty[at_B],
            origins=None if self.origins is None else [self.origins[i] for i in at_B],
            group_B=None if self.group_B is None else self.group_B[at_B],
            batch=None if batch is None else lambda some: batch(at_B[some]),
        )

    def to_parquet(self, path: Path) -> None:
        """A line for each example: label, length, every exit's logits (fp32) and the tokens
        entering each layer that gets fewer than the one before, if all were run; difficulty, source
        and group where they are known.

        What a rule makes of them is not kept: `under` finds it. Floats are split into planes of
        bytes before zstd, since their exponents resemble each other and their last bits nothing.
        Where every label and its logits are 0, as in kept examples, the others are `margins_K`.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        labels = small(self.labels)
        if self.kind.label_shape:
            labels = pa.FixedSizeListArray.from_arrays(labels.ravel(), labels.shape[1])
        columns: dict[str, Any] = {"label": labels, "length": small(self.lengths)}
        columns |= self.fewer_tokens()
        name, first = ("margins", 1) if self.in_margins else ("logits", 0)
        floats = {f"{name}_{k}": guess_BC[:, first:] for k, guess_BC in self.guesses.items()}
        floats |= {f"signals_{k}": signal_BS for k, signal_BS in self.signals.items()}
        columns |= {
            name: pa.FixedSizeListArray.from_arrays(x.astype(np.float32).ravel(), x.shape[1])
            for name, x in floats.items()
        }
        known = {"difficulty": self.difficulty, "source": self.origins, "group": self.group_B}
        columns |= {name: values for name, values in known.items() if values is not None}
        table = pa.table(columns)
        if about := self.kind.spec():
            about |= {"num_labels": self.kind.num_labels}
            table = table.replace_schema_metadata({"answers": json.dumps(about)})
        how: dict[str, Any] = {
            "compression": "zstd",
            "compression_level": 19,
            "write_statistics": False,
            "store_schema": bool(about),  # else what the kind says is not kept
            "use_dictionary": [*(columns.keys() - floats.keys() - {"group"})],
            "use_byte_stream_split": [f"{name}.list.element" for name in floats],
            "column_encoding": {"group": "DELTA_BINARY_PACKED"} if "group" in columns else None,
        }
        with replacing(path) as beside:
            pq.write_table(table, beside, **how)

    def fewer_tokens(self) -> dict[str, np.ndarray]:
        """Find the layers that are entered by fewer tokens than the one before (the first: than the
        length), and how many enter them, by column."""
        before_LB = [self.lengths, *self.tokens_LB[:-1]]
        layers = enumerate(zip(before_LB, self.tokens_LB, strict=True), start=1)
        return {
            f"tokens_{k}": small(now_B) for k, (was_B, now_B) in layers if (was_B != now_B).any()
        }

    @classmethod
    def read(cls, path: Path) -> Recorded:
        """Read the file that `to_parquet` wrote, with a rule under which nobody leaves. Raises
        ConfigError where the file is damaged or of an older version."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        from eat_lightning.errors import one_line

        try:
            file = pq.ParquetFile(path)
            if (rows := file.metadata.num_rows) > MOST_EXAMPLES:
                raise ValueError(f"{rows} examples, and at most {MOST_EXAMPLES} are read")
            made = cls.of_table(file.read())
            raise_faults(made.faults())
            return made
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
            reason = one_line(str(error).strip("'\"")) or type(error).__name__
            raise ConfigError(
                f"{path}: no examples of this version ({reason}); measure the run again"
            ) from None

    @classmethod
    def of_table(cls, table: pa.Table) -> Recorded:
        """Make it of the columns that `to_parquet` writes, whether they fit each other or not."""
        import pyarrow as pa

        from eat_lightning.methods.exit.never import Never

        names = table.column_names
        guesses = by_layer(table, "logits_")
        for layer, margins_BC in by_layer(table, "margins_").items():  # over the first class's 0
            guesses[layer] = np.pad(margins_BC, ((0, 0), (1, 0)))
        labels = table["label"]
        flat = not pa.types.is_fixed_size_list(labels.type) and not pa.types.is_list(labels.type)
        return cls(
            wide(labels.to_numpy() if flat else stacked(labels)),
            wide(table["length"].to_numpy()),
            guesses,
            tokens_of(table, max(guesses)),
            Never(),
            difficulty=table["difficulty"].to_numpy() if "difficulty" in names else None,
            origins=table["source"].to_pylist() if "source" in names else None,
            signals=by_layer(table, "signals_"),
            group_B=table["group"].to_numpy() if "group" in names else None,
            kind=kept_kind(table),  # type: ignore[arg-type]
        )

    def faults(self) -> list[str]:
        """Columns that do not fit each other, as a file may hold them."""
        last, tokens_LB = len(self.tokens_LB), self.tokens_LB
        faults = [] if last in self.guesses else [f"no logits of the last layer, {last}"]
        sizes = {g.shape for g in self.guesses.values()}
        kinds = {tokens_LB.dtype.kind, self.lengths.dtype.kind}
        if len(sizes) > 1 or any(len(size) != 2 for size in sizes):
            faults.append(f"logits of sizes {sorted(sizes)}")
        if not kinds <= {"i", "u"} or self.labels.dtype.kind not in "iuf":
            faults.append("labels, lengths and tokens must be numbers")
        elif (tokens_LB < 1).any() or (tokens_LB > tokens_LB[:1]).any():
            faults.append("tokens must lie between 1 and the length")
        return faults


@dataclass
class Outcome:
    """Result of an exit rule on recorded examples: each one's answer, depth and reason. A reason is
    a code, which `names` explains."""

    recorded: Recorded
    logits_BC: np.ndarray
    depth_B: np.ndarray
    reason_B: np.ndarray
    names: Mapping[int, str]

    @property
    def tokens_LB(self) -> np.ndarray:
        """Tokens entering each layer that an example ran, 0 for the others."""
        return run_tokens(self.recorded.tokens_LB, self.depth_B)

    @property
    def retention_B(self) -> np.ndarray:
        """Tokens entering the last executed layer / tokens entering layer 1; 1 where none was."""
        return Trace(self.logits_BC, self.depth_B, self.tokens_LB, self.reason_B).retention_B

    @property
    def token_layers_B(self) -> np.ndarray:
        """Tokens summed over the executed layers / (first tokens x num_layers)."""
        tokens_LB = self.tokens_LB
        return tokens_LB.sum(0) / (self.recorded.tokens_LB[0] * len(tokens_LB))

    @property
    def exit_shares(self) -> dict[int, float]:
        """Share of the examples that left after each layer."""
        layers, counts = np.unique(self.depth_B, return_counts=True)
        return {int(k): float(n / len(self.depth_B)) for k, n in zip(layers, counts, strict=True)}

    @property
    def exit_reasons(self) -> dict[str, float]:
        """Share of the examples that were answered for each reason."""
        codes, counts = np.unique(self.reason_B, return_counts=True)
        shares = (counts / len(self.reason_B)).tolist()
        return {self.names[code]: share for code, share in zip(codes, shares, strict=True)}


def kept_kind(table: pa.Table) -> AnswerKind | None:
    """The kind of answers that a table says it holds; None where it says nothing."""
    kept = (table.schema.metadata or {}).get(b"answers")
    if kept is None:
        return None
    about = json.loads(kept)
    num_labels = about.get("num_labels") if isinstance(about, dict) else None
    if not isinstance(num_labels, int) or num_labels < 1:
        raise ValueError(f"answers.num_labels must be 1 or more, got {num_labels!r:.60}")
    return kind_of(about, num_labels)


def small(numbers: np.ndarray) -> np.ndarray:
    """The same whole numbers in as few bytes as hold the largest; anything else as it is."""
    if numbers.dtype.kind not in "iu" or not numbers.size:
        return numbers
    least = np.promote_types(np.min_scalar_type(numbers.min()), np.min_scalar_type(numbers.max()))
    return numbers.astype(least)


def wide(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers as int64, so that no sum or product of them overflows."""
    return numbers.astype(np.int64) if numbers.dtype.kind in "iu" else numbers


def by_layer(table: Any, prefix: str) -> dict[int, np.ndarray]:
    """The columns of a table that hold lists for each exit, in fp32, by their layer."""
    names = [name for name in table.column_names if name.startswith(prefix)]
    found = {int(name.removeprefix(prefix)): stacked(table[name]) for name in names}
    return {layer: found[layer].astype(np.float32) for layer in sorted(found)}


def tokens_of(table: Any, num_layers: int) -> np.ndarray:
    """Tokens entering each layer (L x B): those of the layer before, where no column says fewer."""
    tokens_LB, tokens_B = [], wide(table["length"].to_numpy())
    for name in (f"tokens_{layer}" for layer in range(1, num_layers + 1)):
        if name in table.column_names:
            tokens_B = wide(table[name].to_numpy())
        tokens_LB.append(tokens_B)
    return np.stack(tokens_LB)


def stacked(column: Any) -> np.ndarray:
    """Lists of one length as the rows of an array."""
    values = column.combine_chunks()
    return np.stack(values.to_numpy(zero_copy_only=False)) if len(values) else np.empty((0, 0))
