"""`python -m eat_lightning.verify old=<model> new=<model> texts=<file>`: do two builds agree?"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed
from eat_lightning.process import raise_on_sigterm


def verify(config: dict[str, Any]) -> None:
    """Print whether two builds answer alike. Status 0: they do; 1: they do not; 2: more texts are
    needed to tell.

    Raises ConfigError, one line per fault, for settings, models, texts and files of answers.
    """
    from eat_lightning.deploy.verify.plan import VerifySettings

    raise_on_sigterm()
    plan = parsed(VerifySettings, config)
    from eat_lightning.deploy.verify.api import run
    from eat_lightning.deploy.verify.report import show

    with redirect_stdout(sys.stderr):  # standard output is for the result
        result = run(plan)

    show(result, plan.format)
    if result.status:
        raise SystemExit(result.status)


main = entry(
    *("verify", verify),
    has_format=True,
    renamed={"old": "old.model", "new": "new.model"},
    kept="with to=, what servers answered stays there, and the same command goes on",
)

if __name__ == "__main__":
    main()
