"""A trained run against Hugging Face's model and the static exports of the same weights, on its own
dev examples, which leave where its exit rule says.

Shapes: B examples, N tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eat_lightning.bench.speed.contestants import Contestant, Field, Work, itself
from eat_lightning.bench.speed.peers import onnxruntime_peers, openvino_peer
from eat_lightning.infer.prepacked import cannot, prepacked
from eat_lightning.measure.baselines import HuggingFaceTwin, in_dtype
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.model.encoder import AdaptiveEncoder, with_slots
from eat_lightning.model.packed import Batch

NEAR = 0.15  # share of the wanted length by which the mean of whole examples may miss it
OVER = {"HF": "HF fp32", "static int8": "ORT static int8", "static": "static fp32"}


def deployed(encoder: AdaptiveEncoder, dtypes: Sequence[str], folder: Path, threads: int) -> Field:
    """dtypes: of the contestants in PyTorch and OpenVINO; exports are in fp32 and int8."""
    bare = encoder.eval()
    found: list[Contestant] = []
    missing: list[str] = []
    for dtype in dtypes:
        found += in_torch(in_dtype(bare, dtype), dtype, missing)
    by_name = {entry.name: entry for entry in found}
    for what in ("static", "EAT"):
        of = by_name[f"{what} fp32"]
        given = onnxruntime_peers(of, ("fp32", "int8"), folder, threads, "ORT static {dtype}")
        found, missing = found + given[0], missing + given[1]
    for dtype in dtypes:
        given = openvino_peer(by_name[f"static {dtype}"], dtype, threads, bare)
        found, missing = found + given[0], missing + given[1]
    names = {entry.name for entry in found}
    over = {label: name for label, name in OVER.items() if name in names}
    return Field(found, over, [*dict.fromkeys(missing)])


def in_torch(encoder: AdaptiveEncoder, dtype: str, missing: list[str]) -> list[Contestant]:
    static = with_slots(encoder, attention=Dense(), reduction=Keep(), exit=Never())
    shape, twin, against = encoder.shape, HuggingFaceTwin(encoder), f"static {dtype}"

    def ours(name: str, body: AdaptiveEncoder, against: str) -> Contestant:
        given = {"run": lambda work: body(work.batch), "ready": itself, "encoder": body}
        return Contestant(f"{name} {dtype}", dtype, shape, static=against, **given)

    def ready(given: Work) -> Any:
        return twin.ready(given.batch)

    found = [
        Contestant(f"HF {dtype}", dtype, shape, twin, ready, against),
        ours("static", static, against),
        ours("EAT", encoder, against),
    ]
    found[0].answers_like = against if dtype == "fp32" else None
    if reason := cannot(encoder):
        missing.append(f"EAT prepacked {dtype}: no rows, {reason}")
        return found
    against = f"static prepacked {dtype}"
    found.append(ours("static prepacked", prepacked(static), against))
    found.append(ours("EAT prepacked", prepacked(encoder), against))
    return found


def near(split: Any, length: int, count: int) -> tuple[list[Work], str]:
    """Single examples of about so many tokens, and what is said of them: those of the split that
    are nearest to it; where it has too few, texts of several joined to one (their tokens, between
    one [CLS] and one [SEP])."""
    lengths = split.lengths
    nearest = np.argsort(np.abs(lengths - length), kind="stable")[:count]
    if abs(lengths[nearest].mean() - length) <= NEAR * length:
        return [
            Work(split.batch(rows), easy(1)) for rows in nearest[:, None]
        ], f"about {length} tokens"
    order = np.random.default_rng(length).permutation(len(split))
    joined, at = [], 0
    for _ in range(count):
        rows, tokens = [], 0
        while tokens < length:
            rows.append(order[at % len(order)])
            tokens += lengths[rows[-1]] - (2 if len(rows) > 1 else 0)
            at += 1
        joined.append(Work(join(split.batch(np.array(rows)), length), easy(1)))
    return joined, f"about {length} tokens, joined"


def join(batch: Batch, length: int) -> Batch:
    """All examples as one of `length` tokens at most: the first texts, then the second ones, each
    part ending in the last token of the first example ([SEP])."""
    lengths = batch.lengths_B.tolist()
    pairs = list(zip(batch.ids_N.split(lengths), batch.types_N.split(lengths), strict=True))
    (first, _), kinds = pairs[0], batch.types_N.unique().tolist()
    begin, end = first[:1], first[-1:]
    budget = (length - 1) // len(kinds)
    parts, types = [begin], [torch.zeros(1, dtype=torch.int64)]
    for kind in kinds:
        inner = [ids[(types == kind) & (ids != begin) & (ids != end)] for ids, types in pairs]
        part = torch.cat([torch.cat(inner)[: budget - 1], end])
        parts.append(part)
        types.append(torch.full((len(part),), kind))
    return Batch.from_lists([torch.cat(parts).tolist()], [torch.cat(types).tolist()])


def easy(size: int) -> torch.Tensor:
    """Trained weights say themselves who leaves."""
    return torch.zeros(size, dtype=torch.bool)
