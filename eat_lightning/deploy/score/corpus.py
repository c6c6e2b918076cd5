"""A corpus on its way: what is to be read, what is there already, who scores the rest."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from eat_lightning.deploy.score.columns import JsonColumns
from eat_lightning.deploy.score.inputs import Input, Shard, cut, found_inputs
from eat_lightning.deploy.score.local import FORKS, WorkerPool, one_thread, scored_here
from eat_lightning.deploy.score.output import (
    Manifest,
    Output,
    answer_types,
    clear_unfinished,
    only_scorer,
)
from eat_lightning.deploy.score.plan import ScoreSettings, cores
from eat_lightning.deploy.score.row import ScoreRow, summary
from eat_lightning.deploy.score.rows import Reading, kept_schema, lines, names_of_texts, parsed
from eat_lightning.deploy.score.scorer import Scorer
from eat_lightning.deploy.score.work import Job, ShardEvent, Tally
from eat_lightning.engines.open import open_backend
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.files import as_dict
from eat_lightning.infer.torch_backend import TorchBackend
from eat_lightning.machine import MACHINE
from eat_lightning.progress import bar
from eat_lightning.runs import jsonl
from eat_lightning.runs.run import provenance

SAMPLED_FILES, SAMPLED_LINES = 20, 500  # of JSON, whose keys become columns
ROWS = "_rows.jsonl"
# What rows depend on beside the model; batches decide the last bits of a confidence.
DECIDE = {"format", "text", "keep", "prefix", "tokens", "batch", "pool", "window", "shard_mb"}
DECIDE |= {"max_bytes", "long", "windows"}


@dataclass
class Corpus:
    """A model, the shards that it is to score, and the folder that takes the answers."""

    plan: ScoreSettings
    job: Job
    shards: list[Shard]
    manifest: Manifest

    @classmethod
    def open(cls, plan: ScoreSettings) -> Corpus:
        """ConfigError with every fault of inputs and output before a model is loaded; then with
        those of the run, of columns, and of a folder that holds other scores."""
        folder = Path(str(plan.output))
        inputs, left_out = found_inputs(plan.inputs, plan.format)
        for given in plan.inputs:  # a second start would take the scores as input
            if Path(given).is_dir() and folder.resolve().is_relative_to(Path(given).resolve()):
                raise ConfigError(f"output={folder} must not lie within input={given}")
        shards = cut(inputs, plan.shard_mb * (1 << 20))
        there = Manifest.read(folder)
        for path in left_out[:3] + ([f"{len(left_out) - 3} more"] if len(left_out) > 3 else []):
            print(f"left out, of no known format: {path}")
        types = (there and there.json) or json_types(inputs, plan)
        job = job_of(plan, types)
        check_columns(inputs, job, types)
        prints = {each.name: each.fingerprint for each in inputs}
        identity = job.scorer.backend.identity()
        identity.pop(MACHINE, None)  # a corpus may be scored on machines of several kinds
        model = plain(identity)
        manifest = Manifest(model, plan.model_dump(include=DECIDE), prints, types)
        if there is not None:
            there.check(manifest, folder)
            manifest = replace(manifest, inputs=there.inputs | prints)
        return cls(plan, job, shards, manifest)

    @property
    def folder(self) -> Path:
        return self.job.output.folder

    def score(self) -> int:
        """Score what is missing; returns how many shards were given up."""
        lock = only_scorer(self.folder)
        try:
            clear_unfinished(self.folder)
            self.manifest.write(self.folder)
            missing = self.job.output.missing(self.shards)
            if missing:
                return self.score_missing(missing)
            print(f"all {len(self.shards)} shards are there already; {self.written()}")
            return 0
        finally:
            clear_unfinished(self.folder)
            lock.release()

    def score_missing(self, missing: list[Shard]) -> int:
        self.plan.tell_uncertified(self.job.scorer.backend.exits)
        workers = min(self.plan.workers or len(cores()), len(missing))
        start, whole, faults = time.monotonic(), Tally(), []
        read = [0.0] * len(missing)
        title = f"{len(missing)} of {len(self.shards)} shards"
        with bar(title, sum(shard.weight for shard in missing)) as advance:
            for event in self.events(missing, workers):
                shard, before = missing[event.shard], read[event.shard]
                read[event.shard] = shard.weight if event.ends else event.tally.read
                advance(read[event.shard] - before)
                if event.ends:
                    whole.add(event.tally)
                if event.fatal:
                    fault = f"{event.fault}: finished shards stay; the same command goes on"
                    raise ConfigError(fault)
                if event.fault is not None:
                    print(f"error: {event.fault}", file=sys.stderr)
                    faults.append(event.fault)
        row = self.row(whole, time.monotonic() - start, workers)
        try:
            jsonl.update(self.folder / ROWS, ScoreRow, [row])
        except OSError as error:
            raise ConfigError(
                f"{self.folder / ROWS}: cannot be written ({error.strerror})"
            ) from None
        print("\n".join([*summary(row, whole), self.written()]))
        if faults:
            print(
                f"{len(faults)} of {len(missing)} shards are missing: the same command tries again"
            )
        return len(faults)

    def written(self) -> str:
        """Line on the output folder and its rows so far, those of earlier starts included."""
        rows = self.job.output.num_rows(self.shards)
        return f"written: {self.folder}, {rows:,} rows in all"

    def events(self, missing: list[Shard], workers: int) -> Iterator[ShardEvent]:
        # A forked worker has the model already. Other engines have threads, which no fork
        # survives: there, and where nothing forks, each worker opens its own.
        shares = FORKS and isinstance(self.job.scorer.backend, TorchBackend)
        anew = partial(job_of, self.plan, self.manifest.json or {})
        make_job = (lambda: self.job) if shares else anew
        return scored_here(missing, WorkerPool(make_job, shares), workers)

    def row(self, tally: Tally, seconds: float, workers: int) -> ScoreRow:
        backend = self.job.scorer.backend
        exits = backend.identity().get("exit")
        return ScoreRow(
            run=backend.name,
            backend=self.plan.backend,
            exits=json.dumps(exits, sort_keys=True, default=as_dict),
            workers=workers,
            rows=tally.rows,
            rejects=tally.rejects,
            seconds=seconds,
            mean_depth=tally.mean_depth,
            retention=tally.retention / max(1, tally.rows),
            **provenance(),
            session=secrets.token_hex(6),
        )


def plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The values as a manifest that was read has them."""
    return json.loads(json.dumps(identity, default=as_dict))


def job_of(plan: ScoreSettings, types: Mapping[str, str]) -> Job:
    """Open the run, and put with it how rows are read and written."""
    one_thread()
    backend = open_backend(plan)
    if plan.text_columns is not None and len(plan.text_columns) != len(backend.columns):
        names = " and ".join(backend.columns)
        raise ConfigError(f"text must name {len(backend.columns)} ({names}), got {plan.text}")
    pools = isinstance(backend, TorchBackend) if plan.pool is None else plan.pool
    kept = JsonColumns(types, plan.keep)
    return Job(
        Scorer(backend, plan.tokens, plan.batch, pools),
        Reading(backend.columns, plan.text_columns, plan.keep, plan.window, plan.max_bytes, kept),
        Output(Path(str(plan.output)), answer_types(backend.kind), plan.prefix),
    )


def check_columns(inputs: Sequence[Input], job: Job, types: Mapping[str, str]) -> None:
    """ConfigError with a line for every file that lacks the texts, or has a column named as an
    answer's."""
    faults = Faults()
    for each in inputs:
        with faults.gathered():
            if each.format == "jsonl" and types:
                names_of_texts([*types], job.reading, each.path)
            job.output.schema(kept_schema(each, job.reading), each.path)
    faults.check()


def json_types(inputs: Sequence[Input], plan: ScoreSettings) -> dict[str, str]:
    """The columns of JSON that are passed through, from the first lines of the first files."""
    found = []
    for each in [each for each in inputs if each.format == "jsonl"][:SAMPLED_FILES]:
        with each.path.open("rb") as file:
            whole = lines(file, 0, each.path.stat().st_size, plan.max_bytes)
            for _, line, _ in islice(whole, SAMPLED_LINES):
                try:
                    found.append(parsed(line.decode("utf-8-sig")))
                except ValueError:  # it is rejected when its shard is read
                    continue
    return dict(JsonColumns.of(found, plan.keep).types)
