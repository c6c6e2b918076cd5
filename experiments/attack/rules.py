"""Targets of an attack, which also judge its texts: an exit rule, with policies or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from eat_lightning.errors import ConfigError, Faults
from eat_lightning.methods.policy.veto import Veto
from eat_lightning.model.contracts import ExitRule, Policy
from eat_lightning.model.heads import slot_faults
from eat_lightning.model.policies import build_policies
from eat_lightning.model.specification import Specification
from eat_lightning.model.trace import Trace
from eat_lightning.record.record import Record
from eat_lightning.runs.row import label
from eat_lightning.runs.run import Run


@dataclass(frozen=True)
class Outcome:
    """What every head said of texts, and what a rule makes of that."""

    record: Record
    trace: Trace


@dataclass(frozen=True)
class Rule:
    """`layers`: where it lets examples leave early."""

    name: str
    exit: ExitRule
    layers: tuple[int, ...]
    policies: tuple[Policy, ...] = ()

    def judge(self, record: Record) -> Outcome:
        return Outcome(record, replace(record, policies=self.policies).replay(self.exit))


def rules_of(run: Run, specs: Sequence[Any]) -> list[Rule]:
    """Rules of different names. One that names no layers looks at each early head of the run;
    patience, which compares exits, is left out where those are too few. ConfigError with every
    fault."""
    if run.task.regression:
        raise ConfigError(f"run={run.name}: {run.task.name} is a regression, and exits ask classes")
    model = run.model_config()
    last, heads = model["num_layers"], model["head"]["layers"]
    early = [layer for layer in heads if layer < last]
    if not early:
        raise ConfigError(f"run={run.name} has no exit head before its last layer")
    rules, faults = {}, Faults()
    for given in specs:
        patient = isinstance(given, dict) and given.get("kind") == "patience"
        if patient and "layers" not in given and len(early) < 2:
            continue
        try:
            rule = rule_of(given, early, last)
            faults += slot_faults(rule.exit, heads, last, run.task.kind)
            rules[rule.name] = rule
        except (ValueError, TypeError) as error:
            faults += str(error).split("; ")
    faults.check()
    return [*rules.values()]


def rule_of(given: Any, early: Sequence[int], last: int) -> Rule:
    """{"kind": "confidence", "tau": 0.9, "policy": [{"kind": "veto", "margin": 0.95}]}."""
    if not isinstance(given, dict):
        raise ValueError(f'rules must hold dicts such as {{"kind": "<method>"}}, got {given!r}')
    rule = Specification.read("exit", {k: v for k, v in given.items() if k != "policy"})
    rule, named = rule.looking_at(early), given.get("policy", [])
    policies = build_policies(named)
    # Of an example nothing is known but its guesses: not its source, nor another run's guess.
    if not all(isinstance(policy, Veto) and policy.run is None for policy in policies):
        raise ValueError("rules: a policy that asks for more than guesses cannot be attacked here")
    made = rule.build(last)
    words = [" ".join(map(str, p.values())) for p in named]
    name = ", ".join([label(rule), *words])
    return Rule(name, made, tuple(k for k in made.layers if k < last), policies)
