"""Mails read in windows beside mails that are cut, one by one and joined to long texts.

    python -m experiments.long_texts body=FOLDER data=FOLDER [layers=3] [train=800] [texts=40]

Heads are fitted by labels on the frozen first layers of a pretrained backbone, so that it takes
minutes on a busy core: what is compared is the reading, not the classifier. Every window is run
once, and each way to join their answers is replayed.

Shapes: B mails or texts, W windows, D width.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from pandas import DataFrame
from torch.nn import functional as F

from eat_lightning.data.batching import sorted_batches
from eat_lightning.data.source import Source
from eat_lightning.data.split import Split, in_windows, make_split
from eat_lightning.data.tokens import tokenizer_for
from eat_lightning.errors import reported
from eat_lightning.infer.torch_backend import TorchBackend
from eat_lightning.long_texts import JOINS, Join, Joiner, LongTexts
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.record.passes import inference, record
from eat_lightning.report.intervals import roc_area
from eat_lightning.runs import jsonl
from eat_lightning.runs.run import provenance
from eat_lightning.weights.checkpoint import load_pretrained
from experiments.bench.tables import markdown
from experiments.study import given_of

ROWS = Path(__file__).parent / "results" / "rows.jsonl"
LABELS = ["benign", "phishing"]
SIZE, TAU = 128, 0.9


@dataclass(frozen=True)
class Reading:
    """How well a reading tells phishing from other mail.

    Args:
        texts: "mails", or "joined" ones of which one mail in half of them is phishing.
        reading: "cut", or the join of windows.
        exits: "never" or the tau.
        tokens: of a text, in mean.
        auc: of the probability of phishing.
        recall: share of phishing that is found.
        false_alarms: share of the others.
        depth: layers of the deepest window, in mean.
        window_depth: layers of a window, in mean over those that count.
    """

    texts: str
    reading: str
    exits: str
    num: int
    tokens: float
    windows: float
    auc: float
    recall: float
    false_alarms: float
    depth: float
    window_depth: float
    machine: str
    commit: str
    version: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.texts, self.reading, self.exits


@reported()
def main(words: Sequence[str]) -> None:
    given = given_of(words, ("layers", "train", "texts", "tokens", "mails"), ("body", "data"))
    torch.set_num_threads(1)
    tokenizer = tokenizer_for(given["body"])
    encoder = encoder_of(given["body"], given.get("layers", 3), tokenizer)
    for count in (2_000, 8_000, 32_000):
        print(f"peak memory after {count} words: {peak_mb(encoder, tokenizer, count):.0f} MB")
    train, validation = (mails(given["data"], name) for name in ("train", "validation"))
    fit_heads(encoder, split_of(train.take(drawn(train, given.get("train", 800))), tokenizer))
    num, tokens = given.get("texts", 40), given.get("tokens", 8000)
    kinds = {
        "mails": validation.take(drawn(validation, given.get("mails", 200))),
        "joined": joined(validation, num, tokens, tokenizer),
    }
    rows = [
        row for name, source in kinds.items() for row in readings(encoder, name, source, tokenizer)
    ]
    jsonl.update(ROWS, Reading, rows)
    print(markdown(DataFrame(map(vars, rows)).iloc[:, :-3].round(3)))


def encoder_of(body: str, layers: int, tokenizer: Any) -> AdaptiveEncoder:
    """The first layers of a backbone, with a head of the mean behind each."""
    early = [*range(1, layers)]
    head = {"layers": early, "pool": "mean", "activation": None}
    methods = Dense(), Keep(), Confidence(tau=TAU, layers=early)
    made = load_pretrained(body, 2, *methods, head, num_layers=layers, tokenizer=tokenizer)
    return made.eval()


def mails(data: str, name: str) -> Source:
    table = pq.read_table(Path(data) / "email_phish_spam" / f"{name}.parquet")
    columns = (table[name].to_pylist() for name in ("subject", "text"))
    texts = [f"{subject}\n{text}" for subject, text in zip(*columns, strict=True)]
    return Source([texts], table["label"].to_numpy())


def drawn(source: Source, num: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(len(source))[:num]


def split_of(source: Source, tokenizer: Any) -> Split:
    return make_split("mails", source, tokenizer, SIZE)


def joined(source: Source, num: int, tokens: int, tokenizer: Any, benign_every: int = 2) -> Source:
    """Long texts of benign mails; in all but every second one a mail, anywhere, is phishing."""
    random = np.random.default_rng(0)
    benign, phishing = (random.permutation(np.flatnonzero(source.labels == k)) for k in (0, 1))
    lengths = [len(each) for each in tokenizer(source.texts[0], verbose=False)["input_ids"]]
    texts, place = [], 0
    for number in range(num):
        parts, total = [], 0
        while total < tokens:
            parts.append(row := benign[place % len(benign)])
            total, place = total + lengths[row], place + 1
        if number % benign_every:
            parts[random.integers(len(parts))] = phishing[number]
        texts.append("\n".join(source.texts[0][row] for row in parts))
    return Source([texts], (np.arange(num) % benign_every > 0).astype(int))


def fit_heads(encoder: AdaptiveEncoder, split: Split) -> None:
    """Fit each head's weights on the frozen backbone: logistic regression, L2 0.01."""
    pooled: dict[str, list[torch.Tensor]] = {layer: [] for layer in encoder.heads}
    heads: Any = encoder.heads
    hooks = [
        heads[k].classes.register_forward_pre_hook(lambda _, x, k=k: pooled[k].append(x[0].clone()))
        for k in pooled
    ]
    labels_B = record(encoder, split, title="mails").labels
    order = np.concatenate(sorted_batches(split.lengths, 32))  # as `record` runs them
    for hook, (layer, parts) in zip(hooks, pooled.items(), strict=True):
        hook.remove()
        fit(heads[layer].classes, torch.cat(parts).clone(), torch.from_numpy(labels_B[order]))


def fit(classes: torch.nn.Linear, x_BD: torch.Tensor, labels_B: torch.Tensor) -> None:
    torch.nn.init.zeros_(classes.weight)
    torch.nn.init.zeros_(classes.bias)
    optimizer = torch.optim.LBFGS(classes.parameters(), max_iter=200)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found = F.cross_entropy(classes(x_BD), labels_B) + 0.01 * classes.weight.square().sum()
        found.backward()
        return found

    optimizer.step(loss)  # type: ignore[arg-type]


def readings(encoder: AdaptiveEncoder, name: str, source: Source, tokenizer: Any) -> list[Reading]:
    split = split_of(source, tokenizer)
    backend = TorchBackend(Path(name), encoder, tokenizer, ["text"], LABELS, SIZE)
    backend.read_long(long_of("max"))
    parts, text_W = in_windows(split, backend.reader)
    whole, cut = (record(encoder, each, title=name) for each in (parts, split))
    read = backend.reader([[text] for text in source.texts[0]])
    tokens = float(np.mean([text.num_tokens for text in read]))
    made = []
    for exits, rule in (("never", Never()), (f"tau {TAU}", encoder.exit)):
        outcome = cut.replay(rule)
        rows = [("cut", outcome.logits_BC, outcome.depth_B, outcome.depth_B)]
        for join in JOINS:
            joiner = Joiner(long_of(join), encoder.kind, LABELS)
            found = replace(whole, group_B=text_W, join=joiner).replay(rule)
            counted = found if found.parts is None else found.parts
            rows.append((join, found.logits_BC, found.depth_B, counted.depth_B))
        for reading, logits_BC, depth_B, depth_W in rows:
            made.append(
                Reading(
                    *(name, reading, exits, len(source), tokens, len(text_W) / len(source)),
                    *scores(logits_BC, source.labels),
                    *(float(depth_B.mean()), float(depth_W.mean())),
                    **provenance(),
                )
            )
    return made


def long_of(join: Join) -> LongTexts:
    return LongTexts("windows", join=join, label=None if join == "mean" else "phishing")


def scores(logits_BC: np.ndarray, labels_B: np.ndarray) -> tuple[float, float, float]:
    """Area under the ROC curve, recall and false alarms."""
    lead_B, is_B = logits_BC[:, 1] - logits_BC[:, 0], labels_B == 1
    auc = roc_area(lead_B[is_B], lead_B[~is_B])
    return auc, float((lead_B[is_B] > 0).mean()), float((lead_B[~is_B] > 0).mean())


def peak_mb(encoder: AdaptiveEncoder, tokenizer: Any, count: int) -> float:
    """The most memory of this process so far, once a text of so many words was read."""
    backend = TorchBackend(Path("peak"), encoder, tokenizer, ["text"], LABELS, SIZE)
    backend.read_long(long_of("max"))
    with inference(encoder):
        backend.answer([["word " * count]])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(sys.argv[1:])
