"""The trace of some examples: answer, depth, tokens and reason of each.

It holds tensors while the model runs, and numpy arrays when it is read. An export puts a copy of
this file beside its graphs, so only numpy is imported here, and nothing of the package.

Shapes: B examples, G of them, L layers, C classes, S signals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from eat_lightning.answer_kind import AnswerKind

Array = Any  # a tensor while the model runs, and a numpy array when it is read


@dataclass
class Trace:
    """What happened to each example of a batch. Depth, tokens and reasons are on the CPU.

    Args:
        logits_BC: logits of the answer, divided by the temperature of the head.
        depth_B: number of layers that each example ran; 0 if it exited at the embedding.
        tokens_LB: number of tokens entering each layer, 0 if it was not run; None if unknown.
        reason_B: codes of the exit reasons, explained by `names`; None if unknown.
        guesses: logits by exit, NaN for examples that had exited.
        signals: signals that the exit rule observed, B x S by exit.
        rows_B: indices of the examples in their batch, request or split. None: all of them, in
            order.
        would: what the exits would have decided, if all examples ran every layer; None if the exits
            decided.
        parts: for texts in windows, the trace of the windows that count; `rows_B` are their indices
            among all windows.
        sizes: how each example's text was read, for its printed answer (`ReadText.sizes`).
        errors: error messages of texts without an answer, by their index in the request.
        flops_B: FLOPs of each example, if they were counted.
        inside: vectors within the layers (`inside.Inside`), for training and studies.
    """

    logits_BC: Array
    depth_B: Array
    tokens_LB: Array = None
    reason_B: Array = None
    names: Mapping[int, str] = field(default_factory=dict)
    guesses: dict[int, Array] = field(default_factory=dict)
    signals: dict[int, Array] = field(default_factory=dict)
    rows_B: Array = None
    would: Trace | None = None
    parts: Trace | None = None
    sizes: Sequence[Mapping[str, Any]] = ()
    errors: Mapping[int, str] = field(default_factory=dict)
    flops_B: Array = None
    inside: Any = None

    @classmethod
    def blank(cls, size: int, width: int, num_layers: int, names: Mapping[int, str]) -> Trace:
        """Return a trace of `size` examples in which every value is still 0.

        Args:
            width: columns of the logits.
        """
        return cls(
            logits_BC=np.zeros((size, width), np.float32),
            depth_B=np.zeros(size, np.int64),
            tokens_LB=np.zeros((num_layers, size), np.int64),
            reason_B=np.zeros(size, np.int64),
            names=names,
        )

    @classmethod
    def together(cls, traces: Sequence[Trace]) -> Trace:
        """Return one trace of all examples, in the order of `rows_B` if that is known. Parts are
        left out, and so are guesses at exits that not all traces have."""
        woulds = [replace(each.would, rows_B=each.rows_B) for each in traces if each.would]
        exits = [k for k in traces[0].guesses if all(k in each.guesses for each in traces)]
        whole = cls(
            logits_BC=np.concatenate([each.logits_BC for each in traces]),
            depth_B=np.concatenate([each.depth_B for each in traces]),
            tokens_LB=concatenated([each.tokens_LB for each in traces]),
            reason_B=concatenated([each.reason_B for each in traces]),
            names={code: name for each in traces for code, name in each.names.items()},
            guesses={k: np.concatenate([each.guesses[k] for each in traces]) for k in exits},
            signals={
                k: np.concatenate([each.signals[k] for each in traces])
                for k in exits
                if k in traces[0].signals
            },
            rows_B=concatenated([each.rows_B for each in traces]),
            sizes=[sizes for each in traces for sizes in each.sizes],
        )
        if whole.rows_B is not None:
            whole = whole.take(np.argsort(whole.rows_B, kind="stable"))
        return replace(whole, would=cls.together(woulds) if woulds else None)

    def __len__(self) -> int:
        return len(self.depth_B)

    def take(self, rows_G: Array) -> Trace:
        """Return only the examples with these indices (on the host), in their order. Parts, errors
        and `inside` are left out."""
        on_device = rows_G.to(self.logits_BC.device) if hasattr(rows_G, "to") else rows_G
        return Trace(
            logits_BC=self.logits_BC[on_device],
            depth_B=self.depth_B[rows_G],
            tokens_LB=taken(self.tokens_LB, rows_G),
            reason_B=taken(self.reason_B, rows_G),
            names=self.names,
            guesses={layer: guess_BC[on_device] for layer, guess_BC in self.guesses.items()},
            signals={layer: signal_BS[on_device] for layer, signal_BS in self.signals.items()},
            rows_B=rows_G if self.rows_B is None else self.rows_B[rows_G],
            would=None if self.would is None else self.would.take(rows_G),
            sizes=[self.sizes[i] for i in rows_G] if self.sizes else (),
            flops_B=taken(self.flops_B, rows_G),
        )

    def numpy(self, guesses: bool = True) -> Trace:
        """Return the trace in numpy, without `inside`.

        Args:
            guesses: whether guesses and signals are kept, each of which is a fetch of its own.
        """

        def by_exit(values: Mapping[int, Array]) -> dict[int, Array]:
            return {layer: fetched(x) for layer, x in values.items()} if guesses else {}

        return Trace(
            logits_BC=fetched(self.logits_BC),
            depth_B=self.depth_B.numpy(),
            tokens_LB=self.tokens_LB.numpy(),
            reason_B=self.reason_B.numpy(),
            names=self.names,
            guesses=by_exit(self.guesses),
            signals=by_exit(self.signals),
            rows_B=None if self.rows_B is None else self.rows_B.numpy(),
        )

    @property
    def retention_B(self) -> np.ndarray:
        """Tokens entering the last executed layer / tokens entering layer 1; 1 if no layer ran."""
        tokens_LB, depth_B = np.asarray(self.tokens_LB), np.asarray(self.depth_B)
        last_B = np.take_along_axis(tokens_LB, np.maximum(depth_B - 1, 0)[None], axis=0)[0]
        return np.where(depth_B > 0, last_B / np.maximum(tokens_LB[0], 1), 1.0)

    @property
    def reasons(self) -> list[str]:
        """Each example's reason in words."""
        return [self.names[code] for code in self.reason_B.tolist()]

    @property
    def exit_shares(self) -> dict[int, float]:
        """Share of the examples that left after each layer."""
        layers, counts = np.unique(self.depth_B, return_counts=True)
        return {int(k): float(n / len(self)) for k, n in zip(layers, counts, strict=True)}

    @property
    def exit_reasons(self) -> dict[str, float]:
        """Share of the examples that left for each reason."""
        codes, counts = np.unique(self.reason_B, return_counts=True)
        shares = (counts / len(self)).tolist()
        return {self.names[code]: share for code, share in zip(codes, shares, strict=True)}

    def scaled(self, scales: Mapping[int, float]) -> Trace:
        """Multiply each example's logits by the scale of the layer where it left (1 by default)."""
        scale_B = np.array([scales.get(depth, 1.0) for depth in self.depth_B.tolist()], np.float32)
        return replace(self, logits_BC=self.logits_BC * scale_B[:, None])

    def answers(self, kind: AnswerKind, labels: Sequence[str]) -> list[dict[str, Any]]:
        """Return each example's answer as its kind prints it, with depth, reason and retention."""
        answers = kind.printed(self.logits_BC, labels)
        retention_B, reasons = self.retention_B, self.reasons
        for i, answer in enumerate(answers):
            answer["depth"] = int(self.depth_B[i])
            answer["exit_reason"] = reasons[i]
            answer["retention"] = round(float(retention_B[i]), 6)
            if self.sizes:
                answer |= self.sizes[i]
        return answers


def taken(values: Array, rows_G: Array) -> Array:
    """Index the last axis, that of the examples; None stays None."""
    return None if values is None else values[..., rows_G]


def concatenated(parts: Sequence[Array]) -> Array:
    """Concatenate along the last axis, that of the examples; None if any part is None."""
    return None if any(part is None for part in parts) else np.concatenate(parts, axis=-1)


def fetched(x: Any) -> np.ndarray:
    """Return a tensor as an array of fp32 on the host."""
    return x.detach().float().cpu().numpy()


def run_tokens(tokens_LB: np.ndarray, depth_B: np.ndarray) -> np.ndarray:
    """Return the tokens entering each layer that an example ran, 0 for the others."""
    return tokens_LB * (np.arange(1, len(tokens_LB) + 1)[:, None] <= depth_B)
