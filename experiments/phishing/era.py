"""How far the era alone tells phishing from ham: a few marks of the times, without reading a mail.

    python -m experiments.phishing.era [dir=<folder of data>]

Of email_phish_spam: marks are put together by a logistic regression on train, and ranked on
validation; an area under the ROC curve of 0.5 says nothing. Prints a table, and how many of
validation's subject lines stand in train.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.optimize import minimize
from scipy.special import expit

from eat_lightning.data.calibration import MARKS, plain
from eat_lightning.report.intervals import roc_area

FILE = "email_phish_spam/{split}.parquet"
Columns = dict[str, np.ndarray]


def counted(pattern: str) -> Callable[[str], float]:
    found = re.compile(pattern, re.IGNORECASE)
    return lambda text: float(len(found.findall(text)))


ERA_MARKS: dict[str, Callable[[str], float]] = {
    "a year from 2010 on": counted(r"\b20[12]\d\b"),
    "1998 to 2003": counted(r"\b(?:199[89]|200[0-3])\b"),
    "characters beyond ASCII": lambda text: float(sum(ord(c) > 127 for c in text)),
    "length": lambda text: len(text) / 1000,
    "mailing lists of 2002": counted(r"wrote:|sourceforge|yahoo! groups|mailing list|listinfo"),
}


def main() -> None:
    given = {key: value for key, _, value in (a.partition("=") for a in sys.argv[1:])}
    folder = Path(given.get("dir") or os.environ.get("EAT_DATA") or ".")
    if set(given) - {"dir"} or not (folder / FILE.format(split="train")).is_file():
        print(f"error: dir={folder} holds no {FILE.format(split='train')}", file=sys.stderr)
        raise SystemExit(1)
    train, held = (read(folder / FILE.format(split=split)) for split in ("train", "validation"))
    print("\n".join(table(train, held)))
    print(threads(train, held))


def read(path: Path) -> Columns:
    found = pq.ParquetFile(path).read(columns=["subject", "text", "label", "source"])
    return {name: np.array(found[name].to_pylist()) for name in found.column_names}


def marks_of(mails: Columns) -> np.ndarray:
    """Logarithms of counts, mails x marks."""
    texts = [f"{s} {t}" for s, t in zip(mails["subject"], mails["text"], strict=True)]
    return np.log1p(np.array([[mark(text) for mark in ERA_MARKS.values()] for text in texts]))


def fitted(marks: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression, the last one its bias."""
    whole = np.column_stack([marks, np.ones(len(marks))])
    sign = 2.0 * positive - 1

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (whole @ weights)
        slope = -(expit(-margin) * sign) @ whole / len(whole)
        penalty = 1e-4 * weights
        return float(np.logaddexp(0, -margin).mean() + penalty @ weights / 2), slope + penalty

    return minimize(loss, np.zeros(whole.shape[1]), jac=True, method="L-BFGS-B").x


def table(train: Columns, held: Columns) -> list[str]:
    """A line for each mark and for all together: areas under the curve, the better way round."""
    here, weights = marks_of(held), fitted(marks_of(train), train["label"] == 1)
    scores = dict(zip(ERA_MARKS, here.T, strict=True)) | {"all of them": here @ weights[:-1]}
    old = np.char.startswith(held["source"], "sa_")
    positive = held["label"] == 1
    parts = {"all": np.ones_like(old), "phishing against ham": ~(old & positive), "2002 alone": old}
    lines = [f"| mark | {' | '.join(parts)} |", "|---" * (len(parts) + 1) + "|"]
    for name, score in scores.items():
        found = [
            roc_area(score[chosen & positive], score[chosen & ~positive])
            for chosen in parts.values()
        ]
        lines.append(f"| {name} | {' | '.join(f'{max(a, 1 - a):.3f}' for a in found)} |")
    return lines


def threads(train: Columns, held: Columns) -> str:
    known, here = ([MARKS.sub("", plain(s)) for s in each["subject"]] for each in (train, held))
    seen = np.isin(here, sorted({*known} - {""}))
    parts = {"all": seen, **{s: seen[held["source"] == s] for s in np.unique(held["source"])}}
    told = ", ".join(f"{name} {100 * part.mean():.0f} %" for name, part in parts.items())
    return f"validation's mails whose subject line stands in train too: {told}"


if __name__ == "__main__":
    main()
