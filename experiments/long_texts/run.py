"""A scan of long texts for phishing: exits in windows beside static engines.

    python -m experiments.long_texts.run scan body=FOLDER data=FOLDER to=FOLDER tokens=0 timed=60
    python -m experiments.long_texts.run scan body=FOLDER data=FOLDER to=FOLDER tokens=8000 timed=8

A classifier is tuned by plain transformers on stretches of half of the training mails. On the other
half exits learn its answers, and their point is chosen. What is scanned are mails of validation,
joined to texts of so many tokens (0: as they are). The exits, and every engine's static form in
bf16 and int8, are timed by turns, so the machine must be quiet. Counted is what the exits miss of
what the original finds; on single mails, the fastest static form in int8 too.

Shapes: N texts.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from transformers import AutoTokenizer

from eat_lightning.bundle.original import Original
from eat_lightning.data.source import Source
from eat_lightning.data.split import Split, make_split
from eat_lightning.data.tokens import tokenizer_for
from eat_lightning.deploy.adapt.exits import learn_exits
from eat_lightning.deploy.adapt.forms import Deployed, Forms, deployed_original, scratch_run
from eat_lightning.deploy.adapt.search import ROOMS, Search
from eat_lightning.deploy.adapt.work import Work
from eat_lightning.errors import reported
from eat_lightning.files import write_json
from eat_lightning.long_texts import LongTexts
from eat_lightning.model.trace import Trace
from eat_lightning.record.claim import Claim
from eat_lightning.record.point import Point
from eat_lightning.record.timing import keep_kernels, time_interleaved, undisturbed
from eat_lightning.record.windows import TextWindows
from eat_lightning.report import result
from eat_lightning.report.intervals import Interval
from eat_lightning.report.result import Result
from eat_lightning.runs.plan import OnePassSettings
from eat_lightning.runs.run import provenance
from eat_lightning.untrusted import json_of
from experiments.adapt.tune import Examples, learned, opened
from experiments.study import run_step

RESULTS = Path(__file__).with_name("results")
LABELS = ["benign", "phishing"]
SIZE = 128  # tokens of a window
STEPS, STRETCH = 160, 90  # of tuning; words of a stretch, about a window
RARE = 25  # other mails for one of phishing, in the texts that are joined
REPEATS = 3
JOINED, BENIGN_EVERY = 530, 10  # texts that are joined; without phishing
LEARN = 450  # of the other mails, on which exits learn
LOST = 0.01  # share of the texts that the original finds
EXITS_IN = Point.whole("torch", "bf16")  # the fastest form without exits on this machine
EXITS = f"{EXITS_IN}, exits"
HEADS = OnePassSettings(
    **{"enabled": True, "texts": None, "batch_size": 128, "dropout": 0.2},
    **{"lr": [1e-3], "weight_decay": [0.05], "epochs": [6]},
)  # as `configs/adapt.yaml` had them until 0.4


def scan(body: str, data: str, to: str, tokens: int = 8000, timed: int = 100) -> None:
    """Keep rows of all forms on texts of so many tokens."""
    keep_kernels()
    folder, train = Path(to), mails(data, "train")
    order = np.random.default_rng(1).permutation(len(train))
    if not (folder / "model").is_dir():
        tune(train.take(order[::2]), body, folder / "model")
    source = mails(data, "validation")
    if tokens:
        tokenizer = tokenizer_for(str(folder / "model"))
        source = joined(source, JOINED, tokens, tokenizer)
    found = Scan.open(folder, source, f"scan-{tokens}-{len(source)}")
    exits = found.chosen(folder, train.take(order[1::2]))
    rows = found.rows({"body": Path(body).name, "tokens": tokens}, exits, timed)
    result.update(RESULTS / "scan.jsonl", rows)


def mails(data: str, name: str) -> Source:
    table = pq.read_table(Path(data) / "email_phish_spam" / f"{name}.parquet")
    columns = (table[name].to_pylist() for name in ("subject", "text"))
    texts = [f"{subject}\n{text}" for subject, text in zip(*columns, strict=True)]
    return Source([texts], table["label"].to_numpy())


def split_of(source: Source, tokenizer: Any) -> Split:
    return make_split("mails", source, tokenizer, SIZE)


def joined(source: Source, num: int, tokens: int, tokenizer: Any) -> Source:
    """Long texts of benign mails; in nine of ten a mail, anywhere, is phishing."""
    random = np.random.default_rng(0)
    benign, phishing = (random.permutation(np.flatnonzero(source.labels == k)) for k in (0, 1))
    lengths = [len(each) for each in tokenizer(source.texts[0], verbose=False)["input_ids"]]
    texts, place = [], 0
    for number in range(num):
        parts, total = [], 0
        while total < tokens:
            parts.append(row := benign[place % len(benign)])
            total, place = total + lengths[row], place + 1
        if number % BENIGN_EVERY:
            parts[random.integers(len(parts))] = phishing[number]
        texts.append("\n".join(source.texts[0][row] for row in parts))
    return Source([texts], (np.arange(num) % BENIGN_EVERY > 0).astype(int))


def tune(train: Source, body: str, to: Path) -> None:
    """Tune a classifier on a random stretch of each mail, and tell it how rare phishing is."""
    random, stretches = np.random.default_rng(2), []
    for words in (text.split(" ") for text in train.texts[0]):
        start = int(random.integers(max(1, len(words) - STRETCH)))
        stretches.append(" ".join(words[start : start + STRETCH]))
    rows = pd.DataFrame({"text": stretches, "label": train.labels})
    task = {"columns": ["text"], "length": SIZE, "lr": 1e-4}
    torch.manual_seed(0)
    stretched, tokenizer = Examples(rows, task, LABELS), AutoTokenizer.from_pretrained(body)
    model = opened(body, "", tokenizer, stretched.about)
    model = learned(model, tokenizer, stretched, STEPS, to / "training.pt")
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

    def chosen(self, folder: Path, others: Source) -> Point:
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
        path = folder / "point.json"
        if not path.is_file():
            claims = [
                Claim("disagreement", 0.1, 0.95),
                Claim("disagreement", LOST, 0.95, of=LABELS[1]),
            ]
            splits, answers = {"select": select, "certify": self.split}, dict[str, np.ndarray]()
            given = self.forms, self.original.same, claims, splits, answers, Work(folder), 1, 1, {}
            search = Search(*given)
            answers |= {
                "select": search.record(EXITS_IN.dtype).replay(EXITS_IN).logits_BC,
                "certify": self.theirs.logits_BC,
            }
            tried = [
                search.replayed(EXITS_IN.at(exit=each.exit), each.trace)
                for each in search.leaving(EXITS_IN)
            ]
            laxest = min((c for c in tried if c.chance >= min(ROOMS)), key=lambda c: c.depth)
            write_json(path, laxest.point.as_dict())
        return Point.read(json_of(path))

    def rows(self, about: dict[str, Any], exits: Point, num_timed: int) -> list[Result]:
        """A row of each form; those of static engines in int8 and in any dtype are the rivals."""
        statics = [f for f in self.forms.available(["onnx", "openvino"]) if f.dtype != "fp32"]
        tried = {form.runner: self.forms.deployed(form) for form in statics}
        tried[EXITS] = self.forms.deployed(exits)
        ms = self.times(tried, num_timed)
        int8, fastest = (
            min((f.runner for f in statics if f.dtype in dtypes), key=lambda name: ms[name].mean())
            for dtypes in (("int8",), ("int8", "bf16"))
        )
        made = []
        for name, form in tried.items():
            values: dict[str, Any] = {"is_static": name != EXITS}
            benign, phishing = ms[name].reshape(2, -1).mean(1).tolist()
            values |= {"benign_ms": benign, "phishing_ms": phishing}
            values["share_of_int8"] = share(ms[name], ms[int8])
            values["share_of_static"] = share(ms[name], ms[fastest])
            if name == EXITS or (name == int8 and not about["tokens"]):
                values |= self.counts(self.work.trace(name, self.split, form.answers))
            where = {"num_timed": len(ms[name])} | provenance()
            made.append(Result(about | {"form": name}, values, where))
        return made

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

    def counts(self, trace: Trace) -> dict[str, Any]:
        """Count what is lost of what the original finds; shares that are marked, by label."""
        original_N, found_N = (t.logits_BC.argmax(-1) == 1 for t in (self.theirs, trace))
        found, alarmed = (float(found_N[self.labels_N == k].mean()) for k in (1, 0))
        lost = {"lost": int((original_N & ~found_N).sum()), "positives": int(original_N.sum())}
        return lost | {"found": found, "alarmed": alarmed, "depth": float(trace.depth_B.mean())}


def windows_of(source: Source, original: Original) -> TextWindows:
    split = split_of(source, original.tokenizer)
    return TextWindows.of(split, original.reader, original.same.kind, original.same.labels)


def share(ms_N: np.ndarray, others_N: np.ndarray, draws: int = 2000) -> Interval:
    """The share of another form's time, and its 95 % interval over texts (paired bootstrap)."""
    rows_DN = np.random.default_rng(0).integers(len(ms_N), size=(draws, len(ms_N)))
    drawn_D = ms_N[rows_DN].sum(1) / others_N[rows_DN].sum(1)
    low, high = np.quantile(drawn_D, (0.025, 0.975))
    return Interval(float(ms_N.sum() / others_N.sum()), float(low), float(high))


if __name__ == "__main__":
    with reported():
        torch.set_num_threads(1)
        run_step(sys.argv[1:], scan)
