"""Which settings of a run are to be measured, from its own and those a config changes."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from eat_lightning.bounds import number_faults, raise_faults
from eat_lightning.config import make, target
from eat_lightning.errors import ConfigError
from eat_lightning.infer.precision import form_of
from eat_lightning.model.contracts import Policy, build, class_of, method_faults, spec, without_kind
from eat_lightning.model.heads import slot_faults
from eat_lightning.model.policies import from_folder, policies_of, specs_of
from eat_lightning.runs.certificate import DTYPES, Certificate, combination
from eat_lightning.runs.run import Run

TAUS = (0.80, 0.85, 0.90, 0.95)  # EAT, section 6
STATIC = {"attention": {"kind": "dense"}, "reduction": {"kind": "none"}, "exit": {"kind": "never"}}
OWN, THEIRS = "own static", "hugging face"
BASELINES = {
    **{"own": [OWN], "hf": [THEIRS], "all": [OWN, THEIRS], "none": []},
    **{"true": [OWN, THEIRS], "false": []},
}


@dataclass(frozen=True)
class Setting:
    """Methods for the three slots of an encoder, its policies, and whether they are a baseline."""

    attention: Any
    reduction: Any
    exit: Any
    baseline: str = ""
    policies: tuple[Policy, ...] = ()

    @classmethod
    def static(cls, baseline: str) -> Setting:
        return cls(**{slot: build(slot, off) for slot, off in STATIC.items()}, baseline=baseline)

    @property
    def methods(self) -> dict[str, Any]:
        return {slot: getattr(self, slot) for slot in STATIC}

    @property
    def specs(self) -> dict[str, Any]:
        specs: dict[str, Any] = {s: spec(s, method) for s, method in self.methods.items()}
        return specs | ({"policy": specs_of(self.policies)} if self.policies else {})

    @property
    def is_static(self) -> bool:
        return self.specs == STATIC


def settings_of(run: Run, config: dict[str, Any]) -> list[Setting]:
    """Each setting once: the run's own, with taus, with other rules, and the baselines. Raises
    ConfigError with every fault; nothing but the model's config.json is read."""
    from eat_lightning.weights.checkpoint import read_config

    model = read_config(run.folder / "model")
    num_layers = model["num_layers"]
    methods, faults = {}, []
    held = certificate_of(run, config)
    model = model if held is None else model | held.policies
    early = [layer for layer in model["head"]["layers"] if layer < num_layers]
    nodes = {slot: config[slot] for slot in STATIC}
    nodes["exit"] = looking_at(early, nodes["exit"])
    if model["reduction"] == STATIC["reduction"] and not nodes["reduction"].get("_target_"):
        nodes["reduction"] = {}  # a ratio is for the runs beside it that do reduce
    for slot, node in nodes.items():
        try:
            methods[slot] = changed(slot, model[slot], node, num_layers)
        except ValueError as error:
            faults += str(error).split("; ")
    if faults:
        raise ConfigError.of(faults)
    own = Setting(**methods, policies=policies_for(model, held, config))
    exits = exit_rules(own.exit, config, num_layers) if held is None else [own.exit]
    if held is not None:
        here = own.specs, DTYPES[config["dtype"]], config["device"]
        held.check(combination(run, *here, form=form_for(held, config)))
    num_labels = 1 if run.task.regression else len(model["id2label"])
    for rule in exits:
        faults += slot_faults(rule, model["head"]["layers"], num_layers, num_labels)
    if faults:
        raise ConfigError.of(dict.fromkeys(faults))
    wanted = BASELINES[str(config["baselines"]).lower()]
    settings = [replace(own, exit=rule) for rule in exits]
    settings += [Setting.static(baseline) for baseline in wanted]
    return distinct(settings)


def policies_for(
    model: dict[str, Any], held: Certificate | None, config: dict[str, Any]
) -> tuple[Policy, ...]:
    """Those a config names, else the certificate's, else those of the model's config.json."""
    given = policies_of(config["policy"])
    if given is not None:
        return given
    try:
        return from_folder(model.get("policy", [])) if held is None else held.asked()
    except ValueError as error:
        raise ConfigError.of(str(error).split("; ")) from None


def certificate_of(run: Run, config: dict[str, Any]) -> Certificate | None:
    """The one that a config names; its exit rule is then the only one."""
    if config["certificate"] is None:
        return None
    given = [key for key in ("taus", "rules") if config[key]]
    if given:
        raise ConfigError(f"{given[0]}: a certificate holds for one exit rule, so leave them out")
    return Certificate.read(run, config["certificate"])


def form_for(held: Certificate | None, config: dict[str, Any]) -> str:
    """Of the weights: see `forms`."""
    given = config["prepack"], config["dtype"], config["device"]
    return form_of(*given, held=None if held is None else held.form)


def looking_at(early: list[int], node: dict[str, Any]) -> dict[str, Any]:
    """An exit rule that a config names without layers looks at each of the run's early heads."""
    if not node.get("_target_") or node.get("layers") is not None:
        return node
    takes_layers = "layers" in inspect.signature(target(node)).parameters
    return node | {"layers": early} if takes_layers else node


def changed(slot: str, own: dict[str, Any], node: dict[str, Any], num_layers: int) -> Any:
    """The method a config's node names, or the run's own with the settings that are not null;
    ValueError with every fault."""
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
            raise_faults(cls.faults(num_layers, **arguments))  # type: ignore[attr-defined]
    return build(slot, spec)


def exit_rules(own: Any, config: dict[str, Any], num_layers: int) -> list[Any]:
    """The rule as it is or as changed, with each of `taus`, and `rules`. Where neither taus nor
    another rule are asked for: four taus and none. A run without exits has no tau to sweep, which
    stops nobody who measures it beside others."""
    taus, rules, own_spec = config["taus"], list(config["rules"]), spec("exit", own)
    asked = any(value is not None for value in config["exit"].values())
    if taus is None and not asked and "tau" in own_spec:
        taus, rules = TAUS, [*rules, STATIC["exit"]]
    faults = number_faults("taus", list(taus or ()), "(0, 1]")
    if own_spec == STATIC["exit"] and not asked:
        taus = None
    if taus and "tau" not in own_spec:
        kind = own_spec["kind"]
        faults.append(f"taus needs an exit rule with a tau, got {kind}: add exit=confidence")
    if faults:
        raise ConfigError.of(faults)
    swept = [own_spec | {"tau": tau} for tau in taus or ()]
    specs = swept if own_spec in swept else [own_spec, *swept]
    built = []
    for rule in [*specs, *rules]:
        try:
            built.append(checked("exit", rule, num_layers))
        except ValueError as error:
            faults += str(error).split("; ")
    if faults:
        raise ConfigError.of(faults)
    return built


def distinct(settings: Sequence[Setting]) -> list[Setting]:
    """The first of equal ones. A body that is static already is its own baseline."""
    found: list[Setting] = []
    for setting in settings:
        twins = [other for other in found if other.specs == setting.specs]
        if not twins or setting.baseline == THEIRS:
            found.append(setting)
    return found


def label(rule: dict[str, Any]) -> str:
    """A short name of an exit rule, for a table."""
    if "tau" in rule:
        return "tau " + text(rule["tau"])
    if "patience" in rule:
        return f"patience {rule['patience']} at {text(rule['layers'])}"
    return rule["kind"]


def text(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)
