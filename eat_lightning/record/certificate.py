"""A certificate: an operating point, the claims about it, and the combination it is valid for.

It is kept as certificates/<name>.json in the folder of a run, an export or an adapted classifier.
`holds_for` has the point, and names by hash or version all else that it was made with: weights, the
rest of the model's folder, graphs, and the tested texts. The point's policies count as well: they
only make exits later, but a later answer may be the wrong one. The number of threads
and the other examples of a batch do not count. They change the order of sums, so only a logit's
last bits, which is far less than what a dtype changes.

The machine is noted too. A certificate that is used on another processor prints a line, since
engines choose other kernels there, and single answers in int8 or bf16 may differ.
"""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from eat_lightning.errors import ConfigError, Faults, one_line
from eat_lightning.files import write_json
from eat_lightning.machine import MACHINE, difference, machine
from eat_lightning.model.policies import build_policies
from eat_lightning.model.policy import Policy
from eat_lightning.record.claim import Claim, ReadClaim, ReadTally
from eat_lightning.record.point import INT8_EXITS, Point
from eat_lightning.untrusted import json_of
from eat_lightning.validation import fault_text
from eat_lightning.weights.precision import PLAIN

FOLDER = "certificates"
EARLIER = "of an earlier version"


class Home(Protocol):
    """An object with a folder that holds certificates: a run, an export, an adapted classifier."""

    @property
    def folder(self) -> Path: ...

    @property
    def name(self) -> str: ...


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Certificate:
    """An operating point and its guarantee.

    Args:
        name: name of its file.
        claims: claims that hold together; the first is about all texts.
        guarantee: the claims as a sentence.
        holds_for: the combination that it is valid for: "point", as a file has it, and everything
            else by hash, name or version.
        tallies: counts of changed answers, one per claim, if they were counted.
        fallback: whether no early exit was certified, so that it names full depth.
        reason: why, if `fallback`.
        seen: numbers measured on the tested texts, such as the mean depth.
    """

    name: str
    claims: Annotated[list[ReadClaim], Field(min_length=1)]
    guarantee: str
    holds_for: dict[str, Any]
    tallies: list[ReadTally] = Field(default_factory=list)
    fallback: bool = False
    reason: str = ""
    seen: dict[str, Any] = Field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError if its point is damaged, or its policies or a run's methods cannot be
        built. Methods of other certificates are in graphs or beside the model, so they are built,
        which imports torch, only when they are read."""
        if "model" in self.holds_for:
            self.methods  # noqa: B018  (built now, once)
        self.policies  # noqa: B018

    @property
    def claim(self) -> Claim:
        """The claim about all texts."""
        return self.claims[0]

    @cached_property
    def point(self) -> Point:
        """The operating point."""
        return Point.read(self.holds_for.get("point"))

    @property
    def methods(self) -> dict[str, Any]:
        """The methods of its point, by slot."""
        return self.point.built

    @cached_property
    def policies(self) -> tuple[Policy, ...]:
        """The policies of its point."""
        return build_policies([*(self.point.policies or ())])

    @property
    def form(self) -> str:
        """The layout of the weights it was made with (`weights.precision.FORMS`)."""
        return self.point.layout or PLAIN

    @property
    def summary(self) -> str:
        """The certificate in one line."""
        state = f"full depth ({self.reason}); " if self.fallback else ""
        return f"certificate {self.name}: {state}{self.guarantee}"

    def write(self, folder: Path) -> Path:
        """Write it among a folder's certificates, and return its path."""
        path = path_of(folder, self.name)
        write_json(path, {field.name: getattr(self, field.name) for field in fields(self)})
        return path

    @classmethod
    def read(cls, home: Home, name: Any, made_by: str = "") -> Certificate:
        """Read a certificate. Raises ConfigError, in one line, if there is none or it is damaged.

        Args:
            made_by: the command that makes one, for the error message.
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
        """Raise ConfigError, in one line, if a combination differs from the certificate's. Another
        machine is no error: a line on standard error says what differs."""
        if differs := differences(self.holds_for, here):
            raise ConfigError(f"certificate={self.name} holds for another {differs}")
        if MACHINE in here:
            self.tell_machine()

    def tell_machine(self) -> None:
        """Print a line on standard error if the certificate was made on another processor."""
        there = self.holds_for.get(MACHINE)
        if isinstance(there, dict) and (differs := difference(there, machine())):
            print(f"note: certificate {self.name}: {differs}", file=sys.stderr)


def differences(made_for: dict[str, Any], here: dict[str, Any]) -> str:
    """Return the parts of a combination that differ, in words; "" if none does. Parts that only
    later versions name are told only where no other differs."""
    there, here = parts_of(made_for), parts_of(here)
    differing = [key for key in here if key != MACHINE and here[key] != there.get(key)]
    unnamed = [key for key in differing if key in INT8_EXITS and key not in there]
    named = [key for key in differing if key not in unnamed] or unnamed
    there = there | dict.fromkeys(unnamed, EARLIER)
    return ", ".join(
        f"{key} ({short(there.get(key))} there, {short(here[key])} here)" for key in named
    )


def parts_of(holds_for: dict[str, Any]) -> dict[str, Any]:
    """Return a combination with the parts of its point beside the others."""
    if "point" not in holds_for:
        return holds_for
    point = dict(holds_for["point"])
    methods, policies = point.pop("methods", {}), point.pop("policies", [])
    rest = {key: value for key, value in holds_for.items() if key != "point"}
    return rest | methods | {"policy": policies} | point


def path_of(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}.json"


def name_faults(key: str, name: Any) -> list[str]:
    sound = isinstance(name, str) and re.fullmatch(r"\w[\w.,=+-]*", name)
    return [] if sound else [f"{key} must be a plain name, got {name!r}"]


def short(value: Any) -> str:
    """Return a value of a combination as a person reads it: a hash by its first digits, a method by
    its kind."""
    if isinstance(value, str):
        return value[:8] if re.fullmatch(r"[0-9a-f]{64}", value) else value
    if isinstance(value, list):
        return ", ".join(map(short, value)) or "none"
    if isinstance(value, dict) and "kind" in value:
        settings = sorted(item for item in value.items() if item[0] != "kind")
        return " ".join([value["kind"], *(f"{name} {setting}" for name, setting in settings)])
    return one_line(value)
