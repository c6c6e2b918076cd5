"""Two measurements of calibration, added as `Result`s to `results/calibration.jsonl`.

    python -m experiments.paper.measures temperatures RUN...    # runs with exits; data: EAT_DATA
    python -m experiments.paper.measures seen RUN...            # static runs of pairs

`temperatures`: each exit's is fitted on no examples, on one part of the calibration cut, or on both
parts that budgets are fitted on, and judged on the part of certificates and on dev, which saw
neither. `seen`: the cut is made of training pairs, and the makers of a backbone may have trained on
them. Before fine-tuning, the cosine of a pair's two texts tells pairs alike from unlike ones: the
area under its ROC curve in the cut and in dev, with bootstrap intervals over pairs.

Shapes: B examples, C classes, D width, L tokens.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from eat_lightning.data.calibration import FITTED_ON, PARTS
from eat_lightning.data.source import Source
from eat_lightning.errors import ConfigError, reported
from eat_lightning.record.passes import record
from eat_lightning.record.record import Record
from eat_lightning.report import result
from eat_lightning.report.claims.calibration.metrics import ece, ece_when_calibrated
from eat_lightning.report.intervals import Interval, mean_interval, roc_area
from eat_lightning.report.result import Result
from eat_lightning.runs.run import Run, git_commit
from eat_lightning.train.callbacks.temperature import ECE_BOUND, fit_temperature

FILE = Path(__file__).parent / "results" / "calibration.jsonl"
JUDGED_ON = ("certificate", "validation")
WAYS = {"nothing": (), "one part": (1,), "both parts": (0, 1)}  # of FITTED_ON
ALIKE = {"mnli": (0, 2), "qqp": (1, 0)}  # labels of pairs alike and unlike
DRAWS, SIZE = 1000, 64
PADDED = {"padding": True, "truncation": True, "max_length": 128, "return_tensors": "pt"}

Embed = Callable[[Sequence[str]], np.ndarray]


class Guesses:
    """One part's logits by layer, as without temperatures, and its labels."""

    def __init__(self, recorded: Record, own: dict[int, float]):
        self.labels_B = torch.as_tensor(recorded.labels).long()
        found = recorded.guesses.items()
        self.logits = {k: torch.as_tensor(z).double() * own[k] for k, z in found}

    def losses_B(self, temperature: dict[int, float]) -> np.ndarray:
        """Cross-entropy of each example, the exits' mean."""
        each = [
            F.cross_entropy(logits_BC / temperature[k], self.labels_B, reduction="none")
            for k, logits_BC in self.logits.items()
        ]
        return torch.stack(each).mean(0).numpy()

    def errors(self, temperature: dict[int, float]) -> tuple[float, int]:
        """ECE in percent, the exits' mean; and at how many it is below the bound, or no worse than
        perfect calibration shows by chance."""
        each, good = [], 0
        for layer, logits_BC in self.logits.items():
            sure_B, guess_B = (logits_BC / temperature[layer]).softmax(1).max(1)
            error = ece(sure_B.numpy(), (guess_B == self.labels_B).numpy())
            good += error <= max(ECE_BOUND, ece_when_calibrated(sure_B.numpy()).high)
            each.append(error)
        return 100 * float(np.mean(each)), good


def fitted(parts: Sequence[Guesses]) -> dict[int, float]:
    """Each exit's temperature; 1 without any part, and where none is needed."""
    found: dict[int, float] = defaultdict(lambda: 1.0)
    for layer in parts[0].logits if parts else ():
        labels_B = torch.cat([part.labels_B for part in parts])
        logits_BC = torch.cat([part.logits[layer] for part in parts])
        sure_B, guess_B = logits_BC.softmax(1).max(1)
        if ece(sure_B.numpy(), (guess_B == labels_B).numpy()) > ECE_BOUND:
            found[layer] = fit_temperature(logits_BC, labels_B)
    return found


def temperatures(run: Run) -> Iterator[Result]:
    """A line for each way of fitting and each part that it is judged on."""
    encoder, _ = run.model()
    data = run.data(dir=os.environ.get("EAT_DATA"))
    own = {int(k): float(head.temperature) for k, head in encoder.heads.items()}
    parts = (*FITTED_ON, *JUDGED_ON)
    seen = {part: Guesses(record(encoder.eval(), data.split(part)), own) for part in parts}
    ways = {way: [seen[FITTED_ON[i]] for i in chosen] for way, chosen in WAYS.items()}
    found = {way: fitted(chosen) for way, chosen in ways.items()}
    body = {"encoder": Path(str(pretrained(run))).name, "layers": encoder.shape.num_layers}
    about = {"task": run.task.name, **body, "seed": run.config["seed"]}
    for part in JUDGED_ON:
        base_B = seen[part].losses_B(found["one part"])
        for way, temperature in found.items():
            loss_B, (error, good) = seen[part].losses_B(temperature), seen[part].errors(temperature)
            yield Result(
                {"measure": "temperatures", **about, "judged_on": part, "fitted_on": way},
                {
                    "fitted_examples": sum(len(each.labels_B) for each in ways[way]),
                    **{"examples": len(loss_B), "ece_percent": error},
                    **{"exits_that_pass": good, "exits": len(own)},
                    "loss_thousandths": 1000 * float(loss_B.mean()),
                    "against_one_part": mean_interval(1000 * (loss_B - base_B)),
                },
                {"commit": git_commit()},
            )


def seen(run: Run) -> Iterator[Result]:
    """The areas of the cut and of dev, and their difference."""
    if run.task.name not in ALIKE or not pretrained(run):
        raise ConfigError(f"{run.folder}: a pretrained body on pairs of {', '.join(ALIKE)} alone")
    data, rng, embed = run.data(), np.random.default_rng(0), embedding(pretrained(run))
    one, *more = map(data.source, PARTS)
    draws, areas = {}, {}
    what = {"measure": "seen", "task": run.task.name, "encoder": Path(pretrained(run)).name}
    for name, source in {"cut": sum(more, one), "dev": data.source("validation")}.items():
        alike, unlike = cosines(source, embed, ALIKE[run.task.name])
        areas[name], draws[name] = roc_area(alike, unlike), drawn(alike, unlike, rng)
        values = {"pairs": len(source), "area": interval(areas[name], draws[name])}
        yield Result({**what, "of": name}, values, {"commit": git_commit()})
    differs = interval(areas["cut"] - areas["dev"], draws["cut"] - draws["dev"])
    yield Result({**what, "of": "cut - dev"}, {"area": differs}, {"commit": git_commit()})


def interval(area: float, draws: np.ndarray) -> Interval:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(area, float(low), float(high))


def drawn(alike: np.ndarray, unlike: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The area of each draw."""
    sides = (alike, unlike)
    return np.array([roc_area(*(rng.choice(x, len(x)) for x in sides)) for _ in range(DRAWS)])


def cosines(source: Source, embed: Embed, labels: Sequence[int]) -> list[np.ndarray]:
    """The cosines of the pairs of each label."""
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


def pretrained(run: Run) -> Any:
    return run.config["encoder"].get("pretrained")


def main(name: str = "", *folders: str) -> None:
    measures = {"temperatures": temperatures, "seen": seen}
    if name not in measures:
        raise ConfigError(f"a measure must be one of {', '.join(measures)}, got {name!r}")
    torch.set_num_threads(1)
    for folder in folders:
        result.update(FILE, measures[name](Run.open(folder)))


if __name__ == "__main__":
    with reported():
        main(*sys.argv[1:])
