"""A scan of long texts for phishing: certified exits in windows beside static engines.

    python -m experiments.long_texts.scan body=FOLDER data=FOLDER to=FOLDER [tokens=8000]

A classifier is tuned by plain transformers on stretches of half of the training mails (steps=160).
On the other half `eat adapt` certifies forms that miss at most a share of lost=0.01 of what it
finds. Both are tried on mails of validation, joined to texts of so many tokens; tokens=0: as they
are. There every certified form and every fast static one is timed, so the machine must be quiet.
What the fastest ones miss is counted.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pandas import DataFrame
from scipy.stats import binomtest

from eat_lightning.data.source import Source
from eat_lightning.data.tokens import tokenizer_for
from eat_lightning.deploy.adapt.api import adapt
from eat_lightning.deploy.adapt.forms import Deployed, Form, Forms, deployed_original, scratch_run
from eat_lightning.deploy.adapt.original import Original
from eat_lightning.deploy.adapt.work import Work
from eat_lightning.engines.adapted import AboutAdapted, encoder_of
from eat_lightning.errors import reported
from eat_lightning.infer.latency import keep_kernels, time_interleaved, undisturbed
from eat_lightning.infer.text_windows import TextWindows
from eat_lightning.runs import jsonl
from eat_lightning.runs.run import provenance
from experiments.adapt.chosen import holds
from experiments.adapt.tune import tuned
from experiments.bench.tables import markdown
from experiments.long_texts.__main__ import LABELS, SIZE, joined, mails, split_of

ROWS = Path(__file__).parent / "results" / "scan.jsonl"
STRETCH = 90  # words of a stretch, about a window
RARE = 25  # other mails for one of phishing, in the texts that are joined
REPEATS = 3
NEAR = 1.6  # static forms that take so many times the fastest one's time on mails are not tried


@dataclass(frozen=True)
class ScanRow:
    """A form of the classifier in a scan of texts that nothing was chosen on.

    Args:
        tokens: that mails were joined to; 0: single mails.
        form: engine and dtype, with exits or without.
        certified: on other mails, one by one.
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
    dtype: str
    certified: bool
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
    given = {k: yaml.safe_load(v) for k, _, v in (word.partition("=") for word in words)}
    folder, tokens = Path(given["to"]), given.get("tokens", 8000)
    keep_kernels()
    train, others = halves(mails(given["data"], "train"))
    if not (folder / "model").is_dir():
        tune(train, given["body"], folder / "model", given.get("steps", 160))
    if not (folder / "adapted").is_dir():
        certify(folder, others.take(np.arange(given.get("others", len(others)))), given)
    source = mails(given["data"], "validation")
    num = given.get("texts", 690 if tokens else len(source))
    if tokens:
        source = joined(source, num, tokens, tokenizer_for(str(folder / "model")), benign_every=10)
    scan = Scan.open(folder, source.take(np.arange(num)), f"scan-{tokens}-{num}")
    rows = scan.rows(Path(given["body"]).name, tokens, given.get("timed", 200))
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


def certify(folder: Path, others: Source, given: dict[str, Any]) -> None:
    adapt(
        folder / "model",
        list(others.texts[0]),
        folder / "adapted",
        max_length=SIZE,
        long="windows",
        windows={"label": LABELS[1]},
        agree=0.9,
        per_class={LABELS[1]: 1 - given.get("lost", 0.01)},
        shares=[0.15, 0.35, 0.5],
        engines=given.get("engines", ["onnx", "openvino"]),
        times={"examples": 40},
    )


@dataclass
class Scan:
    """Texts that are scanned, and the forms that do it.

    Args:
        candidates: as `adapted.json` has them: those certified, and the fast static ones.
        split: the texts, and labels of their mails.
    """

    original: Original
    forms: Forms
    candidates: list[dict[str, Any]]
    split: TextWindows
    labels_N: np.ndarray
    work: Work

    @classmethod
    def open(cls, folder: Path, source: Source, name: str) -> Scan:
        about = AboutAdapted.read(folder / "adapted")
        original = Original.open(str(folder / "model"), SIZE, long=about.long_texts)
        kind, tokenizer = original.same.kind, original.tokenizer
        encoder = encoder_of(folder / "adapted", kind, 1, tokenizer)
        run = scratch_run(folder / "graphs", original, encoder, ["text"])
        split = TextWindows.of(split_of(source, tokenizer), original.reader, kind, about.labels)
        sound = [each for each in about.candidates[1:] if each["ms"]]
        slowest = NEAR * min(each["ms"]["1"] for each in sound if is_static(each))
        tried = [each for each in sound if holds(each) or is_near(each, slowest)]
        work = Work(folder / name)
        work.folder.mkdir(exist_ok=True)
        return cls(original, Forms(original, encoder, run, 1), tried, split, source.labels, work)

    def rows(self, body: str, tokens: int, num_timed: int) -> list[ScanRow]:
        ms = self.times(num_timed)
        int8 = [c["name"] for c in self.candidates if is_static(c) and c["dtype"] == "int8"]
        rival = min(int8, key=lambda name: ms[name].mean())
        certified = [c["name"] for c in self.candidates if holds(c)]
        fastest = min(certified, key=lambda name: ms[name].mean())
        original_N = self.positive("original", deployed_original(self.original))
        made = []
        for each in self.candidates:
            name, counts = each["name"], (None, None, None, None)
            if name in (rival, fastest):
                counts = self.counts(original_N, self.positive(name, self.deployed(each)))
            by_label = ms[name].reshape(2, -1).mean(1)
            made.append(
                ScanRow(
                    *(body, tokens, name, is_static(each), each["dtype"], holds(each)),
                    (float(by_label[0]), float(by_label[1])),
                    share(ms[name], ms[rival]),
                    len(ms[name]),
                    *counts,
                    **provenance(),
                )
            )
        return sorted(made, key=lambda row: row.share)

    def deployed(self, candidate: Mapping[str, Any]) -> Deployed:
        form = Form(candidate["engine"], candidate["dtype"])
        return self.forms.deployed(form, self.forms.rule_at(candidate["point"]))

    def times(self, num: int) -> dict[str, np.ndarray]:
        """Milliseconds of each text by form: benign ones, then as many with phishing."""
        rows = [np.flatnonzero(self.labels_N == k)[: num // 2] for k in (0, 1)]
        least = min(map(len, rows))
        batches = [
            self.split.batch(np.array([row])) for some in rows for row in some[:least].tolist()
        ]
        ready = {each["name"]: self.deployed(each) for each in self.candidates}
        settings = {k: (form.run, [*map(form.ready, batches)]) for k, form in ready.items()}
        with undisturbed(1):
            time_interleaved({k: (run, given[:3]) for k, (run, given) in settings.items()}, 1)
            took = time_interleaved(settings, REPEATS)
        return {name: took_RN.mean(0) for name, took_RN in took.items()}

    def positive(self, name: str, form: Deployed) -> np.ndarray:
        """Mark the texts in which a form finds phishing."""
        return self.work.passed(name, self.split, form.answers).logits_NC.argmax(-1) == 1

    def counts(self, original_N: np.ndarray, found_N: np.ndarray) -> tuple[int, int, float, float]:
        """Count what is lost, what the original finds, and tell shares by label."""
        lost = int((original_N & ~found_N).sum())
        shares = [float(found_N[self.labels_N == k].mean()) for k in (1, 0)]
        return lost, int(original_N.sum()), shares[0], shares[1]


def is_static(candidate: Mapping[str, Any]) -> bool:
    return candidate["point"] is None


def is_near(candidate: Mapping[str, Any], slowest: float) -> bool:
    return is_static(candidate) and candidate["ms"]["1"] <= slowest


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
