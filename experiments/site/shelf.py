"""One page for each method: what its docstring says, its settings, a picture, and measured rows."""

from __future__ import annotations

import inspect
import sys
from functools import cache
from pathlib import Path

from eat_lightning.config import CONFIG_DIR
from eat_lightning.model.contracts import class_of, knob_of
from eat_lightning.runs import row as rows
from eat_lightning.runs.names import SLOTS as IN_ROWS
from eat_lightning.runs.names import USUAL
from experiments.site.made import ROOT, Page
from experiments.site.pictures import picture

SLOTS = ("reduction", "attention", "exit", "head", "objective", "schedule", "policy")
HEAD = ("task", "beside it", "seed", "budget", "score", "FLOPs", "depth", "retention", "gain")
STUDY = ROOT / "experiments/methods/results/rows.jsonl"


def pages() -> list[Page]:
    found: list[Page] = []
    for slot in SLOTS:
        for path in sorted((ROOT / "eat_lightning/methods" / slot).glob("[a-z]*.py")):
            found += method(slot, path.stem)
    return found


def method(slot: str, kind: str) -> list[Page]:
    """A method's page, and its picture where it has one."""
    cls = class_of(slot, kind)
    about = inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "")
    own = inspect.cleandoc(vars(cls).get("__doc__") or "")
    svg = picture(slot, kind)
    image = f"![{kind}]({kind}.svg)\n\n" if svg else ""
    content = f"""# {kind}

{about}

{own}

{image}{settings(slot, kind)}
{measured(slot, kind)}
Code: `eat_lightning/methods/{slot}/{kind}.py`
"""
    made = [Page(f"methods/{slot}/{kind}.md", content, kind, section=slot)]
    return [*made, Page(f"methods/{slot}/{kind}.svg", svg)] if svg else made


def settings(slot: str, kind: str) -> str:
    """The yamls that choose it, and what its knob is."""
    target = f"eat_lightning.methods.{slot}.{kind}."
    parts = []
    for path in sorted(Path(CONFIG_DIR, slot).glob("*.yaml")):
        text = path.read_text("utf-8").strip()
        if target in text or (slot == "head" and path.stem == kind):
            parts.append(f"`{slot}={path.stem}`\n\n```yaml\n{text}\n```\n")
    knob = knob_of(class_of(slot, kind))
    if knob is not None:
        parts.append(
            f"Knob: `{slot}.{knob.name}` in {knob.bounds}; it saves nothing at {knob.strict:g}.\n"
        )
    return "\n".join(parts)


@cache
def kept() -> list[rows.Row]:
    return [row for row in rows.read(STUDY) if not row.baseline]


def measured(slot: str, kind: str) -> str:
    """Its rows in the study of methods at fitted budgets, from runs with least else unusual."""
    if slot not in IN_ROWS or kind in USUAL:
        return ""
    own = [row for row in kept() if kind_of(row, slot) == kind and row.budget is not None]
    if not own:
        return "No kept row yet in [the study of methods](../../results/methods/page.md).\n"
    fewest = min(map(unusual, own))
    own = sorted(
        (row for row in own if unusual(row) == fewest), key=lambda row: (row.task, row.budget)
    )
    lines = [
        f"| {' | '.join(HEAD)} |",
        "|---" * len(HEAD) + "|",
        *(line(row, slot) for row in own),
    ]
    note = "A few hundred steps, thresholds fitted for the budget: [what that means]("
    note += "../../results/methods/page.md)."
    return "\n".join(["## Measured\n", *lines, "", note, ""])


def kind_of(row: rows.Row, slot: str) -> str:
    return (getattr(row, slot) or {}).get("kind", "")


def unusual(row: rows.Row) -> int:
    return sum(kind_of(row, slot) not in USUAL for slot in IN_ROWS)


def line(row: rows.Row, slot: str) -> str:
    others = [kind_of(row, s) for s in IN_ROWS if s != slot and kind_of(row, s) not in USUAL]
    score = getattr(row, row.metric)
    cells = [
        f"{row.task}, {row.encoder}",
        ", ".join(others),
        row.seed,
        row.budget,
        f"{100 * score:.2f}",
        f"{row.flops_ratio:.3f}",
        f"{row.depth:.2f}",
        f"{row.retention:.3f}",
        gain(row),
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def gain(row: rows.Row) -> str:
    middle, low, high = row.adaptivity_gain, row.adaptivity_gain_low, row.adaptivity_gain_high
    if middle is None or low is None or high is None:
        return ""
    return f"{100 * middle:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
