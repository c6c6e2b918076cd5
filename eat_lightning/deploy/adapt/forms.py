"""A classifier at any point: an engine and a dtype, with exits or without.

Shapes: B examples, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eat_lightning.bundle.graph_model import GraphModel, state_of
from eat_lightning.bundle.graphs.plan import package_faults
from eat_lightning.bundle.kernels import in_kernels
from eat_lightning.bundle.onnx_runner import full_depth_if_found
from eat_lightning.bundle.original import Original
from eat_lightning.bundle.run_graphs import RunGraphs
from eat_lightning.bundle.sessions import engine_faults
from eat_lightning.long_texts import Joiner
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.trace import Trace
from eat_lightning.record.full_depth import FullDepthIfFound
from eat_lightning.record.passes import record
from eat_lightning.record.point import Dtype, Engine, Point
from eat_lightning.record.record import Record
from eat_lightning.record.timing import TimedCall
from eat_lightning.record.windows import WindowPack, answer_texts
from eat_lightning.runs.run import Run
from eat_lightning.weights.checkpoint import save_model

DTYPES: tuple[Dtype, ...] = ("fp32", "bf16", "int8")
ENGINES: tuple[Engine, ...] = ("onnx", "openvino")


@dataclass(frozen=True)
class Deployed:
    """A classifier ready to run.

    Args:
        run: from what `ready` makes of a batch to an output.
        read: from an output to its trace.
    """

    run: Callable[[Any], Any]
    ready: Callable[[Any], Any]
    read: Callable[[Any], Trace]

    @torch.inference_mode()
    def answers(self, batch: Any) -> Trace:
        return self.read(self.run(self.ready(batch)))

    def timed_on(self, split: Any) -> TimedCall:
        return TimedCall(self.run, split, self.ready)

    def by_text(self, deep: Deployed, joiner: Joiner) -> Deployed:
        """Answer texts of a `TextWindows`.

        Args:
            deep: runs the windows of long texts; to full depth where the label is found.
        """

        def ready(packs: list[WindowPack]) -> list[WindowPack]:
            return [
                replace(pack, batch=(deep if pack.is_part else self).ready(pack.batch))
                for pack in packs
            ]

        def run(pack: WindowPack) -> Trace:
            model = deep if pack.is_part else self
            return model.read(model.run(pack.batch))

        return Deployed(lambda packs: answer_texts(packs, run, joiner), ready, lambda trace: trace)


class Forms:
    """One classifier, made ready at points.

    Args:
        run: scratch with the encoder's weights, from which graphs are made.
        encoder: with a head at each exit, in fp32.
    """

    def __init__(self, original: Original, encoder: AdaptiveEncoder, run: Run, threads: int):
        self.original, self.encoder, self.run, self.threads = original, encoder, run, threads
        self.converted = cache(partial(in_kernels, encoder))  # goes with this object

    @property
    def num_layers(self) -> int:
        """Layers of the original."""
        return self.original.num_layers

    def available(self, engines: list[str]) -> list[Point]:
        """List the points without exits that can run here, our fp32 first."""
        found = [Point.whole("torch", dtype) for dtype in DTYPES]
        for engine in ENGINES:
            if engine in engines and engine not in absent_engines(engines):
                dtypes = DTYPES if engine == "openvino" else ("fp32", "int8")
                found += [
                    Point.whole(engine, dtype)
                    for dtype in dtypes
                    if not engine_faults(engine, dtype)
                ]
        return found

    def deployed(self, point: Point, threads: int | None = None) -> Deployed:
        """Make a point ready, without what is before it.

        Args:
            threads: of an engine; None: those with which times are taken.

        Raises:
            ConfigError: where the engine cannot run it.
        """
        if point.engine == "transformers":
            return deployed_original(self.original)
        joiner, given = self.original.joiner, (point, threads or self.threads)
        made = self.of_windows(*given, None)
        return made if joiner is None else made.by_text(self.of_windows(*given, joiner), joiner)

    def of_windows(self, point: Point, threads: int, joiner: Joiner | None) -> Deployed:
        """Make a point ready for texts that fit or, with `joiner`, for windows of longer ones."""
        if point.engine == "torch":
            policies = () if joiner is None else (FullDepthIfFound(joiner),)
            return Deployed(
                point.on(self.converted(point.dtype)).replacing(policies=policies),
                lambda batch: batch,
                lambda trace: trace.numpy(guesses=False),
            )
        graphs = self.graphs(point, threads)

        def run(state: dict[str, Any]) -> Trace:
            size = len(state["lengths_B"])
            review = None if joiner is None else full_depth_if_found(joiner, size)
            return graphs.run_state(state, review)

        return Deployed(run, state_of, lambda trace: trace)

    def record(self, dtype: str, split: Any) -> Record:
        """Record the guess of every head for each example of a split, in our kernels."""
        return record(self.converted(dtype), split, title=f"exits in {dtype}")

    def graphs(self, point: Point, threads: int | None = None) -> GraphModel:
        """Open a point's graphs, which are made once. For `threads` see `deployed`."""
        labels = list(self.original.same.labels)
        given = point.on(self.encoder), labels, point.dtype, threads or self.threads
        # An engine's answers are judged on *select*, on texts that are more than random words.
        return RunGraphs(self.run, *given, compared=False).open(point.engine)


def absent_engines(engines: Sequence[str]) -> list[str]:
    """List the engines that are not installed, or lack what makes their graphs."""
    return [engine for engine in engines if package_faults() or engine_faults(engine)]


def deployed_original(original: Original) -> Deployed:
    """transformers' own model, in fp32."""
    depth, joiner = original.num_layers, original.joiner
    made = Deployed(
        original.logits,
        original.inputs,
        lambda logits_BC: Trace(logits_BC.numpy(), np.full(len(logits_BC), depth)),
    )
    return made if joiner is None else made.by_text(made, joiner)


def scratch_run(
    folder: Path, original: Original, encoder: AdaptiveEncoder, columns: list[str]
) -> Run:
    """Save an encoder as a run's model, as exports expect it."""
    labels = list(original.same.labels)
    if not (folder / "model" / "config.json").is_file():
        original.tokenizer.save_pretrained(folder / "model")
        save_model(encoder, labels, folder / "model")
    kind = original.same.kind
    task = {"name": "adapted", "columns": columns, "labels": labels}
    task |= {"problem_type": kind.problem_type, "metrics": [kind.metric_names[0]]}
    node = {"_target_": "eat_lightning.data.task.Task", **task, "max_length": original.max_length}
    return Run(folder, {"task": node}, {})
