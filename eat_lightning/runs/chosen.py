"""The methods that a command names in place of a run's own, or with other settings."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from eat_lightning.bounds import raise_faults
from eat_lightning.config import make, target
from eat_lightning.errors import Faults
from eat_lightning.model.heads import slot_faults
from eat_lightning.model.method import argument_faults
from eat_lightning.model.specification import (
    build,
    class_of,
    method_faults,
    untrained,
    without_kind,
)
from eat_lightning.weights.operating_point import Budget


def changed(slot: str, own: dict[str, Any], node: dict[str, Any], num_layers: int) -> Any:
    """The method a node names, or the run's own (`own`: its spec) with the settings that are not
    null; ValueError with every fault."""
    given = {key: value for key, value in node.items() if value is not None}
    if "_target_" not in given:
        return checked(slot, own | given, num_layers)
    raise_faults(method_faults(slot, given, num_layers))
    return make(given)


def checked(slot: str, spec: dict[str, Any], num_layers: int) -> Any:
    """A method from its spec. Its faults are asked for before it is built, so that those of its
    layers come with the others; ValueError lists them."""
    if isinstance(spec, dict) and isinstance(spec.get("kind"), str):
        cls, arguments = class_of(slot, spec["kind"]), without_kind(spec)
        if not arguments.keys() - inspect.signature(cls).parameters.keys():
            raise_faults(argument_faults(cls, num_layers, **arguments))
    return build(slot, spec)


def looking_at(early: list[int], given: Any) -> Any:
    """An exit rule that is named, by a node or a spec, without layers looks at each of the run's
    early heads. What is neither is for `checked` to say."""
    open_ended = isinstance(given, dict) and given.get("layers") is None
    if open_ended and given.get("_target_"):
        rule = target(given)
    elif open_ended and isinstance(given.get("kind"), str):
        rule = class_of("exit", given["kind"])
    else:
        return given
    return given | {"layers": early} if "layers" in inspect.signature(rule).parameters else given


@dataclass(frozen=True)
class ExitChoice:
    """A command's node `exit`: settings of the run's own rule, or of the one that it names, and the
    budget that its knob is fitted for. fit_reduction: the reduction's knob is fitted with it."""

    settings: dict[str, Any]
    budget: Budget | None = None
    fit_reduction: bool = True

    @classmethod
    def of(cls, node: dict[str, Any] | None, own: dict[str, Any]) -> ExitChoice:
        """own: the spec of the run's rule. ConfigError with every fault."""
        settings, faults = dict(node or {}), Faults()
        budget, fits = settings.pop("budget", None), settings.pop("fit_reduction", None)
        if fits is not None and not isinstance(fits, bool):
            faults.append(f"exit.fit_reduction must be true or false, got {fits!r}")
        elif fits is not None and budget is None:
            faults.append(f"exit.fit_reduction is for exit.budget, got {fits} without one")
        if budget is not None:
            try:
                budget = Budget.parse(budget)
            except ValueError as error:
                faults.append(f"exit.budget {error}")
            faults += point_faults(settings, own, budget)
        faults.check()
        return cls(settings, budget, fits is not False)

    def rule(self, own: dict[str, Any], heads: list[int], num_layers: int, num_labels: int) -> Any:
        """The rule, which is still to be fitted where there is a budget. ConfigError with every
        fault."""
        faults, rule = Faults(), None
        with faults.gathered():
            early = [layer for layer in heads if layer < num_layers]
            rule = changed("exit", own, looking_at(early, self.settings), num_layers)
            faults += untrained("exit", rule, own["kind"])
            faults += slot_faults(rule, heads, num_layers, num_labels)
        faults.check()
        return rule


def point_faults(settings: dict[str, Any], own: dict[str, Any], budget: Any) -> list[str]:
    """A budget and a point of the knob are one setting. What a rule's yaml says is not asked for:
    there the point stands at its default."""
    named = bool(settings.get("_target_"))
    try:
        rule: Any = target(settings) if named else class_of("exit", own["kind"])
    except (ImportError, AttributeError, ValueError):
        return []  # said where the rule is made
    knob = rule.knob
    given = None if knob is None else settings.get(knob.name)
    if knob is None or given is None:
        return []
    if named and given == inspect.signature(rule).parameters[knob.name].default:
        return []
    return [f"exit.budget and exit.{knob.name} are one setting, got {budget} and {given}"]
