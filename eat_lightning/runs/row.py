"""One measured setting is one row: the schema of what `measure` and `train` write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeInt
from pydantic.dataclasses import dataclass

from eat_lightning.answer_kind import Metric
from eat_lightning.files import as_dict
from eat_lightning.model.contracts import point_of
from eat_lightning.model.specification import (
    Specification,
    class_of,
    in_slot,
    specs_by_slot,
    value_text,
)
from eat_lightning.runs import jsonl
from eat_lightning.runs.by_class import by_class
from eat_lightning.runs.run import folder_name, is_clean, provenance
from eat_lightning.user_modules import sources_of
from eat_lightning.validation import (
    STRICT,
    Count,
    NotNegative,
    Positive,
    Share,
    each,
    raise_faults,
)
from eat_lightning.weights.precision import PLAIN

Correlation = Annotated[float, Field(ge=-1, le=1)]


def beside_rows(name: str) -> str:
    if re.fullmatch(r"((examples/)?\w[\w.-]*)?", name):
        return name
    raise ValueError(f"must name a file beside the rows, got {name!r:.60}")


STATIC_BASELINE, THEIRS, FIXED = "own static", "hugging face", "fixed depth"  # baselines
SETTING = (  # what was measured, and how
    *("task", "model", "encoder", "attention", "reduction", "exit", "policy", "strength"),
    *("study", "run", "seed", "split", "data", "num_examples"),
    *("baseline", "budget", "budget_ms", "agree", "kernels", "dtype", "device", "windows"),
)
TIMING = ("threads", "latency_batch", "throughput_batch", "form")


@dataclass(frozen=True, config=STRICT)
class Row:
    """One setting of a run with its accuracy, depth, token retention, cost and latency.

    Methods are stored as {"kind": ..., **arguments}; policies in the order in which they act (flops
    then exclude the second run of a veto). knob, point: the exit rule's operating point, such as
    "tau" and 0.9. budget: the share of full FLOPs for which rule and reduction were fitted;
    budget_ms: the same in milliseconds per example; agree: the same as a minimum agreement with
    full depth. data: hash of the measured examples. windows: windows for long texts, as
    `LongTexts.described` gives them; empty where long texts were cut. With windows, depth (of the
    deepest window), FLOPs and times are of whole texts, and `examples` is empty.

    Scores are None where they do not apply to the task. `metric` names the main one and `majority`
    is the share of the largest class. recall: by class name; empty in older rows. depth, retention,
    token_layers and flops are means over the examples. flops_ratio compares with the same backbone
    dense / none / never, and so do speed_up (means of latencies timed together) and conversion
    (speed_up x flops_ratio). adaptivity_gain: the main metric minus that of the same weights at
    fixed depth and equal FLOPs, as a fraction, with its paired 95 % interval; mix_gain: minus that
    of the best mix of two depths (see `measure.gain`). ece_before and ece_after: each exit's ECE
    before and after its temperature, on the examples that the temperature was fitted on.

    Latencies are in milliseconds at batch latency_batch; low and high are over repeats. throughput
    is in examples per second at throughput_batch, in order of arrival and sorted by length;
    batch_speed_up and batch_conversion refer to order of arrival. low and high of a speed-up are
    its 95 % interval over resampled examples (in rows from before 0.3.0 the extremes of repeats).
    timed_cost: mean FLOPs of the timed examples over that of all; the settings of the call
    determine which these are. All of these are None where nothing was timed. Settings of one
    `session` were timed in turns; only their times may be compared.

    exit_shares: share of the examples that leave after each layer. exit_reasons: why they were
    answered there. examples: the file beside the rows with the logits of every exit for each
    example.

    baseline: "", "own static" (the same weights dense / none / never), "fixed depth" (the same
    weights with all examples leaving at one layer) or "hugging face". kernels: "ours", "hf_eager"
    (transformers in PyTorch's eager mode, padded), or "onnx" and "openvino" for graphs. form:
    layout of the weights, see `weights.precision`; logits differ in their last bits between
    layouts, and times considerably. Hugging Face's model always has plain weights.

    head: kind of the exit heads (their layers are the keys of `temperature`); None in older rows.
    lr, steps, num_train_examples, objective, schedule, teacher: settings of the training.
    train_seconds: its duration, on train_threads of the first process, including the teacher's
    logits and kept vectors; None where a part had been computed before (tokens may have been).
    commit: of a checkout of this repository, empty where the package was installed from a wheel.
    clean: measured at a commit without local changes. sources: a short hash of each module from
    outside the package that attention, reduction or exit come from.
    """

    task: str
    model: str
    encoder: str
    attention: Annotated[Specification, in_slot("attention")]
    reduction: Annotated[Specification, in_slot("reduction")]
    exit: Annotated[Specification, in_slot("exit")]
    study: str
    run: str
    seed: int
    split: str
    num_examples: Count
    metric: Metric
    num_layers: Count
    depth: NotNegative
    retention: Annotated[float, Field(gt=0, le=1)]
    token_layers: Share
    exit_shares: dict[str, Share]
    flops: Positive
    flops_ratio: Positive
    strength: Share
    accuracy: Share | None = None
    f1: Share | None = None
    f1_micro: Share | None = None
    f1_macro: Share | None = None
    exact_match: Share | None = None
    matthews: Correlation | None = None
    pearson: Correlation | None = None
    spearman: Correlation | None = None
    majority: Share | None = None
    recall: dict[str, Share] = field(default_factory=dict)
    knob: str | None = None
    point: Annotated[float | list[float], each(float)] | None = None
    budget: Annotated[float, Field(gt=0, le=1)] | None = None
    budget_ms: Positive | None = None
    agree: Annotated[float, Field(gt=0, le=1)] | None = None
    adaptivity_gain: Annotated[float, Field(ge=-2, le=2)] | None = None
    adaptivity_gain_low: Annotated[float, Field(ge=-2, le=2)] | None = None
    adaptivity_gain_high: Annotated[float, Field(ge=-2, le=2)] | None = None
    mix_gain: Annotated[float, Field(ge=-2, le=2)] | None = None
    mix_gain_low: Annotated[float, Field(ge=-2, le=2)] | None = None
    mix_gain_high: Annotated[float, Field(ge=-2, le=2)] | None = None
    latency_ms: NotNegative | None = None
    latency_p50_ms: NotNegative | None = None
    latency_p90_ms: NotNegative | None = None
    latency_p99_ms: NotNegative | None = None
    latency_low_ms: NotNegative | None = None
    latency_high_ms: NotNegative | None = None
    throughput: NotNegative | None = None
    throughput_low: NotNegative | None = None
    throughput_high: NotNegative | None = None
    throughput_sorted: NotNegative | None = None
    throughput_sorted_low: NotNegative | None = None
    throughput_sorted_high: NotNegative | None = None
    padding_factor: Annotated[float, Field(ge=1)] | None = None
    padding_factor_sorted: Annotated[float, Field(ge=1)] | None = None
    speed_up: Positive | None = None
    speed_up_low: Positive | None = None
    speed_up_high: Positive | None = None
    conversion: Positive | None = None
    batch_speed_up: Positive | None = None
    batch_speed_up_low: Positive | None = None
    batch_speed_up_high: Positive | None = None
    batch_conversion: Positive | None = None
    latency_batch: Count | None = None
    throughput_batch: Count | None = None
    timed_examples: Count | None = None
    timed_cost: Positive | None = None
    repeats: Count | None = None
    threads: Count | None = None
    dtype: str = "fp32"
    device: str = "cpu"
    machine: str = ""
    kernels: str = "ours"
    form: Literal["plain", "prepacked"] = PLAIN
    baseline: str = ""
    temperature: dict[str, Positive] = field(default_factory=dict)
    ece_before: dict[str, Share] = field(default_factory=dict)
    ece_after: dict[str, Share] = field(default_factory=dict)
    policy: list[Annotated[Specification, in_slot("policy")]] = field(default_factory=list)
    windows: str = ""
    exit_reasons: dict[str, Share] = field(default_factory=dict)
    lr: Positive | None = None
    steps: NonNegativeInt | None = None
    num_train_examples: Count | None = None
    train_seconds: Positive | None = None
    train_threads: Count | None = None
    head: Annotated[Specification, in_slot("head")] | None = None
    objective: Annotated[Specification, in_slot("objective")] | None = None
    schedule: Annotated[Specification, in_slot("schedule")] | None = None
    teacher: str | None = None
    sources: dict[str, str] = field(default_factory=dict)
    data: str = ""
    examples: Annotated[str, AfterValidator(beside_rows)] = ""
    session: str = ""
    commit: str = ""
    clean: bool = False
    version: str = ""
    created: str = ""

    def __post_init__(self) -> None:
        last, faults = self.num_layers, []
        if self.depth > last:
            faults.append(f"depth must be at most {last}, got {self.depth}")
        outside = [k for k in self.exit_shares if not (k.isdigit() and int(k) <= last)]
        faults += [f"exit_shares must name layers in 0..{last}, got {k}" for k in outside]
        if abs(sum(self.exit_shares.values()) - 1) > 1e-6:
            faults.append(f"exit_shares must add up to 1, got {sum(self.exit_shares.values())}")
        if (self.knob is None) != (self.point is None):
            faults.append(f"point must come with its knob, got {self.knob!r} at {self.point!r}")
        raise_faults(faults)

    @property
    def file(self) -> str:
        """Name of the record's file without its folder. Rules that need more than the record have
        their own file.
        """
        if self.windows:
            return "rows-windows.jsonl"
        return "rows-policy.jsonl" if self.policy else "rows.jsonl"

    @property
    def title(self) -> str:
        """Title of the setting among others of its run: "tau 0.9", "fixed depth 4", or
        "my_rule.Mine, tau 0.9" for a rule from outside the package.
        """
        if self.baseline == FIXED:
            return f"{FIXED} {self.exit.arguments['layer']}"
        name, kind = label(self.exit), self.exit.kind
        if "." in kind and name != kind:
            name = f"{kind}, {name}"
        return self.baseline or " + ".join([name, *(p.kind for p in self.policy)])

    @property
    def engine(self) -> str:
        """Engine that ran the model: "torch", "onnx" or "openvino"."""
        return self.kernels if self.kernels in ("onnx", "openvino") else "torch"

    @property
    def fitted(self) -> bool:
        """True if the row's thresholds were fitted for a budget."""
        return any(x is not None for x in (self.budget, self.budget_ms, self.agree))

    @property
    def score(self) -> float:
        """The main metric."""
        return getattr(self, self.metric)

    @property
    def setting(self) -> str:
        """Key of the measured setting, regardless of how it was timed."""
        values = [getattr(self, name) for name in SETTING]
        return json.dumps(values, sort_keys=True, default=as_dict)

    @property
    def weights(self) -> str:
        """The dtype, followed by the layout where it is not plain: "fp32 prepacked"."""
        return self.dtype if self.form == PLAIN else f"{self.dtype} {self.form}"

    @property
    def key(self) -> tuple[str, ...]:
        """Setting, timing, commit and machine: a row replaces another with the same key."""
        if self.latency_ms is None:  # then the form says nothing worth a row more
            return self.untimed_key
        return self.setting, json.dumps([getattr(self, k) for k in TIMING]), *self.untimed_key[2:]

    @property
    def untimed_key(self) -> tuple[str, ...]:
        return self.setting, "", self.commit, self.machine


def label(method: Specification) -> str:
    """A short name of a method: its threshold, else its arguments, else its kind."""
    cls, given = class_here(method.slot, method.kind), method.arguments
    knob = None if cls is None else cls.knob
    if knob is not None and knob.name in given:
        return f"{knob.name} {value_text(given[knob.name])}"
    named = [f"{name} {value_text(value)}" for name, value in given.items() if name != "layers"]
    at = f" at {value_text(given['layers'])}" if "layers" in given else ""
    return (" ".join(named) or method.kind) + at


def class_here(slot: str, kind: str) -> Any:
    """The class of a method's kind; None if it is from outside the package and not imported."""
    try:
        return class_of(slot, kind)
    except ValueError:
        return None


def read(path: Path | str) -> list[Row]:
    """Return the rows of a file, empty without one. An error names a damaged line."""
    return jsonl.read(path, Row)


def write(path: Path | str, rows: Iterable[Row]) -> None:
    """Add rows to a file, replacing those with the same key. A timed row also replaces the untimed
    one.
    """
    new = {row.key: row for row in rows}.values()
    jsonl.update(path, Row, new, replaces=lambda row: (row.key, row.untimed_key))


def row_of(
    run: Any, encoder: Any, record: Any, exit: Any = None, split: str = "validation", **more: Any
) -> Row:
    """Return the untimed row of an encoder's record under an exit rule.

    Args:
        exit: the rule; None: the record's.
        more: fields of `Row` to override, such as `baseline`.
    """
    exit = record.exit if exit is None else exit
    made = methods_of(encoder, exit)
    found = outcome_of(run.task, encoder, record, exit)
    fields: dict[str, Any] = described(run) | {"split": split} | made | found | more
    return Row(**fields)


def methods_of(encoder: Any, exit: Any) -> dict[str, Any]:
    """Return the fields of a row that describe an encoder's methods, under an exit rule."""
    from eat_lightning.model.policies import specs_of

    knob = exit.knob
    return {
        **specs_by_slot(encoder),
        "exit": Specification.of("exit", exit),
        "head": {name: value for name, value in encoder.head.items() if name != "layers"},
        "policy": specs_of(encoder.policies),
        "sources": sources_of([type(m) for m in (encoder.attention, encoder.reduction, exit)]),
        "knob": None if knob is None else knob.name,
        "point": point_of(exit),
        "num_layers": encoder.shape.num_layers,
        "strength": float(encoder.strength),
    }


def outcome_of(task: Any, encoder: Any, record: Any, exit: Any) -> dict[str, Any]:
    """Return the fields of a row that an exit rule gives on the examples: score, depth, tokens and
    FLOPs."""
    from eat_lightning.record.flops import replay_with_flops, static_flops_of
    from eat_lightning.record.passes import score

    trace, labels = replay_with_flops(encoder, record, exit), record.targets
    return {
        "data": record.data,
        "num_examples": len(record),
        "depth": float(trace.depth_B.mean()),
        "retention": float(trace.retention_B.mean()),
        "token_layers": float(record.token_layers_B(trace).mean()),
        "exit_shares": {str(k): share for k, share in trace.exit_shares.items()},
        "exit_reasons": trace.exit_reasons,
        "flops": float(trace.flops_B.mean()),
        "flops_ratio": float(trace.flops_B.mean() / static_flops_of(encoder, record).mean()),
        **by_class(record.kind, task.labels, trace.logits_BC, labels),
        **score(task, trace.logits_BC, labels),
    }


def described(run: Any) -> dict[str, Any]:
    """Return the fields of a row that describe its run, the machine and the measuring code."""
    config, task = run.config, run.task
    pretrained = config["encoder"].get("pretrained")
    calibration = run.done.get("calibration") or {}
    where = provenance()
    return {
        "task": task.name,
        "metric": task.metrics[0],
        "model": config["model"],
        "encoder": "random" if pretrained is None else folder_name(pretrained),
        "study": str(config["study"]),
        "run": run.name,
        "seed": config["seed"],
        **run.training,
        **{
            name: {layer: found[name] for layer, found in calibration.items()}
            for name in ("temperature", "ece_before", "ece_after")
        },
        **where,
        "clean": is_clean(where["commit"]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
