"""`python -m eat_lightning.verify old=<model> new=<model> texts=<file>`: compare two builds."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed
from eat_lightning.process import raise_on_sigterm


def verify(config: dict[str, Any]) -> Any:
    """Print whether two builds agree, and return the `Verification`.

    With run=, check an adapted classifier's canaries instead, and return the `CanaryCheck`.

    Raises:
        ConfigError: with one line per error in settings, models, texts and answer files.
    """
    from eat_lightning.deploy.verify.plan import VerifySettings

    raise_on_sigterm()
    plan = parsed(VerifySettings, config)
    if plan.run is not None:
        return canaries(plan.run, plan.threads)
    from eat_lightning.deploy.verify.api import run
    from eat_lightning.deploy.verify.report import show

    with redirect_stdout(sys.stderr):  # standard output is for the result
        result = run(plan)
    show(result, plan.format)
    return result


def canaries(folder: str, threads: int | None) -> Any:
    """Compare an adapted classifier's answers to its canaries with the certified ones."""
    from eat_lightning.bundle.model import Model
    from eat_lightning.bundle.open import answered_canaries

    found = answered_canaries(Model.open(folder, threads=threads))
    print(f"{folder}: {found}")
    return found


main = entry(
    *("verify", verify),
    renamed={"old": "old.model", "new": "new.model"},
    kept="with to=, the answers of servers are kept there, and the same command resumes",
    summary=lambda result: result.as_dict(),
    status=lambda result: result.status,
)
