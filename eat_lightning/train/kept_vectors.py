"""The vectors that heads read of each example, from one pass of a frozen encoder, kept on disk.

They are float16 in a mapped file of the data cache, whose name follows from the weights, the
texts, the length limit and the way that the heads pool.

Shapes: B examples of a batch, N of a split, E early exits, V width of an example's vector at an
exit, C classes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.lib.format import open_memmap
from torch import Tensor
from torch.utils.data import Dataset

from eat_lightning.data.batching import sorted_batches, spread_rows
from eat_lightning.data.split import Split
from eat_lightning.errors import ConfigError
from eat_lightning.files import as_dict, replacing
from eat_lightning.model.contracts import VectorHead
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.model.specification import Specification, specs_by_slot
from eat_lightning.progress import shown
from eat_lightning.record.passes import inference

BATCH, TIMED = 64, 32  # examples of a pass at once; and those that tell how long it will take


@dataclass
class VectorBatch:
    """Kept vectors of some examples, and what heads may learn there."""

    vectors_BEV: Float[Tensor, "b e v"]
    full_BC: Float[Tensor, "b c"]
    labels_B: Tensor
    teacher_BC: Float[Tensor, "b c"] | None = None


@dataclass(eq=False)
class Vectors(Dataset[VectorBatch]):
    """Vectors of a split's examples, kept for training heads. full_NC: logits of full depth.
    teacher_NC: logits of a teacher, if any. made: false where they had been kept before."""

    vectors_NEV: np.ndarray
    full_NC: np.ndarray
    labels_N: np.ndarray
    teacher_NC: np.ndarray | None = None
    made: bool = False

    def __len__(self) -> int:
        return len(self.labels_N)

    def __getitem__(self, rows_B: np.ndarray) -> VectorBatch:
        teacher_NC = self.teacher_NC
        return VectorBatch(
            torch.from_numpy(self.vectors_NEV[rows_B]).float(),
            torch.from_numpy(self.full_NC[rows_B]),
            torch.from_numpy(self.labels_N[rows_B]),
            None if teacher_NC is None else torch.from_numpy(teacher_NC[rows_B]),
        )


def early_layers(encoder: AdaptiveEncoder) -> list[int]:
    return encoder.heads.layers[:-1]


def vectors_of(
    encoder: AdaptiveEncoder, batch: Batch
) -> tuple[Float[Tensor, "b e v"], Float[Tensor, "b c"]]:
    """Run a batch through all layers: what each early head reads, and the last head's logits."""
    last, early, found = len(encoder.layers), early_layers(encoder), []
    recorder = encoder.recorder(batch, ALL_EXITS)
    packed = encoder.start(batch, recorder)
    for number in range(last):
        packed, evidence = encoder.step(packed, recorder, number)
        if number in early:
            head = cast("VectorHead", encoder.heads.at(number))
            found.append(head.vector(encoder.for_heads(packed)))
        packed = encoder.shorten(packed, evidence, number)
    packed, _ = encoder.step(packed, recorder, last)
    head = encoder.heads.at(last)
    return torch.stack(found, 1), head.guess(head.pooled(encoder.for_heads(packed)))


def kept_vectors(
    encoder: AdaptiveEncoder, split: Split, cache_dir: Path, precision: str = "32-true"
) -> Vectors:
    """Read the vectors of a split, or make them in one pass of the encoder and keep them.

    Says beforehand how large they are, and about how long it takes. ConfigError where the disk has
    no room for them.

    Args:
        precision: of the pass, as Lightning's Trainer has it; bf16 is half the time.
    """
    name = key_of(encoder, split, precision)
    vectors_path = cache_dir / f"vectors-{name}.npy"
    full_path = cache_dir / f"vectors-{name}.logits.npy"
    early = early_layers(encoder)
    width = cast("VectorHead", encoder.heads.at(early[0])).vector_width(encoder.shape)
    shape = len(split), len(early), width
    vectors_NEV = read_mapped(vectors_path, shape, np.float16)
    full_NC = read_mapped(full_path, (len(split), encoder.num_labels), np.float32)
    made = vectors_NEV is None or full_NC is None
    if vectors_NEV is None or full_NC is None:
        announce(encoder, split, shape, cache_dir, precision)
        full_NC = np.empty((len(split), encoder.num_labels), np.float32)
        with replacing(vectors_path) as beside, replacing(full_path) as full_beside:
            vectors_NEV = open_memmap(beside, "w+", np.float16, shape)
            fill(encoder, split, precision, vectors_NEV, full_NC)
            vectors_NEV.flush()
            with full_beside.open("wb") as file:
                np.save(file, full_NC)
    return Vectors(vectors_NEV, full_NC, split.labels, split.teacher, made)


def fill(
    encoder: AdaptiveEncoder,
    split: Split,
    precision: str,
    vectors_NEV: np.ndarray,
    full_NC: np.ndarray,
) -> None:
    """Run the pass; ConfigError where a vector is too large for float16."""
    device = encoder.strength.device
    bf16 = torch.autocast(device.type, torch.bfloat16, enabled=precision.startswith("bf16"))
    with inference(encoder), bf16:
        for rows_B in shown(sorted_batches(split.lengths, BATCH), f"vectors of {split.name}"):
            vectors_BEV, full_BC = vectors_of(encoder, split.batch(rows_B).to(device))
            small_BEV = vectors_BEV.half()
            if not small_BEV.isfinite().all():
                raise ConfigError("one_pass.enabled must be false: a vector exceeds float16")
            vectors_NEV[rows_B] = small_BEV.cpu().numpy()
            full_NC[rows_B] = full_BC.float().cpu().numpy()


def key_of(encoder: AdaptiveEncoder, split: Split, precision: str) -> str:
    """Name what vectors follow from: all weights but the early heads', how these pool, the texts
    as they were tokenized, the precision."""
    early = early_layers(encoder)
    unread = tuple(f"heads.{layer}." for layer in early)
    pools = Specification.of("head", encoder.heads.at(early[0])).without(*UNREAD)
    about = [repr(encoder.shape), specs_by_slot(encoder) | {"exit": None}, pools, early]
    whole = hashlib.sha256(json.dumps([*about, split.key, precision], default=as_dict).encode())
    for name, weight in sorted(encoder.state_dict().items()):
        if not name.startswith(unread):
            whole.update(name.encode())
            whole.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()[:24]


UNREAD = ("activation", "norm")  # arguments of a head that act behind its vector


def read_mapped(path: Path, shape: tuple[int, ...], dtype: Any) -> Any:
    """Map an array of that shape; None where there is no file, or another or a damaged one."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == dtype else None


def announce(
    encoder: AdaptiveEncoder, split: Split, shape: tuple[int, ...], cache_dir: Path, precision: str
) -> None:
    """Print size and time of a pass; ConfigError where the disk is too small."""
    size = 2 * int(np.prod(shape))
    cache_dir.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(cache_dir).free) < size:
        raise ConfigError(
            f"one_pass.texts: {size / 1e9:.1f} GB of vectors must fit into {cache_dir} "
            f"(data.cache_dir), which has {free / 1e9:.1f} GB left"
        )
    rows_B = spread_rows(len(split), TIMED)
    device = encoder.strength.device
    bf16 = torch.autocast(device.type, torch.bfloat16, enabled=precision.startswith("bf16"))
    with inference(encoder), bf16:
        for _ in range(2):  # the first time is slower
            began = perf_counter()
            vectors_of(encoder, split.batch(rows_B).to(device))[1].cpu()
            seconds = perf_counter() - began
    seconds *= split.lengths.sum() / split.lengths[rows_B].sum()
    print(
        f"vectors of {split.name}: {shape[0]:,} texts, {shape[1]} exits, {size / 1e9:.2f} GB in "
        f"{cache_dir}, about {timedelta(seconds=round(seconds))}",
        file=sys.stderr,
        flush=True,
    )
