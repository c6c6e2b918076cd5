"""Rivals that run the same weights: onnxruntime and OpenVINO our own exports, OpenVINO also Hugging
Face's model, padded, as people convert it.

One that cannot run here, or not in this dtype, is named in a line and has no row.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eat_lightning.errors import ConfigError
from eat_lightning.infer.onnx_runner import ABOUT, FORMAT, Runner
from eat_lightning.infer.sessions import engine_faults
from eat_lightning.measure.baselines import HuggingFaceTwin
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.runs.run import write_json
from eat_lightning.validation import raise_faults
from experiments.bench.candidates import Candidate, Field
from experiments.bench.workload import Examples

SHORT = {"onnx": "ORT", "openvino": "OV"}  # our own exports in an engine
NEEDED = {
    "ORT": ("onnx", "onnxscript", "onnxruntime"),
    "OV": ("onnx", "onnxscript", "openvino"),
    "OpenVINO": ("openvino",),
}
HINTS = {"fp32": "f32", "bf16": "bf16"}


def is_installed(rival: str, field: Field) -> bool:
    lacks = [name for name in NEEDED[rival] if find_spec(name) is None]
    line = f"{rival}: no rows, {', '.join(lacks)} is not installed"
    if lacks and line not in field.missing:
        field.missing.append(line)
    return not lacks


class Graphs(Runner):
    """An exported model that is given token ids, and so has no tokenizer."""

    def open_reader(self) -> Any:
        return None


def add_exports(
    field: Field,
    engine: str,
    of: str,
    dtypes: Iterable[str],
    folder: Path,
    threads: int,
    body: AdaptiveEncoder,
    static: str = "",
) -> None:
    """Add the exports of `body`, a candidate's encoder in fp32, in an engine. static: as in
    Candidate, with places for engine and dtype (empty: that of the candidate)."""
    short = SHORT[engine]
    if not is_installed(short, field):
        return
    origin = field[of]
    who = of.removesuffix(f" {origin.dtype}")
    for dtype in dtypes:
        name = f"{short} {who} {dtype}"
        made_in = "int8" if dtype == "int8" else "fp32"
        at = folder / f"{who}-{made_in}".replace(" ", "-")
        try:
            raise_faults(engine_faults(engine, dtype)[:1])
            exported(body, made_in, at)
            graphs = Graphs(at, threads, engine, dtype)
        except (ConfigError, ValueError) as error:
            field.missing.append(f"{name}: no rows, {error}")
            continue
        against = static.format(engine=short, dtype=dtype) or origin.static
        entry = Candidate(name, dtype, origin.shape, graphs.run_state, as_state, against, body)
        entry.answers_like = of if dtype == origin.dtype == "fp32" else None
        field.candidates.append(entry)


def as_state(given: Examples) -> dict[str, np.ndarray]:
    """Return the inputs of the first graph."""
    return {x: getattr(given.batch, x).numpy() for x in ("ids_N", "types_N", "lengths_B")}


def exported(encoder: AdaptiveEncoder, dtype: str, folder: Path) -> None:
    """The graphs that `eat_lightning.export` writes, without a run's tokenizer and labels, where
    they are not there yet."""
    from eat_lightning.export.bundle import SINGLE, Graphs
    from eat_lightning.export.trace import with_open_exits

    if (folder / ABOUT).is_file():
        return
    encoder = with_open_exits(encoder)
    graphs = Graphs(encoder, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    graphs.write(folder)
    parts = zip(graphs.files, graphs.layers, strict=True)
    about = {
        "format": FORMAT,
        "labels": [str(i) for i in range(encoder.num_labels)],
        "columns": ["text"],
        "dtype": dtype,
        "max_length": encoder.shape.max_length,
        "truncation_side": "right",
        "types": True,
        "reasons": {},  # nobody asks for more than logits
        "num_layers": encoder.shape.num_layers,
        "stretches": [{"file": name, "layers": layers} for name, layers in parts],
        "single": SINGLE,
    }
    write_json(folder / ABOUT, about)


def add_openvino(field: Field, of: str, bare: AdaptiveEncoder, dtype: str, threads: int) -> None:
    """Add Hugging Face's model of the fp32 weights `bare`, padded, as OpenVINO converts it; `dtype`
    is what it then computes in."""
    if not is_installed("OpenVINO", field):
        return
    if dtype not in HINTS:
        line = f"OpenVINO: no {dtype} rows, its quantiser is another package (nncf)"
        field.missing.append(line)
        return
    origin, twin = field[of], HuggingFaceTwin(bare)
    try:
        compiled = compiled_by_openvino(twin, threads, HINTS[dtype])
    except Exception as error:  # its converter raises many kinds
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        field.missing.append(f"OpenVINO: no {dtype} rows, it refuses this model: {reason}")
        return

    def run(given: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(compiled(given)[0])

    def ready(given: Examples) -> list[np.ndarray]:
        return [column.numpy() for column in twin.ready(given.batch).values()]

    entry = Candidate(f"OpenVINO {dtype}", dtype, origin.shape, run, ready, origin.static)
    entry.answers_like = of if dtype == "fp32" else None
    field.candidates.append(entry)


def compiled_by_openvino(twin: HuggingFaceTwin, threads: int, hint: str) -> Any:
    openvino = import_module("openvino")  # an extra of its own, not installed everywhere
    columns = twin.ready(Batch.from_lists([[1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5]]))
    with warnings.catch_warnings(), root_logger_kept(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns of every shape that it looks at
        given = tuple(columns.values())
        model = openvino.convert_model(Spread(twin, [*columns]), example_input=given)
    how = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": hint}
    return openvino.Core().compile_model(model, "CPU", how)


@contextmanager
def root_logger_kept() -> Iterator[None]:
    """OpenVINO's converter sets the root logger to errors and puts a filter on it."""
    root = logging.getLogger()
    level, filters, handlers = root.level, [*root.filters], [*root.handlers]
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters[:], root.handlers[:] = filters, handlers


class Spread(nn.Module):
    """A twin whose columns come one by one, as a tracer wants them."""

    def __init__(self, twin: HuggingFaceTwin, names: list[str]):
        super().__init__()
        self.twin, self.names = twin, names

    def forward(self, *columns: Tensor) -> Tensor:
        return self.twin(dict(zip(self.names, columns, strict=True)))
