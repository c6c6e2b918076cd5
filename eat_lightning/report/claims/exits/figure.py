"""Figures of exits: shares by layer under each rule, accuracy of exits, and depth by text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from eat_lightning.report.claims.exits.rule import Rule
from eat_lightning.report.figures import GRID, INK, MARKERS, MUTED, PAPER, Figure
from eat_lightning.report.labels import part
from eat_lightning.report.panels import dot, in_panels
from eat_lightning.report.passes import examples_text
from eat_lightning.report.study import grouped_by

SHARES = (
    "Share of the examples that leave at each exit, for each rule; the rest (pale) runs all "
    "layers. {n}, mean over seeds."
)
LEFT = (
    "Filled: accuracy of the examples that left at an exit; hollow: accuracy of the last layer "
    "on the same examples; grey: examples that ran all layers. 95 % Wilson intervals for the "
    "number of examples of one seed; {n}."
)
DEPTH = (
    "Mean depth of examples of similar {what}, with a line for each rule. Vertical: 95 % "
    "bootstrap interval over examples, seeds averaged; {n}."
)
BELOW: dict[str, Any] = {"loc": "upper center", "columnspacing": 1, "handletextpad": 0.4}


def figures_of(task: str, rules: Sequence[Rule]) -> list[Figure]:
    """Return the figure of shares, and the others where examples are stored."""
    known = [rule for rule in rules if rule.examples is not None]
    made = [shares_figure(task, rules)]
    made += [left_figure(task, known)] if known else []
    for what, key in (("length", "lengths"), ("difficulty", "difficulties")):
        if some := [rule for rule in known if getattr(rule, key)]:
            made.append(depth_figure(task, what, key, some))
    return made


def by_pass(rules: Iterable[Rule]) -> list[list[Rule]]:
    """Group the rules by panel."""
    return [*grouped_by(rules, lambda rule: rule.found.slug).values()]


def n_text(rules: Sequence[Rule]) -> str:
    return examples_text(own[0].found for own in by_pass(rules))


def looks_of(own: Sequence[Rule]) -> dict[int, dict[str, Any]]:
    """Return a marker for each layer with exits. The first has the strongest colour; the last
    layer, which is always shown, has none.
    """
    last = own[0].found.row.num_layers
    layers = sorted({last}.union(*(rule.shares for rule in own)))
    looks: dict[int, dict[str, Any]] = {}
    for i, layer in enumerate(layers):
        strength = {"color": own[0].found.look.color, "alpha": opacity(i, len(layers) - 1)}
        look = {"color": MUTED} if layer == last else strength
        looks[layer] = {"marker": MARKERS[i % 8], **look}
    return looks


def shares_figure(task: str, rules: Sequence[Rule]) -> Figure:
    """Plot shares as stacked bars, from rows alone."""
    groups = by_pass(rules)
    name, title = f"exit-shares-{task}", f"Where examples of {task} leave"
    caption, size = SHARES.format(n=n_text(rules)), (3.0, 0.9 + 0.28 * max(map(len, groups)))
    return in_panels(name, title, caption, groups, draw_shares, ("examples (%)", ""), size)


def draw_shares(ax: Any, own: Sequence[Rule]) -> None:
    last, looks = own[0].found.row.num_layers, looks_of(own)
    for layer, look in looks.items():
        early = {"color": look["color"], "alpha": look.get("alpha")}
        color: dict[str, Any] = {"color": GRID} if layer == last else early
        ax.barh(0, 0, label=f"layer {layer}", **color)
        for y, rule in enumerate(own):
            if layer in rule.shares:
                draw_share(ax, y, rule, layer, color)
    ax.set_yticks(range(len(own)), [rule.point.title for rule in own])
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.grid(False)
    ax.tick_params(axis="y", length=0)
    ax.set_title(own[0].found.name)
    anchor = (0.5, -0.45 / (0.25 + 0.28 * len(own)))
    ax.legend(ncols=len(looks), handlelength=1, bbox_to_anchor=anchor, **BELOW)


def draw_share(ax: Any, y: int, rule: Rule, layer: int, color: Mapping[str, Any]) -> None:
    """Draw one segment of a rule's bar, after those of earlier layers."""
    means = rule.shares.mean()
    width, left = means[layer], means[means.index < layer].sum()
    if width > 0:
        ax.barh(y, width, left=left, height=0.72, **color)
    if width >= 9:  # wide enough for its number
        text = f"{width:.0f}"
        ax.text(left + width / 2, y, text, ha="center", va="center", fontsize=6.5)


def left_figure(task: str, rules: Sequence[Rule]) -> Figure:
    name, title = f"exit-accuracy-{task}", f"Accuracy of early exits on {task}"
    caption, labels = LEFT.format(n=n_text(rules)), ("", f"right on {task} (%)")
    groups, size = by_pass(rules), (3.0, 2.8)
    return in_panels(name, title, caption, groups, draw_left, labels, size, sharey=True)


def draw_left(ax: Any, own: Sequence[Rule]) -> None:
    """Draw the accuracy of each group, next to that of the last layer on the same examples."""
    looks = looks_of(own)
    for x, rule in enumerate(own):
        groups = [line for line in rule.places if line["layer"] is not None]
        for i, line in enumerate(groups):
            at, look = x + 0.8 * ((i + 0.4) / len(groups) - 0.5), looks[line["layer"]]
            dot(ax, at, line["accuracy"].times(100), **look)
            if "last" in line:
                hollow, beside = look | {"markerfacecolor": PAPER, "mew": 1}, 0.28 / len(groups)
                dot(ax, at + beside, line["last"].times(100), **hollow)
    ax.set_xticks(range(len(own)), [broken(rule.point.title) for rule in own])
    ax.grid(False, axis="x")
    ax.set_title(own[0].found.name)
    for layer, look in looks.items():
        ax.plot([], [], label=f"layer {layer}", linestyle="", **look)
    ax.legend(ncols=len(looks), bbox_to_anchor=(0.5, -0.2), **BELOW)


def depth_figure(task: str, what: str, key: str, rules: Sequence[Rule]) -> Figure:
    """Plot depth against length or difficulty."""

    def finish(drawing: Any, axes: list[Any], texts: list[Any]) -> None:
        drawing.draw_without_rendering()
        for ax, names in zip(axes, texts, strict=True):
            part(ax, names)

    name, title = f"depth-{what}-{task}", f"Depth against {what} on {task}"
    labels = ("tokens, mean of each bin" if what == "length" else what), "layers run, mean"
    caption, draw = DEPTH.format(what=what, n=n_text(rules)), partial(draw_depths, key=key)
    groups = by_pass(rules)
    return in_panels(name, title, caption, groups, draw, labels, finish=finish, sharey=True)


def draw_depths(ax: Any, own: Sequence[Rule], key: str) -> list[Any]:
    """Draw the depths; returns the lines' labels, which may still overlap."""
    texts, base = [], own[0].found.look
    for i, rule in enumerate(own):
        look = {"color": base.color, "alpha": opacity(len(own) - 1 - i, len(own))}
        lines = getattr(rule, key)
        xs, ys = [line["x"] for line in lines], [line["depth"].value for line in lines]
        ax.plot(xs, ys, **look)
        for line in lines:
            dot(ax, line["x"], line["depth"], marker=base.marker, markersize=4, **look)
        text = "  " + broken(rule.point.title.replace("tau", "τ")).replace("\n", "\n  ")
        texts.append(ax.text(xs[-1], ys[-1], text, va="center", fontsize=6.5, color=INK))
    ax.set_title(own[0].found.name)
    ax.margins(x=0.12)
    return texts


def opacity(index: int, count: int) -> float:
    """Opacity of series `index` of `count`, from strong to weak."""
    return 0.95 - 0.6 * index / max(1, count - 1)


def broken(setting: str) -> str:
    """Break a long name into two lines: "patience 1 at 3/4"."""
    return setting.replace(" at ", "\nat ")
