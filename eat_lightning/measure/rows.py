"""Rows of settings: one pass for each backbone records every exit, all rules follow from its
records, and then all settings of all runs take turns on the clock."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eat_lightning.data.calibration import group_ids
from eat_lightning.data.split import reader_of
from eat_lightning.engines.models import OfRun, fastest
from eat_lightning.engines.plan import Opening
from eat_lightning.errors import Faults
from eat_lightning.measure.baselines import HuggingFaceTwin
from eat_lightning.measure.fitted import fitted_settings, searched_settings
from eat_lightning.measure.gain import METRICS, MOST_CLASSES, Judged, mean_gains
from eat_lightning.measure.in_engine import InEngine
from eat_lightning.measure.plan import MeasureSettings, Subject
from eat_lightning.measure.settings import PlannedRow
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
    """A setting's row, not yet timed, and how to time it."""

    run: Run
    row: Row
    candidate: TimedCall
    static: bool  # dense / none / never on our kernels: what a speed-up is against


def measured(plan: MeasureSettings, subjects: Sequence[Subject]) -> list[Row]:
    """Measure all settings, and write each run's rows into its folder: untimed, and again after
    every repeat that was timed."""
    keep_kernels()
    results = [result for subject in subjects for result in recorded(subject, plan)]
    rows = [result.row for result in results]
    keep(rows, results)
    for rows in timed(results, plan) if plan.timing.enabled else ():
        keep(rows, results)
    return rows


def keep(rows: Sequence[Row], results: Sequence[TimedRow]) -> None:
    """Write rows into the folders of their runs."""
    folders: dict[Path, list[Row]] = {}
    for row, result in zip(rows, results, strict=True):
        folders.setdefault(result.run.folder, []).append(row)
    for folder, in_folder in folders.items():
        for file in {row.file for row in in_folder}:
            write(folder / file, [row for row in in_folder if row.file == file])


def recorded(subject: Subject, plan: MeasureSettings) -> Iterator[TimedRow]:
    """A result for each setting of a run, from one pass for each backbone."""
    run, engine = subject.run, plan.backend
    if engine == "auto":  # the fastest here with the run's exits, an example at a time
        engine = fastest(OfRun(run, Opening(plan.dtype, plan.threads), ()))
    graphs = None if engine == "torch" else InEngine(run, plan, engine, *run.model())
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
    """The point of one pass for settings of one backbone; an exit rule that observes signals takes
    part in it, so that they are recorded."""
    watching = (setting.point for setting in settings if overrides(setting.exit, ExitRule.observe))
    return next(watching, settings[0].point)


@dataclass
class BackboneRows:
    """Rows of settings that differ in their exit rule alone, from one record.

    Args:
        file: that keeps the record; "" of texts in windows, whose record is not kept.
    """

    subject: Subject
    plan: MeasureSettings
    engine: str
    backbone: AdaptiveEncoder
    record: Record
    file: str

    def row(self, setting: PlannedRow, **more: Any) -> Row:
        """A setting's row, not yet timed. more: fields that the record alone does not give."""
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
        """The fields of a `Row` that tell what each setting gains over fixed depth; none for
        baselines, without an early head, or for a metric that is not of classes or, but for
        accuracy, is of too many."""
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
    """One file for each backbone, form of the weights and engine (in which logits differ by their
    last bits) and set of examples; exit rules share it."""
    digest = hashlib.sha256(backbone.encode()).hexdigest()[:8]
    dtype = plan.dtype + (f"-{form}" if form != PLAIN else "")
    dtype += "" if engine == "torch" else f"-{engine}"
    return f"examples-{plan.split}-{dtype}-{digest}-{data[:8]}.parquet"


def clusters_of(run: Run, split: Any) -> np.ndarray | None:
    """Which examples belong together by the task's own grouping, such as pairs of one premise; None
    where all are alone."""
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
    """Time whole texts, as a backend answers them."""
    deep = encoder.replacing(policies=(*encoder.policies, FullDepthIfFound(texts.joiner)))

    def run(pack: WindowPack) -> Trace:
        return (deep if pack.is_part else encoder)(pack.batch).numpy(guesses=False)

    return TimedCall(lambda packs: answer_texts(packs, run, texts.joiner), texts)


def timed(results: Sequence[TimedRow], plan: MeasureSettings) -> Iterator[list[Row]]:
    """Rows after each repeat, in which all settings of all runs took turns; speed-ups against the
    run's own static backbone. None while something trains; ends where training began meanwhile."""
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
            print(f"training began meanwhile: {repeat} of {timing.repeats} timed repeats are kept")
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
    """A row's fields of time; where the static backbone was timed too, with mean times compared.
    The interval's ends are of examples (in batches: of whole batches) drawn anew."""
    fields = {key: value for key, value in times.items() if not key.endswith("_RI")}
    if static is None:
        return fields
    for prefix, taken in {"": "latency_RI", "batch_": "batches_RI"}.items():
        factor, low, high = speed_up(static[taken], times[taken])
        fields[f"{prefix}speed_up"] = factor
        fields[f"{prefix}speed_up_low"], fields[f"{prefix}speed_up_high"] = low, high
        fields[f"{prefix}conversion"] = factor * flops_ratio
    return fields
