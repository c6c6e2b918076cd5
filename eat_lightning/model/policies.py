"""Lists of policies: read from a command, a model folder or a certificate, built and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eat_lightning.answer_kind import misfit
from eat_lightning.errors import Faults
from eat_lightning.model.policy import ModelFacts, Policy
from eat_lightning.model.specification import Specification, build, kind_of, method_faults
from eat_lightning.validation import raise_faults

if TYPE_CHECKING:
    from eat_lightning.model.contracts import ExitRule


def policies_of(nodes: dict[str, Any] | None) -> tuple[Policy, ...] | None:
    """Build the policies of a config's key `policy`, a node for each in the order they act. Returns
    None if there are none, so that a run keeps its own. Raises ConfigError with every fault."""
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
    Faults(faults).check()
    return tuple(Specification.of_node("policy", node).build() for node in nodes.values())


def specs_of(policies: Sequence[Policy]) -> list[Specification]:
    return [Specification.of("policy", policy) for policy in policies]


def build_policies(specs: Any) -> tuple[Policy, ...]:
    """Build policies from what a file holds, the inverse of `specs_of`. Raises ValueError with
    every fault."""
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
    """Return policies as a model folder holds them. Raises ValueError if `from_folder` would refuse
    them."""
    specs = specs_of(policies)
    raise_faults(machine_faults(specs))
    return [one.as_dict() for one in specs]


def from_folder(specs: Any) -> tuple[Policy, ...]:
    """Build the policies of a model folder. It may come from anywhere, so an argument that names a
    file of this machine is refused."""
    if isinstance(specs, list):
        specs = [Specification.read("policy", one) for one in specs]
        raise_faults(machine_faults(specs))
    return build_policies(specs)


def machine_faults(specs: Sequence[Specification]) -> list[str]:
    """Return a line for each argument that names a file of this machine."""
    return [
        f"policy.{one.kind}.{key} names a file of this machine, so no model folder may hold it"
        for one in specs
        for key in one.made_of.of_this_machine
        if one.arguments.get(key) is not None
    ]


def idle_faults(policies: Sequence[Policy], exit: ExitRule) -> list[str]:
    """Return a line for each policy that could never act beside this exit rule."""
    return [fault for policy in policies if (fault := policy.idle_beside(exit))]


def policy_faults(policies: Sequence[Policy], model: ModelFacts) -> list[str]:
    """Return a line for each reason why policies do not fit a model."""
    faults = []
    for policy in policies:
        if model.kind.problem_type not in policy.kinds:
            name = kind_of("policy", type(policy))
            faults.append(f"policy={name} {misfit(policy.kinds, model.kind)}")
        else:
            faults += policy.fits(model)
    return faults
