"""Load, routes and scoring: tables, the figure and sentences from the kept results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eat_lightning.report import columns as col
from eat_lightning.report import result
from eat_lightning.report.figures import INK, SERIES, Figure
from eat_lightning.report.panels import handles
from eat_lightning.report.result import Result
from eat_lightning.report.section import Section
from eat_lightning.report.study import grouped_by

ENGINES = {"torch": "PyTorch", "onnx": "onnxruntime"}
FULL = "requests a second; the static gateway's whole capacity"
OF_SENT = "percent of the requests sent"
OFFERED = {"own": "never", "static": "own"}


def page(results: Path) -> Section:
    loads = result.read(results / "load.jsonl")
    routes = result.read(results / "routes.jsonl")
    scores = result.read(results / "score.jsonl")
    pairs = pairs_of(loads)
    whole = Section("serving", "Load, routes and scoring")
    whole.tables = [
        col.table("capacity", "Capacity of one core", "", CAPACITY, pairs, None),
        col.table("routes", "Other servers' routes", "", ROUTES, routes, None),
        col.table("score", "Scoring a corpus", "", SCORE, lines_of(scores), None),
    ]
    whole.figures = [figure_of(loads)]
    whole.facts = [*load_facts(pairs), *score_facts(scores), *where_facts(loads, routes)]
    return whole


@dataclass(frozen=True)
class Pair:
    """The adaptive and the static gateway of a mode and an engine, both under all that the static
    one can take."""

    adaptive: Result
    static: Result

    @property
    def ratio(self) -> float:
        return self.adaptive["capacity"] / self.static["capacity"]

    @property
    def name(self) -> str:
        return f"{self.static['mode']}, {ENGINES[self.static['backend']]}"


def pairs_of(loads: Sequence[Result]) -> list[Pair]:
    """A pair for each mode and engine, from the loads at the static gateway's whole capacity."""
    full = [r for r in loads if r["level"] == 1 and OFFERED[r["basis"]] == r["exits"]]
    found = grouped_by(full, lambda r: (r["mode"], r["backend"]))
    pairs = [{r["exits"]: r for r in same} for _, same in sorted(found.items())]
    return [Pair(pair["own"], pair["never"]) for pair in pairs if len(pair) == 2]


def both(name: str, title: str, value: str, digits: int, help: str = "", factor: int = 1) -> Any:
    """A value of the static gateway and of the adaptive one."""
    return [
        col.number(
            f"{name}_{which}",
            f"{title}, {which}",
            lambda pair, which=which: factor * getattr(pair, which)[value],
            digits,
            help,
        )
        for which in ("static", "adaptive")
    ]


CAPACITY = [
    col.word("name", "mode, engine"),
    *both("capacity", "answers/s", "capacity", 0, "to clients that wait for answers"),
    col.number("ratio", "ratio"),
    col.number("offered", "offered/s", "static.offered", 0, FULL),
    *both("p50", "p50 ms", "p50_ms", 0, "from the time when a request was due"),
    *both("p99", "p99 ms", "p99_ms", 0, "from the time when a request was due"),
    *both("refused", "503 %", "share_503", 1, OF_SENT, 100),
]
ROUTES = [
    col.word("load", "load", lambda r: f"{r['rate']} a second" if r["rate"] else "one by one"),
    col.word("route", "route"),
    col.word("num_sent", "requests", lambda r: f"{r['num_sent']:,}"),
    col.number("p50", "p50 ms", "p50_ms", 1),
    col.number("p99", "p99 ms", "p99_ms", 1),
    col.interval("p50_ratio", "p50 / native", digits=3, help="95 % interval over rounds"),
    col.interval("p99_ratio", "p99 / native", digits=3, help="95 % interval over rounds"),
]
SCORE = [
    col.word("how", "how"),
    col.number("rows_per_s", "rows/s", digits=1),
    col.number("sorted", "relative to the sorted loop"),
    col.number("one", "relative to one worker"),
    col.number("memory_mb", "memory, MB", digits=0, help="proportional set size of all processes"),
]


def lines_of(scores: Sequence[Result]) -> list[dict[str, Any]]:
    """Rates of one corpus, beside the sorted loop's and one worker's."""
    by_name = {r["how"]: r for r in scores if r["rows"]}
    loop, one = by_name["loop, sorted by length"], by_name["eat score, 1 worker"]
    lines = []
    for r in by_name.values():
        line = r.what | r.values | {"sorted": r["rows_per_s"] / loop["rows_per_s"]}
        if r["memory_mb"]:
            line["one"] = r["rows_per_s"] / one["rows_per_s"]
        lines.append(line)
    return lines


def load_facts(pairs: Sequence[Pair]) -> Iterator[str]:
    ratios = [pair.ratio for pair in pairs]
    yield f"{min(ratios):.2f} to {max(ratios):.2f} times as many requests"
    tails = [pair.adaptive["p99_ms"] / pair.static["p99_ms"] for pair in pairs]
    yield f"p99 {min(tails):.2f} to {max(tails):.2f} of the static one's"
    for pair in pairs:
        now, then = pair.adaptive, pair.static
        yield (
            f"{pair.name}: {now['capacity']:.0f} answers a second instead of "
            f"{then['capacity']:.0f}; p99 {now['p99_ms']:.0f} instead of {then['p99_ms']:.0f} ms"
        )


def score_facts(scores: Sequence[Result]) -> Iterator[str]:
    lines = {line["how"]: line for line in lines_of(scores)}
    one, two = lines["eat score, 1 worker"], lines["eat score, 2 workers"]
    more = 100 * (two["memory_mb"] / one["memory_mb"] - 1)
    yield f"two workers are {two['one']:.2f} times as fast as one, with {more:.0f} % more memory"
    (long,) = (r for r in scores if r["memory_low_mb"])
    yield f"ten million lines at {long['rows_per_s']:,} lines a second: one worker stayed at "
    yield f"{long['memory_low_mb']} to {long['memory_high_mb']} MB"


def where_facts(loads: Sequence[Result], routes: Sequence[Result]) -> Iterator[str]:
    late = sum(r["late_p99_ms"] > 1 for r in loads)
    yield f"{loads[0]['machine']}, {loads[0]['seconds']} s a level; {late} of {len(loads)} late"
    yield f"{routes[0]['machine']}, {routes[0]['rounds']} rounds of {routes[0]['seconds']} s; 95 %"


def figure_of(loads: Sequence[Result]) -> Figure:
    """Median and 99th percentile against the requests offered, a panel for each mode."""
    own = [r for r in loads if r["basis"] == "own"]
    lines = grouped_by(own, lambda r: (r["mode"], r["exits"], r["backend"]))
    colors = {("never", "torch"): 0, ("own", "torch"): 1, ("never", "onnx"): 2, ("own", "onnx"): 3}
    looks: dict[str, dict[str, Any]] = {
        f"{'adaptive' if exits == 'own' else 'static'}, {ENGINES[backend]}": {
            "color": SERIES[k],
            "marker": "o",
            "linestyle": "",
        }
        for (exits, backend), k in colors.items()
    }
    looks |= {"median": {"color": INK}, "99th percentile": {"color": INK, "linestyle": "--"}}

    def draw(drawing: Any) -> None:
        axes = dict(zip(("inline", "triage"), drawing.subplots(1, 2, sharey=True), strict=True))
        for mode, ax in axes.items():
            ax.set(yscale="log", title=mode, xlabel="requests offered a second")
            ax.yaxis.set_major_formatter("{x:,g}")
        for (mode, *who), line in lines.items():
            line.sort(key=lambda r: r["offered"])
            for name, style in (("p50_ms", "o-"), ("p99_ms", "o--")):
                x, y = [r["offered"] for r in line], [r[name] for r in line]
                axes[mode].plot(x, y, style, color=SERIES[colors[tuple(who)]], markersize=4)
        axes["inline"].set_ylabel("latency (ms) from the due time")
        drawing.legend(*handles(looks), loc="outside upper left", ncols=3, handlelength=1.8)

    title = "Latency against load, at 50 to 120 % of each gateway's capacity"
    return Figure("load", title, "", draw, (7.5, 4.0))
