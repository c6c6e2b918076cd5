"""What can be wrong with a measurement, found before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any

from eat_lightning.config import arguments, binding_faults, target
from eat_lightning.errors import ConfigError
from eat_lightning.infer.precision import prepack_faults
from eat_lightning.measure.settings import BASELINES, STATIC, Setting, settings_of
from eat_lightning.runs.certificate import DTYPES, Certificate, calibration_of
from eat_lightning.runs.run import Run, open_runs, who_trains
from eat_lightning.runs.validate import target_faults
from eat_lightning.track.log import measure_faults

Plan = list[tuple[Run, list[Setting]]]
CHOICES = {"dtype": (*DTYPES,), "device": ("cpu", "cuda"), "baselines": (*BASELINES,)}


def planned(config: dict[str, Any]) -> Plan:
    """The runs and their settings; ConfigError with all faults at once."""
    faults = [*value_faults(config), *busy_faults(config["timing"])]
    runs: list[Run] = []
    for path in run_paths(config["run"]):
        try:
            runs += open_runs(path)
        except ConfigError as error:
            faults.append(str(error))
    plan: Plan = []
    for run in runs if not faults else []:
        try:
            plan.append((run, settings_for(run, config)))
        except ConfigError as error:
            name = f"{run.name}: " if len(runs) > 1 else ""
            faults += [name + line for line in str(error).splitlines()]
    faults += [] if faults else unused(plan, config)
    if faults:
        raise ConfigError.of(dict.fromkeys(faults))
    return plan


def unused(plan: Plan, config: dict[str, Any]) -> list[str]:
    """Settings for exits or for a reduction, where none of the runs has any. A static run among
    others leaves them out."""
    specs = [setting.specs for _, settings in plan for setting in settings]
    faults = []
    if config["taus"] and not any("tau" in each["exit"] for each in specs):
        faults.append("taus needs a run whose exit rule has a tau: none of these has")
    given = [key for key, value in config["reduction"].items() if value is not None]
    if given and all(each["reduction"] == STATIC["reduction"] for each in specs):
        faults.append(f"reduction.{given[0]} needs a run that reduces: none of these does")
    return faults


def settings_for(run: Run, config: dict[str, Any]) -> list[Setting]:
    """Looks at the data too, as far as can be done without loading it."""
    settings, faults = [], []
    lacking = [key for key in ("model", "encoder", "study", "seed") if key not in run.config]
    if lacking:
        raise ConfigError(f"{run.folder / 'config.yaml'}: lacks {', '.join(lacking)}")
    try:
        settings = settings_of(run, config)
    except ConfigError as error:
        faults += str(error).splitlines()
    faults += data_faults(run, config)
    if faults:
        raise ConfigError.of(faults)
    if config["certificate"] is not None:
        held = Certificate.read(run, config["certificate"])
        held.check({"calibration": calibration_of(run.data(**config["data"]))})
    return settings


def data_faults(run: Run, config: dict[str, Any]) -> list[str]:
    """Of a run's data with a command's `split` and `data`, as far as shows without loading it."""
    faults = split_faults(config["split"], split_names(run.task), run.task.name)
    given = {key: value for key, value in config["data"].items() if value is not None}
    node = run.config.get("data", {}) | given
    wrong = target_faults("data", node) or binding_faults("data", node)
    check: Any = None if wrong else getattr(target(node), "faults", None)
    return faults + (wrong if check is None else check(run.task, **arguments(node)))


def split_names(task: Any) -> list[str]:
    from eat_lightning.data.calibration import PARTS

    return [*task.validation, *PARTS, "train"]


def split_faults(split: Any, known: list[str], where: str) -> list[str]:
    if split in known:
        return []
    return [f"split must be one of {', '.join(known)} for {where}, got {split!r}"]


def value_faults(config: dict[str, Any]) -> list[str]:
    """Of what does not depend on a run."""
    timing = config["timing"]
    faults = (
        [] if config["run"] else ["run must name the folder of a finished run: run=outputs/..."]
    )
    faults += whole_faults({key: config[key] for key in ("batch", "threads")}, 1)
    counts = {f"timing.{key}": timing[key] for key in ("examples", "repeats", "batch")}
    faults += [*whole_faults(counts, 1), *whole_faults({"timing.warmup": timing["warmup"]}, 0)]
    switches = {f"timing.{key}": timing[key] for key in ("enabled", "force", "graphs")}
    faults += [
        f"{key} must be true or false, got {value!r}"
        for key, value in switches.items()
        if not isinstance(value, bool)
    ]
    faults += [
        f"{key} must be one of {', '.join(known)}, got {config[key]!r}"
        for key, known in CHOICES.items()
        if str(config[key]).lower() not in known
    ]
    lists = {"taus": config["taus"] or [], "rules": config["rules"]}
    faults += [
        f"{k} must be a list, got {v!r}" for k, v in lists.items() if not isinstance(v, list)
    ]
    faults += device_faults(config["device"], config["dtype"])
    faults += prepack_faults(config["prepack"], config["dtype"], config["device"])
    if timing["graphs"] is True and config["device"] != "cuda":
        faults.append(f"timing.graphs=true is for device=cuda, got {config['device']}")
    return [*faults, *measure_faults(config["logger"])]


def whole_faults(values: dict[str, Any], least: int) -> Iterator[str]:
    """Each must be a whole number, `least` or more."""
    for key, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            yield f"{key} must be {least} or more, got {value!r}"


def device_faults(device: str, dtype: str) -> list[str]:
    import torch

    if device != "cuda":
        return []
    absent = [] if torch.cuda.is_available() else ["there is none that torch can use here"]
    # There torch._int_mm takes more than 16 rows, and one example may have fewer.
    unfit = ["dtype=int8 is for a processor, use bf16"] if dtype == "int8" else []
    return [f"device=cuda: {why}" for why in absent + unfit]


def busy_faults(
    timing: dict[str, Any], instead: str = "timing.enabled=false, or timing.force=true"
) -> list[str]:
    """A training run beside would be timed with. instead: the settings that do without."""
    if timing["enabled"] is not True or timing["force"]:
        return []
    return [
        f"a run trains here (process {pid}), so nothing is timed: wait for it, or give {instead}"
        for pid in who_trains()
    ]


def run_paths(value: Any) -> list[str]:
    """Patterns expanded."""
    paths: list[str] = []
    for path in [value] if isinstance(value, str) else value or []:
        is_pattern = "*" in str(path) and not Path(path).exists()
        paths += (sorted(glob(path)) or [path]) if is_pattern else [str(path)]
    return paths
