"""Growth as tables."""

from __future__ import annotations

from collections.abc import Sequence

from eat_lightning.bench.scaling.compaction import CompactionRow, compaction_table
from eat_lightning.bench.scaling.fit import exponent
from eat_lightning.bench.scaling.rows import GrowthRow, OperatorRow
from eat_lightning.bench.scaling.subjects import (
    DENSE,
    DENSE_PRODUCT,
    PRUNED,
    WINDOW,
    WINDOW_PRODUCT,
)
from eat_lightning.bench.scaling.targets import Length, Ratio, curves_of, lengths_of, targets
from eat_lightning.report.claim import Cell, Column, Line, Source, Table

COMMAND = Source((), "python -m eat_lightning.bench.scaling")
MIB = 1 << 20
UNITS = {"ms": "time", "peak_bytes": "memory"}


def tables_of(
    rows: Sequence[GrowthRow],
    operators: Sequence[OperatorRow],
    compaction: Sequence[CompactionRow],
    at: int,
) -> list[Table]:
    return [
        targets_table(rows, at),
        lengths_table(rows),
        exponents_table(rows),
        *([operators_table(operators)] if operators else []),
        compaction_table(compaction, f"One layer, dense. {where(rows)}"),
    ]


def where(rows: Sequence[GrowthRow]) -> str:
    first = rows[0]
    return (
        f"{first.num_layers} layers of width {first.width}, window {first.window} and a global "
        f"[CLS], pruning {first.ratio:g} twice, random weights; {first.dtype}, {first.threads} "
        f"thread{'s' * (first.threads > 1)} of {first.machine or 'a processor'}; medians of "
        f"{len(first.ms_R)} repeats by turns."
    )


def text(value: str | float | int) -> Cell:
    return Cell(value, value if isinstance(value, str) else f"{value:,}")


def ratio(found: Ratio | None) -> Cell:
    return Cell(None, "") if found is None else Cell(found.value, str(found), found.low, found.high)


def targets_table(rows: Sequence[GrowthRow], at: int) -> Table:
    columns = [
        Column("what", "what", numeric=False),
        Column("bound", "target"),
        Column("value", "measured", "exponents: 95 % interval; ratios: lowest and highest repeat"),
        Column("met", "met"),
    ]
    lines = []
    for target in targets(rows, at):
        sign = "≤" if target.at_most else "≥"
        cells = {
            "what": text(target.what),
            "bound": Cell(target.bound, f"{sign} {target.bound:g}"),
            "value": Cell(target.value, target.text),
            "met": text("met" if target.met else "missed"),
        }
        lines.append(Line(cells, COMMAND))
    return Table("growth-targets", "Long texts: targets", where(rows), columns, lines)


def lengths_table(rows: Sequence[GrowthRow]) -> Table:
    times, against = "milliseconds", "against the dense encoder"
    memory = "MiB, and equality"
    columns = [
        Column("length", "T", "tokens of the one text of a batch"),
        *(Column(f"ms {name}", name, "a pass", group=times) for name in (DENSE, WINDOW, PRUNED)),
        *(
            Column(f"ms {name}", name, "of all layers, alone", group=times)
            for name in (DENSE_PRODUCT, WINDOW_PRODUCT)
        ),
        Column("share", "attention's share", "of the dense encoder's time", group=against),
        Column("product", "product alone", "dense / window", group=against),
        Column("ceiling", "ceiling", "1 / (1 - attention's share), Amdahl's law", group=against),
        Column("window", "window", "dense / window", group=against),
        Column("of_ceiling", "of the ceiling", "window / ceiling", group=against),
        Column("pruned", "window, pruned", "dense / window, pruned", group=against),
        *(
            Column(f"mib {name}", name, "tensors alive at once, weights apart", group=memory)
            for name in (DENSE, WINDOW, PRUNED)
        ),
        *(
            Column(f"rss {name}", f"{name}, resident", "as the system counts pages", group=memory)
            for name in (DENSE, WINDOW, PRUNED)
        ),
        Column("difference", "difference", "of vectors from the masked product", group=memory),
        Column("kept", "kept alike", "tokens that both keep to the end", group=memory),
    ]
    lines = [Line(length_cells(length), COMMAND) for length in lengths_of(rows)]
    return Table("growth-lengths", "Growth with the length of a text", where(rows), columns, lines)


def length_cells(length: Length) -> dict[str, Cell]:
    cells = {"length": text(length.length)}
    for name, row in length.rows.items():
        low, high = min(row.ms_R), max(row.ms_R)
        shown = f"{row.ms:,.1f} ({low:,.1f} to {high:,.1f})"
        cells[f"ms {name}"] = Cell(row.ms, shown, low, high)
        cells[f"mib {name}"] = Cell(row.peak_bytes / MIB, f"{row.peak_bytes / MIB:,.1f}")
        if row.resident_bytes is not None:
            cells[f"rss {name}"] = Cell(
                row.resident_bytes / MIB, f"{row.resident_bytes / MIB:,.1f}"
            )
    share = None if length.share_R is None else Ratio.of(length.share_R)
    checked = [row for row in length.rows.values() if row.difference is not None]
    if checked:
        worst = max(row.difference or 0.0 for row in checked)
        alike = min(row.kept_alike or 0.0 for row in checked)
        cells["difference"] = Cell(worst, f"{worst:.1e}")
        cells["kept"] = Cell(alike, f"{alike:.4f}")
    return cells | {
        "share": ratio(share),
        "product": ratio(length.faster(DENSE_PRODUCT, WINDOW_PRODUCT)),
        "ceiling": ratio(length.ceiling),
        "window": ratio(length.faster(DENSE, WINDOW)),
        "of_ceiling": ratio(length.of_ceiling),
        "pruned": ratio(length.faster(DENSE, PRUNED)),
    }


def exponents_table(rows: Sequence[GrowthRow]) -> Table:
    columns = [
        Column("axis", "with", numeric=False),
        Column("contestant", "contestant", numeric=False),
        Column("range", "from … to", numeric=False),
        Column("what", "of", numeric=False),
        Column("exponent", "exponent", "slope of the logarithms, least squares, 95 % interval"),
        Column("paper", "Proposition 1", "dense: for large T, where attention is all"),
    ]
    lines = []
    for curve in curves_of(rows):
        fitted = curve.fitted
        cells = {
            "axis": text(curve.axis),
            "contestant": text(curve.contestant),
            "range": text(f"{min(curve.x):.3g} … {max(curve.x):.5g}"),
            "what": text(UNITS[curve.what]),
            "exponent": Cell(fitted.value, str(fitted), fitted.low, fitted.high),
            "paper": text(curve.paper),
        }
        lines.append(Line(cells, COMMAND))
    caption = (
        f"{where(rows)} The paper's cost of a window is linear in T, in the layers run and in "
        "retention, that of dense attention quadratic in T; it leaves out heads and embeddings."
    )
    return Table("growth-exponents", "Fitted exponents", caption, columns, lines)


def operators_table(operators: Sequence[OperatorRow]) -> Table:
    """Those of the longest text, and how each grows."""
    lengths = sorted({row.length for row in operators})
    columns = [
        Column("operator", "operator", numeric=False),
        *(Column(str(length), f"{length:,}", "milliseconds at this T") for length in lengths),
        Column("exponent", "exponent", "of the lengths at which it took 1 % of the time or more"),
    ]
    lines = []
    longest = [row for row in operators if row.length == lengths[-1]]
    for last in sorted(longest, key=lambda row: -row.ms):
        own = [row for row in operators if row.operator == last.operator]
        cells = {str(row.length): Cell(row.ms, f"{row.ms:,.1f}") for row in own}
        cells["operator"] = text(last.operator.removeprefix("aten::"))
        if len(own) > 1:
            found = exponent([row.length for row in own], [row.ms for row in own])
            cells["exponent"] = Cell(found.value, str(found), found.low, found.high)
        lines.append(Line(cells, COMMAND))
    caption = (
        f"{operators[0].contestant}: time of each of torch's operators itself, one profiled pass "
        "at each length; those of 1 % or more."
    )
    return Table("growth-operators", "Time by operator", caption, columns, lines)
