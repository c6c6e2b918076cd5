"""Score a corpus: find what is missing, and distribute it to workers."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.deploy.score.inputs import Input, find_inputs
from eat_lightning.deploy.score.output import (
    Output,
    OutputFails,
    merge_manifests,
    read_manifest,
)
from eat_lightning.deploy.score.plan import ScoreSettings, cores
from eat_lightning.deploy.score.scorer import Scorer
from eat_lightning.deploy.score.tables import answer_schema, answer_table
from eat_lightning.deploy.score.windows import Source, Unreadable, Window
from eat_lightning.deploy.score.workers import (
    FORKS,
    MOST_DEATHS,
    WorkersDie,
    answer_windows,
    start_workers,
)
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.machine import MACHINE
from eat_lightning.monitor.reference import read_reference
from eat_lightning.monitor.watch import DriftWatch
from eat_lightning.progress import bar

# What rows depend on beside the model; batches decide the last bits of a confidence.
DECIDE = {"format", "text", "keep", "prefix", "tokens", "batch", "pool", "window", "shard_rows"}
DECIDE |= {"long", "windows"}


@dataclass
class Tally:
    """Counts of the current call.

    Args:
        files: number of files that could not be read completely.
    """

    rows: int = 0
    rejects: int = 0
    depths: int = 0
    files: list[str] = field(default_factory=list)

    def observe(self, answers: pa.Table, depth: str) -> None:
        """Count the answers of a window.

        Args:
            depth: name of its column.
        """
        depths = answers[depth].drop_null().to_pylist()
        self.rows += len(depths)
        self.rejects += len(answers) - len(depths)
        self.depths += sum(depths)

    def lines(self, seconds: float, workers: int) -> list[str]:
        """Return the summary that is printed at the end."""
        rate = f"{self.rows:,} rows in {seconds:,.1f} s ({self.rows / seconds:,.0f} rows/s)"
        lines = [f"{rate}, {workers} workers, mean depth {self.depths / max(1, self.rows):.2f}"]
        if self.rejects:
            lines.append(f"rejected: {self.rejects:,}, see _rejects/")
        if self.files:
            lines.append(f"files not read completely: {len(self.files)}")
        return lines


@dataclass
class Corpus:
    """A model, the files to score, and the output folder.

    Args:
        watch: compares answers with what is normal, if that is wanted.
        most_deaths: deaths of workers without an answer between, after which it ends.
    """

    plan: ScoreSettings
    scorer: Scorer
    sources: list[Source]
    output: Output
    manifest: dict[str, Any]
    watch: DriftWatch
    most_deaths: int = MOST_DEATHS

    @classmethod
    def open(cls, plan: ScoreSettings) -> Corpus:
        """Open model, inputs and output.

        Raises:
            ConfigError: first with every error in inputs and output, before a model is loaded; then
                with those of the run, the columns, and a folder that holds other scores.
        """
        folder = Path(str(plan.output))
        check_apart(folder, plan.inputs)
        inputs = find_inputs(plan.inputs, plan.format)
        earlier = read_manifest(folder)
        watched = plan.drift.monitor
        scorer = Scorer.open(plan, watched)
        sources = find_sources(plan, inputs, scorer)
        identity = scorer.model.identity()
        manifest = {
            "model": portable(identity),
            "settings": plan.model_dump(include=DECIDE),
            "inputs": {input.name: input.fingerprint for input in inputs},
        }
        manifest = merge_manifests(folder, earlier, manifest)
        normal = read_reference(scorer.model, plan.certificate) if watched else None
        watch = DriftWatch(normal, plan.drift.monitors)
        return cls(plan, scorer, sources, Output(folder), manifest, watch)

    def score(self) -> int:
        """Score what is missing; returns the number of files that could not be read completely."""
        with self.output.lock(self.manifest):
            self.plan.tell_uncertified(self.scorer.model.exits)
            tally, began = Tally(), time.monotonic()
            workers = self.plan.workers or len(cores())
            try:
                self.score_files(tally, workers)
            except (OutputFails, WorkersDie, RuntimeError) as error:
                fault = f"{error}: finished shards are kept; the same command resumes"
                raise ConfigError(fault) from None
            print("\n".join(tally.lines(time.monotonic() - began, workers)))
            if self.scorer.watched:
                print(f"drift: {self.watch.state} after {self.watch.seen:,} answers of this call")
            print(f"written: {self.output.folder}")
            return len(tally.files)

    def score_files(self, tally: Tally, workers: int) -> None:
        """Read windows, have workers answer them, and write them in order."""
        prefix, read = self.plan.prefix, dict[str, float]()
        schema = answer_schema(self.scorer.model.kind, prefix)
        # A forked worker has the model already. Other engines have threads, which no fork survives:
        # there each worker opens its own.
        forks = FORKS and isinstance(self.scorer.model, TorchModel)
        opened = (
            (lambda: self.scorer) if forks else partial(Scorer.open, self.plan, self.scorer.watched)
        )
        num_bytes = sum(source.input.path.stat().st_size for source in self.sources)
        with (
            start_workers(opened, forks, workers, self.most_deaths) as pool,
            bar("scored", num_bytes) as advance,
        ):
            for window, answers in answer_windows(self.missing(tally), pool):
                table = answer_table(answers, schema, prefix)
                for event in self.watch.observe(a["seen"] for a in answers if "seen" in a):
                    event.tell()
                tally.observe(table, f"{prefix}depth")
                self.output.add(window, table)
                name = window.source.input.name
                advance(window.read - read.get(name, 0.0))
                read[name] = window.read

    def missing(self, tally: Tally) -> Iterator[Window]:
        """Yield the windows of all missing shards. A damaged file ends early, and the next one
        follows.
        """
        for source in self.sources:
            try:
                for window in source.windows(self.plan.window, self.plan.shard_rows):
                    if not self.output.has(window):
                        yield window
            except Unreadable as error:
                print(f"error: {error}", file=sys.stderr)
                tally.files.append(str(error))


def find_sources(plan: ScoreSettings, inputs: list[Input], scorer: Scorer) -> list[Source]:
    """Return the files with their columns. Raises ConfigError with every error."""
    columns, faults = (scorer.model.columns, plan.text_columns, plan.keep), Faults()
    sources = [Source(input, *columns) for input in inputs]
    answers = answer_schema(scorer.model.kind, plan.prefix).names[:-1]
    for source in sources:
        with faults.gathered(f"input={source.input.path}: "):
            source.check(answers)
    faults.check()
    return sources


def check_apart(output: Path, inputs: list[str]) -> None:
    """Raise ConfigError where a second call would read the scores as input."""
    for given in inputs:
        if Path(given).is_dir() and output.resolve().is_relative_to(Path(given).resolve()):
            raise ConfigError(f"output={output} must not lie within input={given}")


def portable(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity without its machine, since any machine may go on with a corpus. Models
    that answer in a row have one each."""
    return {
        key: portable(value) if isinstance(value, dict) else value
        for key, value in identity.items()
        if key != MACHINE
    }
