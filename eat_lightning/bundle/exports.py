"""Open an export to answer texts, with a certificate's exits if one is named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.bundle.onnx_backend import Export
from eat_lightning.bundle.onnx_runner import read_about
from eat_lightning.bundle.stricter_exits import StricterExits
from eat_lightning.errors import ConfigError, reading
from eat_lightning.machine import has_torch
from eat_lightning.model.policies import idle_faults
from eat_lightning.model.policy import Policy
from eat_lightning.model.specification import MODEL_SLOTS
from eat_lightning.record.certificate import Certificate, Home, path_of

if TYPE_CHECKING:
    from eat_lightning.model.contracts import ExitRule


def open_export(
    export: Export, certificate: str | None = None, policies: Sequence[Policy] | None = None
) -> Export:
    """Open an export.

    Args:
        policies: None: those of the certificate.

    Raises:
        ConfigError: where the certificate is valid for another combination, or the export does not
            support its settings.
    """
    if certificate is None:
        chosen = tuple(policies or ())
        export.check_policies(chosen)
        rule = export.methods.get("exit") if chosen and has_torch() else None
        if rule and (faults := idle_faults(chosen, rule.build())):
            raise ConfigError.of(faults)
        return export.with_exits(StricterExits(export.layers, policies=chosen))
    valid = certificate_of(export, certificate)
    chosen = tuple(valid.policies if policies is None else policies)
    export.check_policies(chosen)
    exits = StricterExits(export.layers, stricter_rule(export, valid), chosen)
    made = export.with_exits(exits)
    point = made.point.at(exit=valid.point.methods["exit"])
    valid.check(made.identity() | {"point": point.as_dict()})
    return export.with_exits(exits.deep()) if valid.fallback else made


def stricter_rule(export: Export, certificate: Certificate) -> ExitRule | None:
    """Return the exit rule of a certificate if it is stricter than that of the graphs. Torch must
    then compute it.

    Raises:
        ConfigError: without torch, or where the graphs cannot follow the rule.
    """
    if export.decides_as(certificate.point.methods["exit"]):
        return None
    if not has_torch():
        raise ConfigError(
            f"certificate={certificate.name}: its exits are stricter than those of the graphs, and "
            "only torch computes them: export with the exits that were certified"
        )
    with reading(path_of(export.folder, certificate.name)):
        rule = certificate.methods["exit"]
    return export.stricter(rule)


def certificate_of(home: Home, name: Any) -> Certificate:
    """Return a certificate of a run or an export.

    Raises:
        ConfigError: in one line, where there is none.
    """
    is_run = (home.folder / "model").is_dir()
    made_of = f"{home.folder}" if is_run else of_export(home.folder)
    found = Certificate.read(home, name, f"certify run={made_of}")
    if lacking := [slot for slot in MODEL_SLOTS if slot not in found.point.methods]:
        path = path_of(home.folder, name)
        raise ConfigError(f"{path}: not a certificate of a run (it lacks {', '.join(lacking)})")
    return found


def of_export(folder: Path) -> str:
    """Return a command's arguments for an export: its run, under the recorded name, and
    its folder.
    """
    try:
        name = read_about(folder).get("run")
    except ValueError:
        name = None
    plain = isinstance(name, str) and re.fullmatch(r"\w[\w.,=+@-]*", name)
    return f".../{name} onnx={folder}" if plain else f"... onnx={folder}"
