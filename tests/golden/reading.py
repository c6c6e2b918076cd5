"""What the commands print and write, as the golden files keep it.

There is one function for each kind of output, and nothing else in these tests knows its format. A
change of a format is made here, so that the golden files stay as they are. Left out are times,
names of machines, versions, hashes, paths and sentences.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from eat_lightning.record.claim import allowed

Json = dict[str, Any]
METHODS = ("attention", "reduction", "exit", "policy")
COUNTED = (
    *("num_examples", "depth", "retention", "token_layers", "exit_shares", "exit_reasons"),
    *("flops", "flops_ratio", "majority", "recall"),
)
SCORES = (
    *("accuracy", "f1", "f1_micro", "f1_macro", "exact_match", "matthews"),
    *("pearson", "spearman"),
)
IDENTITY = (
    *("task", "metric", "model", "encoder", "study", "run", "seed", "num_layers", "head"),
    *("objective", "schedule", "teacher", "lr", "steps", "num_train_examples", "strength"),
)
CALIBRATION = ("temperature", "ece_before", "ece_after")
KNOBS = ("tau", "bound", "patience")  # of exit rules
NOT_ANSWERED = ("text", "sentence", "json")  # columns of the input
GAINS = [
    f"{name}{end}" for name in ("adaptivity_gain", "mix_gain") for end in ("", "_low", "_high")
]


def lines_of(text: str) -> list[Json]:
    return [json.loads(line) for line in text.splitlines()]


def answers(found: Sequence[Json]) -> Json:
    """Answers of predict, score, or Python: a column for each key. `refused` has the lines that
    got an error instead, whatever it says."""
    refused = [i for i, answer in enumerate(found) if isinstance(answer.get("error"), str)]
    given = [answer for i, answer in enumerate(found) if i not in refused]
    keys = list(dict.fromkeys(key for answer in given for key in answer))
    columns = {key: column([worded(answer[key]) for answer in given]) for key in keys}
    return ({"refused": refused} if refused else {}) | columns


def worded(value: Any) -> Any:
    """A set of labels in one word, so that it is short."""
    is_set = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return "+".join(value) if is_set else value


def column(values: list[Any]) -> Any:
    """A column in short: one value where all are equal, a string of initials or digits where that
    is clear, and else a list."""
    if all(value == values[0] for value in values) and len(values) > 1:
        return {"all": values[0]}
    if all(type(value) is int and 0 <= value <= 9 for value in values):
        return "".join(map(str, values))
    if all(isinstance(value, str) for value in values):
        words = sorted(set(values))
        if len({word[:1] for word in words}) == len(words) and "" not in words:
            return ["".join(value[0] for value in values), words]
    if all(isinstance(value, bool) for value in values):
        return "".join(str(int(value)) for value in values)
    return values


def scored(folder: Path) -> Json:
    """A corpus that score wrote, in the order of the input."""
    files = sorted(folder.glob("*.parquet"))
    found = [row for path in files for row in pq.read_table(path).to_pylist()]
    return answers([{k: v for k, v in each.items() if k not in NOT_ANSWERED} for each in found])


def row(found: Json) -> Json:
    """One row of measure."""
    asked = {key: found[key] for key in ("baseline", "budget", "agree") if found[key]}
    asked |= {"in_windows": True} if found["windows"] else {}
    where = {key: found[key] for key in ("kernels", "dtype", "split")}
    knob = {"knob": found["knob"], "point": found["point"]}
    measured = {key: found[key] for key in (*COUNTED, *SCORES, *GAINS) if found[key] is not None}
    return asked | where | {key: found[key] for key in METHODS} | knob | measured


def rows(folder: Path) -> list[Json]:
    """All rows in a run's folder."""
    files = sorted(folder.glob("rows*.jsonl"))
    return [row(each) for file in files for each in lines_of(file.read_text())]


def identity(folder: Path, *more: str) -> Json:
    """What every row of a run says of the run and its training.

    Args:
        more: further fields.
    """
    found = [
        {key: each[key] for key in (*IDENTITY, *more)}
        for each in lines_of((folder / "rows.jsonl").read_text())
    ]
    assert all(each == found[0] for each in found)
    return found[0]


def certificate(path: Path) -> Json:
    """A certificate of a run or of an export."""
    found = json.loads(path.read_text())
    [claim] = found["claims"]
    risk = {"kind": claim["loss"]} | ({} if claim["label"] is None else {"label": claim["label"]})
    claimed = {"risk": risk, "procedure": {"kind": "learn_then_test"}}
    claimed |= {key: claim[key] for key in ("level", "confidence")}
    point = found["holds_for"]["point"]
    held = point["methods"] | {"policy": point["policies"]}
    claimed |= {"fallback": found["fallback"], "seen": found["seen"]}
    return claimed | {k: held[k] for k in METHODS if k in held}


def dial(folder: Path) -> Json:
    """The dial of a run."""
    (path,) = (folder / "dial").glob("dial-*.json")
    found = json.loads(path.read_text())
    points = [
        knobs(each["point"]["methods"])
        | {key: each[key] for key in ("cost", "accuracy", "agreement")}
        for each in found["points"]
    ]
    return {"unit": found["unit"], "num_examples": found["num_examples"], "dial": points}


def knobs(methods: Json) -> Json:
    """Where the knobs of a point's methods stand; None where one stays."""
    reduction = methods.get("reduction") or {}
    [value] = [methods["exit"][name] for name in KNOBS if name in methods["exit"]]
    return {"point": value, "reduction": reduction.get("ratio")}


def adapted(folder: Path) -> Json:
    """The point that adapt chose, its certificate, and the float32 candidates that it tried.
    Candidates in other precisions depend on the processor."""
    found = json.loads((folder / "bundle.json").read_text())
    points = json.loads((folder / "dial.json").read_text())["points"]
    point, chosen = found["point"], ("labels", "answer", "max_length", "long")
    certified = claimed(json.loads((folder / "certificates/adapted.json").read_text()))
    tried = [candidate(x) for x in points if x["point"]["dtype"] == "fp32"]
    return {
        "chosen": {key: found[key] for key in chosen} | {k: point[k] for k in ("engine", "dtype")},
        "certificate": certified,
        "margin": point.get("margin"),
        "scales": found["scales"],
        "candidates": tried,
    }


def claimed(found: Json) -> Json:
    """The certificate of an adapted classifier."""
    every, *others = found["claims"]
    counts = [counted(tally) for tally in found["tallies"]]
    return {
        "agree": round(1 - every["level"], 12),
        "confidence": every["confidence"],
        "per_class": {each["of"]: round(1 - each["level"], 12) for each in others},
        "counts": counts,
    }


def counted(found: Json) -> Json:
    """A tally with the most changes that its claim allows."""
    claim, error = found["claim"], round(1 - found["claim"]["confidence"], 12)
    most = allowed(found["num"], claim["level"], error)
    about = {"name": claim["of"], "level": claim["level"], "error": error, "allowed": most}
    return about | {"num": found["num"], "changed": found["changed"]}


def candidate(found: Json) -> Json:
    """A candidate with the values of its exits, and what came of it."""
    point, tested = found["point"], found.get("tested")
    exit = point["methods"]["exit"]
    kept = {
        "engine": point["engine"],
        "point": next((exit[name] for name in KNOBS if name in exit), None),
        "depth": found.get("depth", 0.0),
        "selected": [counted(one) for one in found.get("counts", [])],
        "tested": None if tested is None else [counted(one) for one in tested],
    }
    if "before" in point:
        kept["before"] = {"margin": point["margin"], "share": found["share"]}
    return kept


def lists(folder: Path) -> Json:
    """The schedule that adapt chose for lists, and its certificate."""
    found = json.loads((folder / "bundle.json").read_text())
    made = json.loads((folder / "certificates/adapted.json").read_text())
    [claim], seen = made["claims"], made["seen"]
    certified = {"agree": round(1 - claim["level"], 12), "confidence": claim["confidence"]}
    certified |= {key: seen[key] for key in ("lost", "swapped", "swapped_at_most", "cost")}
    certified |= {"lists": seen["num_lists"]}
    point = found["point"]
    about = {key: found[key] for key in ("keep", "max_length", "column")}
    about |= {"counts": point["counts"], "dtype": point["dtype"]}
    return about | {"certificate": certified}


def list_rows(folder: Path) -> list[Json]:
    """Rows of measure for lists, but for those whose answers depend on the processor."""
    kept = ("strategy", "dtype", "size", "keep", "cost", "kept", "more", "low", "high")
    kept += ("swapped", "ndcg", "mrr", "num_lists")
    found = lines_of((folder / "rows-lists.jsonl").read_text())
    return [{key: each[key] for key in kept} for each in found if each["dtype"] == "fp32"]


def ranked(found: Sequence[Any]) -> Json:
    """The candidates of a query in their order."""
    return {
        "order": [each.index for each in found],
        "score": [each.score for each in found],
        "depth": "".join(str(each.depth) for each in found),
    }


def output(found: Mapping[str, Any]) -> Json:
    """The output of the Hugging Face class."""
    return {"logits": found["logits"].tolist(), "depth": column(found["depth"].tolist())}
