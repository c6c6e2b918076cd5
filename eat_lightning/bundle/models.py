"""A run or an export in the engine that the settings name, or in the fastest one here. With torch,
which runs need, and a race.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from eat_lightning.bundle import trials
from eat_lightning.bundle.exports import open_export
from eat_lightning.bundle.graphs.trace import with_open_exits
from eat_lightning.bundle.onnx_backend import Export
from eat_lightning.bundle.onnx_runner import ABOUT, is_export
from eat_lightning.bundle.open_run import fitter_of, longest, open_run
from eat_lightning.bundle.plan import Opening, tell
from eat_lightning.bundle.race import answer_fault, made_texts, race
from eat_lightning.bundle.sessions import engine_faults
from eat_lightning.bundle.torch_backend import TorchBackend
from eat_lightning.bundle.trials import EngineTrial, this_machine
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.files import as_dict, sha256_of
from eat_lightning.machine import version_of
from eat_lightning.model.contracts import Policy
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.policies import policies_of
from eat_lightning.model.specification import specs_by_slot
from eat_lightning.runs.exit_choice import ExitChoice
from eat_lightning.runs.run import Run
from eat_lightning.runs.training_mark import who_trains
from eat_lightning.weights.precision import in_dtype

if TYPE_CHECKING:
    from eat_lightning.bundle.backend import Backend
    from eat_lightning.bundle.plan import ModelSettings

FOLDER = "engines"  # in a run's, with graphs of its own
Race = Callable[[dict[str, Any], list[list[str]], int], dict[str, dict[str, float]]]


def open_model(plan: ModelSettings, export: str | None, timed: Race = race) -> Backend:
    """Open the run of a command's settings, or an export, in its engine. timed: finds the times."""
    if plan.threads:
        torch.set_num_threads(plan.threads)
    policies, engine = policies_of(plan.policy), plan.backend
    if export is not None or is_export(plan.run):
        model: Any = OfExport(Path(export or plan.run), plan.opening, policies)
        engine = "onnx" if engine == "torch" else engine
    else:
        model = OfRun(Run.open(plan.run), plan.opening, policies)
    if engine == "auto":
        engine = fastest(model, timed)
    return model.open(engine)


@dataclass
class OfExport:
    """An export, whose graphs two engines can run."""

    folder: Path
    how: Opening
    policies: Sequence[Policy] | None
    engines = ("onnx", "openvino")

    def open(self, engine: str) -> Backend:
        dtype = "bf16" if self.how.dtype == "bf16" else None
        export = Export(self.folder, self.how.threads, engine, dtype)
        return open_export(export, self.how.certificate, self.policies)

    @cached_property
    def digest(self) -> str:
        return digest_of({"export": Export(self.folder).digest, "dtype": self.how.dtype})

    @cached_property
    def texts(self) -> list[list[str]]:
        export = Export(self.folder)
        return made_texts(export.tokenizer.get_vocab(), len(export.columns))


@dataclass
class OfRun:
    """A finished run, in torch or by way of its own graphs.

    Args:
        given: an encoder (fp32, plain) and its labels in place of the run's with the plan's exits.
        compared: its graphs answer as it does, or are refused; False: the caller judges answers.
    """

    run: Run
    how: Opening
    policies: Sequence[Policy] | None
    given: tuple[AdaptiveEncoder, list[str]] | None = None
    compared: bool = True
    engines = ("torch", "onnx", "openvino")

    @property
    def folder(self) -> Path:
        return self.run.folder

    def open(self, engine: str) -> Backend:
        """Compare a run's graphs with the run, once on each machine."""
        how = self.how
        if engine == "torch":
            exits = how.exit, how.dtype, how.certificate
            return open_run(self.run, *exits, self.policies, how.prepack)
        encoder, labels = self.chosen
        policies = encoder.policies if self.policies is None else self.policies
        folder = kept_export(self.run, with_open_exits(encoder, policies), labels, how.dtype)
        export = Export(folder, how.threads, engine, how.dtype)
        if self.compared and (fault := self.fault(engine, open_export(export))):
            raise ConfigError(f"backend={engine} {fault}")
        return open_export(export, how.certificate, policies)

    @cached_property
    def chosen(self) -> tuple[AdaptiveEncoder, list[str]]:
        """The encoder in fp32 with the chosen exits, and its labels."""
        if self.given is not None:
            return self.given
        encoder, labels = self.run.model()
        choice = ExitChoice.of(self.how.exit, self.run.model_config()["exit"])
        return fitter_of(self.run, encoder, choice).on(choice.budget), labels

    @cached_property
    def digest(self) -> str:
        return digest_of(made_of(self.run, self.chosen[0], self.how.dtype))

    def fault(self, engine: str, backend: Backend) -> str | None:
        """Tell why its answers will not do, compared with those of the encoder in the plan's dtype,
        plain. Looked up where it was found out before."""
        mine = EngineTrial(engine, this_machine(torch.get_num_threads()), self.digest)
        for known in trials.read(self.folder):
            if known.key == mine.key:
                return known.fault
        run, (encoder, labels) = self.run, self.chosen
        backbone = in_dtype(encoder.replacing(policies=()), self.how.dtype)
        given = run.tokenizer(), run.task.columns, labels, longest(run, encoder)
        plain = TorchBackend(run.folder, backbone, *given)
        fault = answer_fault(plain, backend, self.how.dtype, self.texts)
        trials.keep(self.folder, [replace(mine, fault=fault)])
        return fault

    @cached_property
    def texts(self) -> list[list[str]]:
        return made_texts(self.run.tokenizer().get_vocab(), len(self.run.task.columns))


def made_of(run: Run, encoder: AdaptiveEncoder, dtype: str) -> dict[str, Any]:
    """Return the identity of exported graphs: weights, methods, strength, dtype and the code's
    version."""
    return {
        "weights": sha256_of([run.folder / "model" / "model.safetensors"]),
        **specs_by_slot(encoder),
        "strength": encoder.strength.item(),
        "dtype": dtype,
        "eat_lightning": version_of("eat_lightning"),
    }


def kept_export(run: Run, encoder: AdaptiveEncoder, labels: list[str], dtype: str) -> Path:
    """The folder with this encoder's graphs, kept beside the run, which are made where they are not
    there yet. encoder: in fp32, plain. ConfigError where it cannot be exported."""
    from eat_lightning.bundle.graphs.bundle import Bundle
    from eat_lightning.bundle.graphs.plan import export_slot_faults, package_faults

    graphs = "int8" if dtype == "int8" else "fp32"
    folder = run.folder / FOLDER / f"{graphs}-{digest_of(made_of(run, encoder, graphs))[:12]}"
    if (folder / ABOUT).is_file():
        return folder
    Faults(package_faults() + export_slot_faults(encoder)).check()
    folder.parent.mkdir(exist_ok=True)
    with redirect_stdout(sys.stderr):  # standard output is for answers
        print(f"{run.name}: its graphs are made, once", flush=True)
        Bundle(run, encoder, labels, graphs).write(folder)
    return folder


def digest_of(content: dict[str, Any]) -> str:
    whole = json.dumps(content, sort_keys=True, default=as_dict)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def fastest(model: OfRun | OfExport, timed: Race = race) -> str:
    """The engine with the least time here, at one example where one is answered at once, else
    in batches. Raced once for a model and a machine; what was found is kept beside the model.
    ConfigError where no engine can run it."""
    size, machine = "1" if model.how.batch == 1 else "32", this_machine(torch.get_num_threads())
    mine = [EngineTrial(engine, machine, model.digest).key for engine in model.engines]
    found = [t for t in trials.read(model.folder) if t.key in mine and (t.ms or t.fault)]
    if not any(t.ms for t in found):
        found = raced(model, machine, timed)
    at = {t.engine: t.ms[size] for t in found if size in t.ms}
    if not at:
        raise ConfigError.of(f"backend=auto: {t.engine}: {t.fault}" for t in found)
    ranked = sorted(at, key=lambda engine: at[engine])
    times = ", ".join(f"{engine} {at[engine]:.2f}" for engine in ranked)
    tell(f"backend=auto: {ranked[0]} (ms an example, {size} at once: {times})")
    return ranked[0]


def raced(model: OfRun | OfExport, machine: dict[str, Any], timed: Race) -> list[EngineTrial]:
    """Race all engines that can run the model, say who cannot, and keep what was found, unless
    something trains here meanwhile."""
    backends, faults = {}, {}
    for engine in model.engines:
        try:
            if engine != "torch":
                Faults(engine_faults(engine, model.how.dtype)).check()
            backends[engine] = model.open(engine)
        except ConfigError as error:
            faults[engine] = "; ".join(str(error).splitlines())
            tell(f"backend=auto: {engine} is left out: {faults[engine]}")
    ms = timed(backends, model.texts, machine["threads"]) if backends else {}
    found = [EngineTrial(e, machine, model.digest, ms=took) for e, took in ms.items()]
    found += [EngineTrial(e, machine, model.digest, fault) for e, fault in faults.items()]
    if pids := who_trains():
        tell(f"backend=auto: raced beside a training (process {pids[0]}), so it is not kept")
    elif not trials.keep(model.folder, found):
        tell(f"backend=auto: {model.folder} cannot be written, so the race is not kept")
    return found
