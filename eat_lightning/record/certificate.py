"""A certificate: an operating point, what is claimed of it, and the one combination it holds for.

It lies in a folder as certificates/<name>.json, whether that of a run, of an export, or of an
adapted classifier. It names by hash and version what it was made with: weights, the rest of the
model's folder, graphs, the texts that were tested, methods, dtype, the form of the weights, and
engine.
Policies only make exits later, and yet are another combination: a later answer may be the wrong
one. The number of threads and the company in a batch are not part of it: they change the order of
sums and so a logit's last bits, which is far below what a dtype changes.

The machine is noted too. On another processor a line says so, since engines choose other kernels
there and single answers in int8 or bf16 may differ.
"""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from eat_lightning.errors import ConfigError, Faults, one_line
from eat_lightning.files import write_json
from eat_lightning.machine import MACHINE, difference, machine
from eat_lightning.model.policies import build_policies
from eat_lightning.model.policy import Policy
from eat_lightning.model.specification import MODEL_SLOTS, Specification
from eat_lightning.record.claim import Claim, ReadClaim, ReadTally
from eat_lightning.untrusted import json_of
from eat_lightning.validation import fault_text
from eat_lightning.weights.precision import FORMS, PLAIN

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
    """Whatever has a folder where its certificates lie."""

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


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Certificate:
    """An operating point, and the guarantee that holds of it.

    Args:
        name: of its file.
        claims: all hold together; the first is about all texts.
        guarantee: the claims as a sentence.
        holds_for: what it was made with, by hash, name or version.
        tallies: of the claims, where answers that changed were counted.
        fallback: full depth is what holds, for `reason`.
        seen: numbers of the texts that were tested, such as the mean depth.
    """

    name: str
    claims: Annotated[list[ReadClaim], Field(min_length=1)]
    guarantee: str
    holds_for: Annotated[dict[str, Any], BeforeValidator(with_methods)]
    tallies: list[ReadTally] = Field(default_factory=list)
    fallback: bool = False
    reason: str = ""
    seen: dict[str, Any] = Field(default_factory=dict)

    def __post_init__(self) -> None:
        """ValueError where its methods cannot be built. Those of an export are in its graphs, and
        are built, which takes torch, only where they are asked for."""
        if "export" not in self.holds_for:
            self.methods  # noqa: B018  (built now, once)
        self.policies  # noqa: B018
        if self.form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {self.form!r}")

    @property
    def claim(self) -> Claim:
        """The claim about all texts."""
        return self.claims[0]

    @cached_property
    def methods(self) -> dict[str, Any]:
        """The methods it was made with, by slot; of an adapted classifier its folder has them."""
        named = (slot for slot in MODEL_SLOTS if self.holds_for.get(slot) is not None)
        return {slot: self.holds_for[slot].build() for slot in named}

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
        """The certificate in one line."""
        state = f"full depth ({self.reason}); " if self.fallback else ""
        return f"certificate {self.name}: {state}{self.guarantee}"

    def write(self, folder: Path) -> Path:
        """Write it into a folder's certificates; returns its path."""
        path = path_of(folder, self.name)
        write_json(path, {field.name: getattr(self, field.name) for field in fields(self)})
        return path

    @classmethod
    def read(cls, home: Home, name: Any, made_by: str = "") -> Certificate:
        """The certificate of that name. ConfigError, in one line, where there is none or it is
        damaged.

        Args:
            made_by: the command that makes one of this home.
        """
        Faults(name_faults("certificate", name)).check()
        path = path_of(home.folder, name)
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json")))
            none = f"none: make one with {made_by}" if made_by else "none"
            raise ConfigError(
                f"certificate={name}: {home.name} has {f'only {known}' if known else none}"
            )
        try:
            made = cls(**json_of(path))
            if made.name != name:
                raise ValueError(f"it is called {made.name!r}, and its file {name}")
        except (ValueError, TypeError, AttributeError, OSError) as error:
            raise ConfigError(
                f"{path}: not a certificate ({fault_text(error)}); make it again"
            ) from None
        return made

    def check(self, here: dict[str, Any]) -> None:
        """ConfigError, in one line, where a combination differs from this one's. Another machine is
        no error: a line on standard error says what differs."""
        if differs := differences(self.holds_for, here):
            raise ConfigError(f"certificate={self.name} holds for another {differs}")
        if MACHINE in here:
            self.tell_machine()

    def tell_machine(self) -> None:
        """Say, in a line on standard error, that another processor runs here, if one does."""
        there = self.holds_for.get(MACHINE)
        if isinstance(there, dict) and (differs := difference(there, machine())):
            print(f"note: certificate {self.name}: {differs}", file=sys.stderr)


def differences(made_for: dict[str, Any], here: dict[str, Any]) -> str:
    """The parts of a combination that differ here, in words; "" where none does."""
    there = WITHOUT | made_for
    return ", ".join(
        f"{key} ({short(there.get(key))} there, {short(here[key])} here)"
        for key in here
        if key != MACHINE and here[key] != there.get(key)
    )


def path_of(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}.json"


def name_faults(key: str, name: Any) -> list[str]:
    sound = isinstance(name, str) and re.fullmatch(r"\w[\w.,=+-]*", name)
    return [] if sound else [f"{key} must be a plain name, got {name!r}"]


def short(value: Any) -> str:
    """A value of a combination for a person: the first digits of a hash, a method by its kind."""
    if isinstance(value, str):
        return value[:8] if re.fullmatch(r"[0-9a-f]{64}", value) else value
    if isinstance(value, list):
        return ", ".join(map(short, value)) or "none"
    if isinstance(value, Specification):
        return " ".join([value.kind, *(f"{k} {v}" for k, v in sorted(value.arguments.items()))])
    return one_line(value)
