"""The exit rule that a command selects instead of a run's own, or its changed settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eat_lightning.errors import Faults
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.heads import slot_faults
from eat_lightning.model.specification import Specification, kind_of, untrained
from eat_lightning.record.dial import Budget


@dataclass(frozen=True)
class ExitChoice:
    """An exit rule as a command requests it, and the budget by which its threshold is looked up.

    Args:
        named: the rule.
        budget: a mean cost, or a share of unchanged answers; None: the threshold stays as given.
        fit_reduction: look up the reduction's strength as well.
    """

    named: Specification
    budget: Budget | None = None
    fit_reduction: bool = True

    @classmethod
    def of(cls, node: dict[str, Any] | None, before: Specification) -> ExitChoice:
        """Parse a command's node `exit`.

        Args:
            node: settings of the run's rule, or of another rule that it names, with `budget` or
                `agree`, and `fit_reduction`.
            before: the run's rule.

        Raises:
            ConfigError: with all errors.
        """
        settings, faults = dict(node or {}), Faults()
        budget, agree = settings.pop("budget", None), settings.pop("agree", None)
        fits, wanted, named = settings.pop("fit_reduction", None), None, before
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
        with faults.gathered():
            named = Specification.of_node("exit", settings, before)
            faults += point_faults(settings, named, wanted)
        faults.check()
        return cls(named, wanted, fits is not False)

    def rule(self, encoder: AdaptiveEncoder) -> Any:
        """Return the rule on an encoder's heads; with a budget it still has to be fitted.

        Raises:
            ConfigError: with all errors.
        """
        last, heads = encoder.shape.num_layers, encoder.head["layers"]
        faults, rule = Faults(), None
        with faults.gathered():
            rule = self.named.looking_at([layer for layer in heads if layer < last]).build(last)
            faults += untrained("exit", rule, kind_of("exit", type(encoder.exit)))
            faults += slot_faults(rule, heads, last, encoder.kind)
        faults.check()
        return rule


def point_faults(
    settings: dict[str, Any], named: Specification, budget: Budget | None
) -> list[str]:
    """List the error of giving both a budget and a threshold. A threshold from a rule's yaml is its
    default and does not count.
    """
    if budget is None:
        return []
    knob = named.made_of.knob
    given = None if knob is None else settings.get(knob.name)
    if knob is None or given is None:
        return []
    if settings.get("_target_") and given == named.takes[knob.name].default:
        return []
    return [f"exit.{budget.key} and exit.{knob.name} are one setting, got {budget} and {given}"]
