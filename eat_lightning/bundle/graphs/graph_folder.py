"""A folder of graphs: of an encoder in one precision, with all that answering by them takes.

It is `graphs/<engine>-<dtype>` of a bundle or a run, and can stand alone: beside the graphs and
their weights it keeps the tokenizer, export.json (labels, lengths, exit rule) and a runner. That
runner needs neither torch nor this package. Where it answers, the classifier's own weights would be
bytes that nothing reads, so that an export by itself is this folder, and no whole bundle.
"""

from __future__ import annotations

import shutil
import sys
from itertools import product
from pathlib import Path
from typing import Any

from torch import Tensor

from eat_lightning import answer_kind, long_texts, text_io
from eat_lightning.bundle import onnx_runner, sessions
from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.graphs.agreement import THIN, Agreement, compare, unseen_exits
from eat_lightning.bundle.graphs.branch import in_single, with_if
from eat_lightning.bundle.graphs.graph import graphs
from eat_lightning.bundle.graphs.plan import ExportSettings
from eat_lightning.bundle.graphs.quantise import for_graphs
from eat_lightning.bundle.graphs.trace import POINT, banded_layers, point_after, stretches
from eat_lightning.bundle.graphs.weights import move, save
from eat_lightning.bundle.open_run import longest
from eat_lightning.data.batching import spread_rows
from eat_lightning.errors import ConfigError
from eat_lightning.files import folder_swap, sha256_of, write_json
from eat_lightning.machine import version_of
from eat_lightning.model import trace
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.int8 import in_int8
from eat_lightning.model.reason import reason_names
from eat_lightning.model.specification import specs_by_slot
from eat_lightning.runs.run import Run, git_commit
from eat_lightning.weights.files import model_files

SINGLE = "single.onnx"
PACKAGES = ("eat_lightning", "torch", "onnx", "onnxruntime")
BATCHES = (32, 1)  # at which answers are compared: from graph to graph, and in the single graph


class Graphs:
    """An encoder as graphs: one for each stretch between exits, and one of all layers."""

    def __init__(self, encoder: AdaptiveEncoder, dtype: str):
        self.encoder, self.dtype = encoder, dtype
        self.layers = [(part.first, part.last) for part in stretches(encoder, alone=False)]
        self.names = [f"{a}-{b}" if a < b else f"{a}" for a, b in self.layers]
        self.files = [f"layers-{name}.onnx" for name in self.names]

    def write(self, folder: Path) -> None:
        encoder = for_graphs(self.encoder) if self.dtype == "int8" else self.encoder
        models = graphs(encoder, alone=False)
        whole = with_if(graphs(encoder, alone=True), [last for _, last in self.layers])
        named = dict(zip([*self.files, SINGLE], [*models, whole], strict=True))
        save(named, folder / onnx_runner.WEIGHTS)

    def write_like(self, kept: Path, folder: Path) -> None:
        """Write graphs of the same exits at other points, which lie in `kept`, at those of this
        encoder.

        Raises:
            Unlike: where the weight of a point is not found there.
        """
        single = dict[str, Tensor]()
        for i, (file, (_, last)) in enumerate(zip(self.files, self.layers, strict=True)):
            point = point_after(self.encoder, last)
            own = {} if point is None else {POINT: point}
            single |= {f"{in_single(i)}{name}": value for name, value in own.items()}
            move(kept / file, folder / file, own)
        move(kept / SINGLE, folder / SINGLE, single)
        if (kept / onnx_runner.WEIGHTS).is_file():  # engines refuse a file with two names
            shutil.copyfile(kept / onnx_runner.WEIGHTS, folder / onnx_runner.WEIGHTS)


class GraphFolder:
    """A run's encoder, with its exit rule, and the names of its labels."""

    def __init__(self, run: Run, encoder: AdaptiveEncoder, labels: list[str], dtype: str):
        self.run, self.encoder, self.labels, self.dtype = run, encoder, labels, dtype
        self.graphs = Graphs(encoder, dtype)

    def write(self, to: Path, plan: ExportSettings | None = None, like: Path | None = None) -> None:
        """Write the folder.

        Args:
            plan: compares the answers with the run's; None: no comparison.
            like: a folder whose graphs differ in the points of their exits alone.

        Raises:
            ConfigError: where they differ; the folder is then not put in place.
        """
        split = None
        if plan is not None and plan.check:  # before anything is made, should it not be there
            split = self.run.data(dir=plan.data.dir).split(plan.split)
        with folder_swap(to) as folder:
            if like is None:
                self.graphs.write(folder)
            else:
                self.graphs.write_like(like, folder)
            tokenizer = self.run.tokenizer()
            tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
            shutil.copy(onnx_runner.__file__, folder / "runner.py")
            for module in (answer_kind, text_io, long_texts, sessions):
                shutil.copy(str(module.__file__), folder)
            shutil.copy(trace.__file__, folder / "eat_trace.py")  # the standard library has a trace
            about = self.about(tokenizer)
            write_json(folder / onnx_runner.ABOUT, about)
            if plan is not None and split is not None:
                about["agreement"] = self.agreement(folder, plan, split)
                write_json(folder / onnx_runner.ABOUT, about)
        size = sum(path.stat().st_size for path in to.iterdir()) / 1e6
        names = ", ".join(self.graphs.names)
        print(f"{to}: layers {names} and all of them in {SINGLE}, {self.dtype}, {size:.1f} MB")

    def about(self, tokenizer: Any) -> dict[str, Any]:
        """Return export.json: what the runner needs, and a description of the graphs."""
        encoder, task = self.encoder, self.run.task
        parts = zip(self.graphs.files, self.graphs.layers, strict=True)
        names = reason_names(encoder.exit.reasons)
        return {
            "format": onnx_runner.FORMAT,
            "run": self.run.name,
            "task": task.name,
            "columns": list(task.columns),
            "labels": self.labels,
            **encoder.kind.spec(),
            "max_length": longest(self.run, encoder),
            "truncation_side": tokenizer.truncation_side,
            "types": "token_type_ids" in tokenizer.model_input_names,
            "num_layers": encoder.shape.num_layers,
            "dtype": self.dtype,
            "weights": sha256_of(model_files(self.run.folder / "model")),
            **specs_by_slot(encoder),
            "banded_layers": banded_layers(encoder),
            "strength": encoder.strength.item(),
            "temperatures": {
                str(k): encoder.heads.at(k).temperature.item() for _, k in self.graphs.layers
            },
            "reasons": {str(code): name for code, name in names.items()},
            "stretches": [{"file": name, "layers": layers} for name, layers in parts],
            "single": SINGLE,
            "commit": git_commit(),
            "packages": {name: version_of(name) for name in PACKAGES},
        }

    def agreement(self, folder: Path, plan: ExportSettings, split: Any) -> dict[str, Any]:
        """Compare the export with the run in the plan's engines, and return a summary for each.

        Raises:
            ConfigError: where more answers differ than allowed.
        """
        rows_B = spread_rows(len(split), len(split) if plan.check == "all" else int(plan.check))
        references = {"": self.encoder}
        if self.dtype == "int8":  # and what `predict` makes of the run in that dtype
            references["_int8"] = in_int8(self.encoder)
        found: dict[str, Any] = {"split": plan.split}
        warnings = set()
        for engine, (name, encoder) in product(plan.engines, references.items()):
            backend = GraphModel(folder, plan.threads, engine)
            in_engine = "" if engine == "onnx" else f"_{engine}"
            by = "" if engine == "onnx" else f", {engine}"
            for batch in BATCHES:
                agreement = compare(encoder, backend, split, rows_B, batch)
                found[f"batch_{batch}{name}{in_engine}"] = agreement.summary()
                where = f"batch {batch}{by}" + (", against the run in int8" if name else "")
                print(f"{where}: {agreement.line}")
                warnings.add(unseen_exits(encoder, agreement))
                if fault := self.fault(agreement, plan):
                    raise ConfigError(f"{where}: {fault}: nothing was written")
        for warning in sorted(warnings - {""}):
            print(f"warning: {warning}", file=sys.stderr)
        return found

    def fault(self, agreement: Agreement, plan: ExportSettings) -> str | None:
        if self.dtype == "int8":
            share = agreement.answers
            few = (
                f"only {share:.4f} of the answers equal the run's, agree={plan.agree} requires more"
            )
            return few if share < plan.agree else None
        wrong = agreement.faults
        rows = ", ".join(map(str, wrong[:5])) + (" ..." if len(wrong) > 5 else "")
        return (
            f"{len(wrong)} of {len(agreement.rows_B)} examples differ from the run with no margin "
            f"below {THIN:g} ({plan.split}: {rows})"
            if wrong
            else None
        )
