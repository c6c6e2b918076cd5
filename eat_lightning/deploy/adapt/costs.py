"""Estimates of the time and the disk that an adaptation takes, before it begins."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from eat_lightning.bundle.kernels import early_head
from eat_lightning.bundle.original import Original
from eat_lightning.deploy.adapt.forms import deployed_original
from eat_lightning.deploy.adapt.plan import AdaptSettings, ListSettings
from eat_lightning.errors import ConfigError
from eat_lightning.record.windows import windows_of
from eat_lightning.train.trainer import computes_bf16
from eat_lightning.weights.files import weight_files

TIMED = 16  # texts that tell how long it will take


def tell_costs(
    plan: AdaptSettings | ListSettings,
    original: Original,
    splits: Mapping[str, Any],
    scratch: Path,
    timed: float,
    copies: float,
    kept: float,
) -> None:
    """Print estimates from a few timed texts. ConfigError where the disk is too small.

    Args:
        timed: passes of texts whose times are taken.
        copies, kept: of the weights, in the scratch and in the folder.
    """
    sizes = {name: len(split) for name, split in splits.items()}
    weights = sum(path.stat().st_size for path in weight_files(original.folder))
    width, layers = original.width, original.num_layers
    learn, select = (len(windows_of(splits[part])) for part in ("learn", "select"))
    times = times_learnt(plan)
    windows = times * learn + select
    head = early_head(original.same.kind, plan.num_columns)
    pairs, aligned = plan.num_columns == 2, head["kind"] == "aligned"
    matched = 3 if aligned and pairs else 1
    vectors = 2.0 * windows * layers * width * plan.num_columns * matched
    read = (8 if aligned else 4) if pairs else 1  # widths of the features
    heads = 4.0 * layers * width * width * read / head.get("narrowing", 1)
    passes = len(plan.engines) + 1.7  # of *select*, in all dtypes, as passes of fp32
    learnt = 0.35 if computes_bf16(gpu=False) else 0.8  # a pass of *learn*, as one of fp32
    texts = sizes["select"] * passes + times * sizes["learn"] * learnt + sizes["certify"] * 1.7
    training = sum(plan.heads.epochs) * times * sizes["learn"] * heads * 2e-11
    making = 16.0 * layers if plan.engines else 0.0  # of graphs: two static, some with exits
    each = seconds_each(original, splits["select"])
    seconds = each * (texts + timed * torch.get_num_threads()) + training + making
    scratch_bytes, kept_bytes = vectors + weights * copies, weights * kept + heads
    print(
        f"takes roughly {timedelta(seconds=round(seconds))}, longer beside other work; "
        f"{scratch_bytes / 1e9:.1f} GB in {scratch} meanwhile, "
        f"{kept_bytes / 1e9:.1f} GB in {plan.to}",
        flush=True,
    )
    needed, free = scratch_bytes + kept_bytes, shutil.disk_usage(scratch).free
    if free < needed:
        raise ConfigError(
            f"to={plan.to}: {needed / 1e9:.1f} GB are needed, and {free / 1e9:.1f} GB are free"
        )


def times_learnt(plan: AdaptSettings | ListSettings) -> float:
    """How many times as many texts exits learn from as there are, with altered copies."""
    if isinstance(plan, ListSettings):
        return 1
    return 1 + plan.heads.variants if plan.heads.enabled else 0


def seconds_each(original: Original, split: Any) -> float:
    """Time the original on a few texts of about the mean length at once, which need hardly any
    padding, as in a pass by length. The first time is slower."""
    theirs, apart_N = deployed_original(original), np.abs(split.lengths - split.lengths.mean())
    rows_B = np.sort(np.argsort(apart_N, kind="stable")[:TIMED])
    batch = split.batch(rows_B)
    theirs.answers(batch)
    began = perf_counter()
    theirs.answers(batch)
    return (perf_counter() - began) / len(rows_B)
