"""Parse the settings of a measurement, and check them before a model is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt

from eat_lightning.bundle.certificates import certificate_of
from eat_lightning.bundle.plan import Engine
from eat_lightning.bundle.sessions import ENGINES, engine_faults
from eat_lightning.config import Settings, parsed, run_folder
from eat_lightning.data.calibration import PARTS
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.evaluation.settings import PlannedRow, settings_of
from eat_lightning.model.contracts import Reduction, overrides
from eat_lightning.model.specification import STATIC
from eat_lightning.record.certificate import Certificate
from eat_lightning.record.dial import Budget
from eat_lightning.runs import validate
from eat_lightning.runs.identity import calibration_of
from eat_lightning.runs.plan import LongSettings, time_faults
from eat_lightning.runs.run import Run, open_runs
from eat_lightning.runs.training_mark import training_faults
from eat_lightning.runs.validate import split_faults
from eat_lightning.track.log import measure_faults
from eat_lightning.validation import Count
from eat_lightning.weights.precision import device_faults, form_of, prepack_faults

Points = list[float | list[float]]


def run_paths(value: Any) -> list[str]:
    """Return the given paths with patterns expanded."""
    paths: list[str] = []
    for path in [value] if isinstance(value, str) else value or []:
        is_pattern = "*" in str(path) and not Path(path).exists()
        paths += (sorted(glob(path)) or [path]) if is_pattern else [str(path)]
    return paths


class Timing(Settings):
    enabled: bool
    examples: Count
    warmup: NonNegativeInt
    repeats: Count
    batch: Count
    force: bool

    def faults(self) -> list[str]:
        """List the reasons why nothing can be timed, such as a training run on this machine."""
        return training_faults("timing.force=true") if self.enabled and not self.force else []


class MeasureSettings(LongSettings):
    run: Annotated[Any, BeforeValidator(run_folder)]  # one or several: see `run_paths`
    queries: str | None  # like small, sizes and timed_lists: of `ListMeasureSettings`
    small: str | None
    sizes: list[Count]
    timed_lists: Count
    attention: dict[str, Any]  # a method, or settings of each run's own
    reduction: dict[str, Any]
    exit: dict[str, Any]
    policy: dict[str, Any]
    head: dict[str, Any]  # what a named exit rule's yaml refers to
    logger: dict[str, Any] | None
    certificate: str | None
    taus: Points | None
    points: Points | None
    budgets: list[Annotated[Budget, BeforeValidator(Budget.parse)]] | None
    agree: list[Annotated[Budget, BeforeValidator(Budget.parse_agreement)]] | None
    fit_reduction: bool
    other_rules: list[dict[str, Any]] = Field(alias="rules")
    baselines: Annotated[
        Literal["own", "hf", "all", "none", "fixed", "static"],
        BeforeValidator(lambda given: {"True": "all", "False": "none"}.get(str(given), given)),
    ]
    split: str
    data: dict[str, Any]
    batch: Count
    dtype: Literal["fp32", "bf16", "int8"]
    prepack: bool | None
    backend: Engine
    device: Literal["cpu", "cuda"]
    threads: Count
    timing: Timing

    def rules(self) -> Iterator[str]:
        yield from device_faults(self.device, self.dtype)
        yield from prepack_faults(self.prepack, self.dtype, self.device)
        of_lists = {"queries": self.queries, "small": self.small}
        for key, value in of_lists.items():
            if value is not None:
                yield f"{key}={value} is for a folder that `eat rerank` wrote"
        if self.backend != "torch":
            yield from self.backend_faults()
        if self.long == "windows":
            yield from self.windows_faults()
        if self.taus is not None and self.points is not None:
            yield f"points and taus are one setting, got {self.points} and {self.taus}"
        others = ("rules", self.other_rules), ("budgets", self.budgets), ("agree", self.agree)
        given = [key for key, value in (self.swept, *others) if value]
        if self.certificate is not None and given:
            yield f"{given[0]}: a certificate holds for one exit rule, so leave them out"
        yield from measure_faults(self.logger)

    def backend_faults(self) -> Iterator[str]:
        replaced = {
            "prepack=true": self.prepack,
            f"device={self.device}": self.device != "cpu",
            "certificate": self.certificate is not None,
            "policy": self.policy,
        }
        for key in (key for key, given in replaced.items() if given):
            yield f"{key} is for backend=torch, got {self.backend}"
        yield from time_faults("budgets", self.budgets or [], self.backend)
        if self.backend in ENGINES:
            yield from engine_faults(self.backend, self.dtype)

    def windows_faults(self) -> Iterator[str]:
        cut_only = {
            f"backend={self.backend}": self.backend != "torch",
            f"device={self.device}": self.device != "cpu",
            f"baselines={self.baselines}": self.baselines in ("hf", "all"),
            "policy": self.policy,
        }
        for key in (key for key, given in cut_only.items() if given):
            yield f"{key} is for long=cut, got windows"

    @property
    def swept(self) -> tuple[str, Points | None]:
        """Return the key that sets points of the exit rule's threshold, and these points."""
        return ("points", self.points) if self.points is not None else ("taus", self.taus)


@dataclass
class Subject:
    """A run to measure: its settings, weight layout, certificate and windows for long texts."""

    run: Run
    settings: list[PlannedRow]
    form: str
    certificate: Certificate | None = None
    windows: str | None = None


def planned(config: dict[str, Any]) -> tuple[MeasureSettings, list[Subject]]:
    """Parse the settings and open the runs.

    Raises:
        ConfigError: with all errors at once.
    """
    faults, runs, subjects = Faults(), [], []
    plan: Any = None
    with faults.gathered():
        plan = parsed(MeasureSettings, config)
    for path in run_paths(config["run"]):
        with faults.gathered():
            runs += open_runs(path)
    faults.check()
    for run in runs:
        with faults.gathered(f"{run.name}: " if len(runs) > 1 else ""):
            subjects.append(subject_of(run, plan))
    faults.extend([] if faults else unused(subjects, plan))
    faults.check()
    return plan, subjects


def subject_of(run: Run, plan: MeasureSettings) -> Subject:
    """Return a run with its settings, weight layout and certificate, ready to be measured.

    Raises:
        ConfigError: with all errors that can be found without loading the data.
    """
    lacking = [key for key in ("model", "encoder", "study", "seed") if key not in run.config]
    if lacking:
        raise ConfigError(f"{run.folder / 'config.yaml'}: lacks {', '.join(lacking)}")
    faults, settings, certificate = Faults(), [], None
    if plan.certificate is not None:
        certificate = certificate_of(run, plan.certificate)
    form = form_of(
        plan.prepack, plan.dtype, plan.device, certified=certificate and certificate.form
    )
    with faults.gathered():
        settings = settings_of(run, plan, certificate, form)
    faults += data_faults(run, plan.split, plan.data)
    faults.check()
    windows = windows_of(run, plan) if plan.long == "windows" else None
    if certificate is not None:
        calibration = calibration_of(run.data(**plan.data))
        certificate.check({"calibration": calibration, "windows": windows})
    return Subject(run, settings, form, certificate, windows)


def windows_of(run: Run, plan: MeasureSettings) -> str | None:
    """Describe the windows in which texts are read; None where long texts are cut.

    Raises:
        ConfigError: where the windows do not fit the run.
    """
    max_length = run.data(**plan.data).max_length
    Faults(plan.long_texts.faults(run.kind, run.task.labels, max_length)).check()
    return plan.long_texts.described(max_length)


def unused(subjects: list[Subject], plan: MeasureSettings) -> Iterator[str]:
    """Yield errors for settings of exits or of a reduction that none of the runs has.

    A static run measured beside adaptive ones ignores such settings.
    """
    settings = [setting for subject in subjects for setting in subject.settings]
    has_knob = any(setting.exit.knob is not None for setting in settings)
    searches = any(
        overrides(setting.point.built["reduction"], Reduction.search) for setting in settings
    )
    points = plan.swept, ("budgets", not searches and plan.budgets), ("agree", plan.agree)
    for key, value in points:
        if value and not has_knob:
            yield f"{key} needs a run whose exit rule has a knob, such as tau: none of these has"
    given = [name for name, value in plan.reduction.items() if value is not None]
    if given and all(each.point.methods["reduction"] == STATIC["reduction"] for each in settings):
        yield f"reduction.{given[0]} needs a run that reduces: none of these does"


def data_faults(run: Run, split: str, data: dict[str, Any]) -> list[str]:
    """List errors in a run's data and in the choice of a split that can be found without loading
    it.
    """
    names = [*run.task.validation, *PARTS, "train"]
    return split_faults(split, names, run.task.name) + validate.data_faults(run, **data)
