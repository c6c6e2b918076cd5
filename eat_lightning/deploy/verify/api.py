"""`eat_lightning.verify`: the command as a Python function."""

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
    """Implementation of `eat_lightning.verify`."""
    is_path = isinstance(texts, str | Path)
    config = {**settings, "old": build_of(old), "new": build_of(new), "run": None, "format": "text"}
    config["texts"] = str(texts) if is_path else None
    given = None if texts is None or is_path else [*texts]
    try:
        return run(parsed(VerifySettings, config), given)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def run(plan: VerifySettings, given: Sequence[Any] | None = None) -> Verification:
    """Compare two builds, and write the results to `to` if it is given.

    Args:
        given: texts, or pairs of them, instead of a file.

    Raises:
        ConfigError: in one line, where they cannot be compared or written.
    """
    result = verified(plan, given) if plan.queries is None else verified_lists(plan)
    if plan.to is not None:
        write(Path(plan.to), result)
    return result


def build_of(given: str | Path | Build) -> Build:
    return given if isinstance(given, Build) else Build(model=str(given))
