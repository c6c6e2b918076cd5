"""Pictures that the code draws of itself: which rows a reduction keeps, who sees whom, how strength
grows, and the rooms with their imports."""

from __future__ import annotations

import ast
import inspect
import io
from collections import Counter
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.colors import ListedColormap

from eat_lightning.model.contracts import Where
from eat_lightning.model.options import PassOptions
from eat_lightning.model.specification import build, class_of
from eat_lightning.new.toy import ragged, tiny_encoder
from eat_lightning.report.explorer import entering
from experiments.site.made import ROOT

matplotlib.use("svg")
from matplotlib import pyplot as plt

TEAL, PALE, GREY = "#00897b", "#b2dfdb", "#9e9e9e"
LENGTH, LAYERS = 14, 6


def picture(slot: str, kind: str) -> bytes:
    """An SVG of a method with its default settings, empty where nothing of it can be drawn so."""
    drawn = {"reduction": rows_kept, "attention": who_sees_whom, "schedule": strength}
    cls = class_of(slot, kind)
    needs = [p for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
    if slot not in drawn or needs:
        return b""
    figure = drawn[slot](build(slot, {"kind": kind}))
    return b"" if figure is None else svg(figure)


def svg(figure: Any) -> bytes:
    held = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "eat_lightning"}):  # the same file every time
        figure.savefig(held, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    return held.getvalue()


def rows_kept(reduction: Any) -> Any:
    """One sentence of a random tiny encoder: the rows that enter each layer."""
    encoder = tiny_encoder(reduction=reduction)
    with torch.no_grad():
        trace = encoder(ragged([LENGTH]), PassOptions(leave=False, keep_hidden=True))
    kept = entering(trace)
    if all(len(places) == LENGTH for places in kept):
        return None
    figure, axis = plt.subplots(figsize=(5, 2.4))
    for layer, places in enumerate(kept, start=1):
        colors = [TEAL if place in places else PALE for place in range(LENGTH)]
        axis.scatter(range(LENGTH), [layer] * LENGTH, s=80, marker="s", color=colors)
    axis.set(xlabel="place in the text (0: [CLS])", ylabel="layer", yticks=range(1, LAYERS + 1))
    axis.invert_yaxis()
    axis.set_title("rows that enter each layer (random weights)", fontsize=9)
    axis.spines[:].set_visible(False)
    return figure


def who_sees_whom(pattern: Any) -> Any:
    """The mask over 48 tokens, with a window small enough to be seen."""
    if pattern.approximate:
        return None
    length = 48
    for name, value in (("window", 8), ("block", 4)):
        if hasattr(pattern, name):
            setattr(pattern, name, value)
    here = torch.arange(length)
    sides = [here[:, None], here[None, :]]
    q, k = (Where(side, side, torch.tensor(length), 1) for side in sides)
    seen = np.broadcast_to(np.asarray(pattern.sees(q, k)), (length, length))
    figure, axis = plt.subplots(figsize=(2.8, 2.8))
    axis.imshow(seen, cmap=ListedColormap(["#ffffff", TEAL]), vmin=0, vmax=1)
    axis.set(xlabel="key", ylabel="query", title="who sees whom, 48 tokens")
    return figure


def strength(schedule: Any) -> Any:
    """How the pruning strength grows over training, stage by stage."""
    stages = schedule.stages(3, [1, 2, 3])
    figure, axis = plt.subplots(figsize=(5, 1.8))
    start = 0.0
    for stage in stages:
        progress = np.linspace(0, 1, 61)
        values = [stage.strength(float(done)) for done in progress]
        axis.plot(start + stage.share * progress, values, color=TEAL)
        what = f"{'soft, ' if stage.soft else ''}exits: {stage.exits}"
        axis.text(start + stage.share / 2, 1.1, what, ha="center", fontsize=8)
        start += stage.share
        axis.axvline(start, color=GREY, lw=0.5)
    axis.set(xlabel="share of all steps", ylabel="strength", xlim=(0, 1), ylim=(-0.05, 1.3))
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def rooms() -> bytes:
    """The rooms of the package from the ground up, and who imports whom, read off the code."""
    order = room_order()
    arrows = Counter(
        arrow for path in (ROOT / "eat_lightning").rglob("*.py") for arrow in imports(path)
    )
    figure, axis = plt.subplots(figsize=(8, 7))
    look = {"ha": "center", "va": "center", "bbox": {"boxstyle": "round", "fc": PALE, "ec": TEAL}}
    for height, name in enumerate(order):
        axis.text(0, height, name, **look)
    for (above, below), times in sorted(arrows.items()):
        if above in order and below in order and above != below:
            arc(axis, order.index(above), order.index(below), times)
    axis.set(xlim=(-6, 6), ylim=(-1, len(order)))
    axis.axis("off")
    return svg(figure)


def room_order() -> list[str]:
    """The list that `tests/test_rooms.py` holds the imports to."""
    tree = ast.parse((ROOT / "tests/test_rooms.py").read_text("utf-8"))
    named = next(n for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "ROOMS")  # type: ignore[attr-defined]
    return [str(c.value) for c in ast.walk(named.value) if isinstance(c, ast.Constant)]


def imports(path: Any) -> list[tuple[str, str]]:
    room = path.relative_to(ROOT / "eat_lightning").with_suffix("").parts[0]
    tree = ast.parse(path.read_text("utf-8"))
    modules = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module]
    return [(room, m.split(".")[1]) for m in modules if m.startswith("eat_lightning.")]


def arc(axis: Any, above: int, below: int, times: int) -> None:
    """An import, right of the rooms where it skips many, thick where it happens often."""
    side = 1 if above % 2 else -1
    bend = {"arrowstyle": "-|>", "connectionstyle": f"arc3,rad={0.5 * side}", "color": GREY}
    ends = {"xy": (0.6 * side, below), "xytext": (0.6 * side, above)}
    axis.annotate("", **ends, arrowprops=bend | {"lw": 0.4 + 0.15 * min(times, 12), "alpha": 0.6})
