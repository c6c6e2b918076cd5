"""`python -m eat_lightning.drift run=<folder>`: what is normal for a run, and whether a stream is.

Without a stream it makes the reference; with one it says, as JSON lines, what the monitor found.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.errors import ConfigError

if TYPE_CHECKING:
    from eat_lightning.drift.reference import Reference
    from eat_lightning.drift.watching import Watching
    from eat_lightning.runs.run import Run

STDIN = "-"


def drift(config: dict[str, Any]) -> int:
    """Make the reference, or replay a stream; returns how many lines could not be read.

    Raises ConfigError, one line per fault, before anything long.
    """
    from eat_lightning.drift.monitor import Monitor
    from eat_lightning.predict.__main__ import setting_faults

    faults = setting_faults(config) + Monitor.faults(**config["monitor"])
    if not isinstance(config["log_text"], bool):
        faults.append(f"log_text must be true or false, got {config['log_text']!r}")
    if faults:
        raise ConfigError.of(faults)
    from eat_lightning.runs.run import Run

    run = Run.open(config["run"])
    watching = watching_of(run, config)
    if not watching.labels:
        raise ConfigError("drift needs classes, and this run is a regression")
    if config["stream"] is None:
        make_references(run, watching, config)
        return 0
    return replay(run, watching, config)


def watching_of(run: Run, config: dict[str, Any]) -> Watching:
    """The run, or the export of it that config["onnx"] names."""
    from eat_lightning.model.policies import policies_of

    policies = policies_of(config["policy"])
    if config["onnx"]:
        from eat_lightning.drift.watching_export import ExportWatching
        from eat_lightning.infer.exported import Export, ExportAnswerer, option_faults

        if faults := option_faults(config, "onnx=..."):
            raise ConfigError.of(faults)
        export = Export.open(config["onnx"], config["threads"])
        return ExportWatching(ExportAnswerer.of(export, config["certificate"], policies))
    import torch

    from eat_lightning.drift.watching import RunWatching
    from eat_lightning.predict.__main__ import Answerer

    if config["threads"]:
        torch.set_num_threads(config["threads"])
    how = config["exit"], config["dtype"], config["certificate"], policies, config["prepack"]
    return RunWatching(run, Answerer.of(run, *how), config["dtype"])


def make_references(run: Run, watching: Watching, config: dict[str, Any]) -> list[Reference]:
    from eat_lightning.drift.watching import references_of

    split = run.data(**config["data"]).split("certificate")
    made = references_of(watching, split, config["batch"])
    for reference in made:
        whose = {} if reference.source is None else {"source": reference.source}
        path = reference.write(watching.home)
        tell({"event": "reference", **whose, "examples": len(reference.seen), "saved": str(path)})
    return made


def replay(run: Run, watching: Watching, config: dict[str, Any]) -> int:
    from eat_lightning.drift.decisions import DecisionLog
    from eat_lightning.drift.monitor import Monitor
    from eat_lightning.drift.replay import Watched
    from eat_lightning.drift.watching import references_for

    monitors = {
        source: Monitor.of(reference, **config["monitor"], seed=config["seed"])
        for source, reference in references_for(watching).items()
    }
    given = stream(run, watching.columns, config)
    log = config["log"] and DecisionLog(config["log"], config["log_text"])
    watch, num_bad = Watched(watching, monitors, log or None), 0
    try:
        for texts, about, bad in given:
            num_bad += len(bad)
            for event in watch(texts, about) if texts else []:
                tell(event)
            for fault in bad:
                tell(fault)
    except OSError as error:
        if log and not isinstance(error, BrokenPipeError):
            raise ConfigError(f"log={config['log']}: {error.strerror}") from None
        raise
    for source, monitor in monitors.items():
        tell({"event": "end"} | ({} if source is None else {"source": source}) | monitor.state())
    return num_bad


Given = Iterator[tuple[list[list[str]], list[dict[str, str]], list[dict[str, Any]]]]


def stream(run: Run, own: Sequence[str], config: dict[str, Any]) -> Given:
    """Batches of texts, with what is known of each and the lines that could not be read: of
    standard input, of a parquet file, or of <data set>/<split> in the run's data folder."""
    from eat_lightning.drift.replay import texts_of

    name, columns = str(config["stream"]), config["columns"] or own
    if len(columns) != len(own):
        raise ConfigError(f"columns must name {len(own)} for {run.task.name}, got {list(columns)}")
    if name == STDIN:
        return lines(own, config["batch"])
    folder = config["data"]["dir"] or run.config["data"].get("dir") or "."
    places = [Path(name), Path(folder).expanduser() / f"{name}.parquet"]
    found = [path for path in places if path.is_file()]
    if not found:
        raise ConfigError(f"stream={name}: there is neither {' nor '.join(map(str, places))}")
    found_in = texts_of(found[0], columns, config["batch"])
    return ((texts, about, []) for texts, about in found_in)


def lines(columns: Sequence[str], batch: int) -> Given:
    from eat_lightning.infer.onnx_runner import batches, parse
    from eat_lightning.predict.__main__ import about_of

    number = 0
    for raw in batches(sys.stdin.fileno(), batch):
        texts: list[list[str]] = []
        about: list[dict[str, str]] = []
        bad: list[dict[str, Any]] = []
        for line in raw:
            number += 1
            try:
                texts.append(parse(line, columns))
                about.append(about_of(line, columns))
            except ValueError as error:
                bad.append({"line": number, "error": str(error)})
        yield texts, about, bad


def tell(content: dict[str, Any]) -> None:
    print(json.dumps(content), flush=True)


main = entry("drift", drift)

if __name__ == "__main__":
    main()
