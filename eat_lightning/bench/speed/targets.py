"""What the bench is to reach, beside what it reached: each verdict is computed from the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from eat_lightning.bench.speed.rows import BenchRow
from eat_lightning.report.claim import Cell, Column, Line, Source, Table

Heat = dict[str, BenchRow]  # rows of one heat by contestant
Interval = Sequence[float]  # value, low, high
SPEED = ("fp32", "bf16")
COLUMNS = [
    Column("target", "what", numeric=False),
    Column("race", "race", "the table that the row stands in", numeric=False),
    Column("weights", "weights", numeric=False),
    Column("contestant", "contestant", numeric=False),
    Column("task", "task", numeric=False),
    Column("batch", "batch"),
    Column("order", "order", numeric=False),
    Column("bound", "wanted"),
    Column("reached", "reached", "median (an interval of it)"),
    Column("verdict", "verdict", "within noise: the interval holds the bound", numeric=False),
]


@dataclass(frozen=True)
class Target:
    """`reached` of each row that it `asks` about must be `bound` at least, or at most."""

    what: str
    asks: Callable[[BenchRow], bool]
    bound: Callable[[BenchRow, Heat], float]
    reached: Callable[[BenchRow, Heat], Interval | None]
    at_most: bool = False


def fixed(bound: float) -> Callable[[BenchRow, Heat], float]:
    return lambda row, heat: bound


def over(label: str) -> Callable[[BenchRow, Heat], Interval | None]:
    return lambda row, heat: row.over.get(label)


def over_row(name: str) -> Callable[[BenchRow, Heat], Interval | None]:
    """Against another contestant than the race is about: of medians, without an interval."""

    def ratio(row: BenchRow, heat: Heat) -> Interval | None:
        return [heat[name].ms / row.ms] * 3 if name in heat else None

    return ratio


def conversion(row: BenchRow, heat: Heat) -> Interval:
    ratios = row.speed_up, row.speed_up_low, row.speed_up_high
    return [ratio * row.flops_ratio for ratio in ratios]


def share_of_peak(row: BenchRow, heat: Heat) -> Interval:
    slow, fast = (row.peak_share * row.ms / ms for ms in (row.ms_high, row.ms_low))
    return [row.peak_share, slow, fast]


def cost(row: BenchRow, heat: Heat) -> Interval:
    value, low, high = row.over["static"]
    return [1 / value, 1 / high, 1 / low]


def padding(row: BenchRow, heat: Heat) -> float:
    return 0.95 * row.padding_factor


def flops_and_padding(row: BenchRow, heat: Heat) -> float:
    return 0.95 * row.padding_factor * heat["HF BERT"].flops / row.flops


def asks(
    names: Sequence[str],
    batch: int | None = None,
    order: str | None = None,
    races: Sequence[str] = SPEED,
    task: str | None = None,
) -> Callable[[BenchRow], bool]:
    """`order`: its beginning."""

    def about(row: BenchRow) -> bool:
        wanted = row.contestant in names and row.race in races
        fits = (batch in (None, row.batch)) and (task in (None, row.task))
        return wanted and fits and (order is None or row.order.startswith(order))

    return about


COMES, SORTED = "as they come", "sorted"
EATS = ("EAT", "EAT prepacked")
STATICS = ("static", "static prepacked")
INT8 = ("ORT EAT int8", "EAT int8")
TARGETS = [
    Target("conversion at batch 32", asks(EATS, 32), fixed(0.95), conversion),
    Target("conversion at batch 1", asks(EATS, 1), fixed(0.85), conversion),
    Target(
        "cost of adaptivity (time / static)",
        asks(("off, norm scores",), races=("cost-fp32", "cost-bf16")),
        fixed(1.03),
        cost,
        at_most=True,
    ),
    Target("static over HF BERT, sorted", asks(STATICS, 32, SORTED), fixed(1.05), over("BERT")),
    Target("static over HF BERT, 0.95 x padding", asks(STATICS, 32, COMES), padding, over("BERT")),
    Target("EAT over HF BERT, batch 1", asks(EATS, 1), fixed(2.9), over("BERT")),
    Target("EAT over HF BERT, sorted", asks(EATS, 32, SORTED), fixed(3.1), over("BERT")),
    Target(
        "EAT over HF BERT, 0.95 x FLOPs ratio x padding",
        asks(EATS, 32, COMES),
        flops_and_padding,
        over("BERT"),
    ),
    Target("EAT over HF DistilBERT, batch 1", asks(EATS, 1), fixed(1.4), over("DistilBERT")),
    Target("EAT over HF DistilBERT, batch 32", asks(EATS, 32), fixed(1.5), over("DistilBERT")),
    Target(
        "share of the matrix rate, batch 32",
        asks((*STATICS, "static half", "static half prepacked", *EATS), 32),
        fixed(0.9),
        share_of_peak,
    ),
    *(
        Target(
            f"deployed int8 over HF fp32, {length} tokens",
            asks(INT8, 1, f"about {length} tokens", races=("deployed",)),
            fixed(bound),
            over("HF"),
        )
        for length, bound in ((32, 4.5), (128, 3.8))
    ),
    Target(
        "deployed int8 over the static int8 export",
        asks(INT8, 1, "about", races=("deployed",)),
        fixed(1.3),
        over("static int8"),
    ),
    Target(
        "training step over the padded fp32 loop",
        asks(("EAT bf16",), 32, COMES, races=("training",), task="sst2"),
        fixed(4.5),
        over("HF fp32"),
    ),
]


def table_of(rows: Sequence[BenchRow]) -> Table:
    caption = (
        "Verdicts are computed from the rows. Accuracy in int8 and bf16, long texts, and the "
        "number of forward passes are not the bench's to judge."
    )
    lines = [line for target in TARGETS for line in lines_of(target, rows)]
    return Table("targets", "Targets", caption, COLUMNS, lines)


def lines_of(target: Target, rows: Sequence[BenchRow]) -> Iterator[Line]:
    for row in rows:
        if not target.asks(row):
            continue
        heat = {other.contestant: other for other in rows if other.heat == row.heat}
        reached = target.reached(row, heat)
        if reached is None:
            continue
        bound, digits = target.bound(row, heat), 2
        value, low, high = reached
        sign = "≤" if target.at_most else "≥"
        said = verdict(reached, bound, target.at_most)
        words = {"target": target.what, "verdict": said}
        words |= {key: str(getattr(row, key)) for key in ("race", "weights", "contestant")}
        words |= {key: str(getattr(row, key)) for key in ("task", "order")}
        cells = {key: Cell(text, text) for key, text in words.items()}
        cells["batch"] = Cell(row.batch, str(row.batch))
        cells["bound"] = Cell(bound, f"{sign} {bound:.{digits}f}")
        text = f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
        cells["reached"] = Cell(value, text, low, high)
        yield Line(cells, Source((), "python -m eat_lightning.bench", (row.commit,)))


def verdict(reached: Interval, bound: float, at_most: bool = False) -> str:
    value, low, high = (-x for x in reached) if at_most else reached
    bound = -bound if at_most else bound
    said = "met" if value >= bound else "missed"
    noisy = min(low, high) < bound <= max(low, high)
    return f"{said}, within noise" if noisy else said
