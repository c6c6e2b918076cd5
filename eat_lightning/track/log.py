"""Loggers in addition to CSV: Weights & Biases (offline without an account) and TensorBoard."""

from __future__ import annotations

import json
import netrc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from eat_lightning.answer_kind import SINGLE
from eat_lightning.config import arguments, target
from eat_lightning.errors import ConfigError, in_one_line
from eat_lightning.files import as_dict

if TYPE_CHECKING:
    from eat_lightning.record.record import Record
    from eat_lightning.runs.row import Row
    from eat_lightning.runs.run import Run

MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")  # of $WANDB_MODE
TEXTS = (
    *("attention", "reduction", "exit", "knob", "encoder", "commit", "version", "machine", "run"),
    *("data", "objective", "schedule", "teacher"),
)
BINS = 15  # of a reliability diagram, of equal width


def is_wandb(node: dict[str, Any] | None) -> bool:
    return str((node or {}).get("_target_")).endswith("WandbLogger")


def wandb_faults(node: dict[str, Any] | None) -> list[str]:
    """List the error in the W&B mode."""
    mode = os.environ.get("WANDB_MODE", MODES[0])
    if not is_wandb(node) or mode in MODES:
        return []
    return [f"WANDB_MODE must be one of {', '.join(MODES)}, got {mode!r}"]


def wandb_logger(
    node: dict[str, Any], config: dict[str, Any], folder: Path, job_type: str = "train"
) -> Any:
    """Return a logger with a started W&B run, in its study's group and with the nested config.
    Settings of `node` override the arguments.

    Raises:
        ConfigError: where W&B cannot start.
    """
    import wandb

    given = {
        "save_dir": folder,
        "name": folder.name,
        "group": str(config["study"]),
        "job_type": job_type,
        "tags": [config["task"]["name"], config["model"]],
        "config": config,
    } | arguments(node)
    if given.get("offline") == "auto":
        given["offline"] = stays_offline()
    offline = bool(given.get("offline"))
    if not offline and job_type == "train":
        given["id"] = given.get("id") or begun_id(folder)
    try:
        if offline:  # instead of twenty lines, the one that is printed below
            wandb.setup(wandb.Settings(mode="offline", silent=True))
        logger = target(node)(**given)
        place = logger.experiment.dir
    except (wandb.Error, ValueError) as error:
        raise ConfigError(
            f"logger=wandb: {in_one_line(str(error))} (WANDB_MODE=offline does without a server)"
        ) from None
    if offline and isinstance(place, str):  # processes but the first have none
        print(f"W&B, offline: send it later by wandb sync '{Path(place).parent}'")
    return logger


def stays_offline() -> bool:
    mode = os.environ.get("WANDB_MODE")
    return mode in ("offline", "dryrun") if mode else not has_account()


def has_account() -> bool:
    """True if W&B would find a key in the environment or in ~/.netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname
    try:
        return netrc.netrc().authenticators(str(host)) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def begun_id(folder: Path) -> str | None:
    """Return the W&B id of a resumed run, from W&B's folder in the run's."""
    begun = sorted((folder / "wandb").glob("run-*-*"))
    return begun[-1].name.rpartition("-")[2] if begun else None


def log_result(logger: Any, row: Row, config: dict[str, Any], step: int) -> None:
    """Log the row as the last point of a logger's curves and, where supported, as its summary (W&B)
    and with the hyperparameters (TensorBoard).
    """
    numbers = numbers_of(row)
    if type(logger).__name__.endswith("TensorBoardLogger"):
        logger.log_hyperparams(config, numbers, step)  # which logs the numbers too
        return
    logger.log_metrics(numbers, step)
    if type(logger).__name__.endswith("WandbLogger"):
        texts = json.dumps({f"dev/{name}": getattr(row, name) for name in TEXTS}, default=as_dict)
        logger.experiment.summary.update(json.loads(texts))


def numbers_of(row: Row) -> dict[str, float]:
    """Return numbers of a row: dev/... with the share of each exit, and calibration/... of each
    exit on the calibration split.
    """
    place = "dev" if row.split.startswith("validation") else row.split
    fields = {k: v for k, v in vars(row).items() if isinstance(v, int | float)}
    found = {f"{place}/{name}": float(value) for name, value in fields.items()}
    found[f"{place}/score"] = row.score
    found |= {f"{place}/exit_share_{k}": share for k, share in row.exit_shares.items()}
    for name in ("temperature", "ece_before", "ece_after"):
        found |= {f"calibration/{name}_exit_{k}": v for k, v in getattr(row, name).items()}
    return found


def log_frontier(logger: Any, run: Run, encoder: Any, record: Record) -> None:
    """Log to W&B accuracy against FLOPs over exit rules and fixed depths, and each exit's
    reliability.

    Both come from the pass over dev that ends a run, which is not timed.
    """
    if not type(logger).__name__.endswith("WandbLogger"):
        return
    from eat_lightning.methods.exit.fixed import Fixed
    from eat_lightning.runs.row import FIXED, row_of

    rules, heads = rules_of(encoder.exit, encoder.num_labels), record.guesses
    rows = [row_of(run, encoder, record, rule) for rule in rules]
    if len(heads) > 1:  # else there is nothing to choose from
        rows += [row_of(run, encoder, record, Fixed(k), baseline=FIXED) for k in heads]
    chart(logger.experiment, "frontier/flops", lines_of(rows), "flops_ratio", "score")
    if encoder.kind.problem_type == SINGLE:
        bins = reliability_of(record)
        chart(logger.experiment, "calibration/reliability", bins, "confidence", "accuracy")


def rules_of(rule: Any, num_labels: int) -> list[Any]:
    """Return a run's own exit rule, its thresholds on the grid if it has one, and never."""
    from eat_lightning.methods.exit.never import Never
    from eat_lightning.model.contracts import at_point
    from eat_lightning.model.specification import Specification

    knob = rule.knob
    points = knob.grid_for(num_labels) if knob else ()
    rules = [rule, *(at_point(rule, point) for point in points), Never()]
    return [*{str(Specification.of("exit", rule)): rule for rule in rules}.values()]


def lines_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows as lines of a flat table: setting, score and the kinds of reduction and exit,
    then all other scalar fields.
    """
    from eat_lightning.runs.names import titles_of

    return [
        {"setting": title, "score": row.score}
        | {slot: getattr(row, slot).kind for slot in ("reduction", "exit")}
        | {k: v for k, v in vars(row).items() if isinstance(v, str | float | int | None)}
        for row, title in zip(rows, titles_of(rows), strict=True)
    ]


def reliability_of(record: Record) -> list[dict[str, Any]]:
    """Return each exit's confidence bins, after its temperature, with Wilson's interval."""
    from scipy.special import softmax
    from scipy.stats import binomtest

    lines = []
    for layer, logits_BC in record.guesses.items():
        confidence_B = softmax(logits_BC, axis=1).max(1)
        right_B = logits_BC.argmax(1) == record.labels
        bin_B = (confidence_B * BINS).astype(int).clip(max=BINS - 1)
        for number in sorted({*bin_B.tolist()}):
            here_B = bin_B == number
            right, n = int(right_B[here_B].sum()), int(here_B.sum())
            low, high = binomtest(right, n).proportion_ci(method="wilson")
            found = {"accuracy": right / n, "low": low, "high": high, "n": n}
            lines.append({"exit": layer, "confidence": float(confidence_B[here_B].mean())} | found)
    return lines


def chart(experiment: Any, key: str, lines: list[dict[str, Any]], x: str, y: str) -> None:
    """Log a table (W&B names it <key>_table) and a scatter plot of two of its columns. Columns that
    are empty in every line are left out.
    """
    import wandb

    names = dict.fromkeys(name for line in lines for name in line)
    columns: list[Any] = [
        name for name in names if any(line.get(name) not in (None, "") for line in lines)
    ]
    table = wandb.Table(columns=columns, data=[[line.get(c) for c in columns] for line in lines])
    title = key.replace("/", ": ").replace("_", " ")
    experiment.log({key: wandb.plot.scatter(table, x, y, title=title)})


def measure_faults(node: dict[str, Any] | None) -> list[str]:
    """List errors in the logger for measured rows."""
    if node and node.get("_target_") and not is_wandb(node):
        return [f"logger must be wandb or null here (rows.jsonl has all), got {node['_target_']}"]
    return wandb_faults(node)


def log_rows(node: dict[str, Any] | None, rows: Sequence[Row], runs: Sequence[Run]) -> None:
    """Log measured rows to W&B.

    Each run gets one W&B run of job type "measure" in its study's group. Its summary is the first
    row (the run's own setting), and a table has all rows, with accuracy against FLOPs and, if
    timed, against latency. Nothing is logged where the node names no logger.
    """
    if not is_wandb(node):
        return
    import wandb

    assert node is not None
    for run in runs:
        run_rows = [
            row for row in rows if (row.study, row.run) == (str(run.config["study"]), run.name)
        ]
        logger = wandb_logger(node, run.config, run.folder, job_type="measure")
        try:
            log_result(logger, run_rows[0], run.config, run.done.get("steps", 0))
            chart(logger.experiment, "frontier/flops", lines_of(run_rows), "flops_ratio", "score")
            timed = [line for line in lines_of(run_rows) if line["latency_ms"] is not None]
            if timed:
                chart(logger.experiment, "frontier/latency", timed, "latency_ms", "score")
        finally:
            wandb.finish()
