"""A run on its bench: the model in its engine, the examples, and a record and rows for each
backbone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
from eat_lightning.record.timing import TimedCall, undisturbed
from eat_lightning.record.windows import TextWindows, WindowPack, answer_texts
from eat_lightning.runs.row import THEIRS, Row, row_of
from eat_lightning.runs.run import Run
from eat_lightning.runs.validate import split_faults
from eat_lightning.weights.checkpoint import load_second_runs
from eat_lightning.weights.precision import PLAIN, in_dtype, in_form

# Of rows. Transformers' model runs as people call it; its answers are those of these weights here.
KERNELS = {"torch": "ours", "transformers": "hf_eager"}


@dataclass
class TimedRow:
    """A setting's untimed row, and a callable that times it."""

    run: Run
    row: Row
    candidate: TimedCall
    static: bool  # dense / none / never on our kernels: what a speed-up is against


def engine_of(run: Run, plan: MeasureSettings) -> str:
    """Return the engine to measure; for auto the fastest here with the run's exits, an example at a
    time."""
    if plan.backend != "auto":
        return plan.backend
    in_torch = partial(open_in_torch, run, dtype=plan.dtype, policies=())
    graphs = RunGraphs(run, *chosen_exits(run), plan.dtype, plan.threads)
    return graphs.fastest(in_torch, batch=1)


@dataclass
class Bench:
    """A run's model, and the examples that it is measured on.

    Args:
        graphs: the model in an engine other than torch.
        labels: names of the classes.
        plain: the encoder with plain weights, of which transformers' baseline is made.
        encoder: the same encoder in the layout to measure.
        texts: windows of the examples; None: long texts are cut.
    """

    subject: Subject
    plan: MeasureSettings
    engine: str
    graphs: InEngine | None
    labels: list[str]
    plain: AdaptiveEncoder
    encoder: AdaptiveEncoder
    split: Any
    texts: TextWindows | None

    @classmethod
    def of(cls, subject: Subject, plan: MeasureSettings, engine: str) -> Bench:
        run, data = subject.run, subject.run.data(**plan.data)
        Faults(split_faults(plan.split, data.names, run.name)).check()
        split, (model, labels) = data.split(plan.split), run.model()
        graphs = None
        if engine != "torch":
            own = RunGraphs(run, *run.model(), plan.dtype, plan.threads)
            graphs = InEngine(own, engine, plan.batch)
        texts = None
        if plan.long == "windows":
            reader = reader_of(run.tokenizer(), data.max_length, plan.long_texts)
            texts = TextWindows.of(split, reader, run.kind, labels)
        plain = in_dtype(model, plan.dtype).to(plan.device)
        with undisturbed(plan.threads):  # prepacked for as many threads as are timed
            encoder = in_form(plain, subject.form)
        return cls(subject, plan, engine, graphs, labels, plain, encoder, split, texts)

    def backbones(self) -> list[list[PlannedRow]]:
        """Return all settings, also those fitted for budgets, grouped by the pass they share."""
        subject, plan = self.subject, self.plan
        searched = searched_settings(subject.run, self.encoder, subject.settings, plan)
        fitted = fitted_settings(subject, self.encoder, plan)
        found: dict[str, list[PlannedRow]] = {}
        for setting in [*subject.settings, *searched, *fitted]:
            found.setdefault(setting.point.backbone, []).append(setting)
        return [*found.values()]

    def results(self, settings: Sequence[PlannedRow]) -> Iterator[TimedRow]:
        """Yield the results of settings that share a pass."""
        backbone, file = self.backbone(settings), self.file_of(settings[0])
        found = self.record(settings, backbone, file)
        rows = BackboneRows(self.subject, self.plan, backbone, found, file)
        for setting, gain in zip(settings, rows.gains(settings), strict=True):
            candidate = self.candidate(setting, backbone)
            if self.plan.timing.enabled:
                trace = replay_with_flops(backbone, found, setting.point)
                candidate = replace(candidate, cost_B=trace.flops_B)
            row = rows.row(setting, **gain)
            yield TimedRow(self.subject.run, row, candidate, setting.is_own_static)

    def backbone(self, settings: Sequence[PlannedRow]) -> AdaptiveEncoder:
        """Return the encoder whose pass serves all of these settings. Raises ConfigError for
        policies that do not fit it."""
        made = shared_point(settings).on(self.encoder)
        load_second_runs(made.policies)
        facts = ModelFacts.of(made, self.labels, self.subject.run.folder / "model")
        Faults(policy_faults(made.policies, facts)).check()
        return made

    def file_of(self, setting: PlannedRow) -> str:
        """Return the name of the record's file, which all exit rules share; "" for texts in
        windows, whose record is not kept.

        There is one file for each set of examples, backbone, weight layout and engine, since logits
        differ in their last bits between layouts and engines.
        """
        if self.texts is not None:
            return ""
        form, engine = self.subject.form, self.engine
        digest = hashlib.sha256(setting.point.backbone.encode()).hexdigest()[:8]
        dtype = self.plan.dtype + (f"-{form}" if form != PLAIN else "")
        dtype += "" if engine == "torch" else f"-{engine}"
        data = self.split.source.digest[:8]
        return f"examples-{self.plan.split}-{dtype}-{digest}-{data}.parquet"

    def record(
        self, settings: Sequence[PlannedRow], backbone: AdaptiveEncoder, file: str
    ) -> Record:
        """Record all exits of a backbone, and keep the record if it has a file."""
        run, cluster_B = self.subject.run, clusters_of(self.subject.run, self.split)
        if self.graphs is not None:
            self.graphs.check([s for s in settings if s.baseline != THEIRS])
            found = self.graphs.record(settings[0], self.split)
        else:
            examples = self.split if self.texts is None else self.texts
            found = record(backbone, examples, self.plan.batch, f"{run.name}: all exits")
        if self.texts is not None and cluster_B is not None:
            cluster_B = cluster_B[self.texts.text_W]
        found.cluster_B = cluster_B
        if file:
            found.to_parquet(run.folder / file)
        return found

    def candidate(self, setting: PlannedRow, backbone: AdaptiveEncoder) -> TimedCall:
        """Return a callable that times a setting."""
        theirs = setting.baseline == THEIRS
        if self.graphs is not None and self.plan.timing.enabled and not theirs:
            return self.graphs.candidate(setting, self.split)
        encoder = (self.plain if theirs else backbone).replacing(exit=setting.exit).eval()
        if self.texts is not None:
            return texts_candidate(encoder, self.texts)
        return candidate_for(encoder, self.split, theirs, self.plan.device)


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
    backbone: AdaptiveEncoder
    record: Record
    file: str

    def row(self, setting: PlannedRow, **more: Any) -> Row:
        """Return a setting's untimed row.

        Args:
            more: fields that do not follow from the record.
        """
        plan, point, budget = self.plan, setting.point, setting.budget
        if budget is not None:
            fields = {"share": "budget", "ms": "budget_ms", "agree": "agree"}
            more[fields[budget.unit]] = budget.amount
        more |= {"examples": self.file, "baseline": setting.baseline, "split": plan.split}
        more |= {"dtype": point.dtype, "form": point.layout, "windows": self.subject.windows or ""}
        more["kernels"] = KERNELS.get(point.engine, point.engine)
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


def clusters_of(run: Run, split: Any) -> np.ndarray | None:
    """Return the group of each example by the task's own grouping, such as pairs with one premise.

    None where the task has no groups.
    """
    cluster_B = group_ids(run.task, split.source.texts)
    return None if len(np.unique(cluster_B)) == len(cluster_B) else cluster_B


def candidate_for(encoder: AdaptiveEncoder, split: Any, theirs: bool, device: str) -> TimedCall:
    """Return a callable that times examples.

    Args:
        theirs: by transformers' model of the same weights.
    """
    candidate = TimedCall(encoder, split)
    if theirs:
        twin = HuggingFaceTwin(encoder)
        candidate = TimedCall(twin, split, twin.ready)
    if device == "cpu":
        return candidate

    def on_device(given: Any) -> None:
        candidate.run(given if theirs else given.to(device))
        torch.cuda.synchronize()

    return replace(candidate, run=on_device)


def texts_candidate(encoder: AdaptiveEncoder, texts: TextWindows) -> TimedCall:
    """Return a callable that times whole texts, as a model answers them."""
    deep = encoder.replacing(policies=(*encoder.policies, FullDepthIfFound(texts.joiner)))

    def run(pack: WindowPack) -> Trace:
        return (deep if pack.is_part else encoder)(pack.batch).numpy(guesses=False)

    return TimedCall(lambda packs: answer_texts(packs, run, texts.joiner), texts)
