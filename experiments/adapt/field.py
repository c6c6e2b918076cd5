"""The field's own int8 beside ours: onnxruntime's `quantize_dynamic` and NNCF.

All forms run every layer. onnxruntime's is made of the graph that its own optimizer fuses for BERT;
NNCF's is calibrated on texts that are not compared. Forms take turns, one text at a time.

Shapes: N texts, R repeats, I timed texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from eat_lightning.bundle.original import Original
from eat_lightning.bundle.sessions import engine_faults
from eat_lightning.data.batching import spread_rows
from eat_lightning.data.unlabelled import read_texts
from eat_lightning.deploy.adapt.factors import learn_factors
from eat_lightning.deploy.adapt.forms import Deployed, Forms, deployed_original, scratch_run
from eat_lightning.deploy.adapt.run import splits_of
from eat_lightning.deploy.adapt.static_graph import Logits
from eat_lightning.files import folder_swap
from eat_lightning.long_texts import REFUSE
from eat_lightning.machine import processor, version_of
from eat_lightning.model.trace import Trace
from eat_lightning.progress import shown
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import Point
from eat_lightning.record.timing import speed_up, time_all
from eat_lightning.report.intervals import Interval
from eat_lightning.report.result import Result
from eat_lightning.runs.run import git_commit

CALIBRATED, COMPARED = 300, 3000  # texts
TIMED = {"examples": 200, "warmup": 200, "repeats": 3, "orders": ()}
AGAIN = 0.02  # share of the least sure texts that a higher precision could answer again
OURS = tuple(Measured(Point.whole(name, "int8")) for name in ("torch", "onnx", "openvino"))
PLAIN, FUSED, INT8, NNCF = "fp32.onnx", "fused.onnx", "int8.onnx", "nncf.xml"

Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class FieldForms:
    """A classifier as the field's own tools make it faster.

    Args:
        folder: of the graphs, which are made once.
    """

    original: Original
    folder: Path

    def make(self, calibration: Iterator[Inputs]) -> None:
        """Write the graphs."""
        with folder_swap(self.folder) as beside:
            self.export(beside / PLAIN)
            self.fuse(beside)
            self.quantise(beside)
            if find_spec("nncf"):
                self.calibrate(beside, [*calibration])

    def export(self, to: Path) -> None:
        """Write fp32 as a graph that onnxruntime's fusions know, which is that of TorchScript."""
        texts = ["a text", "another and longer text"]
        given = self.original.tokenizer(texts, padding=True, return_tensors="pt")
        traced = replace(self.original).model  # of its own: the one that is timed stays as it is
        traced.set_attn_implementation("eager")
        sizes = {name: {0: "batch", 1: "length"} for name in given} | {"logits": {0: "batch"}}
        torch.onnx.export(
            Logits(traced, list(given)),
            tuple(given.values()),
            str(to),
            input_names=list(given),
            output_names=["logits"],
            dynamic_axes=sizes,
            opset_version=17,
            dynamo=False,
        )

    def fuse(self, folder: Path) -> None:
        from onnxruntime.transformers import optimizer

        config = self.original.config
        sizes = {"num_heads": config["num_attention_heads"], "hidden_size": config["hidden_size"]}
        made = optimizer.optimize_model(str(folder / PLAIN), model_type="bert", **sizes)
        made.save_model_to_file(str(folder / FUSED))

    def quantise(self, folder: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(
            folder / FUSED,
            folder / INT8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options={"DefaultTensorType": 1},  # fp32: fusions leave tensors without a type
        )

    def calibrate(self, folder: Path, given: list[Inputs]) -> None:
        import openvino

        nncf = import_module("nncf")
        model = openvino.Core().read_model(folder / PLAIN)
        names = {value.get_any_name() for value in model.inputs}
        known = [{name: value for name, value in each.items() if name in names} for each in given]
        how = {"model_type": nncf.ModelType.TRANSFORMER, "subset_size": len(known)}
        made = nncf.quantize(model, nncf.Dataset(known), **how)
        openvino.save_model(made, folder / NNCF, compress_to_fp16=False)

    def deployed(self) -> dict[str, Deployed]:
        """Forms by the names of what made them."""
        found = {
            "onnxruntime, fp32, fused": self.of(self.in_onnxruntime(FUSED)),
            "onnxruntime, quantize_dynamic": self.of(self.in_onnxruntime(INT8)),
        }
        if (self.folder / NNCF).is_file():
            found["OpenVINO, NNCF"] = self.of(self.in_openvino())
        return found

    def of(self, call: Callable[[Inputs], np.ndarray]) -> Deployed:
        depth = self.original.num_layers
        return Deployed(
            call, self.inputs, lambda logits: Trace(logits, np.full(len(logits), depth))
        )

    def inputs(self, batch: Any) -> Inputs:
        return {name: value.numpy() for name, value in self.original.inputs(batch).items()}

    def in_onnxruntime(self, name: str) -> Callable[[Inputs], np.ndarray]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path, on = str(self.folder / name), ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(path, options, on)
        takes = {value.name for value in session.get_inputs()}

        def call(given: Inputs) -> np.ndarray:
            [logits] = session.run(None, {key: given[key] for key in takes})
            return np.asarray(logits)

        return call

    def in_openvino(self) -> Callable[[Inputs], np.ndarray]:
        import openvino

        how = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
        how |= {"INFERENCE_PRECISION_HINT": "f32"}
        model = openvino.Core().compile_model(self.folder / NNCF, "CPU", how)
        request, takes = model.create_infer_request(), [v.get_any_name() for v in model.inputs]

        def call(given: Inputs) -> np.ndarray:
            [logits] = request.infer({key: given[key] for key in takes}).values()
            return np.array(logits)

        return call


def field_row(base: Path, task: str, settings: Mapping[str, Any]) -> Result:
    """Time the field's forms beside ours, and count the answers that each changes.

    Args:
        base: folder of a tuned classifier (`tune`).
        settings: of the task, as `tune.TASKS` has them.
    """
    original = Original.open(str(base / "model"), settings["length"], None, long=REFUSE)
    parts = {
        name: texts_of(base / f"{name}.parquet", settings["columns"], original, most)
        for name, most in (("texts", CALIBRATED), ("fresh", COMPARED))
    }
    field = FieldForms(original, base / "field")
    if not (field.folder / (NNCF if find_spec("nncf") else INT8)).is_file():
        rows = range(len(parts["texts"]))
        field.make(field.inputs(parts["texts"].batch(np.array([i]))) for i in rows)
    split = parts["fresh"]
    forms = {"transformers, fp32": deployed_original(original)}
    forms |= ours(original, base, settings["columns"], parts["texts"]) | field.deployed()
    [*_, times] = time_all({name: made.timed_on(split) for name, made in forms.items()}, **TIMED)
    took = {name: each["latency_RI"] for name, each in times.items()}
    own = [each.name for each in OURS if each.name in took]
    fastest = min(own, key=lambda name: float(took[name].mean()))
    logits = {name: answered(made, split, name) for name, made in forms.items()}
    wanted_NC = logits["transformers, fp32"]
    model = f"{original.config['model_type']}, {original.num_layers} layers of {original.width}"
    values = {"ours": fastest, "num": len(split), "forms": []}
    for name, logits_NC in logits.items():
        changed_N = original.same.changed(wanted_NC, logits_NC)
        surest = np.argsort(original.same.kind.margin(logits_NC), kind="stable")
        surest = surest[round(AGAIN * len(split)) :]
        over = Interval(*speed_up(took[fastest], took[name]))
        values["forms"].append(
            {
                "name": name,
                "ms": float(took[name].mean()),
                "times_ours": over,
                "changed": int(changed_N.sum()),
                "changed_again": int(changed_N[surest].sum()),
            }
        )
    versions = {name: version_of(name) for name in ("onnxruntime", "openvino", "nncf")}
    where = {"threads": 1, "batch": 1, "again": AGAIN, "commit": git_commit(), **versions}
    return Result({"task": task, "model": model, "processor": processor()}, values, where)


def texts_of(path: Path, columns: list[str], original: Original, most: int) -> Any:
    """Tokenize texts of a file, spread over it."""
    rows = pd.read_parquet(path)[columns].values.tolist()
    some = [tuple(rows[i]) for i in spread_rows(len(rows), min(most, len(rows)))]
    texts = read_texts(some, columns, len(some)).read_by(original.reader)
    return splits_of(texts, {path.stem: np.arange(len(texts))}, original, path.parent)[path.stem]


def ours(original: Original, base: Path, columns: list[str], learn: Any) -> dict[str, Deployed]:
    """Our int8 in each engine, with all layers and the factors that some texts give."""
    encoder = original.encoder(len(columns))
    learn_factors(encoder, learn)
    run = scratch_run(base / "field-ours", original, encoder, columns)
    forms = Forms(original, encoder, run, 1)
    points = {each.name: each.point for each in OURS}
    return {
        name: forms.deployed(point)
        for name, point in points.items()
        if point.engine == "torch" or not engine_faults(point.engine, "int8")
    }


def answered(made: Deployed, split: Any, title: str) -> np.ndarray:
    """Logits of all texts, one at a time: dynamic quantization scales a whole batch at once."""
    rows = range(len(split))
    traces = [made.answers(split.batch(np.array([i]))) for i in shown(rows, title)]
    return np.concatenate([trace.logits_BC for trace in traces])
