"""Has a body seen the pairs that it is calibrated on? Asked of the body before fine-tuning.

    python -m experiments.calibration.seen RUN...    # static runs; data: EAT_DATA

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
from typing import Any

import numpy as np
import torch
from pandas import DataFrame

from eat_lightning.data.calibration import PARTS
from eat_lightning.data.source import Source
from eat_lightning.errors import ConfigError, reported
from eat_lightning.runs.run import Run
from experiments.bench.tables import markdown

ALIKE = {"mnli": (0, 2), "qqp": (1, 0)}  # labels of pairs alike and unlike
DRAWS, SIZE = 1000, 64
PADDED = {"padding": True, "truncation": True, "max_length": 128, "return_tensors": "pt"}

Embed = Callable[[Sequence[str]], np.ndarray]


def auc(alike: np.ndarray, unlike: np.ndarray) -> float:
    """Share of couples of an alike and an unlike pair of which the first has the larger cosine;
    half of it where they are equal."""
    order = np.sort(unlike)
    below, upto = (np.searchsorted(order, alike, side) for side in ("left", "right"))
    return float((below + upto).mean() / (2 * len(unlike)))


def drawn(alike: np.ndarray, unlike: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The area of each draw."""
    return np.array(
        [auc(rng.choice(alike, len(alike)), rng.choice(unlike, len(unlike))) for _ in range(DRAWS)]
    )


def interval(draws: np.ndarray, sign: str = "") -> str:
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"({low:{sign}.3f} to {high:{sign}.3f})"


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


def lines(run: Run, embed: Embed) -> Iterator[dict[str, str]]:
    data, rng = run.data(), np.random.default_rng(0)
    one, *more = map(data.source, PARTS)
    draws = {}
    for name, source in {"cut": sum(more, one), "dev": data.source("validation")}.items():
        alike, unlike = cosines(source, embed, ALIKE[run.task.name])
        draws[name] = drawn(alike, unlike, rng)
        area = f"{auc(alike, unlike):.3f} {interval(draws[name])}"
        yield {"task": run.task.name, "of": name, "pairs": f"{len(source)}", "area": area}
    differs = draws["cut"] - draws["dev"]
    area = f"{differs.mean():+.3f} {interval(differs, '+')}"
    yield {"task": run.task.name, "of": "cut - dev", "pairs": "", "area": area}


def main(folders: Sequence[str]) -> None:
    torch.set_num_threads(1)
    runs = [Run.open(folder) for folder in folders]
    if not runs:
        raise ConfigError("give a run's folder: python -m experiments.calibration.seen RUN...")
    if faults := [*map(fault, filter(fault, runs))]:
        raise ConfigError.of(faults)
    found = [line for run in runs for line in lines(run, embedding(body(run)))]
    print(markdown(DataFrame(found)))


def body(run: Run) -> Any:
    return run.config["encoder"].get("pretrained")


def fault(run: Run) -> str:
    if run.task.name not in ALIKE:
        return f"{run.folder}: pairs of {', '.join(ALIKE)} alone, not {run.task.name}"
    return "" if body(run) else f"{run.folder}: its body was not pretrained (encoder.pretrained)"


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
