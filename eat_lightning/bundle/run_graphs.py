"""A run by way of graphs of its own, which are made once and kept beside it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from eat_lightning.bundle import trials
from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.graphs.trace import with_open_exits
from eat_lightning.bundle.model import Model
from eat_lightning.bundle.onnx_runner import ABOUT
from eat_lightning.bundle.open_run import longest
from eat_lightning.bundle.race import EngineRace, answer_fault, texts_for
from eat_lightning.bundle.sessions import ENGINES
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.bundle.trials import EngineTrial, digest_of, this_machine
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.files import sha256_of
from eat_lightning.machine import version_of
from eat_lightning.methods.exit._points import ByPoint
from eat_lightning.model.contracts import Policy
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.smoothing import factors_in
from eat_lightning.model.specification import Specification, specs_by_slot
from eat_lightning.runs.run import Run
from eat_lightning.weights.files import model_files
from eat_lightning.weights.precision import in_dtype

if TYPE_CHECKING:
    from eat_lightning.bundle.graphs.graph_folder import GraphFolder

FOLDER = "engines"  # in a run's, with graphs of its own
NAMED = 12  # characters of a digest in the name of such a folder


@dataclass
class RunGraphs:
    """Graphs of an encoder of a run.

    Args:
        encoder: in fp32, plain, with the exits of the graphs.
        labels: names of its classes.
        policies: they review the exits.
        certificate: its name; None: none is in force.
        compared: graphs that answer otherwise than the run are refused; False: the caller judges
            the answers.
    """

    run: Run
    encoder: AdaptiveEncoder
    labels: list[str]
    dtype: str
    threads: int | None = None
    policies: Sequence[Policy] = ()
    certificate: str | None = None
    compared: bool = True

    def open(self, engine: str) -> GraphModel:
        """Open the graphs in an engine. They are compared with the run once on each machine."""
        encoder = with_open_exits(self.encoder, self.policies)
        folder = kept_export(self.run, encoder, self.labels, self.dtype)
        graphs = GraphModel(folder, self.threads, engine, self.dtype)
        if self.compared and (fault := self.fault(graphs)):
            raise ConfigError(f"backend={engine} {fault}")
        return graphs.with_rules(self.certificate, self.policies)

    def fastest(self, in_torch: Callable[[], Model], batch: int) -> str:
        """Name the engine that answers fastest here, torch included.

        Args:
            in_torch: opens the run in torch.
            batch: number of texts per call.
        """
        opens = {"torch": in_torch} | {name: partial(self.open, name) for name in ENGINES}
        return EngineRace(self.run.folder, self.digest, self.dtype, opens).fastest(batch)

    @cached_property
    def digest(self) -> str:
        return digest_of(made_of(self.run, self.encoder, self.dtype))

    def fault(self, graphs: GraphModel) -> str | None:
        """Tell why the answers of graphs will not do, compared with those of the encoder in the
        same dtype. Looked up where it was found out before."""
        mine = EngineTrial(graphs.engine, this_machine(torch.get_num_threads()), self.digest)
        for known in trials.read(self.run.folder):
            if known.key == mine.key:
                return known.fault
        run, encoder = self.run, in_dtype(self.encoder.replacing(policies=()), self.dtype)
        given = run.tokenizer(), run.task.columns, self.labels, longest(run, self.encoder)
        plain = TorchModel(run.folder, encoder, *given)
        fault = answer_fault(plain, graphs, self.dtype, texts_for(plain))
        trials.keep(run.folder, [replace(mine, fault=fault)])
        return fault


def made_of(run: Run, encoder: AdaptiveEncoder, dtype: str) -> dict[str, Any]:
    """Return the identity of exported graphs: weights, methods, strength, dtype and the code's
    version."""
    factors = {name: factor_K.tolist() for name, factor_K in factors_in(encoder).items()}
    return {
        "weights": digest_as_of(*stamps_of(model_files(run.folder / "model"))),
        **({"factors": factors} if factors and dtype == "int8" else {}),
        **specs_by_slot(encoder),
        "strength": encoder.strength.item(),
        "dtype": dtype,
        "eat_lightning": version_of("eat_lightning"),
    }


def stamps_of(paths: Sequence[Path]) -> Iterator[tuple[Path, tuple[int, ...]]]:
    """Yield each file with what tells whether it is still the same: its size, and the nanosecond
    at which it was written and last changed."""
    for path in paths:
        found = path.stat()
        yield path, (found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@lru_cache(maxsize=8)
def digest_as_of(*stamps: tuple[Path, tuple[int, ...]]) -> str:
    """The hash of files as they were written then, found once: a search asks for it dozens of
    times, and of 12 layers it takes half a second."""
    return sha256_of([path for path, *_ in stamps])


def kept_export(run: Run, encoder: AdaptiveEncoder, labels: list[str], dtype: str) -> Path:
    """The folder with this encoder's graphs, kept beside the run, which are made where they are not
    there yet. encoder: in fp32, plain. ConfigError where it cannot be exported."""
    from eat_lightning.bundle.graphs.graph_folder import GraphFolder
    from eat_lightning.bundle.graphs.plan import export_slot_faults, package_faults

    graphs = "int8" if dtype == "int8" else "fp32"
    made = made_of(run, encoder, graphs)
    folder = run.folder / FOLDER / f"{graphs}-{at_any_point(made)}-{digest_of(made)[:NAMED]}"
    if (folder / ABOUT).is_file():
        return folder
    Faults(package_faults() + export_slot_faults(encoder)).check()
    folder.parent.mkdir(exist_ok=True)
    with redirect_stdout(sys.stderr):  # standard output is for answers
        print(f"{run.name}: its graphs are made, once", flush=True)
        graph_folder = GraphFolder(run, encoder, labels, graphs)
        others = folder.parent.glob(f"{graphs}-{at_any_point(made)}-{'?' * NAMED}/{ABOUT}")
        write_anew_or_like(graph_folder, folder, [path.parent for path in sorted(others)])
    return folder


def write_anew_or_like(graph_folder: GraphFolder, to: Path, others: Sequence[Path]) -> None:
    """Write graphs, from those of the same exits at other points if there are such."""
    from eat_lightning.bundle.graphs.weights import Unlike

    for other in others:
        with suppress(Unlike):
            return graph_folder.write(to, like=other)
    return graph_folder.write(to)


def at_any_point(made: dict[str, Any]) -> str:
    """A hash of what graphs of the same exits share at all points. Those of a rule that compares a
    number with its point are weights there; what a rule of one's own does with it is not known."""
    exit: Specification = made["exit"]
    if "." not in exit.kind and issubclass(exit.made_of, ByPoint):
        exit = exit.without(exit.made_of.knob.name)
    return digest_of(made | {"exit": exit})[:NAMED]
