"""Pictures that the code draws of itself: which rows a reduction keeps, which tokens an attention
pattern connects, how strength grows, and where an exit rule lets examples leave."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from matplotlib.colors import ListedColormap

from docs.site.canvas import WIDTH, Canvas
from docs.site.how import Picture
from docs.site.kept_run import HALF, NUM_LAYERS, at_budget
from docs.site.made import Page, drawn, shown
from eat_lightning.answer_kind import SINGLE
from eat_lightning.model.contracts import ExitRule, Where
from eat_lightning.model.recorder import PassOptions
from eat_lightning.model.specification import build, class_of
from eat_lightning.new.toy import ragged, tiny_encoder
from eat_lightning.report.explorer import entering
from eat_lightning.report.figures import GRID, MUTED, PAPER, SERIES, Figure

BLUE = SERIES[1]
LENGTH, LAYERS = 14, 6  # of the sentence and the encoder that show a reduction


def pictured(slot: str, kind: str) -> tuple[str, list[Page]]:
    """A method's picture as Markdown, with its files; nothing where none can be drawn."""
    folder = f"methods/{slot}"
    if slot == "exit":
        picture = leaving(kind)
        if picture is None:
            return "", []
        return f"{shown(picture.title, kind)}\n\n{picture.words}", picture.files(folder)
    figure = of_method(slot, kind)
    return ("", []) if figure is None else (shown(figure.title, kind), drawn(figure, folder))


def of_method(slot: str, kind: str) -> Figure | None:
    """A figure of a method with its default settings; None where it has no picture."""
    draws = {"reduction": rows_kept, "attention": who_sees_whom, "schedule": strength}
    parameters = inspect.signature(class_of(slot, kind)).parameters.values()
    if slot not in draws or any(p.default is p.empty for p in parameters):
        return None
    return draws[slot](kind, build(slot, {"kind": kind}))


def rows_kept(kind: str, reduction: Any) -> Figure | None:
    """One sentence of a random tiny encoder: the rows that enter each layer."""
    encoder = tiny_encoder(reduction=reduction)
    with torch.no_grad():
        trace = encoder(ragged([LENGTH]), PassOptions(leave=False, keep_hidden=True))
    kept = entering(trace)
    if all(len(places) == LENGTH for places in kept):
        return None

    def draw(drawing: Any) -> None:
        ax = drawing.subplots()
        for layer, places in enumerate(kept, start=1):
            colors = [BLUE if place in places else GRID for place in range(LENGTH)]
            ax.scatter(range(LENGTH), [layer] * LENGTH, s=80, marker="s", color=colors)
        ax.set(xlabel="position in the text (0: [CLS])", ylabel="layer")
        ax.set(yticks=range(1, LAYERS + 1))
        ax.invert_yaxis()
        ax.grid(False)

    return Figure(kind, "Rows that enter each layer, with random weights", "", draw, (5, 2.4))


def who_sees_whom(kind: str, pattern: Any) -> Figure | None:
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

    def draw(drawing: Any) -> None:
        ax = drawing.subplots()
        ax.pcolormesh(seen, cmap=ListedColormap([PAPER, BLUE]), vmin=0, vmax=1)
        ax.set(xlabel="key", ylabel="query", aspect="equal")
        ax.invert_yaxis()
        ax.grid(False)

    return Figure(kind, "Which of 48 tokens attend to which", "", draw, (2.8, 2.8))


def strength(kind: str, schedule: Any) -> Figure:
    """How the pruning strength grows over training, stage by stage."""

    def draw(drawing: Any) -> None:
        ax, start = drawing.subplots(), 0.0
        for stage in schedule.stages(3, [1, 2, 3]):
            progress = np.linspace(0, 1, 61)
            values = [stage.strength(float(done)) for done in progress]
            ax.plot(start + stage.share * progress, values, color=BLUE)
            name = f"{'soft, ' if stage.soft else ''}exits: {stage.exits}"
            ax.text(start + stage.share / 2, 1.1, name, ha="center")
            start += stage.share
            ax.axvline(start, color=MUTED, lw=0.5)
        ax.set(xlabel="share of all steps", ylabel="strength", xlim=(0, 1), ylim=(-0.05, 1.3))

    return Figure(kind, "Strength over the training, stage by stage", "", draw, (5, 1.8))


def leaving(kind: str) -> Picture | None:
    """Where the sentences of the kept run leave under a rule with its default settings; None where
    the rule reads more than logits, chooses no layer, or answers of another kind."""
    cls = class_of("exit", kind)
    if kind in ("fixed", "never") or cls.observe is not ExitRule.observe or SINGLE not in cls.kinds:
        return None
    rule = build("exit", {"kind": kind, "layers": tuple(range(NUM_LAYERS))})
    depth_B = at_budget(HALF).record.replay(rule).depth_B
    shares = 100 * np.bincount(depth_B, minlength=NUM_LAYERS + 1) / len(depth_B)

    def draw(c: Canvas) -> None:
        column, top, bottom = (WIDTH - 20) / len(shares), 50, 150
        c.text(10, 18, f"sentences that leave at each layer (%), mean {depth_B.mean():.1f}")
        for layer, share in enumerate(shares):
            x, tall = 10 + column * layer, share * (bottom - top) / shares.max()
            c.box(x, bottom - tall, column - 2, tall, "blue")
            if share >= 0.5:
                c.text(x + column / 2 - 1, bottom - tall - 5, f"{share:.0f}", "ink", "middle")
            c.text(x + column / 2 - 1, bottom + 16, str(layer), "muted", "middle")

    words = (
        f"The {len(depth_B)} sentences of SST-2's dev set in a 12-layer model, with the rule's "
        "default settings at every exit; layer 0 is before the first one. This shows where "
        "sentences leave, and not how accurate the answers are."
    )
    return Picture(kind, "Where sentences leave", words, 176, draw)
