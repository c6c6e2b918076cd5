"""Has a body seen the pairs that it is calibrated on? Asked of the body before fine-tuning.

    python -m experiments.calibration.seen RUN...    # static runs; data: EAT_DATA; adds rows
    python -m experiments.calibration.seen           # the table of the kept rows

The calibration cut is made of training pairs. A body that was trained on them (sentence-embedding
models are: on NLI and on Quora's questions) tells their classes apart better than those of dev, and
what is fitted on the cut is then too sure on dev. Measured by the cosine of the mean-pooled vectors
of a pair's two texts, which is what such bodies learn: the area under the ROC curve of pairs alike
(entailment, duplicate) against unlike ones (contradiction, no duplicate), in the cut and in dev,
with 95 % bootstrap intervals over pairs. Equal: no sign that it has seen them. One thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eat_lightning.data.calibration import PARTS
from eat_lightning.data.source import Source
from eat_lightning.errors import ConfigError, reported
from eat_lightning.report.intervals import roc_area
from eat_lightning.runs import jsonl
from eat_lightning.runs.run import Run, git_commit

ALIKE = {"mnli": (0, 2), "qqp": (1, 0)}  # labels of pairs alike and unlike
DRAWS, SIZE = 1000, 64
PADDED = {"padding": True, "truncation": True, "max_length": 128, "return_tensors": "pt"}
ROWS = Path(__file__).with_name("results") / "seen.jsonl"

Embed = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class SeenRow:
    """How well a body tells pairs alike from unlike ones before fine-tuning.

    Args:
        task: of two texts.
        body: its folder's name, or that on the hub.
        of: "cut", "dev", or "cut - dev".
        pairs: that were embedded, of all classes; None for the difference.
        area: under the ROC curve.
        low, high: ends of its 95 % bootstrap interval over pairs.
        commit: of the code.
    """

    task: str
    body: str
    of: str
    pairs: int | None
    area: float
    low: float
    high: float
    commit: str | None

    @classmethod
    def of_draws(
        cls, run: Run, of: str, pairs: int | None, area: float, draws: np.ndarray
    ) -> SeenRow:
        """Make a row of an area and its bootstrap draws."""
        low, high = np.percentile(draws, [2.5, 97.5])
        name = Path(str(body(run))).name
        return cls(run.task.name, name, of, pairs, area, float(low), float(high), git_commit())

    @property
    def key(self) -> tuple[str, str, str]:
        """Identity: a new row replaces the one that has it."""
        return self.task, self.body, self.of

    @property
    def said(self) -> str:
        """The area with its interval; of a difference with signs, bold where it leaves 0 out."""
        if self.pairs is not None:
            return f"{self.area:.3f} ({self.low:.3f} to {self.high:.3f})"
        words = f"{self.area:+.3f} ({self.low:+.3f} to {self.high:+.3f})"
        return f"**{words}**" if self.low * self.high > 0 else words


def drawn(alike: np.ndarray, unlike: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The area of each draw."""
    return np.array(
        [
            roc_area(rng.choice(alike, len(alike)), rng.choice(unlike, len(unlike)))
            for _ in range(DRAWS)
        ]
    )


def cosines(source: Source, embed: Embed, labels: Sequence[int]) -> list[np.ndarray]:
    """Return the cosines of the pairs of each label."""
    first_BD, second_BD = (embed(column) for column in source.texts)
    cosine_B = (first_BD * second_BD).sum(1)
    return [cosine_B[source.labels == label] for label in labels]


def embedding(folder: str) -> Embed:
    """Unit vectors, B x D, of the body in a folder or on the hub."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, body = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    body.eval()

    @torch.inference_mode()
    def embed(texts: Sequence[str]) -> np.ndarray:
        out_BD = torch.zeros(len(texts), body.config.hidden_size)
        order = np.argsort([len(text) for text in texts])
        for some in (order[i : i + SIZE] for i in range(0, len(order), SIZE)):
            given = tokenizer([texts[i] for i in some], **PADDED)
            mask_BL1 = given["attention_mask"][..., None]
            out_BD[some] = (body(**given).last_hidden_state * mask_BL1).sum(1) / mask_BL1.sum(1)
        return torch.nn.functional.normalize(out_BD, dim=1).numpy()

    return embed


def seen_rows(run: Run, embed: Embed) -> Iterator[SeenRow]:
    """The areas of the cut and of dev, and their difference."""
    data, rng = run.data(), np.random.default_rng(0)
    one, *more = map(data.source, PARTS)
    draws, areas = {}, {}
    for name, source in {"cut": sum(more, one), "dev": data.source("validation")}.items():
        alike, unlike = cosines(source, embed, ALIKE[run.task.name])
        draws[name], areas[name] = drawn(alike, unlike, rng), roc_area(alike, unlike)
        yield SeenRow.of_draws(run, name, len(source), areas[name], draws[name])
    differs = draws["cut"] - draws["dev"]
    yield SeenRow.of_draws(run, "cut - dev", None, areas["cut"] - areas["dev"], differs)


def table(rows: Sequence[SeenRow]) -> str:
    """Make the page's table."""
    head = "| task | body | pairs of | pairs | area |\n|---|---|---|---:|---|"
    lines = [
        f"| {row.task} | {row.body} | {row.of} | "
        f"{'' if row.pairs is None else format(row.pairs, ',')} | {row.said} |"
        for row in rows
    ]
    return "\n".join([head, *lines])


def main(folders: Sequence[str]) -> None:
    torch.set_num_threads(1)
    runs = [Run.open(folder) for folder in folders]
    if faults := [*map(fault, filter(fault, runs))]:
        raise ConfigError.of(faults)
    found = [row for run in runs for row in seen_rows(run, embedding(body(run)))]
    if found:
        jsonl.update(ROWS, SeenRow, found)
    print(table(jsonl.read(ROWS, SeenRow)))


def body(run: Run) -> Any:
    return run.config["encoder"].get("pretrained")


def fault(run: Run) -> str:
    if run.task.name not in ALIKE:
        return f"{run.folder}: pairs of {', '.join(ALIKE)} alone, not {run.task.name}"
    return "" if body(run) else f"{run.folder}: its body was not pretrained (encoder.pretrained)"


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
