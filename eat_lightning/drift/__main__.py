"""`python -m eat_lightning.drift run=<folder>`: what is normal for a run, and whether a stream is.

Without a stream it makes the reference; with one it says, as JSON lines, what the monitor found.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from eat_lightning.config import (
    CONFIG_DIR,
    compose_or_explain,
    plain,
    plain_errors,
    with_path_quoted,
)
from eat_lightning.errors import ConfigError

if TYPE_CHECKING:
    from eat_lightning.drift.reference import Reference
    from eat_lightning.predict import Answerer
    from eat_lightning.runs import Run

STDIN = "-"


@hydra.main(config_path=CONFIG_DIR, config_name="drift", version_base="1.3")
def job(cfg: DictConfig) -> None:
    try:
        with plain_errors():
            num_bad = drift(plain(cfg))
    except BrokenPipeError:  # nobody reads on, as with `| head`: the rest goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    if num_bad:
        raise SystemExit(1)


def main() -> None:
    sys.argv[1:] = [with_path_quoted(argument) for argument in sys.argv[1:]]
    compose_or_explain("drift", sys.argv[1:])
    job()


def drift(config: dict[str, Any]) -> int:
    """Make the reference, or replay a stream; returns how many lines could not be read.

    Raises ConfigError, one line per fault, before anything long.
    """
    from eat_lightning.drift.monitor import Monitor
    from eat_lightning.predict import Answerer, setting_faults

    faults = setting_faults(config) + Monitor.faults(**config["monitor"])
    if not isinstance(config["log_text"], bool):
        faults.append(f"log_text must be true or false, got {config['log_text']!r}")
    if faults:
        raise ConfigError.of(faults)
    import torch

    from eat_lightning.runs import Run

    if config["threads"]:
        torch.set_num_threads(config["threads"])
    run = Run.open(config["run"])
    how = config["exit"], config["dtype"], config["certificate"]
    answerer = Answerer.of(run, *how, prepack=config["prepack"])
    faults = watching_faults(answerer)
    if faults:
        raise ConfigError.of(faults)
    if config["stream"] is None:
        make_reference(run, answerer, config)
        return 0
    return replay(run, answerer, config)


def watching_faults(answerer: Answerer) -> list[str]:
    if len(answerer.encoders) > 1:
        return ["drift watches one exit rule, and this certificate has one for each source"]
    if not answerer.labels:
        return ["drift needs classes, and this run is a regression"]
    encoder = answerer.encoders[None]
    if encoder.policies and encoder.exit.layers:
        return ["drift is for exits without policies: what is normal would be another for each"]
    return []


def make_reference(run: Run, answerer: Answerer, config: dict[str, Any]) -> Reference:
    """From the part of the calibration cut that nothing else was fitted on."""
    from eat_lightning.drift.observation import of_outcome
    from eat_lightning.drift.reference import Reference, watched
    from eat_lightning.record_pass import record

    encoder = answerer.encoders[None]
    split = run.data(**config["data"]).split("certificate")
    recorded = record(encoder, split, config["batch"], f"{run.name}: what is normal")
    made = Reference(of_outcome(recorded.under()), watched(run, encoder, config["dtype"]))
    path = made.write(run)
    tell({"event": "reference", "examples": len(made.seen), "saved": str(path)})
    return made


def replay(run: Run, answerer: Answerer, config: dict[str, Any]) -> int:
    from eat_lightning.drift.decisions import DecisionLog
    from eat_lightning.drift.monitor import Monitor
    from eat_lightning.drift.reference import Reference, watched
    from eat_lightning.drift.replay import Watched

    reference = Reference.read(run)
    reference.check(watched(run, answerer.encoders[None], config["dtype"]))
    monitor = Monitor.of(reference, **config["monitor"], seed=config["seed"])
    given = stream(run, answerer, config)
    log = config["log"] and DecisionLog(config["log"], config["log_text"])
    watch, num_bad = Watched(answerer, monitor, log or None), 0
    try:
        for texts, bad in given:
            num_bad += len(bad)
            for event in watch(texts) if texts else []:
                tell(event.as_dict())
            for fault in bad:
                tell(fault)
    except OSError as error:
        if log and not isinstance(error, BrokenPipeError):
            raise ConfigError(f"log={config['log']}: {error.strerror}") from None
        raise
    tell({"event": "end"} | monitor.state())
    return num_bad


Given = Iterator[tuple[list[list[str]], list[dict[str, Any]]]]


def stream(run: Run, answerer: Answerer, config: dict[str, Any]) -> Given:
    """Batches of texts, each with the lines that could not be read: of standard input, of a parquet
    file, or of <data set>/<split> in the run's data folder."""
    from eat_lightning.drift.replay import texts_of

    name, columns = str(config["stream"]), config["columns"] or answerer.columns
    if len(columns) != len(answerer.columns):
        raise ConfigError(
            f"columns must name {len(answerer.columns)} for {run.task.name}, got {list(columns)}"
        )
    if name == STDIN:
        return lines(answerer, config["batch"])
    folder = config["data"]["dir"] or run.config["data"].get("dir") or "."
    places = [Path(name), Path(folder).expanduser() / f"{name}.parquet"]
    found = [path for path in places if path.is_file()]
    if not found:
        raise ConfigError(f"stream={name}: there is neither {' nor '.join(map(str, places))}")
    return ((texts, []) for texts in texts_of(found[0], columns, config["batch"]))


def lines(answerer: Answerer, batch: int) -> Given:
    from eat_lightning.onnx_runner import batches, parse

    number = 0
    for raw in batches(sys.stdin.fileno(), batch):
        texts: list[list[str]] = []
        bad: list[dict[str, Any]] = []
        for line in raw:
            number += 1
            try:
                texts.append(parse(line, answerer.columns))
            except ValueError as error:
                bad.append({"line": number, "error": str(error)})
        yield texts, bad


def tell(content: dict[str, Any]) -> None:
    print(json.dumps(content), flush=True)


if __name__ == "__main__":
    main()
