"""A scan of long texts for phishing: exits in windows beside static engines.

    python -m experiments.long_texts.scan body=FOLDER data=FOLDER to=FOLDER [tokens=8000]

A classifier is tuned by plain transformers on stretches of half of the training mails (steps=160).
On the other half exits learn its answers, and their point is chosen. What is scanned are mails of
validation, joined to texts of so many tokens; tokens=0: as they are. The exits, and every engine's
static form in bf16 and int8, are timed by turns, so the machine must be quiet. Counted is what the
exits miss of what the original finds; on single mails, the fastest static form in int8 too.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pandas import DataFrame
from scipy.stats import binomtest

from eat_lightning.data.source import Source
from eat_lightning.data.tokens import tokenizer_for
from eat_lightning.deploy.adapt.demand import Demand
from eat_lightning.deploy.adapt.exits import learn_exits
from eat_lightning.deploy.adapt.forms import Deployed, Form, Forms, deployed_original, scratch_run
from eat_lightning.deploy.adapt.original import Original
from eat_lightning.deploy.adapt.search import Search
from eat_lightning.deploy.adapt.work import Work
from eat_lightning.errors import reported
from eat_lightning.files import write_json
from eat_lightning.long_texts import LongTexts
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.trace import Trace
from eat_lightning.record.timing import keep_kernels, time_interleaved, undisturbed
from eat_lightning.record.windows import TextWindows
from eat_lightning.runs import jsonl
from eat_lightning.runs.plan import OnePassSettings
from eat_lightning.runs.run import provenance
from eat_lightning.weights.untrusted import json_of
from experiments.adapt.tune import tuned
from experiments.bench.tables import markdown
from experiments.long_texts.__main__ import LABELS, SIZE, joined, mails, split_of
from experiments.study import given_of

ROWS = Path(__file__).parent / "results" / "scan.jsonl"
STRETCH = 90  # words of a stretch, about a window
RARE = 25  # other mails for one of phishing, in the texts that are joined
REPEATS = 3
LEARN = 450  # of the other mails, on which exits learn
LOST = 0.01  # share of the texts that the original finds
EXITS_IN = Form("torch", "bf16")  # the fastest form without exits on this machine
HEADS = OnePassSettings(
    **{"enabled": True, "texts": None, "batch_size": 128, "dropout": 0.2},
    **{"lr": [1e-3], "weight_decay": [0.05], "epochs": [6]},
)  # as `configs/adapt.yaml` has them


@dataclass(frozen=True)
class ScanRow:
    """A form of the classifier in a scan of texts that nothing was chosen on.

    Args:
        tokens: that mails were joined to; 0: single mails.
        form: engine and dtype, with exits or without.
        depth: layers of a text's deepest window, in mean.
        ms: of a text, one at once, where nothing is phishing and where something is.
        share: of the time of the fastest static form in int8, over all timed texts, and its 95 %
            interval.
        num_timed: texts, half of them with phishing.
        lost, positives: texts in which the original finds phishing, and how many the form misses;
            None: not counted.
        found, alarmed: shares of the texts with phishing, and of the others, that it marks.
    """

    body: str
    tokens: int
    form: str
    is_static: bool
    depth: float
    ms: tuple[float, float]
    share: tuple[float, float, float]
    num_timed: int
    lost: int | None
    positives: int | None
    found: float | None
    alarmed: float | None
    machine: str
    commit: str
    version: str

    @property
    def key(self) -> tuple[str, int, str]:
        return self.body, self.tokens, self.form


@reported()
def main(words: Sequence[str]) -> None:
    given = given_of(words, ("tokens", "steps", "texts", "others", "timed"), ("to", "data", "body"))
    folder, tokens = Path(given["to"]), given.get("tokens", 8000)
    keep_kernels()
    torch.set_num_threads(1)
    train, others = halves(mails(given["data"], "train"))
    if not (folder / "model").is_dir():
        tune(train, given["body"], folder / "model", given.get("steps", 160))
    source = mails(given["data"], "validation")
    num = given.get("texts", 530 if tokens else len(source))
    if tokens:
        source = joined(source, num, tokens, tokenizer_for(str(folder / "model")), benign_every=10)
    scan = Scan.open(folder, source.take(np.arange(num)), f"scan-{tokens}-{num}")
    taus = scan.chosen(folder, others.take(np.arange(given.get("others", len(others)))))
    rows = scan.rows(Path(given["body"]).name, tokens, taus, given.get("timed", 100))
    jsonl.update(ROWS, ScanRow, rows)
    print(table(rows))


def halves(source: Source) -> tuple[Source, Source]:
    order = np.random.default_rng(1).permutation(len(source))
    return source.take(order[::2]), source.take(order[1::2])


def tune(train: Source, body: str, to: Path, steps: int) -> None:
    """Tune a classifier on a random stretch of each mail, and tell it how rare phishing is."""
    random, stretches = np.random.default_rng(2), []
    for words in (text.split(" ") for text in train.texts[0]):
        start = int(random.integers(max(1, len(words) - STRETCH)))
        stretches.append(" ".join(words[start : start + STRETCH]))
    rows = pd.DataFrame({"text": stretches, "label": train.labels})
    task = {"columns": ["text"], "length": SIZE, "lr": 1e-4}
    model, tokenizer = tuned(rows, task, LABELS, body, steps)
    model.classifier.bias.data[1] -= math.log(RARE)
    for made in (model, tokenizer):
        made.save_pretrained(to)


@dataclass
class Scan:
    """Texts that are scanned, and the forms that do it. split: the texts, in windows."""

    original: Original
    forms: Forms
    split: TextWindows
    labels_N: np.ndarray
    work: Work

    @classmethod
    def open(cls, folder: Path, source: Source, name: str) -> Scan:
        long = LongTexts("windows", label=LABELS[1])
        original = Original.open(str(folder / "model"), SIZE, long=long)
        encoder = original.encoder(1)
        run = scratch_run(folder / "graphs", original, encoder, ["text"])
        work = Work(folder / name)
        work.folder.mkdir(exist_ok=True)
        forms = Forms(original, encoder, run, 1)
        return cls(original, forms, windows_of(source, original), source.labels, work)

    @cached_property
    def theirs(self) -> Trace:
        """The original's answers."""
        return self.work.trace("original", self.split, deployed_original(self.original).answers)

    def chosen(self, folder: Path, others: Source) -> list[float]:
        """Let exits learn on a part of other mails, and choose their point on the rest.

        It is the laxest that is likely to miss few enough of these texts, as often as bf16's full
        depth finds something there. It is chosen once, and kept in the folder.
        """
        learn, select = (
            windows_of(others.take(part), self.original)
            for part in np.split(np.arange(len(others)), [LEARN])
        )
        parts = {"learn": learn.windows, "select": select.windows}
        learn_exits(self.forms.encoder, parts, HEADS, folder, least_steps=400)
        path = folder / "taus.json"
        if not path.is_file():
            demand = Demand(0.9, 0.95, {LABELS[1]: 1 - LOST})
            splits, answers = {"select": select, "certify": self.split}, dict[str, np.ndarray]()
            given = self.forms, self.original.same, demand, splits, answers, Work(folder), 1, 1, {}
            search = Search(*given)
            answers |= {
                "select": search.record(EXITS_IN.dtype).replay(Never()).logits_BC,
                "certify": self.theirs.logits_BC,
            }
            point = next(search.with_exits(EXITS_IN)).point
            write_json(path, point)
        return json_of(path)

    def rows(self, body: str, tokens: int, taus: list[float], num_timed: int) -> list[ScanRow]:
        statics = self.forms.available(["onnx", "openvino"])
        tried: dict[str, Deployed] = {
            str(form): self.forms.deployed(form) for form in statics if form.dtype != "fp32"
        }
        tried["exits"] = self.forms.deployed(EXITS_IN, self.forms.rule_at(taus))
        ms = self.times(tried, num_timed)
        int8 = [str(form) for form in statics if form.dtype == "int8"]
        rival = min(int8, key=lambda name: ms[name].mean())
        made = []
        for name, form in tried.items():
            lost = positives = found = alarmed = None
            depth = float(self.forms.num_layers)
            if name == "exits" or (name == rival and not tokens):
                trace = self.work.trace(name, self.split, form.answers)
                lost, positives, found, alarmed = self.counts(trace)
                depth = float(trace.depth_B.mean())
            by_label = ms[name].reshape(2, -1).mean(1)
            row = ScanRow(
                body=body,
                tokens=tokens,
                form=f"{EXITS_IN}, exits" if name == "exits" else name,
                is_static=name != "exits",
                depth=depth,
                ms=(float(by_label[0]), float(by_label[1])),
                share=share(ms[name], ms[rival]),
                num_timed=len(ms[name]),
                lost=lost,
                positives=positives,
                found=found,
                alarmed=alarmed,
                **provenance(),
            )
            made.append(row)
        return sorted(made, key=lambda row: row.share)

    def times(self, tried: Mapping[str, Deployed], num: int) -> dict[str, np.ndarray]:
        """Milliseconds of each text by form: benign ones, then as many with phishing."""
        rows = [np.flatnonzero(self.labels_N == k)[: num // 2] for k in (0, 1)]
        least = min(map(len, rows))
        batches = [
            self.split.batch(np.array([row])) for some in rows for row in some[:least].tolist()
        ]
        settings = {k: (form.run, [*map(form.ready, batches)]) for k, form in tried.items()}
        with undisturbed(1):
            time_interleaved({k: (run, given[:3]) for k, (run, given) in settings.items()}, 1)
            took = time_interleaved(settings, REPEATS)
        return {name: took_RN.mean(0) for name, took_RN in took.items()}

    def counts(self, trace: Trace) -> tuple[int, int, float, float]:
        """Count what is lost, and what the original finds; tell shares that are found by label."""
        original_N, found_N = (t.logits_BC.argmax(-1) == 1 for t in (self.theirs, trace))
        lost = int((original_N & ~found_N).sum())
        shares = [float(found_N[self.labels_N == k].mean()) for k in (1, 0)]
        return lost, int(original_N.sum()), shares[0], shares[1]


def windows_of(source: Source, original: Original) -> TextWindows:
    split = split_of(source, original.tokenizer)
    return TextWindows.of(split, original.reader, original.same.kind, original.same.labels)


def share(ms_N: np.ndarray, others_N: np.ndarray, draws: int = 2000) -> tuple[float, float, float]:
    """The share of another form's time, and its 95 % interval over texts (paired bootstrap)."""
    rows_DN = np.random.default_rng(0).integers(len(ms_N), size=(draws, len(ms_N)))
    drawn_D = ms_N[rows_DN].sum(1) / others_N[rows_DN].sum(1)
    low, high = np.quantile(drawn_D, (0.025, 0.975))
    return float(ms_N.sum() / others_N.sum()), float(low), float(high)


def table(rows: Sequence[ScanRow]) -> str:
    """The page's table."""
    cells = []
    for row in rows:
        value, low, high = row.share
        line = {"texts": f"{row.tokens:,} tokens" if row.tokens else "mails", "form": row.form}
        line |= {"ms, benign": f"{row.ms[0]:.1f}", "ms, phishing": f"{row.ms[1]:.1f}"}
        line |= {"share of int8's time": f"{value:.2f} ({low:.2f} to {high:.2f})", "lost": ""}
        if row.lost is not None and row.positives is not None:
            count = binomtest(row.lost, row.positives, alternative="less").proportion_ci(0.95)
            line["lost"] = f"{row.lost} of {row.positives}, at most {100 * count.high:.2f} %"
        cells.append(line)
    return markdown(DataFrame(cells))


if __name__ == "__main__":
    main(sys.argv[1:])
