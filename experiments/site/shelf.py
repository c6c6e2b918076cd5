"""One page for each method: what its docstring says, its settings, a picture, and measured rows."""

from __future__ import annotations

import inspect
import json
import math
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from eat_lightning.config import CONFIG_DIR
from eat_lightning.model.specification import class_of, rule_learns
from eat_lightning.report.baselines import gains_in
from eat_lightning.runs import row as rows
from eat_lightning.runs.names import SLOTS as IN_ROWS
from eat_lightning.runs.names import USUAL
from experiments.site.how import files, shown
from experiments.site.made import ROOT, Page
from experiments.site.pictures import picture
from experiments.site.rules import leaving

SLOTS = ("reduction", "attention", "exit", "head", "objective", "schedule", "policy")
HEAD = (
    *("study", "task", "setting", "score", "FLOPs", "over fixed depth", "over the best mix"),
    *("beside it", "exit rule", "depth", "retention", "seed", "steps"),
)
METHODS = "eat_lightning/methods"
MOST = 20  # rows on a page


def pages() -> list[Page]:
    paths = [p for s in SLOTS for p in sorted((ROOT / METHODS / s).glob("[a-z]*.py"))]
    return [page for path in paths for page in method(path.parent.name, path.stem)]


def method(slot: str, kind: str) -> list[Page]:
    """A method's page, and its picture where it has one."""
    cls = class_of(slot, kind)
    about = inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "")
    idea, _, arguments = inspect.cleandoc(vars(cls).get("__doc__") or "").partition("Args:")
    image, drawn = pictured(slot, kind)
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
    return [Page(f"methods/{slot}/{kind}.md", content, kind, section=slot), *drawn]


def pictured(slot: str, kind: str) -> tuple[str, list[Page]]:
    """A method's picture as Markdown with its files; nothing where none can be drawn."""
    if slot == "exit" and (drawn := leaving(kind)):
        return f"{shown(drawn)}\n\n{drawn.words}", files(drawn, "methods/exit")
    svg = picture(slot, kind)
    if not svg:
        return "", []
    return f"![{kind}]({kind}.svg)", [Page(f"methods/{slot}/{kind}.svg", svg)]


def listed(arguments: str) -> str:
    """The lines below "Args:" as a list, with the name of each as code."""
    lines = re.sub(r"\n +", " ", inspect.cleandoc(arguments)).splitlines()
    return "".join(re.sub(r"^(\w+):", r"* `\1`:", line) + "\n" for line in lines if line)


def settings(slot: str, kind: str) -> str:
    """The yamls that choose it, and what its knob is."""
    target = f"eat_lightning.methods.{slot}.{kind}."
    parts = []
    for path in sorted(Path(CONFIG_DIR, slot).glob("*.yaml")):
        text = path.read_text("utf-8").strip()
        if target in text or (slot == "head" and path.stem == kind):
            parts.append(f"`{slot}={path.stem}`\n\n```yaml\n{text}\n```\n")
    knob = getattr(class_of(slot, kind), "knob", None)  # an objective or a schedule has none
    if knob is not None:
        strict = f"it saves nothing at {knob.strict:g}"
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
def kept() -> list[tuple[str, rows.Row]]:
    """Each row of the kept studies with its study's name, baselines left out."""
    paths = sorted((ROOT / "experiments").glob("*/results/**/rows.jsonl"))
    found = [(path.relative_to(ROOT).parts[1], row) for path in paths for row in read(path)]
    return [(study, row) for study, row in found if not row.baseline]


def read(path: Path) -> list[rows.Row]:
    """A file's rows; none where it keeps something else, such as replies of a gateway."""
    with path.open(encoding="utf-8") as file:
        first = json.loads(file.readline() or "{}")
    return rows.read(path) if "exit_shares" in first else []


def measured(slot: str, kind: str) -> str:
    """Its rows: those fitted for a budget, or the others where none was; alone comes first."""
    if slot not in IN_ROWS or kind in USUAL:
        return ""
    own = [(study, row) for study, row in kept() if kind_of(row, slot) == kind]
    own = [(study, row) for study, row in own if row.budget is not None] or own
    if not own:
        return "No kept row yet in [the studies](../../results/methods/page.md).\n"
    own.sort(key=lambda one: (len(unusual(one[1])), one[0], one[1].run, one[1].budget or 0))
    lines = [line(study, row, slot) for study, row in own[:MOST]]
    head = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    return "\n".join(["## What we measured\n", *head, *lines, "", note(len(own) - MOST), ""])


def note(left: int) -> str:
    more = f" {left} more rows are kept." if left > 0 else ""
    return (
        "Where the setting is a budget, the exit rule's thresholds were fitted for it, and the "
        "reduction's knob was fitted too or stands as trained. A study's page says how its rows "
        f"were trained and measured.{more}"
    )


def kind_of(row: rows.Row, slot: str) -> str:
    method = getattr(row, slot)
    return method.kind if method else ""


def unusual(row: rows.Row) -> list[str]:
    """Name the slots whose methods, trained or measured with, do not go without saying."""
    return [slot for slot in IN_ROWS if kind_of(row, slot) not in USUAL]


def line(study: str, row: rows.Row, slot: str) -> str:
    learned = trained_with(study, row)
    also = [f"trained with exit={learned}"] if learned else []
    page = (ROOT / "experiments" / study / "page.md").is_file()
    cells = [
        f"[{study}](../../results/{study}/page.md)" if page else study,
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


def trained_with(study: str, row: rows.Row) -> str:
    """The exit rule that a row's run learned, where the row is of another one."""
    kinds = {other.exit.kind for name, other in kept() if (name, other.run) == (study, row.run)}
    kinds = {kind for kind in kinds - {row.exit.kind} if "." not in kind}
    return next((kind for kind in sorted(kinds) if rule_learns(class_of("exit", kind))), "")


def tokens(row: rows.Row) -> str:
    """Retention; of a reduction whether it dropped any, and whether its knob was fitted."""
    if row.reduction.kind == "none":
        return f"{row.retention:.3f}"
    dropped = ", nothing was dropped" if row.retention == 1 else ""
    return f"{row.retention:.3f}{dropped}{knob_text(row)}"


def knob_text(row: rows.Row) -> str:
    """ "; ratio 0.3, as trained": against the rows of its run that were fitted for nothing."""
    knob = row.reduction.made_of.knob
    if knob is None or row.budget is None:
        return ""
    point, kind = row.reduction.arguments[knob.name], row.reduction.kind
    others = [other.reduction for _, other in kept() if other.run == row.run and not other.fitted]
    trained = [other.arguments[knob.name] for other in others if other.kind == kind]
    how = ", as trained" if point in trained else ", fitted" if trained else ""
    return f"; {knob.name} {rows.text(point)}{how}"


def gain(row: rows.Row, over: str) -> str:
    """Points gained with their interval; nothing where the row does not say."""
    found = gains_in(vars(row)).get(over)
    return found.times(100).text(sign="+") if found else ""
