"""Ways to train heads of one pass, compared on the cut: the step `heads` of `run.py`.

Runs of `model=eat_heads`, whose kept vectors are read. Heads of every variant learn the same texts
with the same settings. A dial is fitted on one of the cut's two parts and judged on the other, and
the other way round; costs are shares of the layers. Dev is not looked at.

Shapes: B examples, N of a split, E early exits, W width of their features, H hidden width,
C classes, K budgets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from eat_lightning.data.batching import spread_rows
from eat_lightning.data.calibration import FITTED_ON
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.record.dial import Budget, Dial
from eat_lightning.record.dial_fit import ExitCosts, fit_dial
from eat_lightning.record.record import Record
from eat_lightning.report.intervals import Interval, paired_difference
from eat_lightning.report.result import Result
from eat_lightning.runs.run import Run, provenance
from eat_lightning.train.kept_vectors import early_layers, kept_vectors
from eat_lightning.train.one_pass import SAMPLE, drawn, one_cycle

BUDGETS, AGREE = (0.2, 0.3, 0.4, 0.5), 0.99
SPEEDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)  # costs over which COSEE's weights are a mean
EPOCHS, BATCH, DROPOUT, LR, DECAY, FLOOR = 2, 128, 0.2, 1e-3, 0.05, 0.1


@dataclass(frozen=True)
class Texts:
    """Standardised features (float16) of a split's texts, and the logits of full depth, which heads
    learn."""

    features_NEW: np.ndarray
    full_NC: np.ndarray

    def __len__(self) -> int:
        return len(self.full_NC)

    def first(self, count: int) -> Texts:
        return Texts(self.features_NEW[:count], self.full_NC[:count])

    def batch(self, rows_B: np.ndarray) -> Float[Tensor, "e b w"]:
        return torch.from_numpy(self.features_NEW[rows_B]).float().transpose(0, 1)


class Heads(nn.Module):
    """Dense, tanh, classes at each exit: one batched product for all of them."""

    def __init__(self, exits: int, width: int, hidden: int, classes: int):
        super().__init__()
        self.dense_EWH = nn.Parameter(torch.randn(exits, width, hidden) * 0.5 / width**0.5)
        self.dense_E1H = nn.Parameter(torch.zeros(exits, 1, hidden))
        self.classes_EHC = nn.Parameter(torch.randn(exits, hidden, classes) * 0.1 / hidden**0.5)
        self.classes_E1C = nn.Parameter(torch.zeros(exits, 1, classes))

    def forward(self, x_EBW: Float[Tensor, "e b w"]) -> Float[Tensor, "e b c"]:
        x_EBW = F.dropout(x_EBW, DROPOUT, self.training)
        hidden_EBH = torch.tanh(x_EBW @ self.dense_EWH + self.dense_E1H)
        return F.dropout(hidden_EBH, DROPOUT, self.training) @ self.classes_EHC + self.classes_E1C


def trained(
    texts: Texts, hidden: int, epochs: int = EPOCHS, weight_EN: np.ndarray | None = None
) -> Heads:
    """Learn full depth's probabilities by cross-entropy, as `model=eat_heads` does. weight_EN: of
    each text at each exit, 1 in mean; None: 1."""
    torch.manual_seed(0)
    _, exits, width = texts.features_NEW.shape
    heads = Heads(exits, width, hidden, texts.full_NC.shape[1])
    matrices = [parameter for parameter in heads.parameters() if parameter.ndim > 2]
    optimizer = torch.optim.AdamW(matrices, lr=LR, weight_decay=DECAY)
    steps = epochs * -(-len(texts) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: one_cycle(k, steps))
    goal_NC = torch.from_numpy(texts.full_NC).softmax(-1)
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(texts))
        for rows_B in np.split(order, range(BATCH, len(order), BATCH)):
            loss_EB = -(goal_NC[rows_B] * heads(texts.batch(rows_B)).log_softmax(-1)).sum(-1)
            if weight_EN is not None:
                loss_EB = loss_EB * torch.from_numpy(weight_EN[:, rows_B]).float()
            optimizer.zero_grad()
            loss_EB.mean(1).sum().backward()
            optimizer.step()
            schedule.step()
    return heads.eval()


def weights_of(share_EN: np.ndarray) -> np.ndarray:
    """Weights by how likely each text is met at each exit: at least `FLOOR`, 1 in mean."""
    weight_EN = FLOOR + (1 - FLOOR) * share_EN
    return weight_EN / weight_EN.mean(1, keepdims=True)


@dataclass(frozen=True)
class Bench:
    """A run's texts as heads read them: of train, in random order, and of two parts of the cut."""

    head: str
    layers: list[int]
    last: int
    hidden: int
    train: Texts
    parts: list[Texts]

    @classmethod
    def of(cls, folder: str, texts: int) -> Bench:
        run = Run.open(folder)
        encoder, _ = run.model()
        data, layers, heads = run.data(), early_layers(encoder), encoder.heads
        splits = [drawn(data.split("train"), texts), *(data.split(part) for part in FITTED_ON)]
        precisions = [str(run.config["trainer"]["precision"]), "32-true", "32-true"]
        found = []
        for split, precision in zip(splits, precisions, strict=True):
            vectors = kept_vectors(encoder, split, data.cache_dir, precision)
            columns = []
            for e, layer in enumerate(layers):
                vector_NV = torch.from_numpy(vectors.vectors_NEV[:, e].astype(np.float32))
                columns.append(heads.at(layer).features(vector_NV).half().numpy())
            found.append(Texts(np.stack(columns, 1), np.array(vectors.full_NC)))
        train, *parts = standardised(found)
        order = np.random.default_rng(1).permutation(len(train))
        shuffled = Texts(train.features_NEW[order], train.full_NC[order])
        name, shape = f"head={encoder.head['kind']}", encoder.shape
        return cls(name, layers, shape.num_layers, shape.hidden_size, shuffled, parts)

    def record(self, heads: nn.Module, texts: Texts) -> Record:
        """Guesses of early exits and of full depth, whose answers are the labels."""
        rows = np.split(np.arange(len(texts)), range(1024, len(texts), 1024))
        with torch.inference_mode():
            logits_ENC = torch.cat([heads(texts.batch(rows_B)) for rows_B in rows], 1).numpy()
        guesses = dict(zip(self.layers, logits_ENC, strict=True)) | {self.last: texts.full_NC}
        tokens_LB, rule = np.ones((self.last, len(texts)), int), Confidence(layers=self.layers)
        return Record(texts.full_NC.argmax(1), tokens_LB[0], guesses, tokens_LB, rule)

    def leaving(self, heads: nn.Module, wanted: Budget) -> np.ndarray:
        """The layer at which each text of train leaves, under the cut's dial."""
        dial = dial_of(Record.concat([self.record(heads, part) for part in self.parts]))
        return depths(self.record(heads, self.train), dial, wanted)[0]

    def variants(self, plain: nn.Module) -> Iterator[tuple[str, int, nn.Module]]:
        """Heads of the same features as the plain ones, with their number of texts."""
        size, layer_E1 = len(self.train), np.array(self.layers)[:, None]
        for part in (4, 2):
            few = trained(self.train.first(size // part), self.hidden, EPOCHS * part)
            yield "fewer texts, as many steps", size // part, few
        met_EN = self.leaving(plain, Budget(AGREE, "agree")) >= layer_E1
        survivors = trained(self.train, self.hidden, weight_EN=weights_of(met_EN))
        yield "survivors weighed more (CalexNet)", size, survivors
        leaves = [self.leaving(plain, Budget(speed)) == layer_E1 for speed in SPEEDS]
        often = trained(self.train, self.hidden, weight_EN=weights_of(np.mean(leaves, axis=0)))
        yield "by how often it leaves there (COSEE)", size, often


def standardised(found: Sequence[Texts]) -> Iterator[Texts]:
    """Features in units of their spread over the first texts, which train."""
    some = spread_rows(len(found[0]), SAMPLE)
    sample = found[0].features_NEW[some].astype(np.float32)
    mean_EW, spread_EW = sample.mean(0), sample.std(0) + 1e-3
    for texts in found:
        x_NEW = (texts.features_NEW - mean_EW) / spread_EW
        yield Texts(x_NEW.astype(np.float16), texts.full_NC)


def dial_of(said: Record) -> Dial:
    layers, last = list(said.exit.layers), len(said.tokens_LB)
    cost_EB = np.array([*layers, last])[:, None] / last * np.ones(len(said))
    return Dial("share", fit_dial(said.exit, said, ExitCosts(cost_EB), 1.0), len(said), {})


def depths(said: Record, dial: Dial, wanted: Budget) -> tuple[np.ndarray, np.ndarray]:
    """Layers run by each example, and if its answer is full depth's."""
    trace = said.replay(dial.at(wanted).point)
    return trace.depth_B, trace.logits_BC.argmax(1) == said.labels


def kept_at(parts: Sequence[Record], wanted: Budget) -> tuple[np.ndarray, np.ndarray]:
    """Share of the layers and unchanged answers, each part under the dial of the other."""
    pairs = zip(parts, parts[::-1], strict=True)
    found = [depths(said, dial_of(other), wanted) for said, other in pairs]
    depth_B, same_B = (np.concatenate(each) for each in zip(*found, strict=True))
    return depth_B / len(parts[0].tokens_LB), same_B


def tried(name: str, folders: Sequence[str], texts: int) -> Iterator[Result]:
    """Every variant on the first run's vectors, and the plain heads of further runs, whose heads
    read the same static model otherwise."""
    bench, *others = [Bench.of(folder, texts) for folder in folders]
    plain = trained(bench.train, bench.hidden)
    variants = [("plain", len(bench.train), bench, plain)]
    variants += [(variant, count, bench, heads) for variant, count, heads in bench.variants(plain)]
    variants += [(of.head, len(of.train), of, trained(of.train, of.hidden)) for of in others]
    base_KB = np.zeros(0)
    for variant, count, of, heads in variants:
        parts = [of.record(heads, part) for part in of.parts]
        kept_KB = np.stack([kept_at(parts, Budget(budget))[1] for budget in BUDGETS])
        base_KB = base_KB if base_KB.size else kept_KB
        yield result_of({"run": name, "variant": variant, "texts": count}, parts, kept_KB, base_KB)


def result_of(
    what: dict[str, Any], parts: Sequence[Record], kept_KB: np.ndarray, base_KB: np.ndarray
) -> Result:
    more = paired_difference(kept_KB.mean(0), base_KB.mean(0)).times(100)
    cost_B, same_B = kept_at(parts, Budget(AGREE, "agree"))
    agrees = [said.guesses[k].argmax(1) == said.labels for said in parts for k in said.exit.layers]
    values = {
        "exits": round(100 * float(np.concatenate(agrees).mean()), 2),
        "agreement": (100 * kept_KB.mean(1)).round(2).tolist(),
        "more": Interval(*(round(x, 2) for x in (more.value, more.low, more.high))),
        "cost": round(float(cost_B.mean()), 4),
        "unchanged": round(100 * float(same_B.mean()), 2),
    }
    where = {"num_examples": len(same_B), "commit": provenance()["commit"]}
    return Result(what, values, where)
