"""README's chart and its table of alternatives, from kept rows of `experiments`.

    python -m docs.site.front

writes docs/figures/speed-light.svg and speed-dark.svg, and in README.md the table between
`<!-- rows: beside -->` and `<!-- end -->`. Both are about one model: MPNet, 12 layers, SST-2.
"""

from __future__ import annotations

from typing import Any

from docs.site.canvas import Canvas
from docs.site.how import Picture
from docs.site.made import ROOT, SCHEMES
from eat_lightning.files import write_text
from eat_lightning.report import result
from eat_lightning.report.result import Result
from experiments.adapt.adaptations import Adaptation, Candidate, adaptations
from experiments.study import HERE, TABLE

README, FIGURES = ROOT / "README.md", ROOT / "docs/figures"
TITLE = "SST-2, phrases; MPNet, 12 layers"
STUDENT, SAME = "MPNet, 6 layers", "agree 0.99"  # as pays names them
HEAD = "| | needs | guarantees | measured on SST-2, 12 layers |\n|---|---|---|---|\n"
LEFT, LONGEST = 10, 300  # where bars begin, and the width of the longest


def adapted() -> Adaptation:
    """What `eat adapt` made of the model, for one text at a time."""
    found = adaptations(HERE / "adapt/results")
    return next(each for each in found if (each.title, each.batch) == (TITLE, 1))


def candidates() -> list[Candidate]:
    """Transformers, the fastest engine without exits, and what was chosen."""
    made = adapted()
    return [each for each in (made.original, made.static, made.chosen) if each]


def milliseconds() -> list[float]:
    """Those of `candidates` for a text."""
    return [each.ms or 0.0 for each in candidates()]


def speed_ups() -> tuple[float, float, float]:
    """How many times as fast: in all, by engine and precision, by exits on top."""
    slow, static, fast = milliseconds()
    return slow / fast, slow / static, static / fast


def chart() -> Picture:
    original, static, _ = candidates()
    names = (
        original.name,
        f"fastest engine without exits: {static.name}",
        "the same with early exits",
    )
    times = milliseconds()

    def draw(c: Canvas) -> None:
        c.text(LEFT, 20, "Milliseconds per text")
        for place, (name, ms) in enumerate(zip(names, times, strict=True)):
            y, width = 46 + 44 * place, LONGEST * ms / times[0]
            c.text(LEFT, y, name, "muted")
            c.box(LEFT, y + 6, width, 16, "blue" if place else "orange")
            c.text(LEFT + width + 6, y + 19, f"{ms:.1f}")

    return Picture("speed", "Milliseconds per text", "", 168, draw)


def kept(name: str, **wanted: Any) -> Result:
    """The line of `experiments/pays` on SST-2 that `wanted` identifies."""
    found = result.read(HERE / f"pays/results/{name}.jsonl")
    return next(line for line in found if {"task": "sst2", **wanted}.items() <= line.what.items())


def beside() -> str:
    """The table: what each way to a faster classifier needs, guarantees and gave."""
    whole, engine, _ = speed_ups()
    student = kept("times", system=STUDENT)["speed_up"]
    exits = kept("times", system="MPNet", setting="cost 0.38")[f"over {STUDENT}"]
    cascade = kept("plane", system="MiniLM > MPNet", kind="cascade by confidence", setting=SAME)
    alone = kept("plane", system="MPNet", kind="exits", setting=SAME)
    lines = (
        (
            "int8 alone",
            "an inference engine",
            "nothing",
            f"{engine:.1f} times as fast as transformers",
        ),
        (
            "a student of half the layers",
            "a training run",
            "nothing",
            f"{student.value:.1f} times as fast as all layers; exits that are no slower: "
            f"{exits.text(sign='+', unit=' points of accuracy')}",
        ),
        (
            "a cascade",
            "a second, smaller classifier",
            "nothing",
            f"for 99 % of the answers, {cascade['share']:.2f} of the FLOPs; exits need "
            f"{alone['share']:.2f}",
        ),
        (
            "`eat adapt`",
            "unlabelled texts",
            "at most 1 % of answers change (95 % confidence)",
            f"{whole:.1f} times as fast as transformers",
        ),
    )
    return HEAD + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def filled() -> str:
    """README with its table made again."""
    text = README.read_text("utf-8")
    return TABLE.sub(lambda match: f"{match[1]}{beside()}{match[4]}", text)


def main() -> None:
    for scheme in SCHEMES:
        write_text(FIGURES / f"speed-{scheme}.svg", chart().svg(scheme))
    write_text(README, filled())


if __name__ == "__main__":
    main()
