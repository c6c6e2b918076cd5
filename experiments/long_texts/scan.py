"""A scan of long texts for phishing: exits in windows beside the fastest static engine in int8.

    python -m experiments.long_texts.scan body=FOLDER data=FOLDER to=FOLDER [tokens=8000]

A classifier is tuned by plain transformers on random stretches of half of the mails (steps=400).
`eat adapt` makes it faster on texts=700 joined from the others; tokens=0: on these mails as they
are. It certifies that at most a share of lost=0.01 of the texts that the original answers with
phishing is missed, and times whole texts in every form by turns, so the machine must be quiet.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pandas import DataFrame

from eat_lightning.data.source import Source
from eat_lightning.data.tokens import tokenizer_for
from eat_lightning.deploy.adapt.api import Adapted, adapt
from eat_lightning.errors import reported
from eat_lightning.runs import jsonl
from eat_lightning.runs.run import provenance
from experiments.adapt.tune import tuned
from experiments.bench.tables import markdown
from experiments.long_texts.__main__ import LABELS, SIZE, joined, mails

ROWS = Path(__file__).parent / "results" / "scan.jsonl"
STRETCH = 90  # words of a stretch, about a window


@dataclass(frozen=True)
class ScanRow:
    """A form of the classifier in a scan.

    Args:
        tokens: that texts were joined to; 0: single mails.
        form: engine and dtype, with exits or without.
        ms: of a text, one at once.
        lost, positives: changed answers of phishing on the texts of the certificate, and all such
            answers there; None: not tested.
        verdict: chosen, holds, fails, or why it was left out.
    """

    body: str
    tokens: int
    form: str
    is_static: bool
    dtype: str
    depth: float
    ms: float
    lost: int | None
    positives: int | None
    verdict: str
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
    folder.mkdir(parents=True, exist_ok=True)
    train, rest = halves(mails(given["data"], "train"))
    if not (folder / "model").is_dir():
        tune(train, given["body"], folder / "model", given.get("steps", 400))
    num = given.get("texts", 700)
    source = rest.take(np.arange(min(num, len(rest))))
    if tokens:
        source = joined(rest, num, tokens, tokenizer_for(str(folder / "model")))
    found = adapted(folder, source.texts[0], tokens, given)
    rows = rows_of(found, Path(given["body"]).name, tokens)
    jsonl.update(ROWS, ScanRow, rows)
    print(markdown(DataFrame(map(vars, rows)).iloc[:, :-3].round(3)))
    print(compared(rows))


def halves(source: Source) -> tuple[Source, Source]:
    order = np.random.default_rng(1).permutation(len(source))
    return source.take(order[::2]), source.take(order[1::2])


def tune(train: Source, body: str, to: Path, steps: int) -> None:
    """Tune a classifier on a random stretch of each mail."""
    random, stretches = np.random.default_rng(2), []
    for words in (text.split(" ") for text in train.texts[0]):
        start = int(random.integers(max(1, len(words) - STRETCH)))
        stretches.append(" ".join(words[start : start + STRETCH]))
    rows = pd.DataFrame({"text": stretches, "label": train.labels})
    task = {"columns": ["text"], "length": SIZE, "lr": 5e-5}
    for made in tuned(rows, task, LABELS, body, steps, probe=0):
        made.save_pretrained(to)


def adapted(folder: Path, texts: Sequence[str], tokens: int, given: dict[str, Any]) -> Adapted:
    return adapt(
        folder / "model",
        list(texts),
        folder / f"adapted-{tokens}",
        max_length=SIZE,
        long="windows",
        windows={"label": LABELS[1]},
        agree=given.get("agree", 0.9),
        per_class={LABELS[1]: 1 - given.get("lost", 0.01)},
        shares=[0.15, 0.25, 0.6],
        engines=given.get("engines", ["onnx", "openvino"]),
        threads=given.get("threads", 1),
        times={"examples": given.get("timed", 40)},
    )


def rows_of(found: Adapted, body: str, tokens: int) -> list[ScanRow]:
    """A row for each form that was timed."""
    sound = [each for each in found.about.candidates if each["ms"]]
    best = min((each for each in sound if holds(each)), key=lambda each: each["ms"]["1"])
    rows = []
    for each in sound:
        count = next((x for x in each["tested"] or [] if x["name"] == LABELS[1]), None)
        tested = "holds" if holds(each) else "fails" if each["tested"] else each["fault"]
        rows.append(
            ScanRow(
                *(body, tokens, each["name"], each["point"] is None, each["dtype"]),
                *(each["depth"], each["ms"]["1"]),
                *((None, None) if count is None else (count["changed"], count["num"])),
                "chosen" if each is best else tested,
                **provenance(),
            )
        )
    return rows


def holds(candidate: dict[str, Any]) -> bool:
    tested = candidate["tested"]
    return bool(tested) and all(count["changed"] <= count["allowed"] for count in tested)


def compared(rows: Sequence[ScanRow]) -> str:
    """Compare the chosen form with the fastest static one in int8."""
    static = [row for row in rows if row.is_static and row.dtype == "int8"]
    if not static:
        return "no static form in int8 was timed"
    (chosen,) = [row for row in rows if row.verdict == "chosen"]
    fastest = min(static, key=lambda row: row.ms)
    share = chosen.ms / fastest.ms
    return f"{chosen.form}: {share:.2f} of the time of {fastest.form} ({fastest.ms:.1f} ms a text)"


if __name__ == "__main__":
    main(sys.argv[1:])
