"""Settings of the `certify` command, and errors that can be found before data is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from eat_lightning.answer_kind import AnswerKind, misfit
from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.sessions import engine_faults
from eat_lightning.config import DataSettings
from eat_lightning.deploy.certify.candidates import chains_of, is_reachable
from eat_lightning.deploy.certify.select import Target
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.files import sha256_of
from eat_lightning.model.contracts import points_by_layer
from eat_lightning.model.heads import JUDGES, slot_faults
from eat_lightning.model.policies import from_folder, policies_of
from eat_lightning.model.specification import MODEL_SLOTS, STATIC, Specification, kind_of
from eat_lightning.record.certificate import name_faults
from eat_lightning.record.claim import LOSSES, Claim
from eat_lightning.record.point import Point
from eat_lightning.runs.budgets import Fitter
from eat_lightning.runs.exit_choice import ExitChoice
from eat_lightning.runs.plan import LongSettings, RunSettings
from eat_lightning.runs.run import Run
from eat_lightning.runs.validate import data_faults
from eat_lightning.validation import Count
from eat_lightning.weights.files import model_files
from eat_lightning.weights.precision import (
    device_faults,
    form_of,
    in_dtype,
    in_form,
    prepack_faults,
)

Listed = Annotated[list[Any], Field(min_length=1)] | None  # which a knob bounds


class CertifySettings(LongSettings, RunSettings):
    """Settings of a certificate.

    Args:
        onnx: an export of the run, which the certificate is then for.
        backend: engine that answers; for an export "torch" stands for onnxruntime.
        label: name or index of the class that the risk is about.
        taus, ratios: thresholds of the exit rule and strengths of the reduction.
        exit: the budget or agreement whose point on the dial is the laxest candidate.
    """

    onnx: str | None
    backend: Literal["torch", "onnx", "openvino"]
    level: Annotated[float, Field(gt=0, lt=1)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    label: Any = Field(alias="class")
    exits: Literal["shared", "each"]
    exit: dict[str, Any]
    ratios: Listed
    taus: Listed
    layers: Listed
    name: Any
    risk: Literal["accuracy_gap", "disagreement", "false_negatives", "harm"]
    data: DataSettings
    device: Literal["cpu", "cuda"]
    threads: Count  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def engine(self) -> str:
        """Engine of an export."""
        return "onnx" if self.backend == "torch" else self.backend

    @property
    def point_setting(self) -> tuple[str, Any]:
        """The setting of `exit` that names a point on the dial, and its value."""
        key = "budget" if self.exit.get("agree") is None else "agree"
        return key, self.exit.get(key)

    def rules(self) -> Iterator[str]:
        yield from prepack_faults(self.prepack, self.dtype, self.device)
        yield from device_faults(self.device, self.dtype)
        yield from [] if self.name is None else name_faults("name", self.name)
        others = {"taus": self.taus, "ratios": self.ratios, "onnx": self.onnx}
        others |= {"exits": self.exits if self.exits == "each" else None}
        name, wanted = self.point_setting
        for key, value in others.items():
            if wanted is not None and value is not None:
                yield f"exit.{name} and {key} exclude each other, got {wanted} and {value}"
        if self.backend != "torch" and not self.onnx:
            where = "an engine's certificate is that of an export: give onnx=<folder>"
            yield f"backend={self.backend}: {where}"
        if self.onnx:
            yield from engine_faults(self.engine)
        graphs = {"dtype": self.dtype == "fp32", "device": self.device == "cpu"}
        for key, unchanged in (graphs | {"ratios": self.ratios is None}).items():
            if self.onnx and not unchanged:
                where = "it is in the export's graphs"
                yield f"{key} is not an option of onnx=...: {where}, got {getattr(self, key)!r}"


@dataclass
class Prepared:
    """A run or an export, its chains of candidates, and the claim to certify."""

    plan: CertifySettings
    run: Run
    chains: list[list[Point]]
    target: Target
    export: GraphModel | None = None


def prepare(plan: CertifySettings) -> Prepared:
    """Prepare a certificate.

    Raises:
        ConfigError: with all errors that can be found before data is loaded.
    """
    run = Run.open(plan.run)
    number = class_number(plan, run)
    Faults(data_faults(run, dir=plan.data.dir)).check()
    Faults(kind_faults(plan.risk, run.kind)).check()
    export = GraphModel(plan.onnx, plan.threads, plan.engine) if plan.onnx else None
    chains = run_chains(plan, run) if export is None else export_chains(plan, run, export)
    title, share = plan.risk.replace("_", " "), ""
    if number is not None:
        name = run.task.labels[number]
        title, share = f"{title} of {name}", f"the share of {name} examples not answered {name}"
    claim = Claim(plan.risk, plan.level, plan.confidence, number)
    return Prepared(plan, run, chains, Target(claim, title, share), export)


def kind_faults(risk: str, kind: AnswerKind) -> list[str]:
    """List the reasons why a risk is undefined for a kind of answers."""
    kinds = LOSSES[risk].kinds
    if kind.problem_type not in kinds:
        return [f"risk={risk} {misfit(kinds, kind)}: use risk=disagreement"]
    return [] if kind.comparable else ["a score needs task.tolerance or task.cuts to compare by"]


def class_number(plan: CertifySettings, run: Run) -> int | None:
    """Return the class that the risk is about; None where it is about none.

    Raises:
        ConfigError: for a missing or unknown class.
    """
    labels, named = run.task.labels, plan.label
    if plan.risk != "false_negatives":
        if named is not None:
            raise ConfigError(f"class is for risk=false_negatives, got {named!r}")
        return None
    if str(named) in labels:
        return labels.index(str(named))
    if not isinstance(named, int) or isinstance(named, bool) or not 0 <= named < len(labels):
        raise ConfigError(f"class must name one of {', '.join(labels)}, got {named!r}")
    return named


def run_chains(plan: CertifySettings, run: Run) -> list[list[Point]]:
    """Return chains of the run's own methods."""
    model = run.model_config()
    early = [layer for layer in model["head"]["layers"] if layer < model["num_layers"]]
    if not early:
        raise ConfigError(
            f"run={run.name} has no exit head before its last layer, so nothing can leave early"
        )
    strict = strict_point(plan, model, early, run.kind)
    full = strict.at(exit=STATIC["exit"])
    choice = ExitChoice.of(plan.exit, strict.methods["exit"])
    if choice.budget is not None:
        return [[full, *(full.at(**each.methods) for each in dial_of(plan, run, strict, choice))]]
    return chains_of(full, strict.built["exit"], plan.taus, plan.exits, plan.ratios)


def strict_point(
    plan: CertifySettings, model: dict[str, Any], early: list[int], kind: AnswerKind
) -> Point:
    """Return the run's point with its exit rule at the strict end of its threshold. A rule without
    a threshold is replaced by confidence.

    Raises:
        ConfigError: with all errors.
    """
    last = model["num_layers"]
    try:
        methods = {slot: model[slot].build() for slot in MODEL_SLOTS}
        if methods["exit"].knob is None:
            judge = Specification("exit", JUDGES[kind.problem_type], {"layers": early})
            methods["exit"] = judge.build()
        rule = methods["exit"] = strictest(methods["exit"], plan.layers, last)
        policies = policies_of(plan.policy)
        policies = from_folder(model.get("policy", [])) if policies is None else policies
    except ValueError as error:
        raise ConfigError.of(str(error).split("; ")) from None
    faults = Faults(slot_faults(rule, model["head"]["layers"], last, kind))
    faults += knob_faults("taus", plan.taus, rule)
    if plan.ratios is not None and methods["reduction"].knob is None:
        named = model["reduction"].kind
        faults.append(f"ratios needs a reduction with a ratio, got {named}")
    faults += knob_faults("ratios", plan.ratios, methods["reduction"])
    faults.check()
    return Point.of(**methods, policies=policies)


def dial_of(plan: CertifySettings, run: Run, exits: Point, choice: ExitChoice) -> list[Point]:
    """Return the points of the run's dial, from full depth to the requested one.

    Args:
        exits: the run's methods with the rule to tune.
    """
    form = form_of(plan.prepack, plan.dtype, plan.device)
    encoder = in_form(in_dtype(run.model()[0], plan.dtype).to(plan.device), form)
    backbone = exits.on(encoder)
    where, budget = plan.data.model_dump(), choice.budget
    assert budget is not None
    fits = choice.fit_reduction
    fitter = Fitter(run, backbone, fits, form, plan.threads, where, plan.batch)
    return [each.point for each in fitter.points(budget)]


def strictest(rule: Any, layers: list[int] | None, num_layers: int) -> Any:
    """Return the rule at these layers (None: its own) with the strictest threshold.

    Raises:
        ValueError: listing invalid layers.
    """
    knob: Any = rule.knob
    given = {knob.name: knob.strict} | ({"layers": layers} if layers else {})
    return Specification.of("exit", rule).changed(given).build(num_layers)


def knob_faults(key: str, points: list[float] | None, method: Any) -> list[str]:
    knob = method.knob
    return [] if knob is None or points is None else knob.faults(key, points)


def export_chains(plan: CertifySettings, run: Run, export: GraphModel) -> list[list[Point]]:
    """Return chains from full depth to the graphs' own rule, since exits of an export can be
    delayed but not added.

    Raises:
        ConfigError: for settings that an export does not support.
    """
    where, about = f"onnx={plan.onnx}", export.about
    try:
        methods = {slot: export.methods[slot].build() for slot in MODEL_SLOTS}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{where}: not what `export` writes ({error})") from None
    faults = Faults()
    if methods["exit"].knob is None or not export.layers:
        kind = kind_of("exit", type(methods["exit"]))
        faults.append(f"{where}: certify holds an export to a tau, and its exit rule is {kind}")
    elif plan.layers is not None:
        with faults.gathered():
            strictest(methods["exit"], plan.layers, about["num_layers"])
        if any(layer not in export.layers for layer in plan.layers):
            among = f"{where}'s exits, {export.layers}"
            faults.append(f"layers must be among {among}, got {plan.layers}")
    faults += knob_faults("taus", plan.taus, methods["exit"])
    if about.get("weights") != sha256_of(model_files(run.folder / "model")):
        faults.append(f"{where} is not an export of run={run.name}'s weights: export it again")
    faults.check()
    policies = policies_of(plan.policy) or ()
    export.check_policies(policies)
    return reachable_chains(plan, Point.of(**methods, policies=policies), about["num_layers"])


def reachable_chains(plan: CertifySettings, last: Point, num_layers: int) -> list[list[Point]]:
    """Return chains that an export can run.

    Args:
        last: the graphs' own point, which ends every chain unless points or layers are given.
    """
    exit = last.built["exit"]
    knob, points = exit.knob, plan.taus
    if points is None:
        reached_points = points_by_layer(exit).values()
        points = [*knob.fine, min(reached_points, key=lambda point: abs(point - knob.strict))]
    full, rule = last.at(exit=STATIC["exit"]), strictest(exit, plan.layers, num_layers)
    chains = [
        [point for point in chain if is_reachable(point.built["exit"], exit)]
        for chain in chains_of(full, rule, points, plan.exits)
    ]
    if plan.layers is None and plan.taus is None:
        chains = [[*(p for p in chain if p != last), last] for chain in chains]
    return chains
