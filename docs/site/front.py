"""README's chart and its table of alternatives, from kept rows of `experiments`.

    python -m docs.site.front

writes docs/figures/speed-light.svg and speed-dark.svg, and in README.md the table between
`<!-- rows: beside -->` and `<!-- end -->`. Both are about one model: MPNet, 12 layers, SST-2. The
engine without exits is the strictest rival: a higher precision may answer its unsure texts again.
"""

from __future__ import annotations

from typing import Any

from docs.site.canvas import Canvas
from docs.site.how import Picture
from docs.site.made import ROOT, SCHEMES
from eat_lightning.files import write_text
from eat_lightning.report import result
from eat_lightning.report.intervals import Interval
from eat_lightning.report.result import Result
from experiments.study import HERE, TABLE

README, FIGURES = ROOT / "README.md", ROOT / "docs/figures"
TASK, MODEL, AGREE = "sst2", "mpnet, 12 layers of 768", 0.99
STUDENT, SAME = "MPNet, 6 layers", "agree 0.99"  # as pays names them
HEAD = "| | needs | guarantees | measured on SST-2, 12 layers |\n|---|---|---|---|\n"
LEFT, LONGEST = 10, 300  # where bars begin, and the width of the longest


def adapted() -> Result:
    """What `eat adapt` made of the model, for one text at a time."""
    found = result.read(HERE / "adapt/results/levels.jsonl")
    wanted = {"task": TASK, "model": MODEL, "agree": AGREE, "draw": 1, "batch": 1}
    return next(row for row in found if wanted.items() <= row.what.items())


def without_exits(row: Result) -> Interval:
    """How many times as fast as transformers the fastest candidate without exits is."""
    found = next(each for each in row["candidates"] if each["name"] == row["rival"])
    return Interval(**found["times_original"])


def bars() -> list[tuple[str, float]]:
    """Names and milliseconds of transformers, of the fastest without exits, and of what was
    chosen."""
    row = adapted()
    original, (engine, dtype, *again) = row["candidates"][0], row["rival"].split(", ")
    unsure = " (bf16 where unsure)" if again else ""
    return [
        (original["name"], original["ms"]),
        (f"without exits: {engine}, {dtype}{unsure}", row["rival_ms"]),
        ("the same with early exits", row["ms"]),
    ]


def chart() -> Picture:
    found = bars()

    def draw(c: Canvas) -> None:
        c.text(LEFT, 20, "Milliseconds per text")
        for place, (name, ms) in enumerate(found):
            y, width = 46 + 44 * place, LONGEST * ms / found[0][1]
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
    row = adapted()
    student = kept("times", system=STUDENT)["speed_up"]
    exits = kept("times", system="MPNet", setting="cost 0.38")[f"over {STUDENT}"]
    cascade = kept("plane", system="MiniLM > MPNet", kind="cascade by confidence", setting=SAME)
    alone = kept("plane", system="MPNet", kind="exits", setting=SAME)
    lines = (
        (
            "int8, bf16 where unsure",
            "onnxruntime, OpenVINO",
            "nothing",
            f"{without_exits(row).text(1, unit=' times')} as fast as transformers",
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
            f"{row['times_original'].text(1, unit=' times')} as fast as transformers",
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
