"""Changes to heads from one pass, compared on the cut; dev is not looked at.

    python -m experiments.one_pass runs={NAME: FOLDER} [texts=16000] [beside=[cls,matches]]
    python -m experiments.one_pass                  # the table of the kept rows

Runs of `model=eat_heads`, whose kept vectors are read. Heads of every variant learn the same texts
with the same settings. A dial is fitted on one of the cut's parts *select* and *temperature* and
judged on the other, and the other way round.

Shapes: B examples, N of a split, E early exits, W width of their features, C classes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pandas import DataFrame
from torch import nn

from eat_lightning.data.batching import sorted_batches, spread_rows
from eat_lightning.data.calibration import FITTED_ON
from eat_lightning.data.split import Split, Tokens
from eat_lightning.errors import ConfigError, reported
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.head.aligned import Aligned
from eat_lightning.methods.head.pair import Pair
from eat_lightning.model.contracts import at_point
from eat_lightning.model.heads import pool_cls
from eat_lightning.model.options import PassOptions
from eat_lightning.model.packed import Packed
from eat_lightning.record.dial_fit import ExitCosts, fit_dial
from eat_lightning.record.passes import inference
from eat_lightning.record.record import Record
from eat_lightning.report.intervals import paired_difference
from eat_lightning.runs import jsonl
from eat_lightning.runs.run import Run
from eat_lightning.train.kept_vectors import early_layers, kept_vectors
from eat_lightning.train.one_pass import SAMPLE, drawn
from eat_lightning.weights.dial import Budget, Dial
from experiments.bench.tables import markdown
from experiments.one_pass.heads import ClassMeans, Texts, guesses, trained, weights_of
from experiments.study import given_of

ROWS = Path(__file__).parent / "results" / "rows.jsonl"
BUDGETS, AGREE = (0.2, 0.3, 0.4, 0.5), 0.99
SPEEDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)  # costs over which COSEE's weights are a mean
EPOCHS = 2
BESIDE = {"cls": "[CLS] beside", "matches": "how tokens of both texts match (head=aligned)"}


@dataclass(frozen=True)
class Tried:
    """A variant of the heads of one run.

    Args:
        run: as it was named.
        variant: in words.
        texts: that the heads learned from.
        exits: percent of answers that are full depth's, in mean over exits and examples of the cut.
        budgets: shares of the layers that were asked for.
        agreement: percent of answers unchanged at each.
        low: of the 95 % interval of agreement minus the plain heads', in mean over budgets.
        more: agreement minus the plain heads', in mean over budgets.
        high: of the same interval.
        cost: share of the layers at 99 % of answers unchanged, asked on the other part.
        unchanged: percent of answers unchanged there.
        num_examples: of the cut.
    """

    run: str
    variant: str
    texts: int
    exits: float
    budgets: list[float]
    agreement: list[float]
    more: float
    low: float
    high: float
    cost: float
    unchanged: float
    num_examples: int

    @property
    def key(self) -> tuple[str, str, int]:
        return self.run, self.variant, self.texts


@dataclass(frozen=True)
class Outcome:
    """Examples of the cut: the share of budgets at which each keeps full depth's answer, and its
    cost and answer where 99 % should stay."""

    kept_B: np.ndarray
    by_budget: list[float]
    cost_B: np.ndarray
    unchanged_B: np.ndarray


def recorded_of(
    logits_ENC: np.ndarray, full_NC: np.ndarray, layers: Sequence[int], last: int
) -> Record:
    """Guesses of early exits and of full depth as one record, whose labels are full depth's."""
    size = len(full_NC)
    named = dict(zip(layers, logits_ENC, strict=True)) | {last: full_NC}
    tokens_LB = np.ones((last, size), int)
    return Record(full_NC.argmax(1), tokens_LB[0], named, tokens_LB, Confidence(layers=layers))


def dial_of(said: Record) -> Dial:
    """Costs are shares of the layers: heads and lengths are left out."""
    layers, last = list(said.exit.layers), len(said.tokens_LB)
    cost_EB = np.array([*layers, last])[:, None] / last * np.ones(len(said))
    return Dial("share", fit_dial(said.exit, said, ExitCosts(cost_EB), 1.0), len(said), {})


def depths(said: Record, dial: Dial, wanted: Budget) -> tuple[np.ndarray, np.ndarray]:
    """Layers run by each example, and if its answer is full depth's."""
    outcome = said.replay(at_point(said.exit, dial.at(wanted).exit))
    return outcome.depth_B, outcome.logits_BC.argmax(1) == said.labels


def judged(parts: Sequence[Record]) -> Outcome:
    """Each of two parts of the cut under the dial of the other."""
    kept, costs, unchanged = [], [], []
    for said, other in zip(parts, parts[::-1], strict=True):
        dial = dial_of(other)
        kept.append([depths(said, dial, Budget(budget))[1] for budget in BUDGETS])
        depth_B, same_B = depths(said, dial, Budget(AGREE, "agree"))
        costs.append(depth_B / len(said.tokens_LB))
        unchanged.append(same_B)
    kept_KB = np.concatenate(kept, axis=1)
    by_budget = (100 * kept_KB.mean(1)).round(2).tolist()
    return Outcome(kept_KB.mean(0), by_budget, np.concatenate(costs), np.concatenate(unchanged))


@dataclass
class Bench:
    """A run's texts as heads read them: of train, in random order, and of two parts of the cut."""

    name: str
    layers: list[int]
    last: int
    hidden: int
    words: int
    train: Texts
    parts: list[Texts]

    @classmethod
    def of(cls, name: str, folder: str, texts: int, beside: str | None = None) -> Bench:
        run = Run.open(folder)
        encoder, _ = run.model()
        data, precision = run.data(), str(run.config["trainer"]["precision"])
        heads: Any = encoder.heads
        layers = early_layers(encoder)

        def kept(split: Split, precision: str) -> Texts:
            vectors = kept_vectors(encoder, split, data.cache_dir, precision)
            columns = []
            for e, layer in enumerate(layers):
                vector_NV = torch.from_numpy(vectors.vectors_NEV[:, e].astype(np.float32))
                columns.append(heads[str(layer)].features(vector_NV).half().numpy())
            if beside is not None:
                columns = [*map(join, columns, read_beside(encoder, split, layers, beside))]
            return Texts(np.stack(columns, 1), vectors.full_NC, split.tokens)

        found = [kept(drawn(data.split("train"), texts), precision)]
        found += [kept(data.split(part), "32-true") for part in FITTED_ON]
        texts_NEW = found[0].features_NEW
        sample = texts_NEW[spread_rows(len(texts_NEW), SAMPLE)].astype(np.float32)
        mean_EW, spread_EW = sample.mean(0), sample.std(0) + 1e-3
        standard = [((x.features_NEW - mean_EW) / spread_EW).astype(np.float16) for x in found]
        train, *parts = [replace(x, features_NEW=y) for x, y in zip(found, standard, strict=True)]
        sizes = encoder.shape.num_layers, encoder.shape.hidden_size, encoder.shape.vocab_size
        return cls(name, layers, *sizes, shuffled(train), parts)

    def records(self, heads: nn.Module) -> list[Record]:
        return [
            recorded_of(guesses(heads, part), np.array(part.full_NC), self.layers, self.last)
            for part in self.parts
        ]

    def leaving(self, heads: nn.Module, wanted: Budget) -> np.ndarray:
        """The layer at which each text of train leaves, under the cut's dial."""
        dial = dial_of(Record.concat(self.records(heads)))
        train = recorded_of(
            guesses(heads, self.train), np.array(self.train.full_NC), self.layers, self.last
        )
        return depths(train, dial, wanted)[0]

    def plain(self) -> nn.Module:
        return trained(self.train, self.hidden, EPOCHS)

    def variants(self, plain: nn.Module) -> Iterator[tuple[str, int, nn.Module]]:
        """Yield heads of the same features as the plain ones, with their number of texts."""
        size = len(self.train)
        for count in (size // 4, size // 2):
            few = trained(self.train.first(count), self.hidden, EPOCHS * size // count)
            yield "fewer texts, as many steps", count, few
        words = trained(self.train, self.hidden, EPOCHS, self.words)
        yield "weights of words at the embedding", size, words
        layer_E1 = np.array(self.layers)[:, None]
        met_EN = self.leaving(plain, Budget(AGREE, "agree")) >= layer_E1
        survivors = trained(self.train, self.hidden, EPOCHS, weight_EN=weights_of(met_EN))
        yield "survivors weighed more (CalexNet)", size, survivors
        leaves = [self.leaving(plain, Budget(speed)) == layer_E1 for speed in SPEEDS]
        often_EN = weights_of(np.mean(leaves, axis=0))
        often = trained(self.train, self.hidden, EPOCHS, weight_EN=often_EN)
        yield "by how often it leaves there (COSEE)", size, often
        yield "class means, nothing trained (HatePrototypes)", size, ClassMeans(self.train)

    def tried(
        self, variant: str, texts: int, parts: Sequence[Record], plain: Outcome | None
    ) -> Tried:
        """Judge guesses for the cut's parts beside the outcome of plain heads; None: these are
        the plain ones'."""
        found = judged(parts)
        beside = found if plain is None else plain
        more = paired_difference(found.kept_B, beside.kept_B).times(100)
        agrees = [said.guesses[k].argmax(1) == said.labels for said in parts for k in self.layers]
        return Tried(
            run=self.name,
            variant=variant,
            texts=texts,
            exits=round(100 * float(np.concatenate(agrees).mean()), 2),
            budgets=[*BUDGETS],
            agreement=found.by_budget,
            more=round(more.value, 2),
            low=round(more.low, 2),
            high=round(more.high, 2),
            cost=round(float(found.cost_B.mean()), 4),
            unchanged=round(100 * float(found.unchanged_B.mean()), 2),
            num_examples=sum(map(len, self.parts)),
        )


def join(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.concatenate([one, other], -1)


def shuffled(texts: Texts) -> Texts:
    """The same texts in random order: a part of them is then one of all."""
    order = np.random.default_rng(1).permutation(len(texts))
    lengths, starts = texts.tokens.lengths[order], texts.tokens.offsets[:-1][order]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    at = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    tokens = Tokens(texts.tokens.ids[at], texts.tokens.types[at], offsets)
    return Texts(texts.features_NEW[order], texts.full_NC[order], tokens)


def read_beside(encoder: Any, split: Split, layers: Sequence[int], what: str) -> list[np.ndarray]:
    """Return what heads may read beside the means, at each layer, from one more pass."""
    head = encoder.heads.at(layers[0])
    if what == "matches" and (not isinstance(head, Pair) or head.texts < 2):
        raise ConfigError("beside=matches needs a run whose heads see two texts")
    aligned = Aligned()
    aligned.bind(encoder.shape, layers, encoder.num_labels)
    reads = {"cls": pool_cls, "matches": lambda packed: matches(aligned, packed)}[what]
    found: list[Any] = [None] * len(split)
    options = PassOptions(leave=False, keep_hidden=True)
    with inference(encoder), torch.autocast("cpu", torch.bfloat16):
        for rows_B in sorted_batches(split.lengths, 64):
            hidden = encoder(split.batch(rows_B), options).inside.hidden
            columns = [reads(encoder.for_heads(hidden[layer])).half().numpy() for layer in layers]
            for row, read_EX in zip(rows_B, np.stack(columns, 1), strict=True):
                found[row] = read_EX
    return [*np.stack(found, 1)]


def matches(head: Aligned, packed: Packed) -> torch.Tensor:
    """Return what `head=aligned` reads more than `head=pair`."""
    about_BTX = head.vector(packed).unflatten(1, (head.texts, -1))
    return about_BTX[..., len(head.centre) :].flatten(1)


def tries(name: str, folder: str, texts: int, beside: Sequence[str]) -> Iterator[Tried]:
    """Try every variant on a run's vectors."""
    bench = Bench.of(name, folder, texts)
    plain = bench.plain()
    outcome = judged(bench.records(plain))
    yield bench.tried("plain", len(bench.train), bench.records(plain), None)
    for variant, count, heads in bench.variants(plain):
        yield bench.tried(variant, count, bench.records(heads), outcome)
    for what in beside:
        bench = Bench.of(name, folder, texts, what)
        records = bench.records(bench.plain())
        yield bench.tried(BESIDE[what], len(bench.train), records, outcome)


def table(rows: Sequence[Tried]) -> str:
    lines = []
    for row in rows:
        bold = "**" if row.low > 0 or row.high < 0 else ""
        difference = f"{row.more:+.2f} ({row.low:+.2f} to {row.high:+.2f})"
        asked = dict(zip((f"at {b:g}" for b in row.budgets), map(str, row.agreement), strict=True))
        lines.append(
            {
                **{"run": row.run, "heads": row.variant, "texts": f"{row.texts}"},
                **{"exits": f"{row.exits:.2f}", **asked},
                "over plain": f"{bold}{difference}{bold}",
                "cost at 99 %": f"{row.cost:.3f}",
                "unchanged there": f"{row.unchanged:.1f}",
            }
        )
    return markdown(DataFrame(lines))


def keep(given: Mapping[str, Any], tries: Callable[[str, str, int], Iterable[Tried]]) -> None:
    """Try on every run that is named, keep each row as it comes, and print the table.

    Args:
        given: runs, texts, and the folder to keep rows in.
        tries: variants of a run, by its name, its folder and how many texts heads learn from.
    """
    path = Path(given["to"]) / "rows.jsonl" if "to" in given else ROWS
    rows = jsonl.read(path, Tried)
    for name, folder in given.get("runs", {}).items():
        for tried in tries(name, folder, int(given.get("texts", 16_000))):
            rows = jsonl.update(path, Tried, [tried])
    print(table(rows))


def main(arguments: Sequence[str]) -> None:
    given = given_of(arguments, ("runs", "texts", "beside", "to"))
    beside = given.get("beside", [])
    if unread := [*{*beside} - {*BESIDE}]:
        raise ConfigError(f"beside must be among {[*BESIDE]}, got {unread[0]!r}")
    keep(given, partial(tries, beside=beside))


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
