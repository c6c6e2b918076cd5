"""A training step of a plain Hugging Face loop, padded, against ours, packed: forward, backward,
clipping and AdamW, all with the same optimizer.

bf16 is autocast, as trainers do it: weights and their updates stay in fp32.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eat_lightning.measure.baselines import HuggingFaceTwin
from eat_lightning.methods.objective.joint import Joint
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.heads import Heads
from eat_lightning.model.packed import Batch
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.model.training import Context
from experiments.bench.candidates import Candidate, Field, bare
from experiments.bench.workload import Examples

PASSES = 3  # a backward pass multiplies each matrix twice
LEARNING_RATE = 1e-5
DTYPES = ("fp32", "bf16")


def steps(encoder: AdaptiveEncoder) -> Field:
    """EAT: the encoder with all its heads and its pruning, nobody leaves. Static and HF: the same
    body with the last head."""
    found = []
    for dtype in DTYPES:
        theirs, static, eat = (copy.deepcopy(encoder) for _ in range(3))
        static, last = bare(static), static.shape.num_layers
        static.heads = Heads({last: static.heads.at(last)})
        found.append(hugging_face(theirs, dtype))
        found.append(ours("static", static, dtype))
        found.append(ours("EAT", eat, dtype))
    return Field(found, {"HF fp32": "HF fp32", "HF bf16": "HF bf16"})


class Step:
    """One step on some examples."""

    def __init__(self, model: nn.Module, loss: Callable[[Any], Tensor], dtype: str):
        self.model, self.loss, self.dtype = model.train(), loss, dtype
        with torch.inference_mode(False):
            self.optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)

    def __call__(self, given: Any) -> None:
        with torch.inference_mode(False), torch.enable_grad():
            mixed = torch.autocast("cpu", torch.bfloat16) if self.dtype == "bf16" else nullcontext()
            with mixed:
                loss = self.loss(given)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)


def hugging_face(encoder: AdaptiveEncoder, dtype: str) -> Candidate:
    """Weights that are not theirs to train (our other heads) have no part in it."""
    twin = HuggingFaceTwin(encoder)

    def loss(given: tuple[dict[str, Tensor], Tensor]) -> Tensor:
        return F.cross_entropy(twin(given[0]).float(), given[1])

    def ready(given: Examples) -> tuple[dict[str, Tensor], Tensor]:
        batch = owned(given)
        assert batch.labels_B is not None
        with torch.inference_mode(False):
            return twin.ready(batch), batch.labels_B

    step, static = Step(twin, loss, dtype), f"static {dtype}"
    return Candidate(f"HF {dtype}", dtype, encoder.shape, step, ready, static, passes=PASSES)


def ours(name: str, encoder: AdaptiveEncoder, dtype: str) -> Candidate:
    objective = Joint()

    def loss(given: Batch) -> Tensor:
        trace = encoder(given)
        assert given.labels_B is not None
        total = objective(Context(trace.guesses, given.labels_B, max(trace.guesses))).total
        return total / given.num_global

    return Candidate(
        f"{name} {dtype}",
        dtype,
        encoder.shape,
        run=Step(encoder, loss, dtype),
        ready=owned,
        static=f"static {dtype}",
        encoder=encoder,
        traced=lambda given: encoder(given, ALL_EXITS),  # the tokens that a training step runs
        passes=PASSES,
    )


def owned(given: Examples) -> Batch:
    """A copy that autograd may keep: what is made in inference mode it may not."""
    batch = given.batch
    with torch.inference_mode(False):
        labels_B = torch.zeros(batch.size, dtype=torch.int64)
        if batch.labels_B is not None:
            labels_B.copy_(batch.labels_B)
        columns = batch.ids_N.tolist(), batch.types_N.tolist(), batch.lengths_B.tolist()
        ids_N, types_N, lengths_B = (torch.tensor(column) for column in columns)
        return Batch(ids_N, types_N, lengths_B, labels_B, num_global=batch.size)
