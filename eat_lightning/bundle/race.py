"""Engines on one model by turns: do they answer as it does, and which is the fastest here.

The texts are made of words of the vocabulary, in lengths as sentences have: what an engine costs
depends on lengths and on who leaves, and the data need not be on the machine that answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from eat_lightning.bundle.backend import Backend
from eat_lightning.record.timing import time_interleaved, undisturbed

BATCHES = (1, 32)  # examples at once, of which each has a verdict of its own
LENGTHS = (6, 9, 12, 15, 19, 24, 30, 40)  # tokens; the deciles of SST-2's and QQP's dev examples
REPEATS = 3
AGREE = 0.95  # in bf16 and int8: the least share of equal answers


def made_texts(vocabulary: Sequence[str], num_columns: int, count: int = 32) -> list[list[str]]:
    """Random words of the vocabulary, each time the same: a text for each column."""
    words = sorted(word for word in vocabulary if re.fullmatch(r"[a-z]{2,}", word)) or ["a"]
    random, found = np.random.default_rng(0), []
    for i in range(count):
        length = max(1, LENGTHS[i % len(LENGTHS)] // num_columns)
        drawn = [random.choice(words, length) for _ in range(num_columns)]
        found.append([" ".join(column) for column in drawn])
    return found


def answer_fault(plain: Any, backend: Backend, dtype: str, texts: list[list[str]]) -> str | None:
    """Describe how an engine's answers, depths and retentions differ from the encoder's; None where
    nothing is wrong. They are compared as every export's are, in batches and alone.

    Args:
        plain: the run as a TorchBackend in this dtype.
    """
    from eat_lightning.bundle.graphs.agreement import compare

    def batch_of(rows: Sequence[int]) -> Any:
        return plain.batch([texts[row] for row in rows], [{} for _ in rows])

    everyone = range(len(texts))
    lengths, kind = batch_of(everyone).lengths_B.numpy(), plain.encoder.kind
    unknown = np.full((len(texts), *kind.label_shape), kind.unlabelled)
    split = SimpleNamespace(lengths=lengths, labels=unknown, text=texts.__getitem__, batch=batch_of)
    for batch in BATCHES:
        rows = np.arange(len(texts)) if batch > 1 else np.arange(len(LENGTHS))
        found = compare(plain.encoder, backend, split, rows, batch)
        wrong = len(found.faults) if dtype == "fp32" else found.answers < AGREE
        if wrong:
            equal, depths = found.answers, 1 - found.depth_differs_B.mean()
            return (
                f"answers otherwise than the run (batch {batch}: {equal:.0%} equal answers, "
                f"{depths:.0%} equal depths, probabilities within {found.gap_B.max():.1g})"
            )
    return None


def race(
    backends: dict[str, Backend], texts: list[list[str]], threads: int
) -> dict[str, dict[str, float]]:
    """Milliseconds of an example, from its text to its answer, by engine and examples at once: the
    least of the repeats, in which all took turns."""
    took: dict[str, dict[str, float]] = {name: {} for name in backends}
    for batch in BATCHES:
        groups = [texts[i : i + batch] for i in range(0, len(texts), batch)]
        groups = groups[: len(LENGTHS)]
        settings = {name: (each.answer, groups) for name, each in backends.items()}
        with undisturbed(threads):
            for run, inputs in settings.values():
                for given in inputs:  # kernels of a length are made when it first comes
                    run(given)
            found = time_interleaved(settings, REPEATS, len(groups))
        count = sum(map(len, groups))
        for name, took_RI in found.items():
            took[name][str(batch)] = round(float(took_RI.sum(1).min()) / count, 4)
    return took
