"""Forms in which a classifier may run: an engine and a dtype, with exits or without.

Shapes: B examples, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from eat_lightning.engines.kernels import in_kernels
from eat_lightning.engines.models import OfRun
from eat_lightning.engines.original import Original
from eat_lightning.engines.plan import Opening
from eat_lightning.export.plan import package_faults
from eat_lightning.infer.onnx_backend import state_of
from eat_lightning.infer.onnx_runner import full_depth_if_found
from eat_lightning.infer.sessions import engine_faults
from eat_lightning.long_texts import Joiner
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.contracts import ExitRule, at_point
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.trace import Trace
from eat_lightning.record.full_depth import FullDepthIfFound
from eat_lightning.record.passes import record
from eat_lightning.record.record import Record
from eat_lightning.record.timing import TimedCall
from eat_lightning.record.windows import WindowPack, answer_texts
from eat_lightning.runs.run import Run
from eat_lightning.weights.checkpoint import save_model

Engine = Literal["transformers", "torch", "onnx", "openvino"]
NAMES = {"torch": "our kernels", "onnx": "onnxruntime", "openvino": "OpenVINO"}


@dataclass(frozen=True)
class Form:
    """An engine and the dtype that it multiplies in."""

    engine: Engine
    dtype: str = "fp32"

    def __str__(self) -> str:
        return f"{NAMES.get(self.engine, self.engine)}, {self.dtype}"


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
    """The forms of one classifier.

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

    def available(self, engines: list[str]) -> list[Form]:
        """List the forms that can run here, our fp32 first."""
        found = [Form("torch", dtype) for dtype in ("fp32", "bf16", "int8")]
        for engine in ("onnx", "openvino"):
            if engine in engines and engine not in absent_engines(engines):
                dtypes = ("fp32", "int8") if engine == "onnx" else ("fp32", "bf16", "int8")
                found += [
                    Form(engine, dtype) for dtype in dtypes if not engine_faults(engine, dtype)
                ]
        return found

    def deployed(self, form: Form, rule: ExitRule | None = None) -> Deployed:
        """Make a form ready. ConfigError where an engine cannot run it.

        Args:
            rule: of exits; None: every text runs all layers.
        """
        if form.engine == "transformers":
            return deployed_original(self.original)
        joiner = self.original.joiner
        made = self.of_windows(form, rule, None)
        return made if joiner is None else made.by_text(self.of_windows(form, rule, joiner), joiner)

    def of_windows(self, form: Form, rule: ExitRule | None, joiner: Joiner | None) -> Deployed:
        """Make a form ready for texts that fit or, with `joiner`, for windows of longer ones."""
        if form.engine == "torch":
            return Deployed(
                self.converted(form.dtype).replacing(
                    exit=rule or Never(),
                    policies=() if joiner is None else (FullDepthIfFound(joiner),),
                ),
                lambda batch: batch,
                lambda trace: trace.numpy(guesses=False),
            )
        graphs = self.backend(form, rule)

        def run(state: dict[str, Any]) -> Trace:
            size = len(state["lengths_B"])
            review = None if joiner is None else full_depth_if_found(joiner, size)
            return graphs.run_state(state, review)

        return Deployed(run, state_of, lambda trace: trace)

    def rule_at(self, point: list[float] | None) -> ExitRule | None:
        """The exit rule at a point of its knob; None for None."""
        return None if point is None else at_point(self.encoder.exit, point)

    def record(self, dtype: str, split: Any) -> Record:
        """Record the guess of every head for each example of a split, in our kernels."""
        return record(self.converted(dtype), split, title=f"exits in {dtype}")

    def backend(self, form: Form, rule: ExitRule | None) -> Any:
        """Open a form's graphs, which are made once."""
        rule = Never() if rule is None else rule
        labels = list(self.original.same.labels)
        how = Opening(form.dtype, self.threads)
        given = self.encoder.replacing(exit=rule), labels
        # An engine's answers are judged on *select*, on texts that are more than random words.
        return OfRun(self.run, how, (), given, compared=False).open(form.engine)


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
