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
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.report.cells import number, words
from eat_lightning.report.claim import Cell, Column, Figure, Line, Source, Table
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
COMMAND = "python -m experiments.drift.draw replay from=outputs/drift"


def record(sst2: str = "", mnli: str = "", data: str = "", to: str = "outputs/drift") -> None:
    from eat_lightning.runs.run import Run

    from .shifts import record_all

    for path in filter(None, (sst2, mnli)):
        for made in record_all(Run.open(path), Path(data), Path(to)):
            print(made, flush=True)


def replay(**given: str) -> None:
    """What is done is written after every stream, and not done again."""
    path = KEPT / "trials.jsonl"
    found = jsonl.read(path, Trial, "trial")
    for made in trials(Path(given.get("from", "outputs/drift")), {key_of(t) for t in found}):
        found += made
        jsonl.write(path, found)
        print(f"{made[0].task}, {made[0].kind}, {made[0].stream}: {len(made)}", flush=True)
    show()


def key_of(trial: Trial) -> tuple[Any, ...]:
    return trial.kind, trial.task, trial.stream, trial.tau, trial.run_length


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
            labelled = bool((shifted.label_B >= 0).all())
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
    from eat_lightning.report import figures, tables

    path = KEPT / "trials.jsonl"
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file")
    found = jsonl.read(path, Trial, "trial")
    for table in (shift_table(found), control_table(found), recovery_table(found)):
        tables.write(table, KEPT)
        tables.show(table)
    figures.save(figure(found), KEPT)
    print(f"written: {KEPT}")


def groups(found: Sequence[Trial], kind: str) -> dict[tuple[Any, ...], list[Trial]]:
    """By task, stream, tau and run length, in the order of a reader."""
    made: dict[tuple[Any, ...], list[Trial]] = {}
    for trial in found:
        if trial.kind == kind:
            key = trial.task, trial.stream, trial.tau, trial.run_length
            made.setdefault(key, []).append(trial)
    order = sorted(made, key=lambda key: (-key[2], key[0] != "sst2", natural(key[1]), key[3]))
    return {key: made[key] for key in order}


def natural(name: str) -> list[tuple[int, str]]:
    """2 % before 10 %."""
    pieces = re.split(r"(\d+)", name)
    return [(int(piece), "") if piece.isdigit() else (0, piece) for piece in pieces]


def known(own: Sequence[Trial], name: str) -> list[Any]:
    return [getattr(trial, name) for trial in own if getattr(trial, name) is not None]


def ranged(values: Sequence[float]) -> Cell:
    """The median, and the least and the most over seeds."""
    if not values:
        return words("none")
    low, high = min(values), max(values)
    return Cell(median(values), f"{median(values):.0f} ({low:.0f} to {high:.0f})", low, high)


def percent(own: Sequence[Trial], name: str) -> Cell:
    values = known(own, name)
    return number(100 * mean(values), 1) if values else words("")


def gained(own: Sequence[Trial], a: str, b: str) -> Cell:
    """The mean of a - b in points, with 95 % of a t over seeds' paired differences."""
    from scipy.stats import sem, t

    known = [(getattr(x, a), getattr(x, b)) for x in own]
    differences = [100 * (p - q) for p, q in known if p is not None and q is not None]
    if len(differences) < 2:
        return words("")
    at = mean(differences)
    half = float(t.ppf(0.975, len(differences) - 1) * sem(differences))
    return Cell(at, f"{at:+.2f} ({at - half:+.2f} to {at + half:+.2f})", at - half, at + half)


SHIFT_COLUMNS = [
    Column("task", "model of", numeric=False),
    Column("stream", "stream", numeric=False),
    Column("tau", "tau"),
    Column("seeds", "seeds"),
    Column("alarms", "found", "seeds with an alarm in at most 2,000 shifted examples"),
    Column("delay", "delay", "examples of the shift until the alarm: median (least to most)"),
    Column("feature", "moved", "the feature named, most often first", numeric=False),
    Column("depth", "depth", "of the shifted examples, if they leave where they would"),
    Column("early", "exits open", "accuracy, percent", group="accuracy"),
    Column("watched", "watched", "full depth from the alarm on", group="accuracy"),
    Column("full", "full depth", "all of them", group="accuracy"),
    Column(
        "gain",
        "watched - open",
        "points, with 95 % interval over seeds (orders of one recorded set)",
        group="accuracy",
    ),
    Column("changed", "changed, open", "answers unlike the last layer's, percent", group="answers"),
    Column("changed_watched", "changed, watched", "the same", group="answers"),
    Column("cost_early", "cost, open", "tokens x layers run, of all", group="cost"),
    Column("cost_watched", "cost, watched", "the same", group="cost"),
    Column("cost_full", "cost, full depth", "tokens are dropped there too", group="cost"),
]


def shift_table(found: Sequence[Trial]) -> Table:
    lines = [shift_line(key, own) for key, own in groups(found, SHIFT).items()]
    caption = (
        "500 dev examples as usual, then up to 2,000 shifted ones, each seed another order; one "
        "false alarm in 100,000 examples is allowed. Typos: that share of letters edited."
    )
    return Table("drift-shifts", "Real shifts, and the fallback", caption, SHIFT_COLUMNS, lines)


def line_of(key: tuple[Any, ...], cells: dict[str, Cell]) -> Line:
    return Line({"task": words(key[0]), "stream": words(key[1])} | cells, Source((), COMMAND))


def shift_line(key: tuple[Any, ...], own: Sequence[Trial]) -> Line:
    delays, named = known(own, "delay"), Counter(sorted(known(own, "feature"))).most_common()
    shares = {"early": "accuracy_early", "watched": "accuracy_watched", "full": "accuracy_full"}
    shares |= {"changed": "changed_early", "changed_watched": "changed_watched"}
    cells = {
        "seeds": number(len(own), 0),
        "tau": number(key[2], 1),
        "alarms": number(len(delays), 0),
        "delay": ranged(delays),
        "feature": words(", ".join(name for name, _ in named)),
        "depth": number(mean(known(own, "depth_early")), 2),
        "gain": gained(own, "accuracy_watched", "accuracy_early"),
    }
    cells |= {column: percent(own, name) for column, name in shares.items()}
    costs = ("cost_early", "cost_watched", "cost_full")
    return line_of(key, cells | {name: number(mean(known(own, name)), 3) for name in costs})


CONTROL_COLUMNS = [
    Column("task", "model of", numeric=False),
    Column("stream", "unshifted stream", numeric=False),
    Column("run_length", "run length", "examples for one false alarm, at least"),
    Column("examples", "examples"),
    Column("bound", "alarms promised", "at most, on average"),
    Column("alarms", "alarms seen"),
    Column("rate", "per 100,000", "with its exact 95 % Poisson interval"),
    Column("full", "at full depth", "of the examples, percent"),
]


def control_table(found: Sequence[Trial]) -> Table:
    lines = [control_line(key, own) for key, own in groups(found, CONTROL).items()]
    caption = "Streams drawn with replacement. After a false alarm the monitor returns and goes on."
    return Table("drift-control", "False alarms", caption, CONTROL_COLUMNS, lines)


def control_line(key: tuple[Any, ...], own: Sequence[Trial]) -> Line:
    num, alarms = sum(t.num_before for t in own), sum(t.alarms for t in own)
    low, high = (100_000 * end / num for end in poisson_interval(alarms))
    rate = 100_000 * alarms / num
    cells = {
        "run_length": number(key[3], 0),
        "examples": number(num, 0),
        "bound": number(num / key[3], 1),
        "alarms": number(alarms, 0),
        "rate": Cell(rate, f"{rate:.2f} ({low:.2f} to {high:.2f})", low, high),
        "full": percent(own, "full_share"),
    }
    return line_of(key, cells)


def poisson_interval(count: int, level: float = 0.95) -> tuple[float, float]:
    """Garwood's exact interval of a Poisson mean."""
    from scipy.stats import chi2

    tail = (1 - level) / 2
    low = float(chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
    return low, float(chi2.ppf(1 - tail, 2 * count + 2)) / 2


RECOVERY_COLUMNS = [
    Column("task", "model of", numeric=False),
    Column("stream", "stream that came and went", numeric=False),
    Column("seeds", "seeds"),
    Column("fell", "at full depth when it went", "seeds"),
    Column("returned", "returned", "seeds, within 3,000 examples"),
    Column("back", "examples until the return", "median (least to most)"),
    Column("again", "further alarms", "sum over seeds"),
]


def recovery_table(found: Sequence[Trial]) -> Table:
    lines = [recovery_line(key, own) for key, own in groups(found, RECOVERY).items()]
    caption = "500 dev examples, 1,000 shifted ones, then 3,000 of dev, drawn with replacement."
    return Table("drift-return", "The way back", caption, RECOVERY_COLUMNS, lines)


def recovery_line(key: tuple[Any, ...], own: Sequence[Trial]) -> Line:
    backs = known(own, "back")
    cells = {
        "seeds": number(len(own), 0),
        "fell": number(len(known(own, "feature")), 0),
        "returned": number(len(backs), 0),
        "back": ranged(backs),
        "again": number(sum(known(own, "again")), 0),
    }
    return line_of(key, cells)


def figure(found: Sequence[Trial]) -> Figure:
    """Delays by stream, accuracy where labels are known, and false alarms against the promise."""
    from .figure import draw_control, draw_delays, draw_gain

    def draw(drawing: Any) -> None:
        left, middle, right = drawing.subplots(1, 3, width_ratios=(1.5, 1.3, 1))
        shifts = {
            key[1] if key[2] == 0.9 else f"{key[1]}, tau {key[2]:g}": own
            for key, own in groups(found, SHIFT).items()
        }
        draw_delays(left, shifts)
        draw_gain(middle, shifts)
        draw_control(right, groups(found, CONTROL).values(), poisson_interval)

    caption = (
        "Left: examples of a shift until its alarm, a dot a seed, hollow where none came in 2,000. "
        "Middle: accuracy over that with open exits. Right: false alarms seen, "
        "with 95 % intervals, against what is promised (line)."
    )
    return Figure("drift", "Drift: delay, fallback, false alarms", caption, draw, (9.0, 3.6))


def main() -> None:
    action, *given = sys.argv[1:] or ["show"]
    known = {"record": record, "replay": replay, "show": show}
    if action not in known or not all("=" in argument for argument in given):
        print(__doc__, file=sys.stderr)
        raise SystemExit(1)
    pairs = (argument.split("=", 1) for argument in given)
    try:
        known[action](**dict(pairs))
    except (ConfigError, TypeError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
