"""The record of a pass in which every head answered for every row, and its replay under any rule.

It holds arrays only and is kept as a parquet file. torch is imported where a rule is replayed.

Shapes: B rows, L layers, C classes, S signals, E exits so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eat_lightning.answer_kind import MULTI, SINGLE, AnswerKind, kind_of
from eat_lightning.errors import ConfigError
from eat_lightning.long_texts import Joiner, LongTexts
from eat_lightning.model.policy import KnownFields
from eat_lightning.model.trace import Trace, run_tokens
from eat_lightning.record import columns
from eat_lightning.record.escalation import Escalation
from eat_lightning.record.full_depth import FullDepthIfFound
from eat_lightning.record.lists import list_trace, places
from eat_lightning.record.point import Point
from eat_lightning.validation import raise_faults

if TYPE_CHECKING:
    import pyarrow as pa

    from eat_lightning.model.contracts import ExitRule, Policy
    from eat_lightning.model.packed import Batch

MOST_ROWS = 10_000_000  # of a file that is read
MOST_TOKENS = 1 << 20  # of a window, in a file that is read


@dataclass
class Record:
    """The logits of every head for every row, and the tokens that enter each layer when no example
    leaves early.

    A row is an example, unless rows belong to groups: the windows of a text, whose answers `join`
    makes into one, or the candidates of a list, which are ordered. All but the first five fields
    are None or empty if they are not known.

    Args:
        labels: label of each row. For a list that is to be ordered as another model orders it, the
            scores of that model.
        lengths: number of tokens of each row.
        guesses: logits by layer, B x C, divided by the temperature of the head.
        tokens_LB: number of tokens entering each layer.
        exit, policies: the methods that the encoder had.
        difficulty, origins: how hard each row is, and where it comes from, as the data say.
        signals: signals that the exit rule observed, B x S by layer.
        batch: returns the tokens and known fields of some rows, which policies read.
        cluster_B: equal numbers for examples that were not drawn independently, such as pairs of
            one premise; statistics draw whole clusters. The file calls it `group`.
        data: hash of the examples.
        kind: kind of the answers; None: by the shapes of labels and logits.
        group_B: number of each row's text or list, ascending from 0; None if there are no groups.
        join: makes one answer of a text's windows; None if groups are lists.
        keep: number of candidates of a list that are returned.
        before: record of the model that answers first in a cascade, for the same rows. It is not
            kept in the file.
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
    cluster_B: np.ndarray | None = None
    data: str = ""
    kind: AnswerKind = None  # type: ignore[assignment]  # set below
    group_B: np.ndarray | None = None
    join: Joiner | None = None
    keep: int | None = None
    before: Record | None = None

    @classmethod
    def of(cls, trace: Trace, exit: ExitRule, split: Any = None, **known: Any) -> Record:
        """Make the record of a pass in which no example left early.

        Args:
            split: the split whose rows were run; None: rows without labels.
            known: further fields of the record.
        """
        labels, lengths, tokens_LB = np.zeros(len(trace)), trace.tokens_LB[0], trace.tokens_LB
        if split is not None:
            labels, lengths = split.labels, split.lengths
            known |= {name: getattr(split, name) for name in ("difficulty", "origins", "batch")}
            known["data"] = "" if split.source is None else split.source.digest[:16]
        return cls(labels, lengths, trace.guesses, tokens_LB, exit, signals=trace.signals, **known)

    def __post_init__(self) -> None:
        if self.kind is None:
            several = {"problem_type": MULTI} if self.labels.ndim == 2 else {}
            shape = next((guess.shape for guess in self.guesses.values()), ())
            self.kind = kind_of(several, max(1, shape[1]) if len(shape) == 2 else 2)

    def __len__(self) -> int:
        """Number of answers: one for each text, or for each row."""
        return len(self.firsts)

    @property
    def num_layers(self) -> int:
        """Number of layers, those of all models before included."""
        return len(self.tokens_LB) + (0 if self.before is None else self.before.num_layers)

    @property
    def num_rows(self) -> int:
        return len(self.labels)

    @property
    def firsts(self) -> np.ndarray:
        """The first row of each answer."""
        if self.join is None or self.group_B is None:
            return np.arange(self.num_rows)
        return np.flatnonzero(np.diff(self.group_B, prepend=-1))

    @property
    def targets(self) -> np.ndarray:
        """The label of each answer."""
        return self.labels[self.firsts]

    @property
    def full_BC(self) -> np.ndarray:
        """Logits of the last layer's head for each row."""
        return self.guesses[len(self.tokens_LB)]

    @property
    def rows(self) -> Record:
        """The same record without groups: each row is an example of its own."""
        return replace(self, group_B=None, join=None, keep=None)

    @property
    def num_classes(self) -> int:
        """Width of the heads' logits: 1 for a score, 2 for one with its predicted error."""
        return next(iter(self.guesses.values())).shape[1]

    @cached_property
    def wanted_B(self) -> np.ndarray:
        """Marks the best candidates of each list by the labels, as many as are returned."""
        assert self.group_B is not None
        return places(-self.labels, self.group_B) < (self.keep or 0)

    @property
    def in_margins(self) -> bool:
        """Whether every label is class 0 and every first logit is 0."""
        firsts = [guess_BC[:, 0] for guess_BC in self.guesses.values()]
        return self.kind.problem_type == SINGLE and not any(x.any() for x in [self.labels, *firsts])

    def sums(self, x_B: np.ndarray) -> np.ndarray:
        """Sum over the rows of each answer, along the last axis."""
        return x_B if self.join is None else np.add.reduceat(x_B, self.firsts, axis=-1)

    def token_layers_B(self, trace: Trace) -> np.ndarray:
        """Return the share of token-layers that each answer of a replay ran: tokens summed over the
        executed layers / (tokens entering layer 1 x num_layers)."""
        first_B = self.sums(self.tokens_LB[0])
        return trace.tokens_LB.sum(0) / (first_B * len(self.tokens_LB))

    def replay(self, point: Point | ExitRule | None = None) -> Trace:
        """Return the trace that the encoder would give at a point, without running it again. This
        is possible because what happens to an example depends on no other one, except for the
        candidates of a list.

        Args:
            point: exits and policies, a schedule of lists, or a cascade (then `before` is the
                record of the first model). An exit rule stands for a point with that rule, and
                None for the encoder's own rule and policies.
        """
        if not isinstance(point, Point):
            return self._by_exits(self.rule(point))
        if point.before is not None:
            return self._by_cascade(point)
        if point.counts is not None:
            assert self.group_B is not None
            return list_trace(point.counts, self.guesses, self.tokens_LB, self.group_B)
        policies = point.policies_like(self.policies)
        return replace(self, policies=policies)._by_exits(self.rule(point))

    def rule(self, point: Point | ExitRule | None = None) -> ExitRule:
        """Return the exit rule of a point; the encoder's own if the point names none."""
        if not isinstance(point, Point):
            return self.exit if point is None else point
        named = point.methods.get("exit")
        return self.exit if named is None else named.like(self.exit)

    def _by_cascade(self, point: Point) -> Trace:
        """Replay both models for all texts. The second one's answer counts for the texts that go
        on to it."""
        assert self.before is not None
        first = self.before.replay(point.before)
        layers = self.before.num_layers
        behind = len(self.tokens_LB)
        escalation = Escalation(self.kind, point.margin, layers, behind, point.falls_back)
        second = replace(self, before=None).replay(point.alone)
        return escalation.joined(first, second.take(np.flatnonzero(escalation.goes_on(first))))

    def _by_exits(self, exit: ExitRule) -> Trace:
        """Replay an exit rule with the policies, and join the windows of each text."""
        trace = self._rows_by_exits(exit)
        if self.join is None or self.group_B is None:
            return trace
        return self.join.joined(trace, self.group_B)

    def _rows_by_exits(self, exit: ExitRule) -> Trace:
        """Replay an exit rule with the policies, for each row. The loop is that of
        `AdaptiveEncoder.run`, with logits that are known."""
        import torch

        from eat_lightning.model.recorder import PassOptions, TraceRecorder

        last = len(self.tokens_LB)
        recorder = TraceRecorder(last, self.num_rows, exit, PassOptions(leave=True))
        recorder.guesses = {k: torch.from_numpy(guess_BC) for k, guess_BC in self.guesses.items()}
        recorder.signals = {k: torch.from_numpy(s_BS) for k, s_BS in self.signals.items()}
        policies, inputs = self._policies()
        recorder.begin(policies, inputs, None)
        for layer in sorted({*exit.layers} - {last}):
            if not len(recorder.here_B):
                break
            recorder.leave(layer, recorder.decide(layer, policies, inputs))
        recorder.leave(last, recorder.at_end())
        trace = recorder.end().numpy(guesses=False)
        return replace(trace, tokens_LB=run_tokens(self.tokens_LB, trace.depth_B))

    def _policies(self) -> tuple[Sequence[Policy], Any]:
        """Return the policies, with the one that windows of long texts need, and what they read."""
        policies, inputs = [*self.policies], None
        if policies:
            assert self.batch is not None
            inputs = self.batch(np.arange(self.num_rows))
        if self.join is not None and self.group_B is not None:
            is_part_B = np.bincount(self.group_B)[self.group_B] > 1
            if is_part_B.any():
                policies.append(FullDepthIfFound(self.join, is_part_B))
                inputs = inputs or KnownFields([{}] * self.num_rows)
        return policies, inputs

    @classmethod
    def concat(cls, parts: Sequence[Record]) -> Record:
        """Concatenate records of one encoder over several splits, without policies."""

        def by_layer(found: list[dict[int, np.ndarray]]) -> dict[int, np.ndarray]:
            return {layer: np.concatenate([x[layer] for x in found]) for layer in found[0]}

        return cls(
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            by_layer([part.guesses for part in parts]),
            np.concatenate([part.tokens_LB for part in parts], axis=1),
            parts[0].exit,
            signals=by_layer([part.signals for part in parts]),
            kind=parts[0].kind,
        )

    def take(self, rows: np.ndarray) -> Record:
        """Return the record of some rows.

        Args:
            rows: indices in the order wanted, or a mask; whole groups only.
        """
        at_B, batch = np.arange(self.num_rows)[rows], self.batch

        def taken(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[at_B]

        groups = taken(self.group_B)
        return replace(
            self,
            labels=self.labels[at_B],
            lengths=self.lengths[at_B],
            guesses={layer: guess_BC[at_B] for layer, guess_BC in self.guesses.items()},
            tokens_LB=self.tokens_LB[:, at_B],
            signals={layer: signal_BS[at_B] for layer, signal_BS in self.signals.items()},
            difficulty=taken(self.difficulty),
            origins=None if self.origins is None else [self.origins[i] for i in at_B],
            cluster_B=taken(self.cluster_B),
            batch=None if batch is None else lambda some: batch(at_B[some]),
            before=None if self.before is None else self.before.take(rows),
            group_B=None if groups is None else np.unique(groups, return_inverse=True)[1],
        )

    def to_parquet(self, path: Path) -> None:
        """Write a file with a line for each row: its label, its length, the logits of every exit
        in fp32, and the number of tokens entering each layer that gets fewer than the one before.
        Difficulty, source, group and the number of its text or list follow if they are known.

        What a rule decides is not kept, since `replay` finds it. If `in_margins`, the columns
        `margins_K` hold the logits without the first.
        """
        name, first = ("margins", 1) if self.in_margins else ("logits", 0)
        known = {
            "difficulty": self.difficulty,
            "source": self.origins,
            "group": self.cluster_B,
            "list" if self.join is None else "text": self.group_B,
        }
        found = {
            **{"label": columns.small(self.labels), "length": columns.small(self.lengths)},
            **columns.fewer_tokens(self.lengths, self.tokens_LB),
            **{f"{name}_{k}": fp32(x_BC[:, first:]) for k, x_BC in self.guesses.items()},
            **{f"signals_{k}": fp32(signal_BS) for k, signal_BS in self.signals.items()},
            **{name: values for name, values in known.items() if values is not None},
        }
        about = {}
        if spec := self.kind.spec():
            about["answers"] = spec | {"num_labels": self.kind.num_labels}
        if self.join is not None:
            about["join"] = asdict(self.join.long) | {"labels": [*self.join.labels]}
        if self.keep is not None:
            about["lists"] = {"keep": self.keep}
        columns.write(path, found, about)

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read the file that `to_parquet` wrote, with `never` as the exit rule. Raises ConfigError
        if the file is damaged or of an older version."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        from eat_lightning.errors import one_line

        try:
            file = pq.ParquetFile(path)
            if (rows := file.metadata.num_rows) > MOST_ROWS:
                raise ValueError(f"{rows} examples, and at most {MOST_ROWS} are read")
            made = cls.of_table(file.read())
            raise_faults(made.faults())
            return made
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
            reason = one_line(str(error).strip("'\"")) or type(error).__name__
            raise ConfigError(
                f"{path}: no examples of this version ({reason}); measure the run again"
            ) from None

    @classmethod
    def of_table(cls, table: pa.Table) -> Record:
        """Make a record of the columns that `to_parquet` writes, without checking them."""
        from eat_lightning.methods.exit.never import Never

        guesses = columns.by_layer(table, "logits_")
        for layer, margins_BC in columns.by_layer(table, "margins_").items():  # over the 0s
            guesses[layer] = np.pad(margins_BC, ((0, 0), (1, 0)))
        made = cls(
            columns.wide(columns.array(table["label"])),
            columns.wide(columns.array(table["length"])),
            guesses,
            columns.tokens_of(table, max(guesses)),
            Never(),
            difficulty=columns.known(table, "difficulty"),
            origins=table["source"].to_pylist() if "source" in table.column_names else None,
            signals=columns.by_layer(table, "signals_"),
            cluster_B=columns.known(table, "group"),
            kind=kept_kind(table),  # type: ignore[arg-type]
        )
        return replace(made, **kept_groups(table, made.kind))

    def faults(self) -> list[str]:
        """Return a line for each conflict between columns, as a damaged file may have."""
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
        if self.group_B is not None and not {*np.diff(self.group_B, prepend=-1)} <= {0, 1}:
            faults.append("texts or lists must be numbered from 0, in their order")
        if self.join is not None:
            faults += self.join.long.faults(self.kind, self.join.labels, MOST_TOKENS)
        return faults


def fp32(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32)


def kept_kind(table: pa.Table) -> AnswerKind | None:
    """Return the kind of answers that a table states; None if it states none."""
    about = columns.fact(table, "answers")
    if about is None:
        return None
    num_labels = about.get("num_labels")
    if not isinstance(num_labels, int) or num_labels < 1:
        raise ValueError(f"answers.num_labels must be 1 or more, got {num_labels!r:.60}")
    return kind_of(about, num_labels)


def kept_groups(table: pa.Table, kind: AnswerKind) -> dict[str, Any]:
    """Return the fields of a record that group its rows into texts or lists."""
    text_B, list_B = (columns.known(table, name) for name in ("text", "list"))
    if text_B is not None:
        about = columns.fact(table, "join") or {}
        labels = about.pop("labels")
        return {
            "group_B": columns.wide(text_B),
            "join": Joiner(LongTexts(**about), kind, labels),
        }
    if list_B is None:
        return {}
    keep = (columns.fact(table, "lists") or {}).get("keep")
    return {"group_B": columns.wide(list_B), "keep": keep}
