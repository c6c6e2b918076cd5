"""Reference of a drift monitor: observations of a run's calibration part, or of the examples that a
certificate was tested on. It is stored in the model's folder, beside the certificate.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.answer_kind import SINGLE, AnswerKind, misfit
from eat_lightning.bundle.bundle import CERTIFICATE, DRIFT, Bundle, is_adapted
from eat_lightning.bundle.certificates import of_export
from eat_lightning.bundle.onnx_runner import is_export
from eat_lightning.errors import ConfigError
from eat_lightning.files import write_json
from eat_lightning.machine import MACHINE
from eat_lightning.model.specification import kind_of
from eat_lightning.model.trace import Trace
from eat_lightning.monitor.observation import FEATURES, Observation, observations
from eat_lightning.record.certificate import Certificate, differences

if TYPE_CHECKING:
    from eat_lightning.bundle.model import Model
    from eat_lightning.model.policy import Policy

FOLDER = "drift"  # of the references of a run's certificates, which have several
LEAST = 50  # examples: with fewer, no stream could be compared with them
# Facts of a combination and of its point that decide no observation: last bits move no rank.
UNSEEN = ("device", "torch", "onnxruntime", "openvino", MACHINE)
UNSEEN_IN_POINT = ("engine", "layout")


@dataclass(frozen=True)
class Reference:
    """Observations that count as normal.

    Args:
        holds_for: the combination they were made with, see `deciding`.
    """

    seen: list[Observation]
    holds_for: dict[str, Any]

    def __post_init__(self) -> None:
        if len(self.seen) < LEAST:
            raise ConfigError(f"drift needs {LEAST} calibration examples, got {len(self.seen)}")

    @classmethod
    def of(cls, trace: Trace, holds_for: dict[str, Any], windows: str | None) -> Reference:
        """Return a reference from answers to the examples that a certificate was tested on."""
        return cls(observations(trace), deciding(holds_for, windows))

    @property
    def content(self) -> dict[str, Any]:
        """Return the content of its file, without texts and labels of the data."""
        columns = {name: [getattr(each, name) for each in self.seen] for name in FEATURES}
        return {"holds_for": self.holds_for, "seen": columns}

    def write(self, folder: Path, certificate: str | None = None) -> Path:
        """Write it to a model's folder; returns its path."""
        path = folder / file_of(certificate)
        path.parent.mkdir(exist_ok=True)
        write_json(path, self.content)
        return path

    @classmethod
    def read(cls, path: Path, how: str = "eat drift") -> Reference:
        """Read a reference.

        Args:
            how: the command that makes one.

        Raises:
            ConfigError: in one line, where it is missing or damaged.
        """
        if not path.is_file():
            raise ConfigError(f"{path.parent.name} has no {DRIFT}: make it with {how}")
        try:
            content = json.loads(path.read_text())
            values = zip(*(content["seen"][name] for name in FEATURES), strict=True)
            seen = [Observation(*each) for each in values]
            for each in seen:
                each.places_F  # noqa: B018  numbers, or a TypeError
            return cls(seen, dict(content["holds_for"]))
        except (ValueError, TypeError, KeyError, OSError) as error:
            reason = str(error).splitlines()[0]
            fault = f"{path}: not a drift reference ({reason})"
            raise ConfigError(f"{fault}; make it again with {how}") from None

    def check(self, here: dict[str, Any], how: str = "eat drift") -> None:
        """Raise ConfigError, in one line, naming the differences between a reference
        and a model.
        """
        if differs := differences(self.holds_for, here):
            raise ConfigError(f"{DRIFT} holds for another {differs}; make it again with {how}")


def file_of(certificate: str | None) -> Path:
    """Return the file name of a certificate's reference."""
    return Path(DRIFT) if certificate is None else Path(FOLDER) / f"{certificate}.json"


def path_of(folder: Path, certificate: str | None) -> Path:
    """Return the path of a certificate's reference, or of the folder's own if it has none."""
    path = folder / file_of(certificate)
    return path if path.is_file() else folder / DRIFT


def deciding(holds_for: dict[str, Any], windows: str | None) -> dict[str, Any]:
    """Return the parts of a combination that decide observations: weights, split, methods, dtype,
    and so on.

    Args:
        windows: how long texts are read, as given by `LongTexts.described`.
    """
    point = {k: v for k, v in holds_for["point"].items() if k not in UNSEEN_IN_POINT}
    seen = {k: v for k, v in holds_for.items() if k not in UNSEEN}
    return seen | {"point": point, "windows": windows}


def made_with(model: Model) -> dict[str, Any]:
    """Return the facts that decide a model's observations."""
    windows = model.reader.long.described(model.max_length)
    if is_adapted(model.folder):  # its files were compared with its certificate as it was opened
        certificate = Certificate.read(Bundle(model.folder), CERTIFICATE)
        return deciding(certificate.holds_for, windows)
    return deciding(model.identity(), windows)


def check_watched(kind: AnswerKind, policies: Sequence[Policy], known: Collection[str]) -> None:
    """Raise ConfigError where drift cannot be monitored: for answers that are not one class each,
    and for policies that need facts missing from the calibration part.

    Args:
        known: facts about the calibration part's examples.
    """
    if kind.problem_type != SINGLE:
        raise ConfigError(f"drift {misfit([SINGLE], kind)}")
    for policy in policies:
        if unknown := sorted({*policy.asks()} - {*known}):
            name = kind_of("policy", type(policy))
            fault = f"policy={name} needs {unknown[0]}, which the calibration part does not have"
            raise ConfigError(f"{fault}, so no reference can be made")


def is_watchable(model: Model, certificate: str | None = None) -> bool:
    """True if there is a reference in the model's folder."""
    return path_of(model.folder, certificate).is_file()


def read_reference(model: Model, certificate: str | None = None) -> Reference:
    """Read the reference of an open model.

    Args:
        certificate: the one in use.

    Raises:
        ConfigError: where there is none, or it was made with other exits. The message has the
            command that makes one.
    """
    check_watched(model.kind, (), ())
    how = maker(model.folder, certificate)
    found = Reference.read(path_of(model.folder, certificate), how)
    found.check(made_with(model), how)
    return found


def maker(folder: Path, certificate: str | None) -> str:
    """Return the command that makes a folder's reference."""
    if is_adapted(folder):
        return f"eat adapt to={folder}"
    made_of = of_export(folder) if is_export(folder) else f"{folder}"
    exits = "" if certificate is None else f" certificate={certificate}"
    return f"eat drift run={made_of}{exits}"
