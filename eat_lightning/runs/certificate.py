"""A certificate: an operating point, what is promised of it, and the one combination it holds for.

It lies in the run's folder as certificates/<name>.json and names what it was made with: by hash the
weights, the rest of the model folder and the calibration part; and attention, reduction (with its
ratio), exit rule, policies, dtype, form (weights plain or prepacked), device and torch. Policies
only make exits later, and yet are another combination: a later answer may be the wrong one, and the
same or none is simple. Processor threads are not among them: they, like the company in a batch,
change the order of sums and so a logit's last bits, which is far below what a dtype changes, and
the same for the calibration part as for any other example.

A certificate of an export lies in the export's folder and names its graphs and onnxruntime instead.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from eat_lightning.errors import ConfigError, Faults
from eat_lightning.files import sha256_of, write_json
from eat_lightning.infer.onnx_runner import read_about
from eat_lightning.infer.precision import FORMS, PLAIN
from eat_lightning.model.contracts import Policy
from eat_lightning.model.policies import build_policies
from eat_lightning.model.specification import MODEL_SLOTS, Specification, in_slot
from eat_lightning.runs.jsonl import fields_of, reason
from eat_lightning.runs.run import OUTSIDE, Run
from eat_lightning.user_modules import sources_of
from eat_lightning.validation import STRICT
from eat_lightning.weights.untrusted import json_of

FOLDER = "certificates"
TORCH = "torch"
WITHOUT: dict[str, Any] = {  # of certificates that lack a key
    "policy": [],
    "second": [],
    "sources": {},
    "form": PLAIN,
    "runtime": TORCH,
}


class Home(Protocol):
    """A run's folder, or an export's: where its certificates lie."""

    @property
    def folder(self) -> Path: ...

    @property
    def name(self) -> str: ...


def with_methods(holds_for: Any) -> Any:
    """A combination of a file with a specification for each method in it; ValueError."""
    if not isinstance(holds_for, dict):
        return holds_for
    slots = [slot for slot in MODEL_SLOTS if holds_for.get(slot) is not None]
    named: dict[str, Any] = {slot: Specification.read(slot, holds_for[slot]) for slot in slots}
    if isinstance(policies := holds_for.get("policy"), list):
        named["policy"] = [Specification.read("policy", one) for one in policies]
    return holds_for | named


@dataclass(frozen=True, config=STRICT)
class Certificate:
    """An operating point, and the promise that holds of it.

    Args:
        name: of its file.
        risk: that is bounded.
        procedure: that bounds it.
        level: the bound.
        confidence: None where only an expectation is bounded.
        promise: in a sentence.
        fallback: full depth, for `reason`.
        reason: "" where there is no fallback.
        seen: numbers of the calibration part.
        holds_for: see `combination`.
    """

    name: str
    risk: Annotated[Specification, in_slot("risk")]
    procedure: Annotated[Specification, in_slot("procedure")]
    level: Annotated[float, Field(gt=0, lt=1)]
    confidence: float | None
    promise: str
    fallback: bool
    reason: str
    seen: dict[str, Any]
    holds_for: Annotated[dict[str, Any], BeforeValidator(with_methods)]

    def __post_init__(self) -> None:
        """ValueError where its methods cannot be built."""
        if lacking := [slot for slot in MODEL_SLOTS if self.holds_for.get(slot) is None]:
            raise ValueError(f"holds_for lacks {', '.join(lacking)}")
        self.methods  # noqa: B018  (built now, once)
        self.policies  # noqa: B018
        if self.form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {self.form!r}")

    @cached_property
    def methods(self) -> dict[str, Any]:
        """The methods it was made with, by slot."""
        return {slot: self.holds_for[slot].build() for slot in MODEL_SLOTS}

    @cached_property
    def policies(self) -> tuple[Policy, ...]:
        """The policies it was made with."""
        return build_policies(self.holds_for.get("policy", []))

    @property
    def form(self) -> str:
        """The form of the weights it was made with."""
        return self.holds_for.get("form", PLAIN)

    @property
    def summary(self) -> str:
        """Say it in a line for whoever uses it."""
        state = f"full depth ({self.reason}); " if self.fallback else ""
        return f"certificate {self.name}: {state}{self.promise}"

    def write(self, run: Home) -> Path:
        path = path_of(run, self.name)
        write_json(path, fields_of(self))
        return path

    @classmethod
    def read(cls, run: Home, name: Any) -> Certificate:
        """ConfigError, in one line, where there is none or it is damaged."""
        Faults(name_faults("certificate", name)).check()
        path = path_of(run, name)
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json")))
            made_of = f"{run.folder}" if isinstance(run, Run) else of_export(run.folder)
            none = f"none: make one with certify run={made_of}"
            there = f"only {known}" if known else none
            raise ConfigError(f"certificate={name}: {run.name} has {there}")
        try:
            made = cls(**json_of(path))
            if made.name != name:
                raise ValueError(f"it is called {made.name!r}, and its file {name}")
        except (ValueError, TypeError, AttributeError, OSError) as error:
            raise ConfigError(
                f"{path}: not a certificate ({reason(error)}); make it again"
            ) from None
        return made

    def check(self, here: dict[str, Any]) -> None:
        """ConfigError, in one line, names what of a combination differs from this one's."""
        if differs := differences(self.holds_for, here):
            raise ConfigError(f"certificate={self.name} holds for another {differs}")


def differences(made_for: dict[str, Any], here: dict[str, Any]) -> str:
    """Describe the parts of a combination that differ here; "" where none does."""
    there = WITHOUT | made_for
    return ", ".join(
        f"{key} ({short(there.get(key))} there, {short(here[key])} here)"
        for key in here
        if here[key] != there.get(key)
    )


def of_export(folder: Path) -> str:
    """Return a command's arguments for an export: its run, by the name that the export records, and
    its folder."""
    try:
        name = read_about(folder).get("run")
    except ValueError:
        name = None
    plain = isinstance(name, str) and re.fullmatch(r"\w[\w.,=+@-]*", name)
    return f".../{name} onnx={folder}" if plain else f"... onnx={folder}"


def path_of(run: Home, name: str) -> Path:
    return run.folder / FOLDER / f"{name}.json"


def name_faults(key: str, name: Any) -> list[str]:
    sound = isinstance(name, str) and re.fullmatch(r"\w[\w.,=+-]*", name)
    return [] if sound else [f"{key} must be a plain name, got {name!r}"]


def combination(
    run: Run, methods: dict[str, Any], dtype: str, device: str, form: str = PLAIN
) -> dict[str, Any]:
    """Return the combination that a certificate holds for: weights, cut, methods, the files of
    those from outside the package, dtype, form, device and versions. Of the calibration part it has
    only the cut; the examples are `calibration_of`.

    Args:
        methods: specifications by slot; of `policy`, if any, a list.
        dtype: of `DTYPES`'s values.
        form: of the weights, see `infer.precision`.
    """
    import torch

    model = run.folder / "model"
    others = methods.get("policy", [])
    second = [Path(folder) for one in others if (folder := one.arguments.get("run"))]
    files = sorted(p for p in model.iterdir() if p.is_file() and p.suffix in (".json", ".txt"))
    return {
        "weights": sha256_of([model / "model.safetensors"]),
        "model": sha256_of(files),
        "cut": cut_of(run),
        **{slot: methods[slot] for slot in MODEL_SLOTS},
        "policy": others,
        "sources": sources_of(methods[slot].made_of for slot in MODEL_SLOTS),
        "second": [sha256_of([each / "model" / "model.safetensors"]) for each in second],
        "dtype": dtype,
        "form": form,
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "runtime": TORCH,
        "torch": torch.__version__,
    }


def cut_of(run: Run) -> str:
    """The settings that decide which examples are held out, and how long a text may be."""
    data = {k: v for k, v in run.config.get("data", {}).items() if k not in OUTSIDE["data"]}
    settings = json.dumps([run.config.get("task"), data], sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()


def calibration_of(data: Any) -> str:
    """The hash of the calibration part: texts, labels and where they come from, in order."""
    return data.source("certificate").digest


def short(value: Any) -> str:
    if isinstance(value, str):
        return value[:8] if re.fullmatch(r"[0-9a-f]{64}", value) else value
    if isinstance(value, list):
        return ", ".join(map(short, value)) or "none"
    if isinstance(value, Specification):
        return " ".join([value.kind, *(f"{k} {v}" for k, v in sorted(value.arguments.items()))])
    return str(value)
