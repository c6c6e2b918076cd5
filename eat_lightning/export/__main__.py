"""`python -m eat_lightning.export run=<folder> target=onnx`: a finished run without torch.

What is written keeps pruning and exits, or is refused; it is compared with the run before it is put
in its place.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eat_lightning.cli import entry
from eat_lightning.errors import ConfigError
from eat_lightning.infer.onnx_runner import ABOUT

TARGETS = ("onnx",)
DTYPES = ("fp32", "int8")
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def export(config: dict[str, Any]) -> Path:
    """Write the folder, and return it.

    Raises ConfigError, one line per fault: for settings and for a run that cannot be exported
    before any graph is made, for answers that differ before anything is put in its place.
    """
    faults = setting_faults(config)
    if faults:
        raise ConfigError.of(faults)
    import torch

    from eat_lightning.export.bundle import Bundle
    from eat_lightning.measure.plan import data_faults
    from eat_lightning.model.policies import specs_of
    from eat_lightning.predict.__main__ import exit_rule
    from eat_lightning.runs.run import Run

    if config["threads"]:
        torch.set_num_threads(config["threads"])
    run = Run.open(config["run"])
    to = folder_for(config)
    faults = folder_faults(to, config["force"])
    if config["check"]:
        faults += [
            f"{fault} (or give check=0)"
            for fault in data_faults(run, config["split"], config["data"])
        ]
    if faults:
        raise ConfigError.of(faults)
    encoder, labels = run.model()
    encoder.exit = exit_rule(config["exit"], encoder)
    if encoder.policies:
        named = ", ".join(given["kind"] for given in specs_of(encoder.policies))
        raise ConfigError(f"policy: an export carries none, and this run's model has {named}")
    bundle = Bundle(run, encoder, labels if encoder.num_labels > 1 else [], config)
    bundle.write(to)
    return to


def folder_for(config: dict[str, Any]) -> Path:
    given = config["to"]
    return Path(given) if given else Path(config["run"]) / f"{config['target']}-{config['dtype']}"


def folder_faults(to: Path, force: bool) -> list[str]:
    if not to.exists():
        return []
    if not force:
        return [f"to={to} is there already: name another folder, or give force=true"]
    if not (to / ABOUT).is_file():
        return [f"to={to} is no export (no {ABOUT} in it), so force=true does not replace it"]
    return []


def setting_faults(config: dict[str, Any]) -> list[str]:
    """Of what does not depend on a run."""
    from eat_lightning.bounds import number_faults, whole_faults

    faults = []
    if not config["run"]:
        faults.append("run must name the folder of a finished run: run=outputs/...")
    for key, known in (("target", TARGETS), ("dtype", DTYPES)):
        if config[key] not in known:
            faults.append(f"{key} must be one of {', '.join(known)}, got {config[key]!r}")
    if not isinstance(config["force"], bool):
        faults.append(f"force must be true or false, got {config['force']!r}")
    if config["check"] != "all" and whole_faults("check", config["check"], 0):
        faults.append(f"check must be all, or 0 or more, got {config['check']!r}")
    if config["threads"] is not None:
        faults += whole_faults("threads", config["threads"], 1)
    faults += number_faults("agree", [config["agree"]], "[0, 1]")
    absent = [name for name in PACKAGES if find_spec(name) is None]
    if absent:
        faults.append(f"export needs {', '.join(absent)}: pip install 'eat-lightning[onnx]'")
    return faults


main = entry("export", export)

if __name__ == "__main__":
    main()
