"""`python -m eat_lightning.verify old=<model> new=<model> texts=<file>`: do two builds agree?"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed
from eat_lightning.process import raise_on_sigterm


def verify(config: dict[str, Any]) -> Any:
    """Print whether two builds answer alike, and return the `Verification`.

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
    return result


def summary(result: Any) -> dict[str, Any]:
    from eat_lightning.deploy.verify.report import as_json

    return as_json(result)


main = entry(
    *("verify", verify),
    renamed={"old": "old.model", "new": "new.model"},
    kept="with to=, the answers of servers are kept there, and the same command goes on",
    summary=summary,
    status=lambda result: result.status,
)

if __name__ == "__main__":
    main()
