"""The pictures of "How it works", each drawn from the kept run (`kept_run.py`).

Shapes: B examples, L layers, C classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from docs.site.canvas import COLORS, LEFT, RIGHT, WIDTH, Axes, Canvas
from docs.site.kept_run import (
    HALF,
    NUM_LAYERS,
    THIRD,
    accuracy,
    agreement,
    at_agreement,
    at_budget,
    at_depth,
    dial,
    fixed_depths,
    held_out,
)
from docs.site.made import SCHEMES, Page, in_schemes, shown
from eat_lightning.record.claim import allowed
from eat_lightning.report.study import KeptRow

SIZE = 32  # sentences of the batch
LEVEL, CONFIDENCE = 0.02, 0.9  # of the certificate
PLACE = re.compile(r"<!-- picture: (\w+) -->")  # where the page shows one


@dataclass(frozen=True)
class Picture:
    """One picture with a paragraph that says what it shows.

    Args:
        title: what a screen reader says.
        words: the paragraph below it.
    """

    name: str
    title: str
    words: str
    height: int
    draw: Callable[[Canvas], None]

    def svg(self, scheme: str) -> str:
        canvas = Canvas(self.title, self.height, COLORS[scheme])
        self.draw(canvas)
        return canvas.svg()

    def files(self, folder: str) -> list[Page]:
        """Its SVGs in a folder of the site."""
        return in_schemes(self.name, tuple(map(self.svg, SCHEMES)), folder)

    def markdown(self, folder: str) -> str:
        """The picture and its paragraph."""
        return f"{shown(self.title, f'{folder}/{self.name}')}\n\n{self.words}"


@dataclass(frozen=True)
class Batch:
    """The first sentences of dev, deepest first."""

    tokens_B: np.ndarray
    depth_B: np.ndarray
    right_B: np.ndarray

    @classmethod
    def of(cls, point: KeptRow) -> Batch:
        trace, record = point.known, point.record
        right_B = trace.logits_BC.argmax(1) == record.labels
        tokens_B, depth_B = record.lengths[:SIZE], trace.depth_B[:SIZE]
        order_B = np.lexsort((tokens_B, depth_B))[::-1]
        return cls(tokens_B[order_B], depth_B[order_B], right_B[:SIZE][order_B])

    @property
    def spent(self) -> float:
        """The share of all token-layers that is run."""
        return float(self.tokens_B @ self.depth_B / (self.tokens_B.sum() * NUM_LAYERS))

    def entering(self, layer: int) -> int:
        """How many sentences run a layer."""
        return int((self.depth_B >= layer).sum())


def packing() -> Picture:
    lengths = at_budget(HALF).record.lengths[:8]
    longest, rows = int(lengths.max()), int(lengths.sum())
    unit = (WIDTH - 20) / longest
    empty = 100 * (1 - rows / (longest * len(lengths)))

    def draw(c: Canvas) -> None:
        c.text(10, 20, f"padded: {longest * len(lengths)} rows, {empty:.0f} % of them empty")
        for i, length in enumerate(lengths):
            c.box(10, 28 + 12 * i, longest * unit, 10, "pale")
            c.box(10, 28 + 12 * i, length * unit, 10, alternating(i))
        c.text(10, 148, f"packed: {rows} rows, end to end")
        start = 0
        for i, length in enumerate(lengths):
            end = start + int(length)
            while start < end:  # a line is as wide as above
                line, place = divmod(start, longest)
                fits = min(end - start, longest - place)
                c.box(10 + place * unit, 156 + 12 * line, fits * unit, 10, alternating(i))
                start += fits

    words = (
        f"The first {len(lengths)} sentences of SST-2's dev set, padded and packed. Each row is "
        f"one token. Padding to the longest sentence leaves {empty:.0f} % of the rows empty, and "
        "a matrix product computes those as well."
    )
    height = 164 + 12 * -(-rows // longest)
    return Picture("packing", "Packing", words, height, draw)


def alternating(i: int) -> str:
    return ("blue", "orange")[i % 2]


def batch() -> Picture:
    found = Batch.of(at_budget(HALF))
    column, top, tall = (RIGHT - 60) / NUM_LAYERS, 48, 190
    unit = tall / found.tokens_B.sum()

    def draw(c: Canvas) -> None:
        c.text(10, 18, f"A batch of {SIZE} sentences: how many are left")
        c.box(60, top, column * NUM_LAYERS, tall, "pale")
        y = top + tall
        for tokens, depth, right in zip(found.tokens_B, found.depth_B, found.right_B, strict=True):
            y -= tokens * unit
            width = column * int(depth)
            c.box(52, y, 8 + width, max(1, tokens * unit - 0.8), "blue" if right else "orange")
        for layer in range(1, NUM_LAYERS + 1):
            x = 60 + column * (layer - 0.5)
            c.text(x, top - 8, str(found.entering(layer)), "ink", "middle")
            c.text(x, top + tall + 16, str(layer), "muted", "middle")
        c.text(10, top - 8, "left")
        c.text(10, top + tall + 16, "layer", "muted")

    words = (
        f"A batch of {SIZE} sentences. Each bar is one sentence; its height is its number of "
        "tokens, and it ends at the layer where the sentence exits. This batch needs "
        f"{100 * found.spent:.0f} % of the full work. Blue sentences are classified correctly "
        f"({found.right_B.sum()} of {SIZE}), orange ones are not."
    )
    return Picture("batch", "A batch that thins out", words, 262, draw)


def heads() -> Picture:
    """Each head's confidence for one sentence of each depth, up to where it leaves."""
    point = at_budget(THIRD)
    record, taus = point.record, 100 * np.array(point.row.exit.arguments["tau"])
    first = {d: int(np.flatnonzero(point.known.depth_B == d)[0]) for d in (0, 1, 3, 5, 7, 9, 12)}
    column, foot = (WIDTH - 20) / (NUM_LAYERS + 1), 32 + 30 * len(first)

    def draw(c: Canvas) -> None:
        c.text(10, 18, "Confidence of each head (%), one sentence per line")
        for i, (depth, example) in enumerate(first.items()):
            y = 32 + 30 * i
            for layer in range(NUM_LAYERS + 1):
                shade = "blue" if layer == depth else "pale" if layer < depth else "paper"
                c.box(10 + column * layer, y, column - 2, 26, shade)
                if layer <= depth:
                    sure = confidence(record.guesses[layer][example])
                    ink = "paper" if layer == depth else "ink"
                    c.text(9 + column * (layer + 0.5), y + 17, f"{int(sure)}", ink, "middle")
        for layer in range(NUM_LAYERS + 1):
            c.text(9 + column * (layer + 0.5), foot + 14, str(layer), "muted", "middle")
        c.text(10, foot + 32, "layer; 0: before the first one", "muted")

    words = (
        "Each line is one sentence, and each number is a head's confidence. The sentence exits at "
        "the first head whose confidence reaches that head's threshold (blue). For a budget of a "
        f"third of the FLOPs, the thresholds lie between {np.floor(taus.min()):.0f} and "
        f"{np.ceil(taus.max()):.0f} %. The last sentence runs all layers."
    )
    return Picture("heads", "Heads", words, foot + 42, draw)


def confidence(logits_C: np.ndarray) -> float:
    shares_C = np.exp(logits_C.astype(np.float64) - logits_C.max())
    return float(100 * shares_C.max() / shares_C.sum())


def dial_picture() -> Picture:
    half, strict = at_budget(HALF), at_agreement(0.98)

    def draw(c: Canvas) -> None:
        axes = Axes(c, 93, 100, 200)
        axes.draw([94, 96, 98, 100], "answers equal to those of full depth (%)")
        points = [axes.at(m.row.flops_ratio, agreement(m)) for m in dial()]
        c.line([*points, axes.at(1, 100)], "blue")
        for x, y in points:
            c.dot(x, y, "blue", 3)
        x, y = axes.at(half.row.flops_ratio, agreement(half))
        c.line([(x, 200), (x, y)], "orange", dashed=True)
        c.text(x + 6, 190, "budget=0.5", "orange")
        x, y = axes.at(strict.row.flops_ratio, agreement(strict))
        c.line([(LEFT, y), (x, y)], "orange", dashed=True)
        c.text(LEFT + 2, y - 5, "agree=0.98", "orange")

    words = (
        "Each dot is one operating point of this model, measured on the dev set. A budget of 0.5 "
        f"used {half.row.flops_ratio:.2f} of the FLOPs and kept {agreement(half):.1f} % of the "
        "answers. The dial is fitted on other data, so its settings are estimates: the point "
        f"chosen to keep 98 % of the answers kept {agreement(strict):.1f} %."
    )
    return Picture("dial", "The dial", words, 246, draw)


def certificate() -> Picture:
    record, points = held_out(), dial()[::-1]  # from strict to lax
    full_B = record.guesses[NUM_LAYERS].argmax(1)
    most = allowed(len(record), LEVEL, 1 - CONFIDENCE)
    traces = [record.replay(m.row.exit.build()) for m in points]
    changed = [int((trace.logits_BC.argmax(1) != full_B).sum()) for trace in traces]
    passed = int(np.cumprod([n <= most for n in changed]).sum())
    column = (RIGHT - LEFT) / len(changed)

    def draw(c: Canvas) -> None:
        top, bottom = 34, 190
        unit = (bottom - top) / max(*changed, most)
        c.text(8, 18, f"changed answers of {len(record)} held-out texts")
        for i, count in enumerate(changed):
            x, shade = LEFT + column * i, "blue" if i < passed else "orange"
            c.box(x, bottom - max(1, count * unit), column - 2, max(1, count * unit), shade)
            if i % 3 == 0:
                budget = f"{points[i].row.budget:g}"
                c.text(x + column / 2, bottom + 16, budget, "muted", "middle")
        y = bottom - most * unit
        c.line([(LEFT, y), (RIGHT, y)], "ink", dashed=True)
        c.text(LEFT + 2, y - 6, f"{most} may change")
        c.text((LEFT + RIGHT) / 2, bottom + 34, "budget, from strict to lax", "ink", "middle")

    words = (
        f"Operating points from strict to lax, tested on {len(record)} held-out texts. Testing "
        "stops at the first point that changes too many answers, and the point before it is "
        f"certified. Here that is a budget of {points[passed - 1].row.budget:g}: with "
        f"{100 * CONFIDENCE:.0f} % confidence, at most {100 * LEVEL:g} % of the answers change on "
        "texts drawn from the same distribution."
    )
    return Picture("certificate", "A certificate", words, 236, draw)


def beside() -> Picture:
    """Accuracy against cost where every example leaves at one layer, and where each chooses."""

    def draw(c: Canvas) -> None:
        axes = Axes(c, 82, 94, 200)
        axes.draw([82, 85, 88, 91, 94], "accuracy (%)")
        for found, shade in ((fixed_depths(), "orange"), (dial(), "blue")):
            points = [axes.at(m.row.flops_ratio, accuracy(m)) for m in found]
            c.line(points, shade)
            for x, y in points:
                c.dot(x, y, shade, 3)
        c.text(*axes.at(0.52, 87.5), "one depth for all", "orange")
        c.text(*axes.at(0.02, 92.8), "early exits", "blue")

    half, depth = at_budget(HALF), at_depth(6)
    words = (
        f"Early exits reach {accuracy(half):.1f} % accuracy at {half.row.flops_ratio:.2f} of the "
        "FLOPs. If every sentence exits at layer 6, accuracy is "
        f"{accuracy(depth):.1f} % at {depth.row.flops_ratio:.2f}. Where the two lines meet, "
        "choosing a depth for each sentence brings nothing."
    )
    return Picture("beside", "Fixed depth beside early exits", words, 246, draw)


def pictures() -> list[Picture]:
    return [packing(), batch(), heads(), dial_picture(), certificate(), beside()]


def pages() -> list[Page]:
    """The files of all pictures."""
    return [page for picture in pictures() for page in picture.files("how")]


def with_pictures(markdown: str) -> str:
    """A page with each picture in its place, and below it what it shows in numbers."""
    if not PLACE.search(markdown):
        return markdown
    drawn = {picture.name: picture for picture in pictures()}
    return PLACE.sub(lambda place: drawn[place[1]].markdown("how"), markdown)
