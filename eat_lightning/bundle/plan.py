"""Settings of every command with a model that answers, and what does not go together."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eat_lightning.bundle.bundle import is_adapted
from eat_lightning.bundle.onnx_runner import is_export
from eat_lightning.bundle.sessions import ENGINES, engine_faults
from eat_lightning.errors import ConfigError
from eat_lightning.long_texts import CUT, LongTexts, Mode
from eat_lightning.machine import has_torch
from eat_lightning.model.policies import policies_of
from eat_lightning.runs.plan import RunSettings, WindowSettings, time_faults

if TYPE_CHECKING:
    from eat_lightning.bundle.model import Model

Engine = Literal["torch", "onnx", "openvino", "auto"]


def tell(line: str) -> None:
    """Print a line for a person: standard output is for answers."""
    print(line, file=sys.stderr, flush=True)


def check_torch(path: str | Path, what: str) -> None:
    """ConfigError where torch, which a folder's model needs, is not installed.

    Args:
        what: of the folder, such as "a cascade".
    """
    if not has_torch():
        raise ConfigError(f"run={path}: {what} needs torch: pip install eat-lightning")


class ModelSettings(RunSettings):
    """backend: a run is opened in torch or, by way of graphs that are kept beside it, in
    onnxruntime or OpenVINO; an export in one of the two. exit: settings of the run's own rule, or
    of the one that it names. head: where the yaml of a named rule looks."""

    backend: Engine
    certificate: Any
    exit: dict[str, Any]
    head: dict[str, Any]

    def rules(self) -> Iterator[str]:
        yield from super().rules()
        backend, export = self.backend, getattr(self, "onnx", None)
        if is_adapted(self.run):
            return  # `Model.open` says what it cannot take, and what an export cannot
        if export is None and is_export(self.run):
            if backend == "torch":
                yield f"backend=torch is for runs, and {self.run} is an export: name an engine"
        elif export is None and backend != "torch":
            given = {
                "prepack": self.prepack and backend in ENGINES,
                "pool": getattr(self, "pool", 0),
            }
            yield from (
                f"{key}=true is for backend=torch, got {backend}" for key in given if given[key]
            )
            yield from time_faults("exit.budget", [self.exit.get("budget")], backend)
        if backend in ENGINES:
            yield from engine_faults(backend, self.dtype)
        if backend == "auto" and self.certificate is not None:
            yield "backend=auto: a certificate holds for one engine, so name it"

    @property
    def long_texts(self) -> LongTexts | None:
        """As in training, where no setting names something else; None: as the model has it."""
        return CUT

    @property
    def examples_at_once(self) -> int:
        return self.batch

    def open(self, export: str | None = None) -> Model:
        """Open the model. Torch has these threads from here on, or those with which what was
        adapted was timed.

        Args:
            export: one that stands in the run's place.

        Raises:
            ConfigError: with every error.
        """
        from eat_lightning.bundle.model import Model  # `--help` needs no numpy

        model = Model.open(
            export or self.run,
            engine=None if self.backend == "torch" else self.backend,  # None is torch for a run
            dtype=None if self.dtype == "fp32" else self.dtype,
            exit=self.exit,
            certificate=self.certificate,
            policies=policies_of(self.policy),
            prepack=self.prepack,
            threads=self.threads,
            batch=self.examples_at_once,
            long=self.long_texts,
        )
        return in_its_threads(model)

    def tell_uncertified(self, exits: Sequence[int]) -> None:
        """Say it, once, where examples leave early and nothing is promised of that. exits: layers
        where one may leave, the last included."""
        if self.certificate is None and len(exits) > 1 and not is_adapted(self.run):
            note = "no certificate is in force, so nothing is promised of early exits"
            print(f"note: {note}: certificate=<name>, which certify makes", file=sys.stderr)


def in_its_threads(model: Model) -> Model:
    """Return the model. Torch, where it runs it, has the model's threads from here on."""
    if model.threads and model.uses_torch:
        import torch

        torch.set_num_threads(model.threads)
    return model


class AnswerSettings(ModelSettings):
    """Settings of the commands that answer texts from outside, which may be of any length. long:
    None is refuse or, of a classifier that `adapt` made, as it was certified."""

    long: Mode | None
    windows: WindowSettings

    @property
    def long_texts(self) -> LongTexts | None:
        return None if self.long is None else LongTexts(self.long, **dict(self.windows))
