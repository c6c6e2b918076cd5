"""One page for each method: its docstring, its settings, a picture, and measured rows."""

from __future__ import annotations

import inspect
import json
import math
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from docs.site.made import ROOT, Page
from docs.site.pictures import pictured
from eat_lightning.config import CONFIG_DIR
from eat_lightning.model.specification import class_of, rule_learns, value_text
from eat_lightning.report.baselines import gains_in
from eat_lightning.runs import row as rows
from eat_lightning.runs.names import SLOTS as IN_ROWS
from eat_lightning.runs.names import USUAL

SLOTS = ("reduction", "attention", "exit", "head", "objective", "schedule", "policy")
HEAD = (
    *("study", "task", "setting", "score", "FLOPs", "over fixed depth", "over the best mix"),
    *("with", "exit rule", "depth", "retention", "seed", "steps"),
)
WORDS = {"study", "task", "setting", "with", "exit rule", "retention"}  # the others are numbers
METHODS = "eat_lightning/methods"
MOST = 20  # rows on a page


class Kept(NamedTuple):
    """A row of a study."""

    study: str
    row: rows.Row


def pages() -> list[Page]:
    paths = [p for s in SLOTS for p in sorted((ROOT / METHODS / s).glob("[a-z]*.py"))]
    return [page for path in paths for page in method(path.parent.name, path.stem)]


def method(slot: str, kind: str) -> list[Page]:
    """A method's page, and its picture where it has one."""
    cls = class_of(slot, kind)
    about = inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "")
    idea, _, arguments = inspect.cleandoc(vars(cls).get("__doc__") or "").partition("Args:")
    image, files = pictured(slot, kind)
    content = f"""# {kind}

{about}

{idea.strip()}

{image}

## Arguments

{listed(arguments)}
{settings(slot, kind)}
{measured(slot, kind)}
Code: `eat_lightning/methods/{slot}/{kind}.py`
"""
    return [Page(f"methods/{slot}/{kind}.md", content, kind, section=slot), *files]


def listed(arguments: str) -> str:
    """The lines below "Args:" as a list, with the name of each as code."""
    lines = re.sub(r"\n +", " ", inspect.cleandoc(arguments)).splitlines()
    return "".join(re.sub(r"^(\w+):", r"* `\1`:", line) + "\n" for line in lines if line)


def settings(slot: str, kind: str) -> str:
    """The yamls that choose it, and its knob."""
    target = f"eat_lightning.methods.{slot}.{kind}."
    parts = []
    for path in sorted(Path(CONFIG_DIR, slot).glob("*.yaml")):
        text = path.read_text("utf-8").strip()
        if target in text or (slot == "head" and path.stem == kind):
            parts.append(f"`{slot}={path.stem}`\n\n```yaml\n{text}\n```\n")
    knob = getattr(class_of(slot, kind), "knob", None)  # an objective or a schedule has none
    if knob is not None:
        strict = f"at {knob.strict:g} it saves nothing"
        parts.append(f"Knob: `{slot}.{knob.name}` in {interval(knob.bounds)}; {strict}.\n")
    return "\n".join(parts)


def interval(bounds: Any) -> str:
    """Write the bounds of a type as "(0, 1]"."""
    limits = TypeAdapter(bounds).json_schema()
    above, below = (
        limits.get("exclusiveMinimum", -math.inf),
        limits.get("exclusiveMaximum", math.inf),
    )
    low = f"[{limits['minimum']:g}" if "minimum" in limits else f"({above:g}"
    high = f"{limits['maximum']:g}]" if "maximum" in limits else f"{below:g})"
    return f"{low}, {high}"


@cache
def kept() -> list[Kept]:
    """The rows of all studies, without baselines."""
    paths = sorted((ROOT / "experiments").glob("*/results/**/*.jsonl"))
    found = [Kept(path.relative_to(ROOT).parts[1], row) for path in paths for row in read(path)]
    return [each for each in found if not each.row.baseline]


def read(path: Path) -> list[rows.Row]:
    """A file's rows; none where its lines are `Result`s."""
    with path.open(encoding="utf-8") as file:
        first = json.loads(file.readline() or "{}")
    return rows.read(path) if "exit_shares" in first else []


def measured(slot: str, kind: str) -> str:
    """A table of its rows: those at a budget, or all where there is none; simple settings first."""
    if slot not in IN_ROWS or kind in USUAL:
        return ""
    own = [each for each in kept() if kind_of(each.row, slot) == kind]
    own = [each for each in own if each.row.budget is not None] or own
    if not own:
        return "[The studies](../../../experiments/README.md) have no row of it yet.\n"
    own.sort(key=lambda e: (len(unusual(e.row)), e.study, e.row.run, e.row.budget or 0))
    lines = [line(each, slot) for each in own[:MOST]]
    align = "|".join("---" if title in WORDS else "---:" for title in HEAD)
    head = [f"| {' | '.join(HEAD)} |", f"|{align}|"]
    return "\n".join(["## Measured\n", *head, *lines, "", note(len(own) - MOST), ""])


def note(left: int) -> str:
    more = f" The studies hold {left} more rows." if left > 0 else ""
    return (
        "Where the setting is a budget, the exit rule's thresholds were fitted for it; the "
        "reduction's knob was fitted too, or is as trained. The page of a study says how its rows "
        f"were trained and measured.{more}"
    )


def kind_of(row: rows.Row, slot: str) -> str:
    used = getattr(row, slot)
    return used.kind if used else ""


def unusual(row: rows.Row) -> list[str]:
    """The slots of a row that are not filled as by default."""
    return [slot for slot in IN_ROWS if kind_of(row, slot) not in USUAL]


def line(each: Kept, slot: str) -> str:
    """A row as a line of the table."""
    study, row = each
    learned = trained_with(each)
    also = [f"trained with exit={learned}"] if learned else []
    cells = [
        f"[{study}](../../../experiments/{study}/page.md)",
        f"{row.task}, {row.encoder}",
        row.title if row.budget is None else f"budget {row.budget:g}",
        f"{100 * row.score:.2f}",
        f"{row.flops_ratio:.3f}",
        gain(row, "adaptivity_gain"),
        gain(row, "mix_gain"),
        ", ".join([*(kind_of(row, s) for s in unusual(row) if s not in (slot, "exit")), *also]),
        row.exit.kind,
        f"{row.depth:.2f}",
        tokens(row),
        row.seed,
        "" if row.steps is None else row.steps,
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def trained_with(each: Kept) -> str:
    """The exit rule that a row's run learned, where the row is of another one."""
    study, row = each
    same = [other.row for other in kept() if (other.study, other.row.run) == (study, row.run)]
    kinds = {other.exit.kind for other in same} - {row.exit.kind}
    own = sorted(kind for kind in kinds if "." not in kind)
    return next((kind for kind in own if rule_learns(class_of("exit", kind))), "")


def tokens(row: rows.Row) -> str:
    """Retention; for a reduction also its knob, and whether it dropped any token."""
    if row.reduction.kind == "none":
        return f"{row.retention:.3f}"
    dropped = ", nothing was dropped" if row.retention == 1 else ""
    return f"{row.retention:.3f}{dropped}{knob_text(row)}"


def knob_text(row: rows.Row) -> str:
    """ "; ratio 0.3, as trained", by the rows of its run that are not fitted for a budget."""
    knob = row.reduction.made_of.knob
    if knob is None or row.budget is None:
        return ""
    point, kind = row.reduction.arguments[knob.name], row.reduction.kind
    same = [other.row for other in kept() if other.row.run == row.run and not other.row.fitted]
    trained = [r.reduction.arguments[knob.name] for r in same if r.reduction.kind == kind]
    how = ", as trained" if point in trained else ", fitted" if trained else ""
    return f"; {knob.name} {value_text(point)}{how}"


def gain(row: rows.Row, over: str) -> str:
    """Points with their interval; empty where the row has none."""
    found = gains_in(vars(row)).get(over)
    return found.times(100).text(sign="+") if found else ""
