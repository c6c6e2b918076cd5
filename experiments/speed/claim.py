"""How fast, against whom, and at what accuracy: tables, figures and sentences from the kept rows.

`page` reads the kept results. `claim` compares dtypes on runs of your own, which were measured in
fp32 and in another dtype:

    eat report study=outputs/frontier claims=[experiments/speed/claim.py]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.stats import linregress, t

from eat_lightning.report import columns as col
from eat_lightning.report import result
from eat_lightning.report.figures import MARKERS, MUTED, SERIES, Figure
from eat_lightning.report.intervals import Interval, wilson
from eat_lightning.report.panels import bare_rows, dot
from eat_lightning.report.result import Result
from eat_lightning.report.section import Section
from eat_lightning.report.study import Study, grouped_by
from eat_lightning.report.table import Table

from .dtypes import dtype_results

TASKS = {"sst2": "SST-2", "qqp": "QQP", "mnli": "MNLI"}
MODELS = {"MPNet": "MPNet, 12 layers", "MiniLM": "MiniLM, 6 layers"}
BODIES = {"deberta_v3_small": "DeBERTa-v3-small", "modernbert_base": "ModernBERT-base"}
RATIO = "a median over repeats with its interval (of fewer than six: lowest to highest)"
PER_TEXT = "milliseconds per text"
MIB = 1 << 20
PAPER = {  # exponents of time in Proposition 1; for dense attention, of long texts
    ("length", "dense"): 2,
    ("length", "window"): 1,
    ("length", "window, pruned"): 1,
    ("layers run", "window"): 1,
    ("retention", "window"): 1,
}
YARDSTICK = (  # its rows are in the study `pays`
    "Two full models of different seeds agree on 96.3 to 97.0 % of SST-2, 94.7 % of QQP and "
    "91.9 % of MNLI."
)


def page(results: Path) -> Section:
    races = races_of(result.read(results / "times.jsonl"))
    growth = result.read(results / "growth.jsonl")
    agreement = grouped_by(result.read(results / "agreement.jsonl"), lambda r: r["kind"])
    whole = Section("speed", "Speed, baselines and accuracy")
    whole.tables = [
        col.table("trained", "Trained runs", PER_TEXT, TRAINED, races["trained"], None),
        col.table("ratios", "Exits against static engines", RATIO, RATIOS, races["trained"], None),
        col.table("engines", "Without exits", RATIO, ENGINES, races["engines"], None),
        col.table("families", "Other families", RATIO, FAMILIES, races["random"], None),
        col.table("asides", "Other experiments", RATIO, ASIDES, asides_of(races), None),
        *growth_tables(growth),
        dtype_table(agreement["dtype"]),
        col.table("fitted", "Exits fitted in a dtype", "", FITTED, agreement["fitted"], None),
        col.table("exports", "Exports against their runs", "", EXPORTS, agreement["export"], None),
    ]
    whole.figures = [speed_figure(races["trained"]), growth_figure(growth)]
    whole.facts = [*race_facts(races), YARDSTICK]
    return whole


def claim(study: Study) -> Section:
    whole = Section("dtypes", "bf16 and int8 against fp32")
    whole.add(tables=[dtype_table(dtype_results(study))])
    return whole.or_lacking(
        "no setting has examples both in fp32 and in another dtype: eat measure "
        "run=outputs/<study> dtype=int8 timing.enabled=false"
    )


@dataclass(frozen=True)
class Race:
    """Candidates on one workload, whose turns were taken together."""

    rows: tuple[Result, ...]

    def __getitem__(self, name: str) -> Any:
        """What all of its rows have in common, such as `dtype` and `batch`."""
        return self.rows[0][name]

    def row(self, candidate: str) -> Result | None:
        """A candidate's, by its name with or without its dtype."""
        names = (candidate, f"{candidate} {self['dtype']}")
        return next((r for r in self.rows if r["candidate"] in names), None)

    @property
    def workload(self) -> str:
        order = "" if self["order"] == "as they come" else f", {self['order']}"
        return f"{TASKS.get(self['task'], self['task'])}, batch {self['batch']}{order}"

    @property
    def model(self) -> str:
        return str((MODELS | BODIES).get(self["model"], self["model"]))

    def fastest(self, dtype: str, exits: bool) -> Result:
        same = [r for r in self.rows if r["dtype"] == dtype]
        return min(
            (r for r in same if ("EAT" in r["candidate"]) == exits), key=lambda r: r["ms"].value
        )


def races_of(times: Sequence[Result]) -> dict[str, list[Race]]:
    """By kind; a trained run's dtypes raced together, those of random weights apart."""

    def identity(r: Result) -> tuple[Any, ...]:
        dtype = "" if r["race"] == "trained" else r["dtype"]
        return r["race"], r["model"], dtype, r["task"], r["order"], r["batch"]

    order = [*MODELS, *BODIES]
    found: dict[str, list[Race]] = {}
    for rows in grouped_by(times, identity).values():
        kind = "engines" if rows[0]["model"] == "bert_base" else rows[0]["race"]
        found.setdefault(kind, []).append(Race(tuple(rows)))
    for kind in ("trained", "random"):
        found[kind].sort(key=lambda race: (order.index(race["model"]), race["task"] not in TASKS))
    return found


def ms(candidate: str) -> Any:
    return lambda race: row["ms"].value if (row := race.row(candidate)) else None


def ms_of(dtype: str, exits: bool) -> Any:
    return lambda race: race.fastest(dtype, exits)["ms"].value


def over(dtype: str, name: str) -> Any:
    return lambda race: race.fastest(dtype, True)[name]


def behind(candidate: str) -> Any:
    """Times the best engine's time."""
    return lambda race: race.row(candidate)["over_best_engine"].inverse


WORKLOAD = col.word("workload", "workload", lambda race: race.workload)
DTYPE = col.word("dtype", "dtype", lambda race: race["dtype"])
MODEL = col.word("model", "model", lambda race: race.model)
TRAINED = [
    MODEL,
    WORKLOAD,
    col.number("padding", "padding", lambda race: race["padding_factor"], 2, "padded / real"),
    col.number("hf", "Hugging Face", ms("HF fp32"), 1, PER_TEXT),
    col.number("static_fp32", "best static, fp32", ms_of("fp32", False), 1, PER_TEXT),
    col.number("exits_fp32", "exits, fp32", ms_of("fp32", True), 1, PER_TEXT),
    col.number("static_int8", "best static, int8", ms_of("int8", False), 1, PER_TEXT),
    col.number("exits_int8", "exits, int8", ms_of("int8", True), 1, PER_TEXT),
]
RATIOS = [
    MODEL,
    WORKLOAD,
    col.interval("hf_fp32", "exits fp32 / Hugging Face", over("fp32", "over_hf"), RATIO),
    col.interval("hf_int8", "exits int8 / Hugging Face", over("int8", "over_hf"), RATIO),
    col.interval("fp32", "exits / best static, fp32", over("fp32", "over_best_static"), RATIO),
    col.interval("int8", "exits / best static, int8", over("int8", "over_best_static"), RATIO),
    col.interval("own", "our int8 / best engine (time)", behind("static int8"), RATIO),
]
ENGINES = [
    WORKLOAD,
    DTYPE,
    col.number("ours", "ours, ms", ms("static prepacked"), 1, PER_TEXT),
    col.number("ort", "onnxruntime", ms("ORT static"), 1, PER_TEXT),
    col.number("ov", "OpenVINO", ms("OV static"), 1, PER_TEXT),
    col.number("converted", "OpenVINO, padded", ms("OpenVINO"), 1, "as commonly converted"),
    col.interval("ratio", "ours / best (time)", behind("static prepacked"), RATIO),
    col.number("limit", "ours / limit (time)", lambda race: distance(race.row("static prepacked"))),
]
FAMILIES = [
    MODEL,
    DTYPE,
    WORKLOAD,
    col.number("hf", "Hugging Face, ms", ms("HF"), 1, PER_TEXT),
    *(
        col.interval(name, title, lambda race, name=name: race.row(name)["over_hf"], RATIO)
        for name, title in (
            ("static", "static, plain"),
            ("static prepacked", "static, prepacked"),
            ("EAT prepacked", "EAT, prepacked"),
        )
    ),
    col.number("conversion", "conversion", lambda race: conversion(race)),
]
ASIDES = [
    col.word("what", "what"),
    col.word("workload", "workload"),
    col.word("dtype", "dtype"),
    col.interval("ratio", "times as fast", help=RATIO),
]


def distance(r: Result) -> float:
    """Time / what the machine's matrix products and memory allow."""
    return r["ms"].value / r["limit_ms"]


def conversion(race: Race) -> float:
    """EAT's measured speed-up over own static times its share of the FLOPs."""
    r = race.row("EAT prepacked")
    assert r is not None
    return r["speed_up"].value * r["flops_ratio"]


def asides_of(races: dict[str, list[Race]]) -> Iterator[dict[str, Any]]:
    """Compiling and prepacking beside plain weights, and heads at which nobody leaves beside none;
    measured by code of earlier versions."""
    for race in [*races["compiled"], *races["heads"]]:
        for r in race.rows:
            noise = " (noise)" if r["candidate"] == "static again" else ""
            what = f"{race['model']}{noise}" if race["race"] == "heads" else r["candidate"]
            ratio = r["over_plain"] or r["over_static"]
            line = {"what": what.removesuffix(" fp32"), "workload": race.workload, "ratio": ratio}
            yield line | {"dtype": r["dtype"]}


def race_facts(races: dict[str, list[Race]]) -> Iterator[str]:
    times = [behind("static prepacked")(race).value for race in races["engines"]]
    slower = [100 * (ratio - 1) for ratio in times if ratio > 1]
    yield f"engines are faster by {spread(slower, 0)} %"
    for body in BODIES:
        fast = [race.row("EAT prepacked") for race in races["random"] if race["model"] == body]
        yield f"{body}: {spread([r['over_hf'].value for r in fast if r], 1)} times as fast"
    for batch in (1, 32):
        texts = [r for r in races["random"] if r["batch"] == batch and r["task"] in TASKS]
        yield f"conversion at batch {batch}: {spread([conversion(race) for race in texts])}"


def spread(values: Sequence[float], digits: int = 2) -> str:
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


Lengths = dict[int, dict[str, Result]]  # by length, then by candidate


def lengths_of(growth: Sequence[Result], layers: int) -> Lengths:
    same = [r for r in growth if r["axis"] == "length" and r["layers"] == layers]
    by_length = grouped_by(same, lambda r: int(r["size"]))
    return {n: {r["candidate"]: r for r in by_length[n]} for n in sorted(by_length)}


def dense_over(name: str) -> Any:
    """Median, lowest and highest of the repeats' ratios."""

    def ratio(item: tuple[int, dict[str, Result]]) -> Interval | None:
        if "dense" not in item[1]:
            return None
        ratios_R = np.array(item[1]["dense"]["ms"]) / np.array(item[1][name]["ms"])
        return Interval(*map(float, (np.median(ratios_R), ratios_R.min(), ratios_R.max())))

    return ratio


def exponent(points: Sequence[Result]) -> Interval:
    """The slope of log time against log size, with its 95 % interval (Student's t)."""
    x, y = (np.log(v) for v in ([r["size"] for r in points], [median(r["ms"]) for r in points]))
    line: Any = linregress(x, y)
    reach = t.ppf(0.975, len(x) - 2) * line.stderr
    return Interval(*map(float, (line.slope, line.slope - reach, line.slope + reach)))


def time_at(name: str) -> Any:
    return lambda item: median(item[1][name]["ms"]) if name in item[1] else None


LENGTH = col.word("length", "tokens", lambda item: f"{item[0]:,}")
KINDS = ("dense", "window", "window, pruned")
GROWTH = [
    LENGTH,
    *(col.number(name, f"{name}, ms", time_at(name), 1) for name in KINDS),
    col.interval("ratio", "dense / window", dense_over("window"), RATIO),
    col.interval("both", "dense / pruned", dense_over("window, pruned"), RATIO),
    col.number("mib", "MiB, window", lambda item: item[1]["window"]["peak_bytes"] / MIB, 1),
]
EXPONENTS = [
    col.word("axis", "with", lambda points: points[0]["axis"]),
    col.word("candidate", "candidate", lambda points: points[0]["candidate"]),
    col.interval("ms", "exponent of time", exponent, "95 % interval of a slope"),
    col.count("paper", "Proposition 1", lambda p: PAPER.get((p[0]["axis"], p[0]["candidate"]))),
]


def growth_tables(growth: Sequence[Result]) -> list[Table]:
    own = [r for r in growth if r["layers"] == 6]
    curves = grouped_by(own, lambda r: (r["axis"], r["candidate"])).values()
    others = lengths_of(growth, 3)
    columns = [LENGTH, *(col.number(name, name, time_at(name), 1) for name in others[512])]
    return [
        col.table("growth", "Growth with length", "", GROWTH, lengths_of(own, 6).items(), None),
        col.table("exponents", "Exponents", "", EXPONENTS, curves, None),
        col.table("attentions", "Other attentions, ms", "", columns, others.items(), None),
    ]


TASK = col.word("task", "task", lambda r: TASKS.get(r["task"], r["task"]))
DTYPES = [
    TASK,
    col.word("model", "model"),
    col.word("dtype", "dtype"),
    col.word("setting", "setting", help="the one with the most changed answers"),
    col.number("accuracy", "accuracy"),
    col.interval("points", "points over fp32", sign="+", help=col.PAIRED),
    col.percent("changed", "answers changed, %", lambda r: changed(r), digits=2),
]
FITTED = [
    TASK,
    col.word("dtype", "dtype"),
    col.word("rule", "exits"),
    col.number("accuracy", "accuracy"),
    col.number("depth", "depth"),
    col.interval("points", "points over fp32 at full depth", sign="+", help=col.PAIRED),
]
EXPORTS = [
    TASK,
    col.word("dtype", "graphs"),
    col.count("batch", "batch"),
    col.word("against", "against"),
    *(
        col.word(name, title, lambda r, name=name: f"{r[name]:,}" if r[name] else "")
        for name, title in (("n", "examples"), ("answers", "same answers"), ("depths", "depths"))
    ),
]


def changed(r: Result) -> Interval:
    return wilson(r["n"] - r["same"], r["n"])


def dtype_table(found: Sequence[Result]) -> Table:
    """For each model and dtype the setting with the most changed answers."""
    same = grouped_by(found, lambda r: (r["task"], r["model"], r["dtype"]))
    worst = [min(each, key=lambda r: r["same"]) for each in same.values()]
    return col.table("dtypes", "Against fp32", "", DTYPES, worst, None)


def speed_figure(races: Sequence[Race]) -> Figure:
    """How much faster than Hugging Face's fp32 model the best static engine is, and the best with
    exits."""
    looks = {"static": (7, 2), "exits": (1, 0)}  # colours by kind, in fp32 and in int8

    def draw(drawing: Any) -> None:
        ax = drawing.add_subplot()
        for k, (dtype, kind) in enumerate(product(("fp32", "int8"), looks)):
            color = SERIES[looks[kind][dtype == "int8"]]
            look: dict[str, Any] = {"color": color, "marker": MARKERS[k]}
            for row, race in enumerate(races):
                best = race.fastest(dtype, kind == "exits")
                dot(ax, best["over_hf"], row + 0.16 * (k - 1.5), **look)
            label = "with exits" if kind == "exits" else "static"
            ax.plot([], [], linestyle="", label=f"{label}, {dtype}", **look)
        bare_rows(ax, [f"{race.model}: {race.workload}" for race in races])
        ax.axvline(1, color=MUTED, linewidth=0.8)
        ax.set_xlabel("times as fast as Hugging Face's model in fp32, padded")
        ax.set_xlim(0)
        drawing.legend(loc="outside upper right", ncols=4, handlelength=1.0)

    return Figure("speed", "Trained runs against Hugging Face", "", draw, (7.5, 4.2))


def growth_figure(growth: Sequence[Result]) -> Figure:
    lengths = lengths_of(growth, 6)

    def draw(drawing: Any) -> None:
        ax = drawing.add_subplot()
        for k, name in enumerate(KINDS):
            own = {length: median(at[name]["ms"]) for length, at in lengths.items() if name in at}
            how: dict[str, Any] = {"color": SERIES[k], "label": name, "markersize": 4}
            ax.plot([*own], [*own.values()], f"{MARKERS[k]}-", **how)
        ax.set(xscale="log", yscale="log", xlabel="tokens per text", ylabel="ms per pass")
        ax.set_xticks([*lengths], [f"{length:,}" for length in lengths])
        ax.minorticks_off()
        ax.yaxis.set_major_formatter("{x:,g}")
        ax.legend(loc="upper left", handlelength=1.2)

    return Figure("growth", "Time against length", "", draw, (5.6, 3.2))
