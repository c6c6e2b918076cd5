"""Measure all settings: one pass per backbone records every exit, and all exit rules are evaluated
from its record. Settings of all runs are then timed in turns.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eat_lightning.bundle.open_run import chosen_exits, open_in_torch
from eat_lightning.bundle.run_graphs import RunGraphs
from eat_lightning.data.calibration import group_ids
from eat_lightning.data.split import reader_of
from eat_lightning.errors import Faults
from eat_lightning.evaluation.baselines import HuggingFaceTwin
from eat_lightning.evaluation.fitted import fitted_settings, searched_settings
from eat_lightning.evaluation.gain import METRICS, MOST_CLASSES, Judged, mean_gains
from eat_lightning.evaluation.in_engine import InEngine
from eat_lightning.evaluation.plan import MeasureSettings, Subject
from eat_lightning.evaluation.settings import PlannedRow
from eat_lightning.methods.exit.fixed import Fixed
from eat_lightning.model.contracts import ExitRule, ModelFacts, overrides
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.policies import policy_faults
from eat_lightning.model.trace import Trace
from eat_lightning.record.flops import replay_with_flops
from eat_lightning.record.full_depth import FullDepthIfFound
from eat_lightning.record.passes import record
from eat_lightning.record.point import Point
from eat_lightning.record.record import Record
from eat_lightning.record.timing import TimedCall, keep_kernels, speed_up, time_all, undisturbed
from eat_lightning.record.windows import TextWindows, WindowPack, answer_texts
from eat_lightning.runs.row import STATIC_BASELINE, THEIRS, Row, row_of, write
from eat_lightning.runs.run import Run
from eat_lightning.runs.validate import split_faults
from eat_lightning.weights.checkpoint import load_second_runs
from eat_lightning.weights.precision import PLAIN, in_dtype, in_form


@dataclass
class TimedRow:
    """A setting's untimed row, and a callable that times it."""

    run: Run
    row: Row
    candidate: TimedCall
    static: bool  # dense / none / never on our kernels: what a speed-up is against


def measured(plan: MeasureSettings, subjects: Sequence[Subject]) -> list[Row]:
    """Measure all settings and write each run's rows to its folder, first untimed and again after
    every timed repeat.
    """
    keep_kernels()
    results = [result for subject in subjects for result in recorded(subject, plan)]
    rows = [result.row for result in results]
    keep(rows, results)
    for rows in timed(results, plan) if plan.timing.enabled else ():
        keep(rows, results)
    return rows


def keep(rows: Sequence[Row], results: Sequence[TimedRow]) -> None:
    """Write rows to the folders of their runs."""
    folders: dict[Path, list[Row]] = {}
    for row, result in zip(rows, results, strict=True):
        folders.setdefault(result.run.folder, []).append(row)
    for folder, in_folder in folders.items():
        for file in {row.file for row in in_folder}:
            write(folder / file, [row for row in in_folder if row.file == file])


def recorded(subject: Subject, plan: MeasureSettings) -> Iterator[TimedRow]:
    """Yield a result for each setting of a run, from one pass per backbone."""
    run, engine = subject.run, plan.backend
    if engine == "auto":  # the fastest here with the run's exits, an example at a time
        in_torch = partial(open_in_torch, run, dtype=plan.dtype, policies=())
        own = RunGraphs(run, *chosen_exits(run), plan.dtype, plan.threads)
        engine = own.fastest(in_torch, batch=1)
    graphs = None
    if engine != "torch":
        own = RunGraphs(run, *run.model(), plan.dtype, plan.threads)
        graphs = InEngine(own, engine, plan.batch)
    subject = subject if graphs is None else replace(subject, form=PLAIN)
    data = run.data(**plan.data)
    Faults(split_faults(plan.split, data.names, run.name)).check()
    split, (model, labels) = data.split(plan.split), run.model()
    texts = None
    if plan.long == "windows":
        reader = reader_of(run.tokenizer(), data.max_length, plan.long_texts)
        texts = TextWindows.of(split, reader, run.kind, labels)
    plain_encoder = in_dtype(model, plan.dtype).to(plan.device)
    with undisturbed(plan.threads):  # prepacked for as many threads as are timed
        encoder = in_form(plain_encoder, subject.form)
    backbones: dict[str, list[PlannedRow]] = {}
    searched = searched_settings(run, encoder, subject.settings, plan)
    fitted = fitted_settings(subject, encoder, plan)
    for setting in [*subject.settings, *searched, *fitted]:
        backbones.setdefault(setting.point.backbone, []).append(setting)
    for settings in backbones.values():
        backbone = shared_point(settings).on(encoder)
        load_second_runs(backbone.policies)
        facts = ModelFacts.of(backbone, labels, run.folder / "model")
        Faults(policy_faults(backbone.policies, facts)).check()
        file = file_name(
            settings[0].point.backbone, subject.form, split.source.digest, plan, engine
        )
        title = f"{run.name}: all exits"
        if graphs is not None:
            graphs.check([s for s in settings if s.baseline != THEIRS])
            found = graphs.record(settings[0], split)
        else:
            found = record(backbone, split if texts is None else texts, plan.batch, title)
        clusters = clusters_of(run, split)
        if texts is None:
            found.cluster_B = clusters
            found.to_parquet(run.folder / file)
        else:
            found.cluster_B = None if clusters is None else clusters[texts.text_W]
            file = ""
        made = BackboneRows(subject, plan, engine, backbone, found, file)
        for setting, gain in zip(settings, made.gains(settings), strict=True):
            row, theirs = made.row(setting, **gain), setting.baseline == THEIRS
            if graphs is not None and plan.timing.enabled and not theirs:
                candidate = graphs.candidate(setting, split)
            else:
                timed_backbone = (plain_encoder if theirs else backbone).replacing(
                    exit=setting.exit
                )
                if texts is None:
                    candidate = candidate_for(timed_backbone, split, row.kernels, plan.device)
                else:
                    candidate = texts_candidate(timed_backbone.eval(), texts)
            if plan.timing.enabled:
                candidate = replace(
                    candidate, cost_B=replay_with_flops(backbone, found, setting.point).flops_B
                )
            yield TimedRow(
                run, row, candidate, setting.point == PlannedRow.static(STATIC_BASELINE).point
            )


def shared_point(settings: Sequence[PlannedRow]) -> Point:
    """Return the point of one pass that serves all settings of a backbone. An exit rule that
    observes signals is part of it, so that they are recorded.
    """
    watching = (setting.point for setting in settings if overrides(setting.exit, ExitRule.observe))
    return next(watching, settings[0].point)


@dataclass
class BackboneRows:
    """Rows of settings that differ only in their exit rule, from one record.

    Args:
        file: name of the file for the record; "" for texts in windows, whose record is not kept.
    """

    subject: Subject
    plan: MeasureSettings
    engine: str
    backbone: AdaptiveEncoder
    record: Record
    file: str

    def row(self, setting: PlannedRow, **more: Any) -> Row:
        """Return a setting's untimed row.

        Args:
            more: fields that do not follow from the record.
        """
        plan, budget = self.plan, setting.budget
        if budget is not None:
            fields = {"share": "budget", "ms": "budget_ms", "agree": "agree"}
            more[fields[budget.unit]] = budget.amount
        more |= {"examples": self.file, "baseline": setting.baseline, "form": self.subject.form}
        if setting.baseline == THEIRS:
            # Theirs runs as people call it; what it says is what these weights say in our hands.
            more |= {"kernels": "hf_eager", "form": PLAIN}
        elif self.engine != "torch":
            more["kernels"] = self.engine
        more |= {"split": plan.split, "dtype": plan.dtype, "windows": self.subject.windows or ""}
        more["device"] = torch.cuda.get_device_name() if plan.device == "cuda" else "cpu"
        return row_of(self.subject.run, self.backbone, self.record, setting.exit, **more)

    def gains(self, settings: Sequence[PlannedRow]) -> list[dict[str, float]]:
        """Return the `Row` fields with each setting's gain over fixed depth.

        They are empty for baselines, without an early head, and for metrics without classes or,
        except for accuracy, with too many.
        """
        record, metric = self.record, self.subject.run.task.metrics[0]
        trained = [setting for setting in settings if not setting.baseline]
        if metric != "accuracy" and record.num_classes > MOST_CLASSES:
            return [{} for _ in settings]
        if metric not in METRICS or len(record.guesses) < 2 or not trained:
            return [{} for _ in settings]
        alone = replace(record, policies=())
        rules = [replay_with_flops(self.backbone, record, setting.point) for setting in trained]
        fixed = [replay_with_flops(self.backbone, alone, Fixed(layer)) for layer in record.guesses]
        clusters = None if record.cluster_B is None else record.cluster_B[record.firsts]
        about = record.targets, metric, clusters, record.num_classes
        gains = iter(mean_gains([Judged(rules, fixed, *about)]))
        return [{} if setting.baseline else next(gains) for setting in settings]


def file_name(backbone: str, form: str, data: str, plan: MeasureSettings, engine: str) -> str:
    """Return the name of the record's file, which all exit rules share.

    There is one file for each set of examples, backbone, weight layout and engine, since logits
    differ in their last bits between layouts and engines.
    """
    digest = hashlib.sha256(backbone.encode()).hexdigest()[:8]
    dtype = plan.dtype + (f"-{form}" if form != PLAIN else "")
    dtype += "" if engine == "torch" else f"-{engine}"
    return f"examples-{plan.split}-{dtype}-{digest}-{data[:8]}.parquet"


def clusters_of(run: Run, split: Any) -> np.ndarray | None:
    """Return the group of each example by the task's own grouping, such as pairs with one premise.

    None where the task has no groups.
    """
    cluster_B = group_ids(run.task, split.source.texts)
    return None if len(np.unique(cluster_B)) == len(cluster_B) else cluster_B


def candidate_for(encoder: AdaptiveEncoder, split: Any, kernels: str, device: str) -> TimedCall:
    candidate = TimedCall(encoder.eval(), split)
    if kernels == "hf_eager":
        twin = HuggingFaceTwin(encoder)
        candidate = TimedCall(twin, split, twin.ready)
    if device == "cpu":
        return candidate

    def on_device(given: Any) -> None:
        candidate.run(given if kernels == "hf_eager" else given.to(device))
        torch.cuda.synchronize()

    return replace(candidate, run=on_device)


def texts_candidate(encoder: AdaptiveEncoder, texts: TextWindows) -> TimedCall:
    """Return a callable that times whole texts, as a backend answers them."""
    deep = encoder.replacing(policies=(*encoder.policies, FullDepthIfFound(texts.joiner)))

    def run(pack: WindowPack) -> Trace:
        return (deep if pack.is_part else encoder)(pack.batch).numpy(guesses=False)

    return TimedCall(lambda packs: answer_texts(packs, run, texts.joiner), texts)


def timed(results: Sequence[TimedRow], plan: MeasureSettings) -> Iterator[list[Row]]:
    """Yield rows after each repeat, in which all settings of all runs are timed in turns.

    Speed-ups are against the run's own static backbone. Nothing is timed while a training is
    running on this machine, and timing stops where one starts meanwhile.
    """
    timing, session = plan.timing, secrets.token_hex(6)
    if faults := timing.faults():
        print("\n".join(faults))
        return
    repeats = time_all(
        {i: result.candidate for i, result in enumerate(results)},
        examples=timing.examples,
        warmup=timing.warmup,
        repeats=timing.repeats,
        batch=timing.batch,
        threads=plan.threads,
    )
    for repeat, times in enumerate(repeats):
        if timing.faults():
            print(f"a training started: {repeat} of {timing.repeats} timed repeats are kept")
            return
        static = {results[i].run.folder: times[i] for i in reversed(times) if results[i].static}
        rows = []
        for i, result in enumerate(results):
            base, ratio = static.get(result.run.folder), result.row.flops_ratio
            rows.append(replace(result.row, **time_fields(times[i], base, ratio), session=session))
        yield rows


def time_fields(
    times: dict[str, Any], static: dict[str, Any] | None, flops_ratio: float
) -> dict[str, Any]:
    """Return the timing fields of a row.

    If the static backbone was timed too, speed-ups compare mean times. Intervals are over resampled
    examples, or over whole batches at batch sizes above one.
    """
    fields = {key: value for key, value in times.items() if not key.endswith("_RI")}
    if static is None:
        return fields
    for prefix, taken in {"": "latency_RI", "batch_": "batches_RI"}.items():
        factor, low, high = speed_up(static[taken], times[taken])
        fields[f"{prefix}speed_up"] = factor
        fields[f"{prefix}speed_up_low"], fields[f"{prefix}speed_up_high"] = low, high
        fields[f"{prefix}conversion"] = factor * flops_ratio
    return fields
