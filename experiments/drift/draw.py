"""Does the drift monitor find real shifts, how late, how often for nothing, and what is it worth?

    python -m experiments.drift.draw record sst2=<run> mnli=<run> data=<folder> to=outputs/drift
    python -m experiments.drift.draw replay from=outputs/drift
    python -m experiments.drift.draw

The first runs the models over every stream once; the second replays monitors on those records and
writes the trials; the third draws tables and figure from the trials that are kept.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pandas import DataFrame, Series
from scipy import stats

from eat_lightning.errors import ConfigError, reported
from eat_lightning.files import write_text
from eat_lightning.report import columns as col
from eat_lightning.report import figures
from eat_lightning.report.cells import interval, words
from eat_lightning.report.figures import INK, MARKERS, SERIES
from eat_lightning.report.intervals import Interval
from eat_lightning.report.table import Cell
from eat_lightning.runs import jsonl

from .trials import CONTROL, RECOVERY, SHIFT, Trial

KEPT = Path(__file__).parent / "results"
SEEDS = 6
PLAN = {("sst2", 0.9): 2, ("mnli", 0.9): 2, ("sst2", 0.6): 0, ("mnli", 0.6): 0}  # ways back tried
USUAL_LENGTH = 100_000
CONTROLS = {  # calibration part redrawn or not; run length: (streams, examples in each)
    True: {1000: (10, 2000), 10_000: (30, 5000), 100_000: (10, 10_000)},
    False: {100_000: (10, 10_000)},
}
KEY = ["task", "stream", "tau", "run_length"]


def record(sst2: str = "", mnli: str = "", data: str = "", to: str = "outputs/drift") -> None:
    from eat_lightning.runs.run import Run

    from .shifts import record_all

    for path in filter(None, (sst2, mnli)):
        for made in record_all(Run.open(path), Path(data), Path(to)):
            print(made, flush=True)


def replay(**given: str) -> None:
    """Replay the streams; each is written when it is done, and not done again."""
    path = KEPT / "trials.jsonl"
    found = jsonl.read(path, Trial, "trial")
    for made in trials(Path(given.get("from", "outputs/drift")), {key_of(t) for t in found}):
        found += made
        jsonl.write(path, found)
        print(f"{made[0].task}, {made[0].kind}, {made[0].stream}: {len(made)}", flush=True)
    show()


def key_of(trial: Trial) -> tuple[Any, ...]:
    return trial.kind, *(getattr(trial, name) for name in KEY)


def trials(folder: Path, done: set[tuple[Any, ...]]) -> Iterator[list[Trial]]:
    """A stream's at a time, but those with these keys."""
    from eat_lightning.methods.exit.confidence import Confidence

    from .shifts import UNSHIFTED, recorded
    from .trials import DEV, REDRAWN, Stream, control_trial, recovery_trial, shift_trial

    for (task, tau), again in PLAN.items():
        rule = Confidence(tau, [3, 4])
        found = {n: Stream.of(n, r, rule, tau) for n, r in recorded(folder, task).items()}
        reference, usual = (found.pop(name) for name in UNSHIFTED)
        both = reference, usual
        for name, shifted in found.items():
            labelled = bool((shifted.examples["label"] >= 0).all())
            if (SHIFT, task, name, tau, USUAL_LENGTH) not in done and (again or labelled):
                yield [shift_trial(task, *both, shifted, seed) for seed in range(SEEDS)]
            if (RECOVERY, task, name, tau, USUAL_LENGTH) not in done and again:
                yield [recovery_trial(task, *both, shifted, seed) for seed in range(again)]
        for redrawn, sizes in CONTROLS.items() if again else ():
            for length, (streams, num) in sizes.items():
                if (CONTROL, task, REDRAWN if redrawn else DEV, tau, length) not in done:
                    each = range(streams)
                    yield [control_trial(task, *both, s, num, length, redrawn) for s in each]


def show() -> None:
    path = KEPT / "trials.jsonl"
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file")
    found = DataFrame(jsonl.read(path, Trial, "trial")).fillna(float("nan"))
    line_of = {SHIFT: shift_line, CONTROL: control_line, RECOVERY: recovery_line}
    for kind, name, title, caption, columns in TABLES:
        lines = [key | line_of[kind](own) for key, own in groups(found, kind)]
        table = col.table(name, title, caption, columns, lines, None)
        write_text(KEPT / f"{name}.md", table.page())
        table.show()
    figures.save(figure(found), KEPT)
    print(f"written: {KEPT}")


def groups(found: DataFrame, kind: str) -> list[tuple[dict[str, Any], DataFrame]]:
    """Trials by task, stream, tau and run length, in the order of a reader."""
    made = found[found["kind"] == kind].groupby(KEY, sort=False)
    keyed = sorted(made, key=lambda one: reading_order(*one[0]))
    return [(dict(zip(KEY, key, strict=True)), own) for key, own in keyed]


def reading_order(task: str, stream: str, tau: float, run_length: float) -> tuple[Any, ...]:
    """2 % before 10 %."""
    pieces = re.split(r"(\d+)", stream)
    natural = [(int(piece), "") if piece.isdigit() else (0, piece) for piece in pieces]
    return -tau, task != "sst2", natural, run_length


def ranged(values: Series) -> Cell:
    """The median, and the least and the most over seeds."""
    known = values.dropna()
    if known.empty:
        return words("none")
    return interval(Interval(known.median(), known.min(), known.max()), digits=0)


def gained(own: DataFrame) -> Interval | None:
    """The mean of watched - open in points, with 95 % of a t over seeds' paired differences."""
    differences = 100 * (own["accuracy_watched"] - own["accuracy_early"]).dropna()
    if len(differences) < 2:
        return None
    at = differences.mean()
    half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    return Interval(at, at - half, at + half)


def mean_of(values: Series, factor: float = 1.0) -> float | None:
    return None if values.isna().all() else factor * values.mean()


def shift_line(own: DataFrame) -> dict[str, Any]:
    shares = {"early": "accuracy_early", "watched": "accuracy_watched", "full": "accuracy_full"}
    shares |= {"changed": "changed_early", "changed_watched": "changed_watched"}
    named = own["feature"].dropna().sort_values().value_counts(sort=False)
    named = named.sort_values(ascending=False, kind="stable")
    line = {"seeds": len(own), "alarms": own["delay"].count(), "delay": ranged(own["delay"])}
    line |= {"feature": ", ".join(named.index), "depth": own["depth_early"].mean()}
    line |= {"gain": gained(own)} | {key: mean_of(own[name], 100) for key, name in shares.items()}
    return line | {name: own[name].mean() for name in ("cost_early", "cost_watched", "cost_full")}


def control_line(own: DataFrame) -> dict[str, Any]:
    num = own["num_before"].sum()
    line = {"examples": num, "bound": num / own["run_length"].iloc[0], "rate": alarm_rate(own)}
    return line | {"alarms": own["alarms"].sum(), "full": mean_of(own["full_share"], 100)}


def alarm_rate(own: DataFrame) -> Interval:
    """Alarms in 100,000 examples, with their exact 95 % interval."""
    alarms = int(own["alarms"].sum())
    found = Interval(alarms, *poisson_interval(alarms))
    return found.times(100_000 / own["num_before"].sum())


def poisson_interval(count: int, level: float = 0.95) -> tuple[float, float]:
    """Garwood's exact interval of a Poisson mean."""
    tail = (1 - level) / 2
    low = float(stats.chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
    return low, float(stats.chi2.ppf(1 - tail, 2 * count + 2)) / 2


def recovery_line(own: DataFrame) -> dict[str, Any]:
    line = {"seeds": len(own), "fell": own["feature"].count(), "returned": own["back"].count()}
    return line | {"back": ranged(own["back"]), "again": own["again"].sum()}


PERCENT = {"digits": 1}
OVER_ORDERS = "points, with 95 % interval over seeds (orders of one recorded set)"
ACCURACY = [
    col.number("early", "exits open", help="accuracy, percent", **PERCENT),
    col.number("watched", "watched", help="full depth from the alarm on", **PERCENT),
    col.number("full", "full depth", help="all of them", **PERCENT),
    col.interval("gain", "watched - open", help=OVER_ORDERS, sign="+"),
]
UNLIKE = "answers unlike the last layer's, percent"
ANSWERS = [
    col.number("changed", "changed, open", help=UNLIKE, **PERCENT),
    col.number("changed_watched", "changed, watched", help="the same", **PERCENT),
]
COST = [
    col.number("cost_early", "cost, open", digits=3, help="tokens x layers run, of all"),
    col.number("cost_watched", "cost, watched", digits=3, help="the same"),
    col.number("cost_full", "cost, full depth", digits=3, help="tokens are dropped there too"),
]
DELAY = "examples of the shift until the alarm: median (least to most)"
ALARM_WITHIN = "seeds with an alarm in at most 2,000 shifted examples"
SHIFT_COLUMNS = [
    col.word("task", "model of"),
    col.word("stream", "stream"),
    col.number("tau", "tau", digits=1),
    col.number("seeds", "seeds", digits=0),
    col.number("alarms", "found", digits=0, help=ALARM_WITHIN),
    col.number("delay", "delay", help=DELAY),
    col.word("feature", "moved", help="the feature named, most often first"),
    col.number("depth", "depth", help="of the shifted examples, if they leave where they would"),
    *col.grouped("accuracy", ACCURACY),
    *col.grouped("answers", ANSWERS),
    *col.grouped("cost", COST),
]
CONTROL_COLUMNS = [
    col.word("task", "model of"),
    col.word("stream", "unshifted stream"),
    col.number("run_length", "run length", digits=0, help="examples for one false alarm, at least"),
    col.number("examples", "examples", digits=0),
    col.number("bound", "alarms promised", help="at most, on average", **PERCENT),
    col.number("alarms", "alarms seen", digits=0),
    col.interval("rate", "per 100,000", help="with its exact 95 % Poisson interval"),
    col.number("full", "at full depth", help="of the examples, percent", **PERCENT),
]
RECOVERY_COLUMNS = [
    col.word("task", "model of"),
    col.word("stream", "stream that came and went"),
    col.number("seeds", "seeds", digits=0),
    col.number("fell", "at full depth when it went", digits=0, help="seeds"),
    col.number("returned", "returned", digits=0, help="seeds, within 3,000 examples"),
    col.number("back", "examples until the return", help="median (least to most)"),
    col.number("again", "further alarms", digits=0, help="sum over seeds"),
]
SHIFT_CAPTION = (
    "500 dev examples as usual, then up to 2,000 shifted ones, each seed another order; one "
    "false alarm in 100,000 examples is allowed. Typos: that share of letters edited."
)
CONTROL_CAPTION = (
    "Streams drawn with replacement. After a false alarm the monitor returns and goes on."
)
RECOVERY_CAPTION = (
    "500 dev examples, 1,000 shifted ones, then 3,000 of dev, drawn with replacement."
)
TABLES = [
    (SHIFT, "drift-shifts", "Real shifts, and the fallback", SHIFT_CAPTION, SHIFT_COLUMNS),
    (CONTROL, "drift-control", "False alarms", CONTROL_CAPTION, CONTROL_COLUMNS),
    (RECOVERY, "drift-return", "The way back", RECOVERY_CAPTION, RECOVERY_COLUMNS),
]


def figure(found: DataFrame) -> figures.Figure:
    """Delays by stream, accuracy where labels are known, and false alarms against the promise."""

    def draw(drawing: Any) -> None:
        left, middle, right = drawing.subplots(1, 3, width_ratios=(1.5, 1.3, 1))
        shifts = [(name_of(**key), own) for key, own in groups(found, SHIFT)]
        draw_delays(left, shifts)
        labelled = [each for each in shifts if each[1]["accuracy_early"].notna().all()]
        draw_gain(middle, labelled)
        draw_control(right, found)

    caption = (
        "Left: examples of a shift until its alarm, a dot a seed, hollow where none came in 2,000. "
        "Middle: accuracy over that with open exits. Right: false alarms seen, "
        "with 95 % intervals, against what is promised (line)."
    )
    title = "Drift: delay, fallback, false alarms"
    return figures.Figure("drift", title, caption, draw, (9.0, 3.6))


def name_of(stream: str, tau: float, **_: Any) -> str:
    return stream if tau == 0.9 else f"{stream}, tau {tau:g}"


def draw_delays(ax: Any, shifts: Sequence[tuple[str, DataFrame]]) -> None:
    for row, (_, own) in enumerate(shifts):
        for i, (delay, most) in enumerate(zip(own["delay"], own["num_shifted"], strict=True)):
            y, found = row + 0.5 * (i / max(len(own) - 1, 1) - 0.5), delay == delay
            look = {"color": SERIES[1], "markerfacecolor": SERIES[1] if found else "none"}
            ax.plot(delay if found else most, y, "o", markersize=3, **look)
    ax.set(xscale="log", xlabel="examples until the alarm", title="Delay")
    ax.xaxis.set_major_formatter("{x:g}")
    name_rows(ax, shifts)


def draw_gain(ax: Any, shifts: Sequence[tuple[str, DataFrame]]) -> None:
    """Points over open exits."""
    for k, (how, title) in enumerate((("watched", "watched"), ("full", "full depth")), start=1):
        x = [100 * (own[f"accuracy_{how}"] - own["accuracy_early"]).mean() for _, own in shifts]
        y = [row + 0.2 * (k - 1.5) for row in range(len(shifts))]
        ax.plot(x, y, MARKERS[k], markersize=4, color=SERIES[k], label=title)
    ax.axvline(0, color=INK, linewidth=0.7)
    ax.set(xlabel="points of accuracy over open exits", title="Fallback")
    name_rows(ax, shifts)
    ax.legend(loc="best", handlelength=1.0)


def name_rows(ax: Any, shifts: Sequence[tuple[str, DataFrame]]) -> None:
    ax.set_yticks(range(len(shifts)), [name for name, _ in shifts])
    ax.invert_yaxis()


def draw_control(ax: Any, found: DataFrame) -> None:
    looks: dict[str, int] = {}
    lengths = set()
    for key, own in groups(found, CONTROL):
        label = f"{key['task']}, {'redrawn' if 'redrawn' in key['stream'] else 'dev'}"
        title = None if label in looks else label
        k = looks.setdefault(label, len(looks))
        rate, x = alarm_rate(own), key["run_length"] * 1.12 ** (k - 1.5)
        lengths.add(key["run_length"])
        ax.plot([x, x], [max(rate.low, 0.05), rate.high], color=SERIES[k])
        ax.plot(x, max(rate.value, 0.05), MARKERS[k], markersize=4, color=SERIES[k], label=title)
    ends = sorted(lengths)
    ax.plot(ends, [100_000 / x for x in ends], color=INK, linewidth=1)
    ax.set(xscale="log", yscale="log", xlabel="run length", ylabel="alarms per 100,000")
    ax.set_title("False alarms")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")
    ax.legend(loc="best", handlelength=1.0)


def main() -> None:
    action, *given = sys.argv[1:] or ["show"]
    actions = {"record": record, "replay": replay, "show": show}
    if action not in actions or not all("=" in argument for argument in given):
        sys.exit(__doc__)
    with reported():
        try:
            actions[action](**dict(argument.split("=", 1) for argument in given))
        except TypeError as error:  # an argument that it does not have
            raise ConfigError(str(error)) from None


if __name__ == "__main__":
    main()
