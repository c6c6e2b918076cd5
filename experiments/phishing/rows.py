"""What a cheap model hands on to costly analysis at a share of the positives that is kept, counted
on finished runs; and how far the era of a mail alone separates phishing from ham.

    python -m experiments.phishing.rows study=outputs/phishing data=FOLDER

Shapes: B examples. A positive is an example of the class that must not be missed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from math import floor, inf
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.optimize import minimize
from scipy.special import expit

from eat_lightning.data.calibration import MARKS, plain
from eat_lightning.errors import reported
from eat_lightning.report import result
from eat_lightning.report.certified import Held, held_by, setting_of
from eat_lightning.report.intervals import mcnemar, paired_difference, roc_area, softmax
from eat_lightning.report.result import Result
from eat_lightning.report.study import KeptRow, Study, open_study

RESULTS = Path(__file__).parent / "results" / "rows.jsonl"
POSITIVE = 1  # the class's number
RECALLS = (0.95, 0.99, 0.995)
SHOWN = (0.85, 0.90, 0.92, 0.99)  # taus: EAT's section 10 chooses within [0.85, 0.92]
FULL = "full depth"
ROUNDING = 1e-9  # (19 + 1) x (1 - 0.95) is to be 1


def threshold_for(score_B: np.ndarray, positive_B: np.ndarray, recall: float) -> float:
    """The score from which on to hand on, so that of new positives drawn as these at least `recall`
    score as high, in expectation over calibration samples (split conformal, Vovk et al. 2005). -inf
    where the positives are too few to say: all are handed on."""
    scores = np.sort(score_B[positive_B])
    below = floor((len(scores) + 1) * (1 - recall) + ROUNDING)
    return float(scores[below - 1]) if below else -inf


def score_of(measured: KeptRow) -> np.ndarray:
    """The probability of the positive class in the answer that each example left with."""
    return softmax(measured.known.logits_BC)[:, POSITIVE]


def positives_of(measured: KeptRow) -> np.ndarray:
    return measured.record.labels == POSITIVE


def two_classes(measured: KeptRow) -> bool:
    """True for labelled examples; kept ones have their right class first, so all labels are 0."""
    trace = None if measured.row.baseline else measured.outcome
    if trace is None or trace.logits_BC.shape[1] != 2:
        return False
    return len(np.unique(measured.record.labels)) == 2


def results_of(study: Study) -> list[Result]:
    """The results of each task of two classes with rows of the splits validation and certificate;
    none where labels or a split are lacking."""
    found = []
    for task in study.tasks:
        rows = [m for m in study.measured if m.row.task == task and two_classes(m)]
        validation = [m for m in rows if m.row.split == "validation"]
        held = held_by(study, validation)
        cut = {key_of(m): m for m in reversed(rows) if m.row.split == "certificate"}
        chosen = {key_of(each.measured) for each in held}
        shown = [m for m in validation if key_of(m) in cut and is_shown(m, chosen)]
        for m in sorted(shown, key=lambda m: (m.row.model, -tau_of(m))):
            found += triage(m, cut[key_of(m)], key_of(m) in chosen)
        found += [certificate(each) for each in held]
        found += differences([m for m in shown if setting_of(m) == FULL])
    return found


def key_of(m: KeptRow) -> tuple[str, str]:
    return m.row.run, str(m.row.exit)


def is_shown(m: KeptRow, chosen: set[tuple[str, str]]) -> bool:
    return m.row.point in SHOWN or m.row.exit.kind == "never" or key_of(m) in chosen


def tau_of(m: KeptRow) -> float:
    return m.row.point if isinstance(m.row.point, float) else 2.0


def about(m: KeptRow, kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "task": m.row.task, "model": m.row.model, **more}


def triage(m: KeptRow, calibration: KeptRow, certified: bool) -> Iterator[Result]:
    """Counts at each recall by the threshold that the calibration part sets, and the area under the
    ROC curve, of two eras and of one."""
    score_B, positive_B = score_of(m), positives_of(m)
    rule = setting_of(m) + (", certified" if certified and setting_of(m) != FULL else "")
    assert m.correct_B is not None
    counts: dict[str, Any] = {"n": len(score_B), "positives": int(positive_B.sum())}
    counts |= {"right": int(m.correct_B.sum()), "depth": m.row.depth}
    counts |= {"flops_ratio": m.row.flops_ratio}
    known = score_of(calibration), positives_of(calibration)
    for recall in RECALLS:
        goes_B = score_B >= threshold_for(*known, recall)
        handed = {"kept": int((goes_B & positive_B).sum()), "handed": int(goes_B.sum())}
        yield Result(about(m, "triage", rule=rule, recall=recall), counts | handed)
    origins = np.array(m.record.origins or [""] * len(score_B), dtype=str)
    old = np.char.startswith(origins, "sa_")  # SpamAssassin's mails are all of 2002
    parts = {"two eras": ~old | ~positive_B, "one era": old} if old.any() else {}
    for eras, here in parts.items():
        area = roc_area(score_B[here & positive_B], score_B[here & ~positive_B])
        yield Result(about(m, "area", rule=rule, eras=eras), {"area": area})


def certificate(held: Held) -> Result:
    of, row = held.certificate, held.measured.row
    values = {
        "rule": held.exits,
        "level": of.claim.level,
        "seen": of.seen.get("risk"),
        "risk": held.risk,
    }
    values |= {"depth": row.depth, "flops_ratio": row.flops_ratio}
    values |= {"reason": of.reason} if of.fallback else {}
    return Result(about(held.measured, "certificate", certificate=of.name), values)


def differences(full: Sequence[KeptRow]) -> Iterator[Result]:
    """The first model's accuracy at full depth minus each other's, in points."""
    for other in full[1:]:
        a_B, b_B = full[0].correct_B, other.correct_B
        assert a_B is not None
        assert b_B is not None
        what = about(full[0], "difference", against=other.row.model)
        points = paired_difference(a_B, b_B).times(100)
        yield Result(what, {"points": points, "p": mcnemar(a_B, b_B)})


ERA_MARKS = {
    "a year from 2010 on": r"\b20[12]\d\b",
    "a year of 1998 to 2003": r"\b(?:199[89]|200[0-3])\b",
    "characters beyond ASCII": r"[^\x00-\x7f]",
    "length": r".",
    "2002's mailing lists": r"wrote:|sourceforge|yahoo! groups|mailing list|listinfo",
}
Columns = dict[str, np.ndarray]


def era_results(folder: Path) -> Iterator[Result]:
    """The area under the ROC curve of each mark of the times, without reading a mail, and of a
    logistic regression of all, fitted on train; and how many subject lines stand in train too."""
    train, held = (read(folder / f"email_phish_spam/{s}.parquet") for s in ("train", "validation"))
    here, weights = marks_of(held), fitted(marks_of(train), train["label"] == POSITIVE)
    scores = dict(zip(ERA_MARKS, here.T, strict=True)) | {"all of them": here @ weights[:-1]}
    old, positive = np.char.startswith(held["source"], "sa_"), held["label"] == POSITIVE
    parts = {"all": old | True, "phishing against ham": ~(old & positive), "2002 alone": old}
    for mark, score in scores.items():
        areas = {}
        for name, chosen in parts.items():
            area = roc_area(score[chosen & positive], score[chosen & ~positive])
            areas[name] = max(area, 1 - area)  # whichever way round it separates
        yield Result({"kind": "era", "mark": mark}, areas)
    known, subjects = ([MARKS.sub("", plain(s)) for s in of["subject"]] for of in (train, held))
    seen = np.isin(subjects, sorted({*known} - {""}))
    for source in ("all", *np.unique(held["source"])):
        chosen = (held["source"] == source) | (source == "all")
        yield Result(
            {"kind": "thread", "source": str(source)}, {"share": float(seen[chosen].mean())}
        )


def read(path: Path) -> Columns:
    found = pq.ParquetFile(path).read(columns=["subject", "text", "label", "source"])
    return {name: np.array(found[name].to_pylist()) for name in found.column_names}


def marks_of(mails: Columns) -> np.ndarray:
    """Logarithms of 1 + how often each mark occurs (length: in thousands), mails x marks."""
    texts = [f"{s} {t}" for s, t in zip(mails["subject"], mails["text"], strict=True)]
    found = [re.compile(mark, re.IGNORECASE | re.DOTALL) for mark in ERA_MARKS.values()]
    counts = np.array([[len(mark.findall(text)) for mark in found] for text in texts], float)
    counts[:, list(ERA_MARKS).index("length")] /= 1000
    return np.log1p(counts)


def fitted(marks: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression, the last one its bias."""
    whole, sign = np.column_stack([marks, np.ones(len(marks))]), 2.0 * positive - 1

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin, penalty = sign * (whole @ weights), 1e-4 * weights
        slope = -(expit(-margin) * sign) @ whole / len(whole)
        return float(np.logaddexp(0, -margin).mean() + penalty @ weights / 2), slope + penalty

    return minimize(loss, np.zeros(whole.shape[1]), jac=True, method="L-BFGS-B").x


def main(words: Sequence[str]) -> None:
    from experiments.study import given_of  # in a clone: the wheel has claims alone

    given = given_of(words, ("study", "data"))
    found = results_of(open_study([given["study"]])) if "study" in given else []
    found += era_results(Path(given["data"])) if "data" in given else []
    result.update(RESULTS, found)
    print(f"{RESULTS}: {len(found)} results")


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
