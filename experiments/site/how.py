"""How it works in six pictures, each of kept rows and records of one real run.

    python -m experiments.site.how

Writes the picture of README (batch-light.svg, batch-dark.svg); the site draws all six for its page.
The run (experiments/budgets/one_pass): MPNet, 12 layers, SST-2, heads of one pass, seed 1.
Texts are not kept.
Shapes: B examples, L layers, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from eat_lightning.deploy.certify.procedure._bounds import allowed
from eat_lightning.files import replacing
from eat_lightning.model.specification import Specification
from eat_lightning.record.record import Record
from eat_lightning.report.study import Measured, open_study
from experiments.site.canvas import COLORS, LEFT, RIGHT, WIDTH, Axes, Canvas
from experiments.site.made import ROOT, Page

FOLDER = Path(__file__).parent
RUN = ROOT / "experiments/budgets/one_pass"
CERTIFIED = FOLDER / "certificate.parquet"  # records of the part that nothing else has seen
NUM_LAYERS, SIZE, BUDGET, THIRD = 12, 32, 0.5, 0.33
LEVEL, CONFIDENCE = 0.02, 0.9


@dataclass(frozen=True)
class Picture:
    """title: its heading, and what a screen reader says. words: the paragraph below it."""

    name: str
    title: str
    words: str
    height: int
    draw: Callable[[Canvas], None]

    def svg(self, scheme: str) -> str:
        canvas = Canvas(self.title, self.height, COLORS[scheme])
        self.draw(canvas)
        return canvas.svg()


@cache
def kept() -> list[Measured]:
    return [m for m in open_study([str(RUN)]).measured if m.row.run == "sst2_mpnet_heads1"]


def at_budget(budget: float) -> Measured:
    return next(m for m in kept() if m.row.budget == budget)


def dial() -> list[Measured]:
    """The points of the dial that were measured, cheapest first."""
    found = [m for m in kept() if m.row.budget is not None]
    return sorted(found, key=lambda m: m.row.flops_ratio)


def fixed_depths() -> list[Measured]:
    return [m for m in kept() if m.row.baseline == "fixed depth"]


def percent(measured: Measured) -> float:
    return 100 * measured.row.score


@dataclass(frozen=True)
class Batch:
    """The first sentences of dev as they come, deepest first."""

    tokens_B: np.ndarray
    depth_B: np.ndarray
    right_B: np.ndarray

    @classmethod
    def of(cls, measured: Measured) -> Batch:
        outcome = measured.known
        right_B = outcome.logits_BC.argmax(1) == measured.record.labels
        found = measured.record.lengths[:SIZE], outcome.depth_B[:SIZE], right_B[:SIZE]
        order_B = np.lexsort((found[0], found[1]))[::-1]
        return cls(*(each[order_B] for each in found))

    @property
    def spent(self) -> float:
        """Share of the token-layers that are run."""
        return float(self.tokens_B @ self.depth_B / (self.tokens_B.sum() * NUM_LAYERS))

    def entering(self, layer: int) -> int:
        return int((self.depth_B >= layer).sum())


def packing() -> Picture:
    lengths = at_budget(BUDGET).record.lengths[:8]
    longest, rows = int(lengths.max()), int(lengths.sum())
    unit = (WIDTH - 20) / longest
    wasted = 100 * (1 - rows / (longest * len(lengths)))

    def draw(c: Canvas) -> None:
        c.text(10, 20, f"padded: {longest * len(lengths)} rows, {wasted:.0f} % of them empty")
        for i, length in enumerate(lengths):
            c.box(10, 28 + 12 * i, longest * unit, 10, "pale")
            c.box(10, 28 + 12 * i, length * unit, 10, color(i))
        c.text(10, 148, f"packed: {rows} rows, one behind another")
        start = 0
        for i, length in enumerate(lengths):
            end = start + int(length)
            while start < end:  # a line is as wide as above
                line, place = divmod(start, longest)
                fits = min(end - start, longest - place)
                c.box(10 + place * unit, 156 + 12 * line, fits * unit, 10, color(i))
                start += fits

    words = (
        "Sentences have different lengths. Other programs fill them up to the longest and multiply "
        "the empty rows too. Here a batch lies packed from the embeddings to the heads. So a token "
        "that is dropped, or an example that leaves, is work that is not done. (The first "
        f"{len(lengths)} sentences of SST-2's dev set; a row is a token.)"
    )
    height = 164 + 12 * -(-rows // longest)
    return Picture(
        "packing", "Packing", f"{words} [More on packing](concepts/packing.md)", height, draw
    )


def color(i: int) -> str:
    return ("blue", "orange")[i % 2]


def batch() -> Picture:
    found = Batch.of(at_budget(BUDGET))
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

    right = int(found.right_B.sum())
    words = (
        "A bar is a sentence, as high as its tokens, through the layers that it runs. Easy ones "
        f"leave early, and the others go on: {100 * found.spent:.0f} % of the work is done. Blue "
        f"answers are right ({right} of {SIZE}), orange ones are wrong."
    )
    title = "A batch that thins out"
    return Picture(
        "batch", title, f"{words} [One sentence on its way](concepts/one-sentence.md)", 262, draw
    )


def heads() -> Picture:
    """Each head's confidence for one sentence of each depth, up to where it leaves."""
    measured = at_budget(THIRD)
    outcome, taus = measured.known, 100 * np.array(measured.row.exit.arguments["tau"])
    depths = [0, 1, 3, 5, 7, 9, 12]
    first = {d: int(np.flatnonzero(outcome.depth_B == d)[0]) for d in depths}
    column = (WIDTH - 20) / (NUM_LAYERS + 1)

    def draw(c: Canvas) -> None:
        c.text(10, 18, "How sure each head is (%), a line is a sentence")
        for i, (depth, example) in enumerate(first.items()):
            y = 32 + 30 * i
            for layer in range(NUM_LAYERS + 1):
                leaves = layer == depth
                shade = "blue" if leaves else "pale" if layer < depth else "paper"
                c.box(10 + column * layer, y, column - 2, 26, shade)
                if layer <= depth:
                    sure = confidence(measured.record.guesses[layer][example])
                    x = 9 + column * (layer + 0.5)
                    c.text(x, y + 17, f"{int(sure)}", "paper" if leaves else "ink", "middle")
        for layer in range(NUM_LAYERS + 1):
            x = 9 + column * (layer + 0.5)
            c.text(x, 32 + 30 * len(first) + 14, str(layer), "muted", "middle")
        c.text(10, 32 + 30 * len(first) + 32, "layer; 0: before the first one", "muted")

    words = (
        "A head behind every layer guesses, and says how sure it is. A sentence leaves where a "
        "head is sure enough (blue). At a third of the cost each head has its threshold, from "
        f"{np.floor(taus.min()):.0f} to {np.ceil(taus.max()):.0f} %. The last sentence runs all "
        "layers. The heads learned the model's answers from texts without labels; the model "
        "itself did not change."
    )
    height = 32 + 30 * len(depths) + 42
    return Picture("heads", "Heads", f"{words} [More on exits](concepts/exits.md)", height, draw)


def confidence(logits_C: np.ndarray) -> float:
    shares_C = np.exp(logits_C.astype(np.float64) - logits_C.max())
    return float(100 * shares_C.max() / shares_C.sum())


def same(measured: Measured) -> float:
    """The share (%) of answers that stay what full depth says."""
    outcome = measured.known
    full_B = measured.record.guesses[NUM_LAYERS].argmax(1)
    return float(100 * (outcome.logits_BC.argmax(1) == full_B).mean())


def dial_picture() -> Picture:
    half, strict = at_budget(BUDGET), next(m for m in kept() if m.row.agree == 0.98)

    def draw(c: Canvas) -> None:
        axes = Axes(c, 93, 100, 200)
        axes.draw([94, 96, 98, 100], "answers that stay what full depth says (%)")
        points = [axes.at(m.row.flops_ratio, same(m)) for m in dial()]
        c.line([*points, axes.at(1, 100)], "blue")
        for x, y in points:
            c.dot(x, y, "blue", 3)
        x, y = axes.at(half.row.flops_ratio, same(half))
        c.line([(x, 200), (x, y)], "orange", dashed=True)
        c.text(x + 6, 190, "budget=0.5", "orange")
        x, y = axes.at(strict.row.flops_ratio, same(strict))
        c.line([(LEFT, y), (x, y)], "orange", dashed=True)
        c.text(LEFT + 2, y - 5, "agree=0.98", "orange")

    words = (
        "All settings of a run lie in one order, from full depth to the cheapest. A budget, or "
        "the share of answers that have to stay, is looked up in it. No label is read. On the dev "
        f"set a budget of a half spends {half.row.flops_ratio:.2f}, and {same(half):.1f} % of the "
        "answers stay. The dial is an estimate: where 98 % of them were to stay, "
        f"{same(strict):.1f} % did."
    )
    return Picture("dial", "The dial", f"{words} [More on budgets](concepts/budgets.md)", 246, draw)


def certificate() -> Picture:
    recorded = Record.read(CERTIFIED)
    full_B = recorded.guesses[NUM_LAYERS].argmax(1)
    most = allowed(len(recorded), LEVEL, 1 - CONFIDENCE)
    changed = [changed_answers(recorded, m.row.exit, full_B) for m in reversed(dial())]
    passed = int(np.cumprod([n <= most for n in changed]).sum())
    column = (RIGHT - LEFT) / len(changed)

    def draw(c: Canvas) -> None:
        top, bottom = 34, 190
        unit = (bottom - top) / max(*changed, most)
        c.text(8, 18, f"changed answers of {len(recorded)} that nothing else saw")
        for i, count in enumerate(changed):
            x, shade = LEFT + column * i, "blue" if i < passed else "orange"
            c.box(x, bottom - max(1, count * unit), column - 2, max(1, count * unit), shade)
            if i % 3 == 0:
                budget = f"{dial()[-1 - i].row.budget:g}"
                c.text(x + column / 2, bottom + 16, budget, "muted", "middle")
        y = bottom - most * unit
        c.line([(LEFT, y), (RIGHT, y)], "ink", dashed=True)
        c.text(LEFT + 2, y - 6, f"{most} may change")
        c.text((LEFT + RIGHT) / 2, bottom + 34, "budget, from strict to lax", "ink", "middle")

    words = (
        "A certificate bounds how many answers change. Settings are tested from strict to lax, on "
        f"{len(recorded)} texts that nothing else has seen. The first that changes too many ends "
        f"it. The one before it, a budget of {dial()[-passed].row.budget:g}, is taken. Then at "
        f"most {100 * LEVEL:g} % of answers change, with {100 * CONFIDENCE:.0f} % confidence, for "
        "texts drawn as those."
    )
    title = "A certificate"
    return Picture(
        "certificate", title, f"{words} [More on certificates](concepts/certificates.md)", 236, draw
    )


def changed_answers(recorded: Record, exit: Specification, full_B: np.ndarray) -> int:
    return int((recorded.replay(exit.build()).logits_BC.argmax(1) != full_B).sum())


def beside() -> Picture:
    """Accuracy against cost where everybody leaves at one layer, and where each example does."""

    def draw(c: Canvas) -> None:
        axes = Axes(c, 82, 94, 200)
        axes.draw([82, 85, 88, 91, 94], "accuracy (%)")
        for found, shade in ((fixed_depths(), "orange"), (dial(), "blue")):
            points = [axes.at(m.row.flops_ratio, percent(m)) for m in found]
            c.line(points, shade)
            for x, y in points:
                c.dot(x, y, shade, 3)
        c.text(*axes.at(0.52, 87.5), "one depth for all", "orange")
        c.text(*axes.at(0.02, 92.8), "each its own", "blue")

    half, depth = at_budget(BUDGET), next(m for m in fixed_depths() if m.row.depth == 6)
    words = (
        "Half of the cost can be saved without any choosing: everybody leaves at layer 6. That is "
        f"what exits have to beat. Here they are right on {percent(half):.1f} % for "
        f"{half.row.flops_ratio:.2f} of the cost. Layer 6 is right on {percent(depth):.1f} % for "
        f"{depth.row.flops_ratio:.2f}. Where both lines meet, one depth for all is as good."
    )
    title = "Fixed depth beside choosing"
    return Picture(
        "beside", title, f"{words} [More on fixed depth](concepts/fixed-depth.md)", 246, draw
    )


def pictures() -> list[Picture]:
    return [packing(), batch(), heads(), dial_picture(), certificate(), beside()]


def pages() -> list[Page]:
    """The site's page and its pictures, light and dark."""
    found = pictures()
    parts = [f"## {each.title}\n\n{shown(each, 'how/')}\n\n{each.words}\n" for each in found]
    head = (
        "# How it works, in six pictures\n\nAll are of one real run: a model of 12 layers (MPNet) "
        "that tells whether a sentence on a film is positive (SST-2). Its exits learned from texts "
        "without labels. [Its rows](results/budgets/one_pass.md).\n"
    )
    drawn = [page for each in found for page in files(each, "how")]
    return [Page("how.md", "\n".join([head, *parts])), *drawn]


def files(picture: Picture, folder: str) -> list[Page]:
    """A picture's files in a folder of the site, one for each scheme."""
    return [
        Page(f"{folder}/{picture.name}-{scheme}.svg", picture.svg(scheme).encode())
        for scheme in COLORS
    ]


def shown(picture: Picture, folder: str = "") -> str:
    """Both schemes as Markdown; the theme shows the one that fits its switch."""
    start = f"![{picture.title}]({folder}{picture.name}"
    return "\n".join(f"{start}-{scheme}.svg#only-{scheme})" for scheme in COLORS)


def main() -> None:
    for scheme in COLORS:
        with replacing(FOLDER / f"batch-{scheme}.svg") as beside_it:
            beside_it.write_text(batch().svg(scheme), "utf-8")
    print(batch().words)


if __name__ == "__main__":
    main()
