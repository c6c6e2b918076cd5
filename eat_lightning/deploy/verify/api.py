"""`eat_lightning.verify`: the command from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eat_lightning.config import parsed
from eat_lightning.deploy.verify.compare import Verification, verified
from eat_lightning.deploy.verify.lists import verified_lists
from eat_lightning.deploy.verify.plan import Build, VerifySettings
from eat_lightning.deploy.verify.report import write
from eat_lightning.errors import ConfigError


def verify(
    old: str | Path | Build,
    new: str | Path | Build,
    texts: str | Path | Sequence[Any] | None,
    settings: Mapping[str, Any],
) -> Verification:
    """Do the work of `eat_lightning.verify`."""
    is_path = isinstance(texts, str | Path)
    config = {**settings, "old": build_of(old), "new": build_of(new), "run": None, "format": "text"}
    config["texts"] = str(texts) if is_path else None
    given = None if texts is None or is_path else [*texts]
    try:
        return run(parsed(VerifySettings, config), given)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def run(plan: VerifySettings, given: Sequence[Any] | None = None) -> Verification:
    """Compare two builds, and write what was found where `to` is named. ConfigError, in one line,
    for what cannot be compared or written.

    Args:
        given: texts, or pairs of them, in place of a file.
    """
    result = verified(plan, given) if plan.queries is None else verified_lists(plan)
    if plan.to is not None:
        write(Path(plan.to), result)
    return result


def build_of(given: str | Path | Build) -> Build:
    return given if isinstance(given, Build) else Build(model=str(given))
