"""Engines on one model by turns: do they answer as it does, and which is the fastest here.

The texts are made of words of the vocabulary, in lengths as sentences have: what an engine costs
depends on lengths and on who leaves, and the data need not be on the machine that answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from eat_lightning.bundle import trials
from eat_lightning.bundle.model import Model
from eat_lightning.bundle.plan import tell
from eat_lightning.bundle.sessions import engine_faults
from eat_lightning.bundle.trials import EngineTrial, this_machine
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.record.timing import time_interleaved, undisturbed
from eat_lightning.runs.training_mark import who_trains

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


def texts_for(model: Model) -> list[list[str]]:
    """Texts of words that a model knows."""
    return made_texts(model.reader.tokenizer.get_vocab(), len(model.columns))


def answer_fault(plain: Any, backend: Model, dtype: str, texts: list[list[str]]) -> str | None:
    """Describe how an engine's answers, depths and retentions differ from the encoder's; None where
    nothing is wrong. They are compared as every export's are, in batches and alone.

    Args:
        plain: the run as a TorchModel in this dtype.
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
    backends: dict[str, Model], texts: list[list[str]], threads: int
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


@dataclass(frozen=True)
class EngineRace:
    """The engines that can run a model, one of which is the fastest on this machine.

    Args:
        folder: the model's, where the results are kept.
        digest: of what decides its answers and their cost.
        opens: opens it, by engine.
    """

    folder: Path
    digest: str
    dtype: str
    opens: Mapping[str, Callable[[], Model]]

    def fastest(self, batch: int) -> str:
        """Name the engine with the least time here. The race is run once for a model and a machine.

        Args:
            batch: 1: one text per call; else in batches.

        Raises:
            ConfigError: where no engine can run the model.
        """
        size, machine = "1" if batch == 1 else "32", this_machine(torch.get_num_threads())
        mine = [EngineTrial(engine, machine, self.digest).key for engine in self.opens]
        found = [t for t in trials.read(self.folder) if t.key in mine and (t.ms or t.fault)]
        if not any(t.ms for t in found):
            found = self.run(machine)
        at = {t.engine: t.ms[size] for t in found if size in t.ms}
        if not at:
            raise ConfigError.of(f"backend=auto: {t.engine}: {t.fault}" for t in found)
        ranked = sorted(at, key=lambda engine: at[engine])
        times = ", ".join(f"{engine} {at[engine]:.2f}" for engine in ranked)
        tell(f"backend=auto: {ranked[0]} (ms per example, batch size {size}: {times})")
        return ranked[0]

    def run(self, machine: dict[str, Any]) -> list[EngineTrial]:
        """Race all engines that can run the model, and name those that cannot. The results are
        kept unless a training is running here.
        """
        models, faults = {}, {}
        for engine, opened in self.opens.items():
            try:
                if engine != "torch":
                    Faults(engine_faults(engine, self.dtype)).check()
                models[engine] = opened()
            except ConfigError as error:
                faults[engine] = "; ".join(str(error).splitlines())
                tell(f"backend=auto: {engine} is left out: {faults[engine]}")
        ms = {}
        if models:
            texts = texts_for(next(iter(models.values())))
            ms = race(models, texts, machine["threads"])
        found = [EngineTrial(e, machine, self.digest, ms=took) for e, took in ms.items()]
        found += [EngineTrial(e, machine, self.digest, fault) for e, fault in faults.items()]
        if pids := who_trains():
            tell(f"backend=auto: raced beside a training (process {pids[0]}), so it is not kept")
        elif not trials.keep(self.folder, found):
            tell(f"backend=auto: {self.folder} cannot be written, so the race is not kept")
        return found
