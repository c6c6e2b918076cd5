"""One measured setting is one row: the only schema, its writer and its reader (JSON lines)."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from eat_lightning.bounds import number_faults
from eat_lightning.errors import ConfigError
from eat_lightning.infer.precision import FORMS, PLAIN
from eat_lightning.model.contracts import spec
from eat_lightning.weights.untrusted import ROWS, one_line, parsed, text_of

BOUNDS = {
    "[0, 1]": (
        *("accuracy", "f1", "majority", "strength", "ece_before", "ece_after"),
        *("exit_shares", "exit_reasons"),
    ),
    "[-1, 1]": ("matthews", "pearson", "spearman"),
    "(0, 1]": ("retention", "token_layers", "tau"),
    "(0, inf)": (
        *("flops", "flops_ratio", "temperature", "conversion"),
        *("speed_up", "speed_up_low", "speed_up_high"),
        *("batch_speed_up", "batch_speed_up_low", "batch_speed_up_high", "batch_conversion"),
    ),
    "[0, inf)": (
        *("latency_ms", "latency_p50_ms", "latency_p90_ms", "latency_p99_ms"),
        *("latency_low_ms", "latency_high_ms"),
        *("throughput", "throughput_low", "throughput_high"),
        *("throughput_sorted", "throughput_sorted_low", "throughput_sorted_high"),
    ),
    "[1, inf)": (
        *("num_examples", "num_layers", "padding_factor", "padding_factor_sorted"),
        *("latency_batch", "throughput_batch", "timed_examples", "repeats", "threads"),
    ),
}
METRICS = ("accuracy", "f1", "matthews", "pearson", "spearman")
SETTING = (  # what was measured, and how
    *("task", "model", "encoder", "attention", "reduction", "exit", "policy", "strength"),
    *("study", "run"),
    *("seed", "split", "num_examples", "baseline", "kernels", "dtype", "device"),
)
TIMING = ("threads", "latency_batch", "throughput_batch", "form")


@dataclass(frozen=True)
class Row:
    """attention, reduction, exit: {"kind": the method's file name, **its arguments}.

    Scores are None where the task is not judged by them; `metric` names the main one, `majority` is
    the share of the largest class. depth, retention, token_layers and flops are means over the
    examples. flops_ratio is against the same body dense / none / never, and so are speed_up (means
    of latencies timed together) and conversion (speed_up x flops_ratio). ece_before and ece_after
    are each exit's on the calibration split, before and after its temperature.

    Latencies are milliseconds at batch latency_batch; low and high are over repeats. throughput is
    examples per second at throughput_batch, as they come and sorted by length; batch_speed_up and
    batch_conversion are of those that come. All are None where nothing was timed. Settings of one
    `session` took turns: only their times may be compared.

    exit_shares: who left after each layer, a share of the examples; exit_reasons: why they were
    answered there ({} in rows that are older than this field).

    policy: a list of such, in the order they are asked; flops are then without those of a second
    run that a veto asks.

    examples: the file beside the rows that holds what every example's exits said.

    baseline: "", "own static" (the same weights dense / none / never) or "hugging face".
    kernels: "ours", "ours_graphs" (single examples from CUDA graphs) or "hf_eager" (transformers in
    PyTorch's eager mode, padded).
    form: of the weights, "plain" or "prepacked" (see `forms`), in which answers differ by a logit's
    last bits and times by much. It is plain for Hugging Face's model, which runs as people call it,
    and of rows from before it was told.
    """

    task: str
    model: str
    encoder: str
    attention: dict[str, Any]
    reduction: dict[str, Any]
    exit: dict[str, Any]
    study: str
    run: str
    seed: int
    split: str
    num_examples: int
    metric: str
    num_layers: int
    depth: float
    retention: float
    token_layers: float
    exit_shares: dict[str, float]
    flops: float
    flops_ratio: float
    strength: float
    accuracy: float | None = None
    f1: float | None = None
    matthews: float | None = None
    pearson: float | None = None
    spearman: float | None = None
    majority: float | None = None
    tau: float | list[float] | None = None
    latency_ms: float | None = None
    latency_p50_ms: float | None = None
    latency_p90_ms: float | None = None
    latency_p99_ms: float | None = None
    latency_low_ms: float | None = None
    latency_high_ms: float | None = None
    throughput: float | None = None
    throughput_low: float | None = None
    throughput_high: float | None = None
    throughput_sorted: float | None = None
    throughput_sorted_low: float | None = None
    throughput_sorted_high: float | None = None
    padding_factor: float | None = None
    padding_factor_sorted: float | None = None
    speed_up: float | None = None
    speed_up_low: float | None = None
    speed_up_high: float | None = None
    conversion: float | None = None
    batch_speed_up: float | None = None
    batch_speed_up_low: float | None = None
    batch_speed_up_high: float | None = None
    batch_conversion: float | None = None
    latency_batch: int | None = None
    throughput_batch: int | None = None
    timed_examples: int | None = None
    repeats: int | None = None
    threads: int | None = None
    dtype: str = "fp32"
    device: str = "cpu"
    machine: str = ""
    kernels: str = "ours"
    form: str = PLAIN
    baseline: str = ""
    temperature: dict[str, float] = field(default_factory=dict)
    ece_before: dict[str, float] = field(default_factory=dict)
    ece_after: dict[str, float] = field(default_factory=dict)
    policy: list[dict[str, Any]] = field(default_factory=list)
    exit_reasons: dict[str, float] = field(default_factory=dict)
    examples: str = ""
    session: str = ""
    commit: str = ""
    version: str = ""
    created: str = ""

    def __post_init__(self) -> None:
        faults = row_faults(self)
        if faults:
            raise ValueError("; ".join(faults))

    @property
    def setting(self) -> str:
        """What was measured, without how it was timed."""
        return json.dumps([getattr(self, name) for name in SETTING], sort_keys=True)

    @property
    def weights(self) -> str:
        """The dtype, and the form where it is not plain: "fp32 prepacked"."""
        return self.dtype if self.form == PLAIN else f"{self.dtype} {self.form}"

    @property
    def key(self) -> tuple[str, ...]:
        """Setting, timing, commit and machine: a row supersedes another of the same key."""
        if self.latency_ms is None:  # then the form says nothing worth a row more
            return self.untimed_key
        timing = json.dumps([getattr(self, name) for name in TIMING])
        return self.setting, timing, self.commit, self.machine

    @property
    def untimed_key(self) -> tuple[str, ...]:
        timing = json.dumps([None for _ in TIMING])
        return self.setting, timing, self.commit, self.machine


def row_faults(row: Row) -> list[str]:
    """Values that cannot be, one line each: field, bound and value."""
    faults = kind_faults(row)
    if faults:
        return faults
    for bound, names in BOUNDS.items():
        for name in names:
            value = getattr(row, name)
            values = list(value.values()) if isinstance(value, dict) else value
            faults += [] if values is None else number_faults(name, values, bound)
    faults += number_faults("depth", row.depth, f"[1, {row.num_layers}]")
    outside = [k for k in row.exit_shares if not (k.isdigit() and 1 <= int(k) <= row.num_layers)]
    faults += [f"exit_shares must name layers in 1..{row.num_layers}, got {k}" for k in outside]
    if not faults and abs(sum(row.exit_shares.values()) - 1) > 1e-6:
        faults.append(f"exit_shares must add up to 1, got {sum(row.exit_shares.values())}")
    if row.form not in FORMS:
        faults.append(f"form must be one of {', '.join(FORMS)}, got {row.form!r}")
    if row.metric not in METRICS:
        faults.append(f"metric must be one of {', '.join(METRICS)}, got {row.metric!r}")
    return faults


KINDS: dict[str, tuple[type, ...]] = {
    **{"str": (str,), "int": (int,), "float": (int, float), "dict": (dict,), "list": (list,)},
    "None": (type(None),),
}


def kind_faults(row: Row) -> list[str]:
    """Fields of another kind than the schema's; a file of examples lies beside its rows."""
    faults = []
    for field_ in fields(Row):
        value, words = getattr(row, field_.name), str(field_.type).split(" | ")
        kinds = tuple(kind for word in words for kind in KINDS[word.partition("[")[0]])
        if not isinstance(value, kinds) or isinstance(value, bool):
            faults.append(f"{field_.name} must be {field_.type}, got {value!r:.60}")
    if faults:
        return faults
    specs = {name: getattr(row, name) for name in ("attention", "reduction", "exit")}
    faults += [
        f"{name} must name a kind, got {spec!r:.60}"
        for name, spec in specs.items()
        if not isinstance(spec.get("kind"), str)
    ]
    if not EXAMPLES.fullmatch(row.examples):
        faults.append(f"examples must name a file beside the rows, got {row.examples!r:.60}")
    return faults


EXAMPLES = re.compile(r"((examples/)?\w[\w.-]*)?")


def row_of(
    run: Any, encoder: Any, recorded: Any, exit: Any = None, split: str = "validation", **more: Any
) -> Row:
    """What a recorded pass says of an encoder under an exit rule (None: its own); not yet timed.
    more: fields of `Row` that differ, such as `baseline`."""
    from eat_lightning.infer.record import score
    from eat_lightning.model.flops import flops, static_flops
    from eat_lightning.model.policies import specs_of

    exit = recorded.exit if exit is None else exit
    outcome, task = recorded.under(exit), run.task
    flops_B = flops(encoder, exit, recorded.tokens_LB, outcome.depth_B)
    found: dict[str, Any] = {
        **{slot: spec(slot, getattr(encoder, slot)) for slot in ("attention", "reduction")},
        "exit": spec("exit", exit),
        "policy": specs_of(encoder.policies),
        "tau": getattr(exit, "tau", None),
        "num_layers": encoder.shape.num_layers,
        "num_examples": len(recorded),
        "strength": float(encoder.strength),
        "depth": float(outcome.depth_B.mean()),
        "retention": float(outcome.retention_B.mean()),
        "token_layers": float(outcome.token_layers_B.mean()),
        "exit_shares": {str(k): share for k, share in outcome.exit_shares.items()},
        "exit_reasons": outcome.exit_reasons,
        "flops": float(flops_B.mean()),
        "flops_ratio": float(flops_B.mean() / static_flops(encoder, recorded.lengths).mean()),
        "majority": None if task.regression else majority(recorded.labels),
        **score(task, outcome.logits_BC, recorded.labels),
    }
    fields: dict[str, Any] = described(run) | {"split": split} | found | more
    return Row(**fields)


def described(run: Any) -> dict[str, Any]:
    """What a row says of the run and of where and by which code it is measured."""
    config, task = run.config, run.task
    pretrained = config["encoder"].get("pretrained")
    calibration = run.done.get("calibration") or {}
    environment = cached_environment()
    return {
        "task": task.name,
        "metric": task.metrics[0],
        "model": config["model"],
        "encoder": "random" if pretrained is None else body_name(Path(pretrained)),
        "study": str(config["study"]),
        "run": run.name,
        "seed": config["seed"],
        **{
            name: {layer: found[name] for layer, found in calibration.items()}
            for name in ("temperature", "ece_before", "ece_after")
        },
        "machine": environment["machine"],
        "commit": environment["commit"] or "",
        "version": environment["eat_lightning"],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def body_name(path: Path) -> str:
    """The folder's name, or its parent's where it is only called "model"."""
    return path.parent.name if path.name == "model" else path.name


@cache
def cached_environment() -> dict[str, Any]:
    from eat_lightning.runs.run import environment

    return environment()


def majority(labels: Any) -> float:
    """The share of the largest class: what a constant answer would score."""
    counts = Counter(labels.tolist())
    return max(counts.values()) / len(labels)


def read(path: Path | str) -> list[Row]:
    """The rows of a file, none where there is no file; a damaged line is named."""
    rows, faults = read_what_is_whole(path)
    if faults:
        raise ConfigError(faults[0])
    return rows


def read_what_is_whole(path: Path | str) -> tuple[list[Row], list[str]]:
    """The rows of a file, and a sentence for each line that is none."""
    path = Path(path)
    if not path.is_file():
        return [], []
    rows, faults = [], []
    try:
        lines = text_of(path, ROWS).splitlines()
    except (OSError, ValueError) as error:
        return [], [f"{path}: cannot be read ({one_line(error)})"]
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(Row(**parsed(line)))
        except (ValueError, TypeError) as error:
            reason = one_line(error).replace("Row.__init__() ", "")
            faults.append(f"{path}, line {number}: not a row ({reason})")
    return rows, faults


def write(path: Path | str, rows: Iterable[Row]) -> None:
    """Add rows to a file, in place of those with the same key, and a timed row also in place of the
    untimed one. Beside, then renamed: a reader sees the old file or the new one."""
    path, new = Path(path), {row.key: row for row in rows}
    gone = new.keys() | {row.untimed_key for row in new.values()}
    kept = [row for row in read(path) if row.key not in gone]
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    beside.write_text("".join(json.dumps(asdict(row)) + "\n" for row in [*kept, *new.values()]))
    os.replace(beside, path)
