"""The folder of an export: graphs, tokenizer, runner and what they are, put in place as one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.errors import ConfigError
from eat_lightning.export.agreement import THIN, Agreement, compare
from eat_lightning.export.branch import with_if
from eat_lightning.export.graph import graphs
from eat_lightning.export.quantise import for_graphs
from eat_lightning.export.trace import stretches
from eat_lightning.export.weights import save
from eat_lightning.infer import onnx_runner
from eat_lightning.model.contracts import spec
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.int8 import in_int8
from eat_lightning.model.reason import reason_names
from eat_lightning.runs.certificate import sha256_of
from eat_lightning.runs.run import Run, git_commit, version_of, write_json

SINGLE, WEIGHTS = "single.onnx", "weights.bin"
PACKAGES = ("eat_lightning", "torch", "onnx", "onnxruntime")
BATCHES = (32, 1)  # at which answers are compared: from graph to graph, and in the single graph


class Bundle:
    """A run's encoder, its exit rule chosen, to be written as configs/export.yaml says."""

    def __init__(
        self, run: Run, encoder: AdaptiveEncoder, labels: list[str], config: dict[str, Any]
    ):
        self.run, self.encoder, self.labels, self.config = run, encoder, labels, config
        self.layers = [(part.first, part.last) for part in stretches(encoder, alone=False)]
        self.names = [f"{a}-{b}" if a < b else f"{a}" for a, b in self.layers]
        self.files = [f"layers-{name}.onnx" for name in self.names]

    def write(self, to: Path) -> None:
        """ConfigError, and nothing in its place, where the graphs answer otherwise."""
        split = self.split()
        with beside(to) as folder:
            self.write_graphs(folder)
            tokenizer = self.run.tokenizer()
            tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
            shutil.copy(onnx_runner.__file__, folder / "runner.py")
            about = self.about(tokenizer)
            write_json(folder / onnx_runner.ABOUT, about)
            if split is not None:
                about["agreement"] = self.checked(folder, split)
                write_json(folder / onnx_runner.ABOUT, about)
        size = sum(path.stat().st_size for path in to.iterdir()) / 1e6
        said = ", ".join(self.names)
        print(f"{to}: layers {said} and all of them in {SINGLE}, {self.dtype}, {size:.1f} MB")

    @property
    def dtype(self) -> str:
        return self.config["dtype"]

    def split(self) -> Any:
        if not self.config["check"]:
            return None
        return self.run.data(**self.config["data"]).split(self.config["split"])

    def write_graphs(self, folder: Path) -> None:
        encoder = for_graphs(self.encoder) if self.dtype == "int8" else self.encoder
        models = graphs(encoder, alone=False)
        whole = with_if(graphs(encoder, alone=True), [last for _, last in self.layers])
        save(dict(zip([*self.files, SINGLE], [*models, whole], strict=True)), folder / WEIGHTS)

    def about(self, tokenizer: Any) -> dict[str, Any]:
        """export.json: what the runner needs, and for people what the graphs hold."""
        encoder, task = self.encoder, self.run.task
        limit = self.run.config.get("data", {}).get("max_length") or task.max_length
        parts = zip(self.files, self.layers, strict=True)
        heads: Any = encoder.heads
        lasts = [last for _, last in self.layers]
        slots = ("attention", "reduction", "exit")
        return {
            "format": 1,
            "run": self.run.name,
            "task": task.name,
            "columns": list(task.columns),
            "labels": self.labels,
            "max_length": min(limit, encoder.shape.max_length),
            "truncation_side": tokenizer.truncation_side,
            "types": "token_type_ids" in tokenizer.model_input_names,
            "num_layers": encoder.shape.num_layers,
            "dtype": self.dtype,
            "weights": sha256_of([self.run.folder / "model" / "model.safetensors"]),
            **{slot: spec(slot, getattr(encoder, slot)) for slot in slots},
            "strength": encoder.strength.item(),
            "temperatures": {k: heads[k].temperature.item() for k in map(str, lasts)},
            "reasons": {str(code): name for code, name in reason_names(encoder.exit).items()},
            "stretches": [{"file": name, "layers": layers} for name, layers in parts],
            "single": SINGLE,
            "commit": git_commit(),
            "packages": {name: version_of(name) for name in PACKAGES},
        }

    def checked(self, folder: Path, split: Any) -> dict[str, Any]:
        """What was compared; ConfigError where more differs than may."""
        config = self.config
        wanted = len(split) if config["check"] == "all" else min(config["check"], len(split))
        rows_B = np.unique(np.linspace(0, len(split) - 1, wanted).round().astype(np.int64))
        runner = onnx_runner.Runner(folder, config["threads"])
        found: dict[str, Any] = {"split": config["split"]}
        for (name, encoder), batch in product(self.references().items(), BATCHES):
            agreement = compare(encoder, runner, split, rows_B, batch)
            found[f"batch_{batch}{name}"] = agreement.summary()
            where = f"batch {batch}" + (", against the run in int8" if name else "")
            print(f"{where}: {told(agreement)}")
            if fault := self.fault(agreement):
                raise ConfigError(f"{where}: {fault}: nothing was written")
        return found

    def references(self) -> dict[str, AdaptiveEncoder]:
        """What the graphs are compared with: the run, and in int8 also what `predict` makes of it
        in that dtype."""
        whole = {"_int8": in_int8(self.encoder)} if self.dtype == "int8" else {}
        return {"": self.encoder} | whole

    def fault(self, agreement: Agreement) -> str | None:
        if self.dtype == "int8":
            least = self.config["agree"]
            share = agreement.answers
            few = f"{share:.4f} of the answers are the run's, agree={least} asks for more"
            return few if share < least else None
        wrong = agreement.faults
        rows = ", ".join(map(str, wrong[:5])) + (" ..." if len(wrong) > 5 else "")
        return (
            f"{len(wrong)} of {len(agreement.rows_B)} examples differ from the run with no margin "
            f"below {THIN:g} ({self.config['split']}: {rows})"
            if wrong
            else None
        )


def told(agreement: Agreement) -> str:
    """One line for a person, the excused examples named."""
    found = agreement.summary()
    line = "of {examples} examples {answers_equal} answers, {depth_equal} depths and ".format(
        **found
    )
    line += f"{found['retention_equal']} retentions are the run's; "
    line += f"probabilities within {found['largest_gap']:.1g}; "
    line += f"{len(found['thin'])} have a margin below {THIN:g}"
    excused = ", ".join(map(str, found["thin_and_different"]))
    return f"{line} and differ: {excused}" if excused else line


@contextmanager
def beside(to: Path) -> Iterator[Path]:
    """A folder that takes the place of `to` when all went well, and else leaves nothing."""
    folder = to.with_name(f"{to.name}.{os.getpid()}.part")
    folder.mkdir(parents=True)
    try:
        yield folder
        old = to.with_name(f"{to.name}.{os.getpid()}.old")
        if to.exists():
            to.rename(old)
        folder.rename(to)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
