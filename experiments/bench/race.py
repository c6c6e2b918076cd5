"""All candidates on the same examples, by turns, and what their times come to.

Shapes: B examples of a batch, R repeats, I batches, L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from scipy.stats import binom

from eat_lightning.errors import ConfigError
from eat_lightning.model.flops import flops
from eat_lightning.progress import bar
from eat_lightning.record.timing import BLOCK, time_interleaved
from experiments.bench.candidates import Candidate, Field
from experiments.bench.ceilings import Ceilings
from experiments.bench.rivals import NEEDED
from experiments.bench.rows import ELEMENT, BenchRow, Interval
from experiments.bench.workload import Workload

COVERED = 0.95  # of an interval of a median
CLOSE = 1e-3  # logits of the same fp32 weights differ by less


@dataclass
class Ready:
    """Candidates warmed up on a workload. seconds: what a repeat takes, of what the first batch
    took."""

    settings: dict[str, tuple[Callable[[Any], Any], list[Any]]]
    seconds: float


def ready(candidates: Sequence[Candidate], workload: Workload) -> Ready:
    """Within `latency.undisturbed`. ConfigError where one answers otherwise than the candidate
    whose answers it must give: it would not be the same model."""
    settings = {c.name: (c.run, [c.ready(given) for given in workload.batches]) for c in candidates}
    answers, seconds = {}, 0.0
    for name, (run, inputs) in settings.items():
        if workload.batch == 1:
            run(inputs[0])
        start = perf_counter()
        answers[name] = run(inputs[0])
        seconds += (perf_counter() - start) * len(inputs)
    for c in candidates:
        if c.answers_like is not None:
            gap = np.abs(logits(answers[c.name]) - logits(answers[c.answers_like])).max()
            if not gap <= CLOSE:
                raise ConfigError(
                    f"{c.name} answers otherwise than {c.answers_like} ({workload.name}): logits "
                    f"differ by {gap:.2g}, more than {CLOSE:g}"
                )
    return Ready(settings, seconds)


def logits(answer: Any) -> np.ndarray:
    found = getattr(answer, "logits_BC", answer)
    return found.float().numpy() if isinstance(found, torch.Tensor) else found


def take_turns(given: Ready, workload: Workload, repeats: int) -> dict[str, np.ndarray]:
    """Milliseconds of an example (R) of each candidate."""
    block = BLOCK if workload.batch == 1 else 1
    num_inputs = sum(len(inputs) for _, inputs in given.settings.values())
    with bar(workload.name, num_inputs * repeats) as advance:
        took = time_interleaved(given.settings, repeats, block, advance)
    return {name: took_RI.sum(1) / workload.num_examples for name, took_RI in took.items()}


def rows_of(
    field: Field,
    workload: Workload,
    took: Mapping[str, np.ndarray],
    ceilings: Mapping[str, Ceilings],
    **same: Any,
) -> list[BenchRow]:
    """A row for each candidate: its time, and how many times that of others. ceilings: by dtype.
    same: race, threads, weights, machine and the like."""
    spent = {c.name: spending(c, workload) for c in field.candidates if c.encoder}
    same |= {
        "task": workload.task,
        "batch": workload.batch,
        "order": workload.order,
        "num_examples": workload.num_examples,
        "mean_length": float(np.concatenate(workload.lengths).mean()),
        "padding_factor": workload.padding_factor,
    }
    rows = []
    for c in field.candidates:
        over = dict(field.over)
        statics = statics_like(field, c, spent)
        engines = [name for name in statics if name.split()[0] in NEEDED]
        if field.over_best_static:
            over["best static"] = fastest(statics, took)
        if engines:
            over["best engine"] = fastest(engines, took)
        found = {
            "repeats": len(took[c.name]),
            "ms": median(took[c.name]),
            "speed_up": median(took[c.static] / took[c.name]),
            "over": {label: median(took[name] / took[c.name]) for label, name in over.items()},
        }
        own = spent[c.name if c.encoder else c.static]
        found |= costs(c, own, spent[c.static].flops, ceilings[c.dtype], workload.num_examples)
        rows.append(BenchRow(**same, **found))
    return rows


def costs(
    c: Candidate, own: Spent, static_flops: float, ceilings: Ceilings, num_examples: int
) -> dict[str, Any]:
    """List a candidate's description and costs, and the least time that these can take here."""
    width, inner = c.shape.hidden_size, c.shape.intermediate_size + c.shape.up_width
    read = own.layers_read * width * (4 * width + inner) * ELEMENT[c.dtype]
    return {
        "candidate": c.name,
        "dtype": c.dtype,
        "width": c.shape.hidden_size,
        "num_layers": c.shape.num_layers,
        "flops": own.flops,
        "depth": own.depth,
        "flops_ratio": own.flops / static_flops,
        "gflops_ceiling": ceilings.gflops,
        "gbytes_ceiling": ceilings.gbytes,
        "limit_ms": ceilings.limit_ms(own.flops, read / num_examples),
    }


def statics_like(field: Field, c: Candidate, spent: Mapping[str, Spent]) -> list[str]:
    """Candidates as deep as this one, in its dtype, that run every layer for all."""
    return [
        other.name
        for other in field.candidates
        if (other.dtype, other.shape.num_layers) == (c.dtype, c.shape.num_layers)
        and (other.encoder is None or spent[other.name].flops == spent[other.static].flops)
    ]


def fastest(names: Sequence[str], took: Mapping[str, np.ndarray]) -> str:
    return min(names, key=lambda name: np.median(took[name]))


def median(value_R: np.ndarray) -> Interval:
    """Median, and an interval between order statistics that covers the true one in 95 % of cases
    whatever the distribution; lowest and highest where repeats are too few for that (below 6).

    A ratio of times is a median of ratios: in each repeat, both took their turns together."""
    ordered, count = np.sort(value_R), len(value_R)
    cut = max(0, int(binom.ppf((1 - COVERED) / 2, count, 0.5)) - 1)
    return [float(np.median(ordered)), float(ordered[cut]), float(ordered[count - 1 - cut])]


@dataclass(frozen=True)
class Spent:
    """flops and depth: means over examples; layers_read: layers run, summed over batches."""

    flops: float
    depth: float
    layers_read: int


def spending(candidate: Candidate, workload: Workload) -> Spent:
    """Counted on the shapes of a pass."""
    encoder, run = candidate.encoder, candidate.traced or candidate.run
    assert encoder is not None
    with torch.inference_mode():
        traces = [run(candidate.ready(given)) for given in workload.batches]
    depths = [np.asarray(trace.depth_B) for trace in traces]
    flops_B = [
        flops(encoder, encoder.exit, np.asarray(trace.tokens_LB), depth_B)
        for trace, depth_B in zip(traces, depths, strict=True)
    ]
    read = sum(int(depth_B.max()) for depth_B in depths) * candidate.passes
    whole = float(np.concatenate(flops_B).mean()) * candidate.passes
    return Spent(whole, float(np.concatenate(depths).mean()), read)
