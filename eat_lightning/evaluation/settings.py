"""Settings to measure: the run's own, and those that the command changes.

`plan` is a `MeasureSettings`; its module imports this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.errors import Faults
from eat_lightning.methods.exit.fixed import Fixed
from eat_lightning.model.contracts import ExitRule, at_point, overrides, point_of
from eat_lightning.model.heads import named, slot_faults
from eat_lightning.model.method import faults_of
from eat_lightning.model.policies import from_folder, policies_of
from eat_lightning.model.specification import STATIC, Specification, kind_of, untrained
from eat_lightning.record.certificate import Certificate
from eat_lightning.record.dial import Budget
from eat_lightning.record.point import Point
from eat_lightning.runs.identity import combination
from eat_lightning.runs.row import FIXED, STATIC_BASELINE, THEIRS
from eat_lightning.runs.run import Run
from eat_lightning.validation import raise_faults

ON_THEIRS = ("pooled", "shared")  # heads that `HuggingFaceTwin` computes
BASELINES = {
    "own": (FIXED, STATIC_BASELINE),
    "fixed": (FIXED,),
    "static": (STATIC_BASELINE,),
    "hf": (THEIRS,),
    "all": (FIXED, STATIC_BASELINE, THEIRS),
    "none": (),
}


@dataclass(frozen=True)
class PlannedRow:
    """A point to measure, and the reason for it.

    Args:
        baseline: name of the baseline, if it is one.
        budget: the budget that its thresholds were fitted for.
    """

    point: Point
    baseline: str = ""
    budget: Budget | None = None

    @classmethod
    def static(cls, baseline: str, like: Point) -> PlannedRow:
        """Return the dense model without exits, on our kernels or, with plain weights, on
        transformers'."""
        point = replace(like, methods=STATIC, policies=())
        if baseline == THEIRS:
            point = replace(point, engine="transformers", layout="plain")
        return cls(point, baseline)

    @property
    def is_own_static(self) -> bool:
        """Whether it is the dense model without exits, on our kernels."""
        point = self.point
        is_static = point.methods == STATIC and not point.policies
        return is_static and point.engine != "transformers"

    def in_engine(self, engine: Any) -> PlannedRow:
        """Return the row with its layers run by an engine's graphs, whose weights are plain. The
        baseline of transformers stays as it is."""
        if self.baseline == THEIRS:
            return self
        return replace(self, point=replace(self.point, engine=engine, layout="plain"))

    @property
    def exit(self) -> ExitRule:
        """The exit rule, without the encoder's parameters."""
        return self.point.built["exit"]


def settings_of(
    run: Run, plan: Any, certificate: Certificate | None, form: str
) -> list[PlannedRow]:
    """Return each setting once: the run's own, other thresholds, other rules, and the baselines.

    With a certificate, its exit rule is the only one. Only the model's config.json is read.

    Raises:
        ConfigError: with all errors.
    """
    model = run.model_config()
    if certificate is not None:
        model |= certificate.point.methods
    num_layers, heads = model["num_layers"], model["head"]["layers"]
    early = [layer for layer in heads if layer < num_layers]
    methods = methods_of(plan, model, early, certificate)
    trained = replace(Point.of(**methods), dtype=plan.dtype, layout=form)
    if certificate is None:
        exits = exit_rules(methods["exit"], plan, num_layers, run.kind, early)
    else:
        certificate.check(combination(run, trained, plan.device))
        exits = [methods["exit"]]
    Faults(misfits(exits, methods["reduction"], model, run.kind)).check()
    points = [trained.at(exit=Specification.of("exit", rule)) for rule in exits]
    return distinct([*map(PlannedRow, points), *baselines(trained, plan, model)])


def methods_of(
    plan: Any, model: dict[str, Any], early: list[int], certificate: Certificate | None
) -> dict[str, Any]:
    """Return the methods to measure by slot, and the policies: those that the command names, else
    those of the certificate, else the model's own.

    Raises:
        ConfigError: with all errors.
    """
    nodes = {slot: getattr(plan, slot) for slot in STATIC}
    if model["reduction"] == STATIC["reduction"] and not nodes["reduction"].get("_target_"):
        nodes["reduction"] = {}  # a ratio is for the runs beside a static one that reduce
    methods, faults = {}, Faults()
    for slot, node in nodes.items():
        with faults.gathered():
            chosen = Specification.of_node(slot, node, model[slot])
            chosen = chosen.looking_at(early) if slot == "exit" else chosen
            methods[slot] = chosen.build(model["num_layers"])
    with faults.gathered():
        policies = policies_of(plan.policy)
        if policies is None and certificate is not None:
            policies = certificate.policies
        methods["policies"] = from_folder(model.get("policy", [])) if policies is None else policies
    faults.check()
    return methods


def misfits(
    exits: Sequence[Any], reduction: Any, model: dict[str, Any], kind: AnswerKind
) -> Iterator[str]:
    """Yield the reasons why methods cannot be measured on a run's weights in one pass."""
    for rule in exits:
        yield from slot_faults(rule, model["head"]["layers"], model["num_layers"], kind)
        yield from untrained("exit", rule, model["exit"].kind)
    watching = [kind_of("exit", type(r)) for r in exits if overrides(r, ExitRule.observe)]
    if len(kinds := dict.fromkeys(watching)) > 1:  # one pass records the signals of one rule
        names = " and ".join(kinds)
        yield f"rules: {names} observe signals, and a pass records those of one rule"
    yield from untrained("reduction", reduction, model["reduction"].kind)


def baselines(trained: Point, plan: Any, model: dict[str, Any]) -> list[PlannedRow]:
    """Return the baselines: each fixed depth if there are early heads, and the dense model without
    exits, on our kernels and on transformers'.
    """
    wanted, heads = BASELINES[plan.baselines], {*model["head"]["layers"], model["num_layers"]}
    kind = named(model["head"].get("last") or model["head"]).kind
    if THEIRS in wanted and kind not in ON_THEIRS:
        print(f"not timed beside transformers' model, which has no head={kind}")
        wanted = tuple(name for name in wanted if name != THEIRS)
    found, alone = [], replace(trained, policies=())
    if FIXED in wanted and len(heads) > 1:
        rules = [Specification.of("exit", Fixed(layer)) for layer in sorted(heads)]
        found = [PlannedRow(alone.at(exit=rule), FIXED) for rule in rules]
    names = [name for name in (STATIC_BASELINE, THEIRS) if name in wanted]
    static = [PlannedRow.static(name, trained) for name in names]
    return [*found, *static]


def exit_rules(
    trained: Any, plan: Any, num_layers: int, kind: AnswerKind, early: list[int]
) -> list[Any]:
    """Return the exit rules to measure: the given rule at each of the points, and other rules.

    Other rules use every early head unless they name theirs. Without points and other rules, the
    threshold's default grid and full depth are measured.
    """
    knob, points, more = trained.knob, plan.swept[1], plan.other_rules
    is_changed = any(value is not None for value in plan.exit.values())
    if points is None and not is_changed and knob is not None:
        points, more = knob.grid_for(kind.num_labels)[::-1], [*more, STATIC["exit"]]
    if Specification.of("exit", trained) == STATIC["exit"] and not is_changed:
        points = None  # a run without exits, beside others, has no knob to turn
    raise_faults(knob_faults(trained, plan.swept[0], points or ()))
    rules, faults = [] if point_of(trained) in (points or ()) else [trained], Faults()
    for point in points or ():
        rules.append(rule := at_point(trained, point))
        with faults.gathered():  # a list of points needs one for each layer
            raise_faults(faults_of(rule, num_layers))
    for given in more:
        with faults.gathered():
            rule = Specification.of_node("exit", given).looking_at(early)
            rules.append(rule.build(num_layers))
    faults.check()
    return rules


def knob_faults(rule: Any, key: str, points: Sequence[Any]) -> list[str]:
    knob = rule.knob
    if knob is None:
        kind = kind_of("exit", type(rule))
        message = f"{key} needs an exit rule with a knob, got {kind}: add exit=confidence"
        return [message] if points else []
    return [fault for point in points for fault in knob.faults(key, point)]


def distinct(rows: Sequence[PlannedRow]) -> list[PlannedRow]:
    """Return settings with equal points once. A backbone that is already static is its own
    baseline.
    """
    found: list[PlannedRow] = []
    for row in rows:
        if all(other.point != row.point for other in found):
            found.append(row)
    return found
