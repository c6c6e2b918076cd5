"""A small report with hostile texts, as a page and in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eat_lightning.report.figures import Figure
from eat_lightning.report.section import Section
from eat_lightning.report.table import Cell, Column, Line, Table

HOSTILE = "</script><script>window.hacked=1</script><b onclick='x'>\"&amp;"
RUN, COMMAND = "frontier/model=eat,seed=1", "python -m eat_lightning.measure run='a b' exit.tau=0.9"
SMALL, ZERO = "only 8 examples", "its interval spans zero"


def make_table() -> Table:
    columns = [
        Column("model", "Model", numeric=False),
        Column("setting", "Setting", numeric=False),
        Column("accuracy", "Accuracy (%)", f"of right answers {HOSTILE}", group="accuracy"),
        Column("f1", "F1", group="accuracy"),
        Column("ms", "Latency (ms)", group="time"),
        Column("speed_up", "Speed-up", group="time"),
        Column("num_examples", "n", group="conditions"),
        Column("machine", "Machine", "a long name of a machine", False, "conditions"),
    ]
    lines = [
        Line(
            {
                "model": Cell("eat", "eat"),
                "setting": Cell("tau 0.9", "tau 0.9"),
                "accuracy": Cell(75.0, "75.0 ± 1.0", 70.0, 80.0, flags=(SMALL,)),
                "ms": Cell(9.5, "9.5"),
                "speed_up": Cell(1.94, "1.94 (1.88 to 1.99)", 1.88, 1.99, bold=True),
                "num_examples": Cell(872, "872"),
                "machine": Cell("m", "a machine with a long name"),
            },
            flags=(ZERO,),
        ),
        Line({"model": Cell("empty", HOSTILE)}),
        Line(
            {
                "model": Cell("bert", "bert"),
                "accuracy": Cell(80.0, "80.0", 75.0, 85.0, flags=(SMALL,)),
                "ms": Cell(38.0, "38.0"),
                "num_examples": Cell(872, "872"),
            },
        ),
        Line({"model": Cell("mini", "mini"), "ms": Cell(100.0, "100.0")}),
    ]
    return Table("frontier-sst2", "SST-2", f"Means over seeds. {HOSTILE}", columns, lines)


def make_figure() -> Figure:
    def draw(drawing: Any) -> None:
        ax = drawing.subplots()
        ax.plot([1, 2], [1, 1], "o", color="#d55e00")
        ax.text(1.2, 1, "eat & <b>", color="#d55e00")

    return Figure("frontier-points", "Accuracy against latency", "Bars.", draw, (4.0, 3.0))


def make_way(name: str, kept: list[list[int]], answers: list[str], own=False) -> dict[str, Any]:
    """Exits after layers 1 and 2; under tau 0.9 it leaves at the last layer, under 0.6 at once."""
    exits = [
        {
            "layer": layer,
            "probabilities": [0.3, 0.7] if answer == "positive" else [0.7, 0.3],
            "confidence": 0.7,
            "answer": answer,
        }
        for layer, answer in enumerate(answers, start=1)
    ]
    late = {"rule": "tau 0.9", "point": 0.9, "own": True}
    early = {"rule": "tau 0.6", "point": 0.6, "own": False}
    rules = [
        {**early, "left_at": 1, "reason": "confident", "answer": answers[0]},
        {**late, "left_at": 2, "reason": "last layer", "answer": answers[1]},
    ]
    return {"name": name, "own": own, "kept": kept, "exits": exits, "rules": rules}


def make_explorer() -> dict[str, Any]:
    """Example 2 is answered wrongly at its last layer, by the reduction and not without it."""

    def example(i: int | None, text: str, label: str | None, last: str) -> dict[str, Any]:
        cut = make_way("norm_topk ratio 0.3", [[0, 1, 2, 3], [0, 1]], ["positive", last], own=True)
        whole = make_way("none", [[0, 1, 2, 3]] * 2, ["positive", "positive"])
        tokens = ["[CLS]", text.split()[0], "##ing", HOSTILE]
        about = {"id": i, "text": [text], "label": label, "segments": [0, 0, 0, 0]}
        return about | {"tokens": tokens, "ways": [cut, whole]}

    examples = [
        example(None, f"a moving film {HOSTILE}", "positive", "positive"),
        example(None, "flat from the first frame", None, "positive"),
        example(2, "warm and wise", "positive", "negative"),
    ]
    labels = ["negative", "positive"]
    task = {"task": "sst2", "run": RUN, "command": COMMAND, "labels": labels, "examples": examples}
    return {"tasks": [task]}


def make_claims() -> list[Section]:
    frontier = Section(
        *("frontier", "Accuracy against latency", [f"sst2: 1.9 times as fast {HOSTILE}"]),
        tables=[make_table()],
        figures=[make_figure()],
        notes=[HOSTILE],
    )
    return [frontier, Section("cost", "Cost", ["As expected."])]


def luminance(color: str) -> float:
    shares = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: at least 4.5 for letters, 3 for marks."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of playwright; the test is skipped where there is none."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright, from the extra `dev`"
    )
    path = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    with api.sync_playwright() as playwright:
        if path is None and not Path(playwright.chromium.executable_path).is_file():
            pytest.skip("no Chromium: neither on the PATH nor from `playwright install chromium`")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
