"""The list of policies that a command, a model folder or a certificate names: built and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eat_lightning.answer_kind import misfit
from eat_lightning.errors import ConfigError
from eat_lightning.model.contracts import ExitRule, ModelFacts, Policy
from eat_lightning.model.specification import build, class_of, kind_of, method_faults, spec
from eat_lightning.validation import raise_faults


def policies_of(nodes: dict[str, Any] | None) -> tuple[Policy, ...] | None:
    """From a config's key `policy`: a node for each, in the order they act; None where there
    is none, which leaves a run's own. ConfigError with every fault."""
    from eat_lightning.config import binding_faults

    if not nodes:
        return None
    faults = []
    for name, node in nodes.items():
        if isinstance(node, dict) and node.get("_target_"):
            names = binding_faults(f"policy.{name}", node)
            faults += names or method_faults("policy", node, None)
        else:
            faults.append(f"policy.{name} sets a policy that is not chosen: give policy={name} too")
    if faults:
        raise ConfigError.of(faults)
    return tuple(build("policy", node) for node in nodes.values())


def specs_of(policies: Sequence[Policy]) -> list[dict[str, Any]]:
    return [spec("policy", policy) for policy in policies]


def build_policies(specs: Any) -> tuple[Policy, ...]:
    """The inverse of `specs_of`; ValueError with every fault."""
    if not isinstance(specs, list):
        raise ValueError(f'policy must be a list such as [{{"kind": "<method>"}}], got {specs!r}')
    made, faults = [], []
    for given in specs:
        try:
            made.append(build("policy", given))
        except (ValueError, TypeError) as error:
            faults.append(str(error))
    raise_faults(faults)
    return tuple(made)


def portable(policies: Sequence[Policy]) -> list[dict[str, Any]]:
    """Specs for a model folder; ValueError where `from_folder` would refuse them."""
    specs = specs_of(policies)
    raise_faults(machine_faults(specs))
    return specs


def from_folder(specs: Any) -> tuple[Policy, ...]:
    """Build those of a model folder, which may come from anywhere: it names no other file of this
    machine."""
    raise_faults(machine_faults(specs if isinstance(specs, list) else []))
    return build_policies(specs)


def machine_faults(specs: list[Any]) -> list[str]:
    named = [
        (s["kind"], s) for s in specs if isinstance(s, dict) and isinstance(s.get("kind"), str)
    ]
    return [
        f"policy.{kind}.{key} names a file of this machine, so no model folder may hold it"
        for kind, given in named
        for key in class_of("policy", kind).of_this_machine
        if given.get(key) is not None
    ]


def idle_faults(policies: Sequence[Policy], exit: ExitRule) -> list[str]:
    """Give a line for each policy that could never act beside this exit rule."""
    return [fault for policy in policies if (fault := policy.idle_beside(exit))]


def policy_faults(policies: Sequence[Policy], model: ModelFacts) -> list[str]:
    """Give a line for each thing of a model that does not go with the policies."""
    faults = []
    for policy in policies:
        if model.kind.problem_type not in policy.kinds:
            name = kind_of("policy", type(policy))
            faults.append(f"policy={name} {misfit(policy.kinds, model.kind)}")
        else:
            faults += policy.fits(model)
    return faults
