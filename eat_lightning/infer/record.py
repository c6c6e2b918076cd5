"""One pass that records every exit's guess, so that any rule and tau can be judged from it.

Shapes: B examples of the split (in its order), L layers, C classes, E exits so far.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eat_lightning.bounds import raise_faults
from eat_lightning.data.batching import sorted_batches
from eat_lightning.data.metrics import metrics_for
from eat_lightning.errors import ConfigError
from eat_lightning.model.contracts import Exit, Policy
from eat_lightning.model.encoder import AdaptiveEncoder, Trace
from eat_lightning.model.packed import Batch
from eat_lightning.model.together import wished
from eat_lightning.model.trace import Journey
from eat_lightning.weights.untrusted import one_line

MOST_EXAMPLES = 10_000_000  # of a file that is read


@dataclass
class Recorded:
    """Every head's guess for every example (divided by its temperature), and the tokens entering
    each layer when nobody leaves. `exit` is the rule and `policies` are those the encoder had;
    `origins` says where each example comes from, where the data do; `batch` gives the examples of
    some rows, for which policies ask."""

    labels: np.ndarray
    lengths: np.ndarray
    guesses: dict[int, np.ndarray]
    tokens_LB: np.ndarray
    exit: Exit
    difficulty: np.ndarray | None = None
    origins: list[str] | None = None
    policies: Sequence[Policy] = ()
    signals: dict[int, np.ndarray] = field(default_factory=dict)
    batch: Callable[[np.ndarray], Batch] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def under(self, exit: Exit | None = None) -> Outcome:
        """What the encoder would do with this rule (None: its own) and its policies: an example's
        way depends on no other example, so who leaves where is found from the records."""
        exit = self.exit if exit is None else exit
        last = len(self.tokens_LB)
        journey = Journey(last, len(self), exit)
        journey.guesses = {k: torch.from_numpy(guess_BC) for k, guess_BC in self.guesses.items()}
        journey.signals = {k: torch.from_numpy(s_BS) for k, s_BS in self.signals.items()}
        whole = self.asked()
        if whole is not None:
            journey.wish(wished(self.policies, whole, None))
        for layer in sorted({*exit.layers} - {last}):
            if not len(journey.rows_B):
                break
            looked = [k for k in exit.layers if k <= layer]
            stack_EBC = journey.stack(looked)
            reason_B = journey.decided(looked, stack_EBC)
            if whole is not None:
                reason_B = journey.review(self.policies, reason_B, stack_EBC, whole)
            journey.leave(layer, reason_B)
        journey.leave(last, journey.at_end())
        trace = journey.end()
        logits_BC = trace.logits_BC.numpy()
        return Outcome(self, logits_BC, trace.depth_B.numpy(), trace.reason_B.numpy(), trace.names)

    def asked(self) -> Batch | None:
        """All examples, for policies to ask about; None without policies."""
        if not self.policies:
            return None
        assert self.batch is not None
        return self.batch(np.arange(len(self)))

    @classmethod
    def read(cls, path: Path) -> Recorded:
        """What `Outcome.to_parquet` wrote, with a rule under which nobody leaves. ConfigError where
        the file is damaged or of an older version."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        from eat_lightning.methods.exit.never import Never

        try:
            file = pq.ParquetFile(path)
            if (rows := file.metadata.num_rows) > MOST_EXAMPLES:
                raise ValueError(f"{rows} examples, and at most {MOST_EXAMPLES} are read")
            table = file.read()
            guesses = by_layer(table, "logits_")
            made = cls(
                table["label"].to_numpy(),
                table["length"].to_numpy(),
                guesses,
                stacked(table["tokens_in_full"]).T,
                Never(),
                table["difficulty"].to_numpy() if "difficulty" in table.column_names else None,
                table["source"].to_pylist() if "source" in table.column_names else None,
                signals=by_layer(table, "signals_"),
            )
            raise_faults(made.faults())
            return made
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
            reason = one_line(str(error).strip("'\"")) or type(error).__name__
            raise ConfigError(
                f"{path}: no examples of this version ({reason}); measure the run again"
            ) from None

    def faults(self) -> list[str]:
        """Of columns that do not fit each other, as a file may hold them."""
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
    """What an exit rule makes of the recorded examples: each one's answer, depth and reason."""

    recorded: Recorded
    logits_BC: np.ndarray
    depth_B: np.ndarray
    reason_B: np.ndarray
    names: dict[int, str]

    @property
    def tokens_LB(self) -> np.ndarray:
        """Tokens entering each layer that an example ran, 0 for the others."""
        tokens_LB = self.recorded.tokens_LB
        return tokens_LB * (np.arange(1, len(tokens_LB) + 1)[:, None] <= self.depth_B)

    @property
    def retention_B(self) -> np.ndarray:
        """Tokens entering the last executed layer / tokens entering layer 1."""
        tokens_LB = self.recorded.tokens_LB
        return np.take_along_axis(tokens_LB, self.depth_B[None] - 1, axis=0)[0] / tokens_LB[0]

    @property
    def token_layers_B(self) -> np.ndarray:
        """Tokens summed over the executed layers / (first tokens x num_layers)."""
        tokens_LB = self.tokens_LB
        return tokens_LB.sum(0) / (tokens_LB[0] * len(tokens_LB))

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

    def to_parquet(self, path: Path) -> None:
        """A line per example: label, length, every exit's logits, tokens entering each layer if all
        were run (`tokens_in_full`), and what this rule made of it."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        recorded = self.recorded
        columns: dict[str, Any] = {
            "index": np.arange(len(recorded)),
            "label": recorded.labels,
            "length": recorded.lengths,
            "depth": self.depth_B,
            "exit_reason": [self.names[code] for code in self.reason_B.tolist()],
            "tokens": self.tokens_LB.T.tolist(),
            "tokens_in_full": recorded.tokens_LB.T.tolist(),
        }
        columns |= {f"logits_{k}": guess_BC.tolist() for k, guess_BC in recorded.guesses.items()}
        columns |= {f"signals_{k}": s_BS.tolist() for k, s_BS in recorded.signals.items()}
        if recorded.difficulty is not None:
            columns["difficulty"] = recorded.difficulty
        if recorded.origins is not None:
            columns["source"] = recorded.origins
        beside = path.with_name(path.name + ".part")
        pq.write_table(pa.table(columns), beside, compression="zstd")
        beside.replace(path)


def by_layer(table: Any, prefix: str) -> dict[int, np.ndarray]:
    """The columns of a table that hold lists for each exit, in fp32, by their layer."""
    names = [name for name in table.column_names if name.startswith(prefix)]
    found = {int(name.removeprefix(prefix)): stacked(table[name]) for name in names}
    return {layer: found[layer].astype(np.float32) for layer in sorted(found)}


def stacked(column: Any) -> np.ndarray:
    """Lists of one length as the rows of an array."""
    values = column.combine_chunks()
    return np.stack(values.to_numpy(zero_copy_only=False)) if len(values) else np.empty((0, 0))


def record(encoder: AdaptiveEncoder, split: Any, batch_size: int = 32, title: str = "") -> Recorded:
    """Run all examples of a split through all layers and heads, in evaluation mode."""
    last, device = encoder.shape.num_layers, encoder.strength.device
    layers = sorted(int(k) for k in encoder.heads)
    guesses = {k: np.empty((len(split), encoder.num_labels), np.float32) for k in layers}
    signals: dict[int, np.ndarray] = {}
    tokens_LB = np.zeros((last, len(split)), np.int64)
    with inference(encoder):
        for rows_B in shown(sorted_batches(split.lengths, batch_size), title):
            trace: Trace = encoder(split.batch(rows_B).to(device), leave=False)
            for k in layers:
                guesses[k][rows_B] = trace.guesses[k].float().cpu().numpy()
            for k, signal_BS in trace.signals.items():
                whole_BS = signals.setdefault(
                    k, np.empty((len(split), signal_BS.shape[1]), np.float32)
                )
                whole_BS[rows_B] = signal_BS.float().cpu().numpy()
            tokens_LB[:, rows_B] = trace.tokens_LB.numpy()
    return Recorded(
        split.labels,
        split.lengths,
        guesses,
        tokens_LB,
        encoder.exit,
        difficulty=getattr(split, "difficulty", None),
        origins=getattr(split, "origins", None),
        policies=encoder.policies,
        signals=signals,
        batch=split.batch,
    )


@contextmanager
def inference(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the mode is put back."""
    training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        module.train(training)


def shown(items: list[Any], title: str) -> Any:
    """With a progress bar where someone looks on and it takes a while."""
    from rich.progress import track

    quiet = not title or len(items) < 20 or not sys.stderr.isatty()
    return track(items, title, disable=quiet, transient=True)


def score(task: Any, logits_BC: np.ndarray, labels_B: np.ndarray) -> dict[str, float]:
    """The task's metrics, each in its usual range (0 ... 1, correlations -1 ... 1)."""
    logits, labels = torch.as_tensor(logits_BC), torch.as_tensor(labels_B)
    predictions = logits[:, 0] if task.num_labels == 1 else logits.argmax(-1)
    scores = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics on a constant, which is dealt with below
        for name, metric in metrics_for(task, sync=False).items():
            metric.update(predictions, labels)  # type: ignore[operator]
            value = float(metric.compute())  # type: ignore[operator]
            scores[name] = 0.0 if np.isnan(value) else value  # a constant correlates with nothing
    return scores
