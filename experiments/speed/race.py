"""A race: all candidates on the same examples, by turns, and what their times come to.

With random weights only lengths count, and who leaves: both come from results/lengths.jsonl, which
has for each length of a task's dev examples how many were in each tenth by a trained model's
confidence, the surest first. Shapes: B examples of a batch, R repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from timeit import repeat
from typing import Any

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor, nn

from eat_lightning.errors import ConfigError
from eat_lightning.model.flops import flops
from eat_lightning.model.packed import Batch
from eat_lightning.model.shape import Shape
from eat_lightning.progress import bar
from eat_lightning.record.timing import BLOCK, chunks, time_interleaved
from eat_lightning.report import result
from eat_lightning.report.intervals import Interval
from eat_lightning.weights.prepacked import PrepackedLinear

from .candidates import Candidate, Examples, Field

LENGTHS = Path(__file__).parent / "results" / "lengths.jsonl"
COMES, SORTED = "as they come", "sorted"
SINGLES, MANY = 24, 64  # examples of a workload at batch 1, and in batches
COVERED = 0.95  # of an interval of a median
CLOSE = 1e-3  # logits of the same fp32 weights differ by less
READ_BYTES = 1 << 28  # far more than any cache
ELEMENT = {"fp32": 4, "bf16": 2, "int8": 1}  # bytes of a weight


@dataclass
class Workload:
    """Examples of one task at one batch size in one order."""

    task: str
    batch: int
    order: str
    batches: list[Examples]

    @property
    def lengths(self) -> list[np.ndarray]:
        return [given.batch.lengths_B.numpy() for given in self.batches]

    @property
    def num_examples(self) -> int:
        return sum(map(len, self.lengths))

    @property
    def padding_factor(self) -> float:
        """Padded tokens / real tokens, were each batch padded."""
        padded = sum(int(lengths.max()) * len(lengths) for lengths in self.lengths)
        return padded / sum(int(lengths.sum()) for lengths in self.lengths)


Maker = Callable[[list[np.ndarray]], list[Examples]]  # of the rows of each batch


def workloads(
    task: str, lengths_B: np.ndarray, batches: Sequence[int], make: Maker, seed: int
) -> Iterator[Workload]:
    """A task's examples at each batch size, as they come and sorted by length."""
    for batch in batches:
        count = SINGLES if batch == 1 else max(batch, MANY)
        for order in (COMES, SORTED) if 1 < batch <= len(lengths_B) else (COMES,):
            rows = drawn(lengths_B, batch, count, order, seed)
            yield Workload(task, batch, order, make(rows))


def drawn(lengths_B: np.ndarray, batch: int, count: int, order: str, seed: int) -> list[np.ndarray]:
    """Rows of whole batches: random examples, or, of all examples sorted into batches by length as
    for offline scoring, batches at even distances."""
    if order == SORTED:
        by_length = np.argsort(-lengths_B, kind="stable")
        whole = chunks(by_length, batch)[: len(lengths_B) // batch]
        taken = min(count // batch, len(whole))
        places = (np.arange(taken) + 0.5) / taken * len(whole)
        return [whole[int(place)] for place in places]
    size = count // batch * batch
    random = np.random.default_rng(seed)
    return chunks(random.choice(len(lengths_B), size, replace=size > len(lengths_B)), batch)


def random_words(task: str, leaving: float, shape: Shape, seed: int) -> tuple[np.ndarray, Maker]:
    """The lengths of a task's dev examples, and a maker of random words of such lengths. Of each
    workload the share `leaving` is easy: those of the surest tenths."""
    known = {r["task"]: r.values for r in result.read(LENGTHS)}
    if task not in known:
        raise ConfigError(f"tasks must be of {', '.join(known)}, got {task!r}")
    counts = np.array(list(known[task].values()))
    lengths_B = np.array([int(length) for length in known[task]]).repeat(counts.sum(1))
    tenth_B = np.tile(np.arange(counts.shape[1]), len(counts)).repeat(counts.ravel())

    def make(rows: list[np.ndarray]) -> list[Examples]:
        chosen = np.concatenate(rows)
        tie = np.random.default_rng(seed).random(len(chosen))
        easy = np.zeros(len(chosen), bool)
        easy[np.lexsort((tie, tenth_B[chosen]))[: round(leaving * len(chosen))]] = True
        parts = np.split(easy, np.cumsum([len(r) for r in rows])[:-1])
        return [words(lengths_B[r], part, shape) for r, part in zip(rows, parts, strict=True)]

    return lengths_B, make


def words(lengths: np.ndarray, easy: np.ndarray, shape: Shape) -> Examples:
    random = np.random.default_rng(int(lengths.sum()))
    ids = [random.integers(1, shape.vocab_size, n).tolist() for n in lengths]
    return Examples(Batch.from_lists(ids), torch.from_numpy(easy))


@dataclass(frozen=True)
class Ceilings:
    """The roofline (Williams et al. 2009): billions of operations and of bytes read a second."""

    gflops: float
    gbytes: float

    def limit_ms(self, flops: float, num_bytes: float) -> float:
        """The least time for so much work."""
        return max(flops / self.gflops, num_bytes / self.gbytes) / 1e6


def ceilings(shape: Shape, dtype: str, rows: int = 1024, repeats: int = 5) -> Ceilings:
    """Rates of matrix products at the shapes of a layer, the best of plain and prepacked weights,
    and of reading memory."""
    width, inner = shape.hidden_size, shape.intermediate_size
    sizes = [(width, 3 * width), (width, width), (width, inner), (inner, width)]
    given = [matrix(rows, k, dtype) for k, _ in sizes]
    if dtype == "int8":
        multiply: Any = torch.ops.aten._int_mm
        kinds = [[partial(multiply, mat2=matrix(n, k, dtype).T) for k, n in sizes]]
    else:
        how: Any = {"bias": False, "dtype": torch.bfloat16 if dtype == "bf16" else None}
        plain = [nn.Linear(k, n, **how) for k, n in sizes]
        packs = torch.backends.mkldnn.is_available()
        kinds = [plain, *([list(map(PrepackedLinear, plain))] if packs else [])]
    seconds = min(
        best(lambda maps=maps: [f(a) for f, a in zip(maps, given, strict=True)], repeats)
        for maps in kinds
    )
    block = torch.ones(READ_BYTES // 4)
    per_second = sum(2 * rows * k * n for k, n in sizes) / seconds
    return Ceilings(per_second / 1e9, READ_BYTES / best(block.sum, repeats) / 1e9)


def matrix(rows: int, columns: int, dtype: str) -> Tensor:
    if dtype == "int8":
        return torch.randint(-128, 128, (rows, columns), dtype=torch.int8)
    return torch.randn(rows, columns).to(torch.bfloat16 if dtype == "bf16" else torch.float32)


def best(run: Callable[[], object], repeats: int) -> float:
    run()
    return min(repeat(run, number=1, repeat=repeats))


def raced(
    field: Field, workload: Workload, repeats: int, bounds: Mapping[str, Ceilings]
) -> dict[str, dict[str, Any]]:
    """A result's values for each candidate: times as medians over repeats, in which all took their
    turns, and ratios of times as medians of ratios. bounds: by dtype."""
    took, spent = times(field, workload, repeats), {}
    for c in field.candidates:
        spent[c.name] = spending(c, workload)
    return {c.name: values_of(c, field, workload, took, spent, bounds) for c in field.candidates}


def times(field: Field, workload: Workload, repeats: int) -> dict[str, np.ndarray]:
    """Milliseconds of an example (R) of each candidate. ConfigError where one answers otherwise
    than the candidate of the same weights: it would not be the same model."""
    settings = {
        c.name: (c.run, [c.ready(given) for given in workload.batches]) for c in field.candidates
    }
    answers = {}
    for name, (run, inputs) in settings.items():
        run(inputs[0])
        answers[name] = run(inputs[0])
    for c in field.candidates:
        if c.answers_like in answers:
            gap = np.abs(logits(answers[c.name]) - logits(answers[c.answers_like])).max()
            if not gap <= CLOSE:
                told = f"logits differ by {gap:.2g}, more than {CLOSE:g}"
                raise ConfigError(f"{c.name} answers otherwise than {c.answers_like}: {told}")
    block = BLOCK if workload.batch == 1 else 1
    num_inputs = sum(len(inputs) for _, inputs in settings.values())
    title = f"{workload.task}, batch {workload.batch}, {workload.order}"
    with bar(title, num_inputs * repeats) as advance:
        took = time_interleaved(settings, repeats, block, advance)
    return {name: took_RI.sum(1) / workload.num_examples for name, took_RI in took.items()}


def logits(answer: Any) -> np.ndarray:
    found = getattr(answer, "logits_BC", answer)
    return found.float().numpy() if isinstance(found, Tensor) else found


@dataclass(frozen=True)
class Spent:
    """flops and depth: means over examples; layers_read: layers run, summed over batches."""

    flops: float
    depth: float
    layers_read: int


def spending(candidate: Candidate, workload: Workload) -> Spent:
    """Counted on the shapes of our own pass; an engine's graphs do the work of their encoder."""
    encoder = candidate.encoder
    run = candidate.run if candidate.is_ours else lambda given: encoder(given.batch)
    with torch.inference_mode():
        traces = [run(given) for given in workload.batches]
    depths = [np.asarray(trace.depth_B) for trace in traces]
    flops_B = [
        flops(encoder, encoder.exit, np.asarray(trace.tokens_LB), depth_B)
        for trace, depth_B in zip(traces, depths, strict=True)
    ]
    whole, depth = np.concatenate(flops_B).mean(), np.concatenate(depths).mean()
    return Spent(float(whole), float(depth), sum(int(depth_B.max()) for depth_B in depths))


def values_of(
    c: Candidate,
    field: Field,
    workload: Workload,
    took: Mapping[str, np.ndarray],
    spent: Mapping[str, Spent],
    bounds: Mapping[str, Ceilings],
) -> dict[str, Any]:
    own, shape = spent[c.name], c.encoder.shape
    static = c.static if c.static in took else c.name
    statics = [o for o in field.candidates if o.dtype == c.dtype and "EAT" not in o.name]
    engines = [o for o in statics if o.is_engine]
    over = {"hf": ["HF fp32", f"HF {c.dtype}"], "static": [f"static {c.dtype}"]}
    over |= {"best_static": [fastest(statics, took)], "best_engine": [fastest(engines, took)]}
    width, inner = shape.hidden_size, shape.intermediate_size + shape.up_width
    read = own.layers_read * width * (4 * width + inner) * ELEMENT[c.dtype]
    values = {
        "ms": median(took[c.name]),
        "depth": own.depth,
        "flops_ratio": own.flops / spent[static].flops,
        "speed_up": median(took[static] / took[c.name]),
        "limit_ms": bounds[c.dtype].limit_ms(own.flops, read / workload.num_examples),
        "padding_factor": workload.padding_factor,
    }
    known = {label: next((n for n in names if n in took), None) for label, names in over.items()}
    return values | {
        f"over_{label}": median(took[name] / took[c.name]) for label, name in known.items() if name
    }


def fastest(candidates: Sequence[Candidate], took: Mapping[str, np.ndarray]) -> str | None:
    names = [c.name for c in candidates]
    return min(names, key=lambda name: np.median(took[name]), default=None)


def median(value_R: np.ndarray) -> Interval:
    """Median, and an interval between order statistics that covers the true one in 95 % of cases
    whatever the distribution; lowest and highest where repeats are too few for that (below 6)."""
    ordered, count = np.sort(value_R), len(value_R)
    cut = max(0, int(binom.ppf((1 - COVERED) / 2, count, 0.5)) - 1)
    return Interval(float(np.median(ordered)), float(ordered[cut]), float(ordered[count - 1 - cut]))
