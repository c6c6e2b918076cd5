"""The picture at the head of README and of the site: a batch that thins out, layer by layer.

    python -m docs.site.hero                            # draws docs/figures/hero.json again
    python -m docs.site.hero outputs/hero/<run> data    # first records the batch of a run anew

The run was trained with `eat train task=sst2 model=eat_pruned head.layers=all schedule=constant
reduction.ratio=0.2 reduction.layers=[1,2,3,4] encoder.pretrained=<MiniLM, 6 layers>
optimizer.lr=1e-4 trainer.max_steps=600 study=hero`. The batch is the first sentences of SST-2's dev
set, of which the file keeps no words: how many layers each token ran, and where its sentence left.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from docs.site.canvas import COLORS, WIDTH, Canvas
from docs.site.made import ROOT, SCHEMES, Page, in_schemes
from eat_lightning.files import write_text

FIGURES = ROOT / "docs/figures"
BATCH = FIGURES / "hero.json"
SIZE = 14  # sentences
LEFT, TOP, PITCH, TALL = 10, 42, 13, 9  # of the rows of tokens
COLUMN = 324  # where the tokens end
START, STEP, REST, ROUNDS = 1.0, 1.1, 4.0, 3  # seconds before, for each layer and after; plays
FADE = 0.25  # seconds


@dataclass(frozen=True)
class Sentence:
    """One sentence of the batch.

    Args:
        layers: how many layers each token ran, one digit a token.
        depth: the layer after which the sentence left.
    """

    layers: str
    depth: int


@dataclass(frozen=True)
class ThinningBatch:
    """The sentences in the order of the dev set, in a model of `num_layers`."""

    num_layers: int
    sentences: list[Sentence]

    @classmethod
    def read(cls) -> ThinningBatch:
        known = json.loads(BATCH.read_text("utf-8"))
        return cls(known["num_layers"], [Sentence(**each) for each in known["sentences"]])

    def write(self) -> None:
        lines = ",\n".join(json.dumps(asdict(each)) for each in self.sentences)
        text = f'{{"num_layers": {self.num_layers}, "sentences": [\n{lines}\n]}}\n'
        write_text(BATCH, text)

    def tokens_in(self, layer: int) -> int:
        """How many tokens run a layer."""
        return sum(int(ran) >= layer for each in self.sentences for ran in each.layers)

    def sentences_in(self, layer: int) -> int:
        return sum(each.depth >= layer for each in self.sentences)

    def spent(self, layer: int) -> float:
        """Percent of all layers for all tokens that is done after a layer."""
        done = sum(self.tokens_in(each) for each in range(1, layer + 1))
        return 100 * done / (self.num_layers * self.tokens_in(0))

    @property
    def words(self) -> str:
        """What the picture shows, for a reader who cannot see it."""
        return (
            f"A batch of {len(self.sentences)} sentences in {self.num_layers} layers: tokens are "
            f"dropped and sentences leave, and {self.spent(self.num_layers):.0f} % of the work is "
            "done"
        )


@dataclass
class Film:
    """A canvas whose parts change after a layer, and which rests on its last picture.

    Where motion is unwanted only that last picture is shown.
    """

    canvas: Canvas
    num_layers: int
    rules: dict[str, str]

    def moment(self, layer: int) -> float:
        """Seconds until a layer is done."""
        return START + STEP * layer

    @property
    def seconds(self) -> float:
        return self.moment(self.num_layers) + REST

    def after(self, layer: int) -> list[tuple[float, str]]:
        """Seen once a layer is done."""
        return [(0.0, "opacity:0"), (self.moment(layer), "opacity:1")]

    def during(self, layer: int) -> list[tuple[float, str]]:
        """Seen while a layer runs, the first one from the start."""
        start = [(0.0, "opacity:1")] if layer == 1 else self.after(layer - 1)
        return [*start, (self.moment(layer), "opacity:0")]

    def animation(self, name: str, steps: list[tuple[float, str]]) -> str:
        """Attribute of parts that take on each style at its second, and keep the last one."""
        frames, before = [], steps[0][1]
        for second, style in steps[1:]:
            start, end = (100 * at / self.seconds for at in (second, second + FADE))
            frames.append(f"{start:.1f}%{{{before}}}{end:.1f}%{{{style}}}")
            before = style
        self.rules[name] = f"0%{{{steps[0][1]}}}{''.join(frames)}100%{{{before}}}"
        return f'class="{name}"'

    @contextmanager
    def group(self, name: str, steps: list[tuple[float, str]], opacity: int = 1) -> Iterator[None]:
        """Parts that change together; `opacity`: at rest."""
        self.canvas.parts.append(f'<g {self.animation(name, steps)} opacity="{opacity}">')
        yield
        self.canvas.parts.append("</g>")

    def style(self) -> str:
        timing = f"{self.seconds:g}s linear {ROUNDS}"
        moves = "".join(
            f".{name}{{animation:{name} {timing}}}@keyframes {name}{{{frames}}}"
            for name, frames in self.rules.items()
        )
        return f"<style>@media (prefers-reduced-motion:no-preference){{{moves}}}</style>"

    def svg(self) -> str:
        self.canvas.parts.insert(0, self.style())
        return self.canvas.svg()


def shade(colors: dict[str, str], layers: int, of: int) -> str:
    """From pale to blue, by the layers that a token ran."""
    share = 0.12 + 0.88 * (layers - 1) / (of - 1)
    ends = [[int(colors[name][i : i + 2], 16) for i in (1, 3, 5)] for name in ("pale", "blue")]
    mixed = (round(low + share * (high - low)) for low, high in zip(*ends, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def draw(batch: ThinningBatch, scheme: str) -> str:
    """The picture as SVG."""
    height = TOP + PITCH * len(batch.sentences) + 44
    canvas = Canvas(batch.words, height, COLORS[scheme])
    film = Film(canvas, batch.num_layers, {})
    draw_tokens(film, batch)
    draw_depths(film, batch)
    draw_counts(film, batch)
    draw_work(film, batch, height - 30)
    return film.svg()


def draw_tokens(film: Film, batch: ThinningBatch) -> None:
    """A path for all tokens that end after the same layer: whole at first, then in their shade."""
    colors, num = film.canvas.colors, batch.num_layers
    unit = (COLUMN - LEFT) / max(len(each.layers) for each in batch.sentences)
    for layer in range(1, num + 1):
        boxes = "".join(
            f"M{LEFT + unit * place:.1f} {TOP + PITCH * row}h{unit - 1:.1f}v{TALL}h{1 - unit:.1f}z"
            for row, each in enumerate(batch.sentences)
            for place, ran in enumerate(each.layers)
            if int(ran) == layer
        )
        last = shade(colors, layer, num)
        steps = [(0.0, f"fill:{colors['blue']}"), (film.moment(layer), f"fill:{last}")]
        moves = film.animation(f"t{layer}", steps) if layer < num else ""
        if boxes:
            film.canvas.parts.append(f'<path {moves} fill="{last}" d="{boxes}"/>')


def draw_depths(film: Film, batch: ThinningBatch) -> None:
    """The layer after which each sentence left."""
    film.canvas.text(WIDTH - LEFT, TOP - 10, "left at layer", "muted", "end")
    for layer in sorted({each.depth for each in batch.sentences}):
        with film.group(f"a{layer}", film.after(layer)):
            for row, each in enumerate(batch.sentences):
                if each.depth == layer:
                    y = TOP + PITCH * row + TALL
                    film.canvas.text(WIDTH - LEFT, y, str(layer), "ink", "end")


def draw_counts(film: Film, batch: ThinningBatch) -> None:
    """What runs each layer; at the end, how to read the picture."""
    for layer in range(1, batch.num_layers + 1):
        counts = f"{batch.tokens_in(layer)} tokens of {batch.sentences_in(layer)} sentences"
        with film.group(f"c{layer}", film.during(layer), opacity=0):
            film.canvas.text(LEFT, 18, f"layer {layer}: {counts}")
    with film.group("end", film.after(batch.num_layers)):
        film.canvas.text(LEFT, 18, "stronger colour: the token ran more layers")


def draw_work(film: Film, batch: ThinningBatch, y: float) -> None:
    """A bar that grows with each layer, as long as all layers for all tokens would be."""
    num, whole = batch.num_layers, WIDTH - 2 * LEFT
    film.canvas.box(LEFT, y, whole, 6, "pale")
    shares = [batch.spent(layer) / batch.spent(num) for layer in range(num + 1)]
    steps = [(0.0, "transform:scaleX(0)")]
    steps += [
        (film.moment(layer - 1), f"transform:scaleX({shares[layer]:.3f})")
        for layer in range(1, num + 1)
    ]
    film.canvas.parts.append(f'<g transform="translate({LEFT} {y:g})">')
    with film.group("work", steps):
        film.canvas.box(0, 0, whole * batch.spent(num) / 100, 6, "blue")
    film.canvas.parts.append("</g>")
    for layer in range(1, num + 1):
        last = layer == num
        steps = film.after(layer - 1) if last else film.during(layer)
        with film.group(f"w{layer}", steps, opacity=int(last)):
            film.canvas.text(LEFT + 30, y + 21, f"{batch.spent(layer):.0f} %", "ink", "end")
    film.canvas.text(LEFT + 34, y + 21, f"of the work of all {num} layers for all tokens", "muted")


@cache
def pictures() -> tuple[str, ...]:
    """The SVG for each of SCHEMES."""
    return tuple(draw(ThinningBatch.read(), scheme) for scheme in SCHEMES)


def pages() -> list[Page]:
    """The picture's files on the site."""
    return in_schemes("hero", pictures(), ".")


def record(folder: str, data: str | None = None) -> ThinningBatch:
    """The first sentences of dev in a run, as its own reduction and exits treat them."""
    import numpy as np

    from eat_lightning.report.explorer import walk
    from eat_lightning.runs.run import Run

    run = Run.open(folder)
    encoder, _ = run.model()
    split = run.data(dir=data).split("validation").take(np.arange(SIZE))
    sentences = []
    for kept, places in walk(encoder, split):
        depth = int(kept.replay(kept.exit).depth_B[0])
        ran = [0] * int(kept.lengths[0])
        for layer, entered in enumerate(places[:depth], start=1):
            for place in entered:
                ran[place] = layer
        sentences.append(Sentence("".join(map(str, ran)), depth))
    return ThinningBatch(encoder.shape.num_layers, sentences)


def main() -> None:
    if sys.argv[1:]:
        record(*sys.argv[1:3]).write()
    for scheme, svg in zip(SCHEMES, pictures(), strict=True):
        write_text(Path(FIGURES, f"hero-{scheme}.svg"), svg)


if __name__ == "__main__":
    main()
