"""The exit rule that a command names in place of a run's own, or with other settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.errors import Faults
from eat_lightning.model.heads import slot_faults
from eat_lightning.model.specification import Specification, untrained
from eat_lightning.weights.dial import Budget


@dataclass(frozen=True)
class ExitChoice:
    """A command's node `exit`: settings of the run's own rule, or of the one that it names, and the
    budget, or the share of unchanged answers, for which its knob is looked up in the dial.
    fit_reduction: the reduction's knob is fitted with it."""

    settings: dict[str, Any]
    budget: Budget | None = None
    fit_reduction: bool = True

    @classmethod
    def of(cls, node: dict[str, Any] | None, before: dict[str, Any]) -> ExitChoice:
        """Parse a node. before: the spec of the run's rule. ConfigError with every fault."""
        settings, faults = dict(node or {}), Faults()
        budget, agree = settings.pop("budget", None), settings.pop("agree", None)
        fits, wanted = settings.pop("fit_reduction", None), None
        if fits is not None and not isinstance(fits, bool):
            faults.append(f"exit.fit_reduction must be true or false, got {fits!r}")
        elif fits is not None and budget is None and agree is None:
            faults.append(f"exit.fit_reduction is for exit.budget, got {fits} without one")
        if budget is not None and agree is not None:
            faults.append(f"exit.budget and exit.agree are one setting, got {budget} and {agree}")
        try:
            if budget is not None:
                wanted = Budget.parse(budget)
            elif agree is not None:
                wanted = Budget.parse_agreement(agree)
        except ValueError as error:
            faults.append(f"exit.{'agree' if budget is None else 'budget'} {error}")
        if wanted is not None:
            faults += point_faults(settings, before, wanted)
        faults.check()
        return cls(settings, wanted, fits is not False)

    def rule(
        self, before: dict[str, Any], heads: list[int], num_layers: int, kind: AnswerKind
    ) -> Any:
        """The rule, which is still to be fitted where there is a budget. ConfigError with every
        fault."""
        faults, rule = Faults(), None
        with faults.gathered():
            early = [layer for layer in heads if layer < num_layers]
            named = Specification.read("exit", self.settings, before).looking_at(early)
            rule = named.build(num_layers)
            faults += untrained("exit", rule, before["kind"])
            faults += slot_faults(rule, heads, num_layers, kind)
        faults.check()
        return rule


def point_faults(settings: dict[str, Any], before: dict[str, Any], budget: Budget) -> list[str]:
    """A budget and a point of the knob are one setting. A point that a rule's yaml gives is its
    default, and stands for none."""
    try:
        rule = Specification.read("exit", settings, before)
        knob = rule.made_of.knob
    except ValueError:
        return []  # a fault of the rule, which is named where it is built
    given = None if knob is None else settings.get(knob.name)
    if knob is None or given is None:
        return []
    if settings.get("_target_") and given == rule.takes[knob.name].default:
        return []
    return [f"exit.{budget.key} and exit.{knob.name} are one setting, got {budget} and {given}"]
