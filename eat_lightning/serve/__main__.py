"""`python -m eat_lightning.serve run=<folder>`: a run in front of traffic, over HTTP."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed
from eat_lightning.errors import ConfigError

MODES = {"inline": 1, "triage": 32}  # and the examples at once, at most
BACKENDS = ("torch", "onnx")
PACKAGES = ("fastapi", "uvicorn", "prometheus_client")


def serve(config: dict[str, Any]) -> None:
    """Until SIGTERM or SIGINT; then all that was accepted is answered.

    Raises ConfigError, one line per fault, before a port is opened.
    """
    faults = setting_faults(config)
    if faults:
        raise ConfigError.of(faults)
    token = token_of(config)
    config["batch"] = config["batch"] or MODES[config["mode"]]
    from eat_lightning.serve.server import run_server

    run_server(config, token)


def setting_faults(config: dict[str, Any]) -> list[str]:
    """Of what does not depend on a run."""
    from eat_lightning.bounds import number_faults, whole_faults
    from eat_lightning.infer.precision import prepack_faults
    from eat_lightning.runs.certificate import DTYPES

    faults = []
    if not config["run"]:
        faults.append("run must name the folder of a finished run: run=outputs/...")
    choices = (("mode", MODES), ("backend", BACKENDS), ("dtype", DTYPES))
    for key, known in choices:
        if config[key] not in known:
            faults.append(f"{key} must be one of {', '.join(known)}, got {config[key]!r}")
    for key in ("queue", "max_bytes", "max_texts", "max_chars", "threads", "max_jobs"):
        faults += whole_faults(key, config[key], 1)
    if config["batch"] is not None:
        faults += whole_faults("batch", config["batch"], 16 if config["mode"] == "triage" else 1)
        if config["mode"] == "inline" and config["batch"] != 1:
            faults.append(f"batch must be 1 with mode=inline, got {config['batch']!r}")
    faults += number_faults("wait_ms", [config["wait_ms"]], "[0, 10000]")
    faults += number_faults("deadline_ms", [config["deadline_ms"]], "(0, 3600000]")
    faults += number_faults("stuck_s", [config["stuck_s"]], "(0, 3600]")
    faults += number_faults("stop_s", [config["stop_s"]], "[0, 3600]")
    faults += number_faults("keep_hours", [config["keep_hours"]], "[0, 87600]")
    if not faults and config["max_texts"] > config["queue"]:
        said = f"at most queue={config['queue']}, got {config['max_texts']}"
        faults.append(f"max_texts must be {said}: such a request would never find room")
    port = config["port"]
    if whole_faults("port", port, 0) or port > 65535:
        faults.append(f"port must be in 0..65535 (0: any that is free), got {port!r}")
    for key in ("strict_sources", "log_text"):
        if not isinstance(config[key], bool):
            faults.append(f"{key} must be true or false, got {config[key]!r}")
    faults += prepack_faults(config["prepack"], config["dtype"])
    faults += drift_faults(config["drift"])
    if config["backend"] == "onnx":
        from types import SimpleNamespace

        from eat_lightning.predict.plan import export_faults

        faults += export_faults(SimpleNamespace(**config), "backend=onnx")
    absent = [name for name in PACKAGES if find_spec(name) is None]
    if absent:
        faults.append(f"serve needs {', '.join(absent)}: pip install 'eat-lightning[serve]'")
    return faults


def drift_faults(drift: dict[str, Any]) -> list[str]:
    from eat_lightning.drift.plan import MonitorPlan

    faults = [
        f"drift.{key} must be true or false, got {drift[key]!r}"
        for key in ("monitor", "fallback")
        if not isinstance(drift[key], bool)
    ]
    folder = drift["state"]
    if folder is not None and not Path(str(folder)).is_dir():
        faults.append(f"drift.state={folder} must be a folder that is there")
    settings = {key: drift[key] for key in ("run_length", "window", "calm", "psi")}
    try:
        parsed(MonitorPlan, settings)
    except ConfigError as error:
        faults += [f"drift.{fault}" for fault in str(error).splitlines()]
    return faults


def token_of(config: dict[str, Any]) -> str | None:
    """From the environment or a file, never from the command line, which others can see."""
    name, path = config["token_env"], config["token_file"]
    if name and path:
        raise ConfigError("token_env and token_file: give one of them")
    if name:
        token = os.environ.get(name, "").strip()
        if not token:
            raise ConfigError(f"token_env={name}: there is no such variable, or it is empty")
    elif path:
        try:
            token = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"token_file={path}: cannot be read ({error})") from None
        if not token:
            raise ConfigError(f"token_file={path} is empty")
    else:
        return None
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("the token must be printable ASCII without spaces")
    return token


main = entry("serve", serve)

if __name__ == "__main__":
    main()
