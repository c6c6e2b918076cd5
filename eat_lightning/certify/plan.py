"""What is to be certified, and everything wrong with it that shows before data is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eat_lightning.bounds import number_faults
from eat_lightning.certify.candidates import CAUTION, TAUS, chains_of
from eat_lightning.certify.export import chains_for_export, export_faults
from eat_lightning.certify.select import Target
from eat_lightning.config import arguments, binding_faults, make, target
from eat_lightning.errors import ConfigError
from eat_lightning.infer.exported import Export
from eat_lightning.infer.precision import prepack_faults
from eat_lightning.measure.plan import device_faults, whole_faults
from eat_lightning.measure.settings import STATIC, Setting, checked, policies_for
from eat_lightning.model.contracts import build, method_faults
from eat_lightning.model.heads import slot_faults
from eat_lightning.model.policies import policies_of
from eat_lightning.runs.certificate import DTYPES, name_faults
from eat_lightning.runs.run import Run
from eat_lightning.runs.validate import target_faults


@dataclass
class Plan:
    run: Run
    chains: list[list[Setting]]
    target: Target
    export: Export | None = None


def planned(config: dict[str, Any]) -> Plan:
    """ConfigError with all faults at once."""
    faults = value_faults(config)
    if not config["run"]:
        raise ConfigError.of(
            ["run must name the folder of a finished run: run=outputs/...", *faults]
        )
    try:
        run = Run.open(config["run"])
        faults += task_faults(run, config)
        faults += data_faults(run, config)
    except ConfigError as error:
        raise ConfigError.of([*str(error).splitlines(), *faults]) from None
    risk = config["risk"] | with_class(config, run.task)
    if not faults:
        nodes = {"risk": risk, "procedure": config["procedure"]}
        faults = [fault for slot in nodes for fault in method_faults(slot, nodes[slot], None)]
    if faults:
        raise ConfigError.of(dict.fromkeys(faults))
    export = None
    if config["onnx"]:
        export = Export.open(config["onnx"], config["threads"])
        policies = policies_of(config["policy"]) or ()
        if faults := export_faults(run, export, config):
            raise ConfigError.of(faults)
        export.check_policies(policies)
        chains = chains_for_export(export, policies, config)
    else:
        chains = chains_for(run, config)
    procedure, made = make(config["procedure"]), make(risk)
    if faults := procedure.refuses(len(chains), made.none_at_full_depth):
        raise ConfigError.of(faults)
    title = title_of(config, run.task)
    aim = Target(made, procedure, config["level"], config["confidence"], title)
    return Plan(run, chains, aim, export)


def value_faults(config: dict[str, Any]) -> list[str]:
    """Of what does not depend on the run."""
    faults = [
        f for key in ("level", "confidence") for f in number_faults(key, [config[key]], "(0, 1)")
    ]
    faults += whole_faults({key: config[key] for key in ("batch", "threads")}, 1)
    for key, bounds in (("taus", "(0, 1]"), ("ratios", "[0, 1)")):
        value = config[key]
        if value is not None and not (isinstance(value, list) and value):
            faults.append(f"{key} must be a list, got {value!r}")
        elif value is not None:
            faults += number_faults(key, value, bounds)
    if config["exits"] not in CAUTION:
        faults.append(f"exits must be one of {', '.join(CAUTION)}, got {config['exits']!r}")
    if config["dtype"] not in DTYPES:
        faults.append(f"dtype must be one of {', '.join(DTYPES)}, got {config['dtype']!r}")
    if config["device"] not in ("cpu", "cuda"):
        faults.append(f"device must be one of cpu, cuda, got {config['device']!r}")
    if not isinstance(config["sources"], bool):
        faults.append(f"sources must be true or false, got {config['sources']!r}")
    if config["name"] is not None:
        faults += name_faults("name", config["name"]) or with_at(config["name"])
    how = config["dtype"], config["device"]
    faults += prepack_faults(config["prepack"], *how)
    return [*faults, *device_faults(config["device"], config["dtype"])]


def with_at(name: str) -> list[str]:
    return [f"name must not hold an @, got {name!r}"] if "@" in name else []


def task_faults(run: Run, config: dict[str, Any]) -> list[str]:
    """Of the class named, or not named."""
    labels = run.task.labels
    if run.task.regression:
        return [f"run={run.name}: {run.task.name} is a regression, and risks compare classes"]
    wanted = "label" in config["risk"]
    if not wanted and config["class"] is not None:
        return [f"class is for risk=false_negatives, got {config['class']!r}"]
    if wanted and number_of(config["class"], labels) is None:
        return [f"class must name one of {', '.join(labels)}, got {config['class']!r}"]
    return []


def number_of(name: Any, labels: list[str]) -> int | None:
    """Of a class by its name or number."""
    if str(name) in labels:
        return labels.index(str(name))
    whole = isinstance(name, int) and not isinstance(name, bool)
    return name if whole and 0 <= name < len(labels) else None


def with_class(config: dict[str, Any], task: Any) -> dict[str, Any]:
    if "label" not in config["risk"]:
        return {}
    return {"label": number_of(config["class"], task.labels)}


def title_of(config: dict[str, Any], task: Any) -> str:
    """The risk in words: its file's name, and the class it is about."""
    words = str(config["risk"]["_target_"]).split(".")[-2].replace("_", " ")
    number = with_class(config, task).get("label")
    return words if number is None else f"{words} of {task.labels[number]}"


def data_faults(run: Run, config: dict[str, Any]) -> list[str]:
    given = {key: value for key, value in config["data"].items() if value is not None}
    node = run.config.get("data", {}) | given
    wrong = target_faults("data", node) or binding_faults("data", node)
    check: Any = None if wrong else getattr(target(node), "faults", None)
    return wrong if check is None else check(run.task, **arguments(node))


def chains_for(run: Run, config: dict[str, Any]) -> list[list[Setting]]:
    """From the run's own methods; the rule is its own where that has a tau, else by confidence."""
    from eat_lightning.weights.checkpoint import read_config

    model = read_config(run.folder / "model")
    num_layers, heads = model["num_layers"], model["head"]["layers"]
    early = [layer for layer in heads if layer < num_layers]
    if not early:
        raise ConfigError(
            f"run={run.name} has no exit head before its last layer, so nothing can leave early"
        )
    own = model["exit"] if "tau" in model["exit"] else {"kind": "confidence", "layers": early}
    rule = own | ({"layers": config["layers"]} if config["layers"] is not None else {})
    ratios, reduction = config["ratios"], model["reduction"]
    if ratios is not None and "ratio" not in reduction:
        raise ConfigError(f"ratios needs a reduction with a ratio, got {reduction['kind']}")
    try:
        first = checked("exit", rule | {"tau": TAUS[0]}, num_layers)
        methods = {slot: build(slot, model[slot]) for slot in ("attention", "reduction")}
    except ValueError as error:
        raise ConfigError.of(str(error).split("; ")) from None
    faults = slot_faults(first, heads, num_layers, len(model["id2label"]))
    if faults:
        raise ConfigError.of(faults)
    policies = policies_for(model, None, config["policy"])
    full = Setting(**methods, exit=build("exit", STATIC["exit"]), policies=policies)
    return chains_of(full, rule, config["taus"] or TAUS, config["exits"], ratios)
