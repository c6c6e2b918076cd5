"""Stored input vectors of the exit heads for each example, from one pass of a frozen encoder.

They are a memory-mapped float16 file in the data cache. Its name is a hash of the weights, the
texts, the length limit and the pooling of the heads.

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
from eat_lightning.weights.precision import form_of, in_dtype, in_form

BATCH, TIMED = 64, 32  # examples of a pass at once; and those that tell how long it will take


@dataclass
class VectorBatch:
    """Stored vectors of a batch of examples, with the training targets of the heads."""

    vectors_BEV: Float[Tensor, "b e v"]
    full_BC: Float[Tensor, "b c"]
    labels_B: Tensor
    teacher_BC: Float[Tensor, "b c"] | None = None


@dataclass(eq=False)
class Vectors(Dataset[VectorBatch]):
    """Vectors of a split's examples for training heads.

    Args:
        full_NC: logits at full depth.
        teacher_NC: logits of a teacher, if any.
        made: False if they were read from the cache.
    """

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
    """Run a batch through all layers. Returns the inputs of each early head, and the last head's
    logits.
    """
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
    """Return the vectors of a split, from the cache or from one pass of the encoder.

    Prints their size and the approximate duration beforehand.

    Args:
        precision: of the pass, as in Lightning's Trainer. With bf16 the weights are bf16 too, as in
            a deployed encoder, which takes less than half the time.

    Raises:
        ConfigError: where the disk has no room for them.
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
        encoder = for_pass(encoder, precision)
        announce(encoder, split, shape, cache_dir)
        full_NC = np.empty((len(split), encoder.num_labels), np.float32)
        with replacing(vectors_path) as beside, replacing(full_path) as full_beside:
            vectors_NEV = open_memmap(beside, "w+", np.float16, shape)
            fill(encoder, split, vectors_NEV, full_NC)
            vectors_NEV.flush()
            with full_beside.open("wb") as file:
                np.save(file, full_NC)
    return Vectors(vectors_NEV, full_NC, split.labels, split.teacher, made)


def for_pass(encoder: AdaptiveEncoder, precision: str) -> AdaptiveEncoder:
    """Return the encoder itself, or a copy with bf16 weights in the fastest layout. Autocast would
    convert all weights anew for each batch."""
    if not precision.startswith("bf16"):
        return encoder
    return in_form(in_dtype(encoder, "bf16"), form_of(None, "bf16", encoder.strength.device.type))


def fill(
    encoder: AdaptiveEncoder,
    split: Split,
    vectors_NEV: np.ndarray,
    full_NC: np.ndarray,
) -> None:
    """Run the pass.

    Raises:
        ConfigError: where a value exceeds the range of float16.
    """
    device = encoder.strength.device
    with inference(encoder):
        for rows_B in shown(sorted_batches(split.lengths, BATCH), f"vectors of {split.name}"):
            vectors_BEV, full_BC = vectors_of(encoder, split.batch(rows_B).to(device))
            small_BEV = vectors_BEV.half()
            if not small_BEV.isfinite().all():
                raise ConfigError("one_pass.enabled must be false: a vector exceeds float16")
            vectors_NEV[rows_B] = small_BEV.cpu().numpy()
            full_NC[rows_B] = full_BC.float().cpu().numpy()


def key_of(encoder: AdaptiveEncoder, split: Split, precision: str) -> str:
    """Hash of everything that the vectors depend on: all weights but the early heads', the heads'
    pooling, the tokenized texts and the precision.
    """
    early, dtype = early_layers(encoder), BF16 if precision.startswith("bf16") else precision
    unread = tuple(f"heads.{layer}." for layer in early)
    pools = Specification.of("head", encoder.heads.at(early[0])).without(*UNREAD)
    about = [repr(encoder.shape), specs_by_slot(encoder) | {"exit": None}, pools, early]
    whole = hashlib.sha256(json.dumps([*about, split.key, dtype], default=as_dict).encode())
    for name, weight in sorted(encoder.state_dict().items()):
        if not name.startswith(unread):
            whole.update(name.encode())
            whole.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()[:24]


BF16 = "bf16 weights"  # in the key, where vectors of autocast had another
UNREAD = ("activation", "norm", "narrowing")  # arguments of a head that act behind its vector


def read_mapped(path: Path, shape: tuple[int, ...], dtype: Any) -> Any:
    """Map an array of that shape; None if the file is missing, damaged or of another shape."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == dtype else None


def announce(
    encoder: AdaptiveEncoder, split: Split, shape: tuple[int, ...], cache_dir: Path
) -> None:
    """Print size and duration of a pass.

    Raises:
        ConfigError: where the disk is too small.
    """
    size = 2 * int(np.prod(shape))
    cache_dir.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(cache_dir).free) < size:
        raise ConfigError(
            f"one_pass.texts: {size / 1e9:.1f} GB of vectors must fit into {cache_dir} "
            f"(data.cache_dir), which has {free / 1e9:.1f} GB left"
        )
    rows_B = spread_rows(len(split), TIMED)
    device = encoder.strength.device
    with inference(encoder):
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
