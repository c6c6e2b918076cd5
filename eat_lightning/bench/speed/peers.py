"""Rivals that run the same weights: onnxruntime our own exports, OpenVINO Hugging Face's model.

One that cannot run here, or not in this dtype, is told of in a line and has no row.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from eat_lightning.bench.speed.contestants import Contestant, Work
from eat_lightning.errors import ConfigError
from eat_lightning.infer.onnx_runner import ABOUT, FORMAT, Runner, first_state
from eat_lightning.measure.baselines import HuggingFaceTwin
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.runs.run import write_json

Found = tuple[list[Contestant], list[str]]
NEEDED = {"onnxruntime": ("onnx", "onnxscript", "onnxruntime"), "OpenVINO": ("openvino",)}
HINTS = {"fp32": "f32", "bf16": "bf16"}


def absent(peer: str) -> list[str]:
    """A line where a package is not installed."""
    lacks = [name for name in NEEDED[peer] if find_spec(name) is None]
    return [f"{peer}: no rows, {', '.join(lacks)} is not installed"] if lacks else []


class Graphs(Runner):
    """An exported model that is given token ids, and so has no tokenizer."""

    def open_tokenizer(self) -> None:
        return None


def onnxruntime_peers(
    of: Contestant, dtypes: Iterable[str], folder: Path, threads: int, static: str | None = None
) -> Found:
    """The exports of a contestant's encoder; `static` as in Contestant, with a place for dtype."""
    if missing := absent("onnxruntime"):
        return [], missing
    encoder, found, missing = of.encoder, [], []
    assert encoder is not None
    what = of.name.removesuffix(f" {of.dtype}")
    for dtype in dtypes:
        if dtype not in ("fp32", "int8"):
            missing.append(f"onnxruntime: no {dtype} rows, it has no such products on a processor")
            continue
        name = f"ORT {what} {dtype}"
        try:
            given = exported(encoder, dtype, folder / name.replace(" ", "-"), threads)
        except ConfigError as error:
            missing.append(f"{name}: no rows, {error}")
            continue
        against = of.static if static is None else static.format(dtype=dtype)
        like = of.name if dtype == "fp32" else None

        def run(lists: Any, graphs: Graphs = given) -> Any:
            return graphs.run_state(first_state(*lists))

        entry = Contestant(name, dtype, of.shape, run, as_lists, against, encoder)
        entry.answers_like = like
        found.append(entry)
    return found, missing


def as_lists(given: Work) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Ids and types of each example."""
    batch, ends = given.batch, given.batch.lengths_B.cumsum(0)[:-1].tolist()
    return np.split(batch.ids_N.numpy(), ends), np.split(batch.types_N.numpy(), ends)


def exported(encoder: AdaptiveEncoder, dtype: str, folder: Path, threads: int) -> Graphs:
    """The graphs that `eat_lightning.export` writes, without a run's tokenizer and labels."""
    from eat_lightning.export.bundle import SINGLE, Bundle
    from eat_lightning.runs.run import Run

    bundle = Bundle(cast(Run, None), encoder, [], dtype)  # its graphs need no run
    folder.mkdir(parents=True, exist_ok=True)
    bundle.write_graphs(folder)
    parts = zip(bundle.files, bundle.layers, strict=True)
    about = {
        "format": FORMAT,
        "labels": [str(i) for i in range(encoder.num_labels)],
        "columns": ["text"],
        **{"max_length": encoder.shape.max_length, "truncation_side": "right"},
        **{"types": True, "reasons": {}},  # never said: nobody asks for more than logits
        "num_layers": encoder.shape.num_layers,
        "stretches": [{"file": name, "layers": layers} for name, layers in parts],
        "single": SINGLE,
    }
    write_json(folder / ABOUT, about)
    return Graphs(folder, threads)


def openvino_peer(of: Contestant, dtype: str, threads: int, bare: AdaptiveEncoder) -> Found:
    """Hugging Face's model of the weights `bare`, padded, as OpenVINO converts it: in fp32, and
    `dtype` is what it then computes in."""
    if missing := absent("OpenVINO"):
        return [], missing
    if dtype not in HINTS:
        return [], [f"OpenVINO: no {dtype} rows, its quantiser is another package (nncf)"]
    twin, example = HuggingFaceTwin(in_fp32(bare)), of_two(bare.shape.vocab_size)
    try:
        compiled = compiled_by_openvino(twin, twin.ready(example), threads, HINTS[dtype])
    except Exception as error:  # its converter raises many kinds
        said = " ".join(str(error).split())[:120] or type(error).__name__
        return [], [f"OpenVINO: no {dtype} rows, it refuses this model: {said}"]

    def run(given: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(compiled(given)[0])

    def ready(given: Work) -> list[np.ndarray]:
        return [column.numpy() for column in twin.ready(given.batch).values()]

    entry = Contestant(f"OpenVINO {dtype}", dtype, of.shape, run, ready, of.static)
    entry.answers_like = of.name if dtype == "fp32" else None
    return [entry], []


def compiled_by_openvino(
    twin: HuggingFaceTwin, columns: dict[str, Tensor], threads: int, hint: str
) -> Any:
    openvino = import_module("openvino")  # an extra of its own, not installed everywhere
    with warnings.catch_warnings(), logging_kept(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns of every shape that it looks at
        given = tuple(columns.values())
        model = openvino.convert_model(Spread(twin, [*columns]), example_input=given)
    how = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": hint}
    return openvino.Core().compile_model(model, "CPU", how)


@contextmanager
def logging_kept() -> Iterator[None]:
    """OpenVINO's converter sets the root logger to errors and puts a filter on it."""
    root = logging.getLogger()
    level, filters, handlers = root.level, [*root.filters], [*root.handlers]
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters[:], root.handlers[:] = filters, handlers


def in_fp32(encoder: AdaptiveEncoder) -> AdaptiveEncoder:
    if encoder.embedding.word.weight.dtype == torch.float32:
        return encoder
    copied = copy.deepcopy(encoder)
    for weight in copied.parameters():
        weight.data = weight.data.float()
    return copied


def of_two(vocab_size: int) -> Any:
    from eat_lightning.model.packed import Batch

    ids = [[i % vocab_size for i in range(1, n)] for n in (8, 6)]
    return Batch.from_lists(ids)


class Spread(nn.Module):
    """A twin whose columns come one by one, as a tracer wants them."""

    def __init__(self, twin: HuggingFaceTwin, names: list[str]):
        super().__init__()
        self.twin, self.names = twin, names

    def forward(self, *columns: Tensor) -> Tensor:
        return self.twin(dict(zip(self.names, columns, strict=True)))
