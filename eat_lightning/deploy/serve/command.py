"""`python -m eat_lightning.serve run=<folder>`: serve a run over HTTP."""

from __future__ import annotations

from typing import Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed


def serve(config: dict[str, Any]) -> None:
    """Serve until SIGTERM or SIGINT, then answer all accepted requests.

    Raises:
        ConfigError: with one line per error, before a port is opened.
    """
    from eat_lightning.deploy.serve.plan import ServeSettings, token_of

    plan = parsed(ServeSettings, config)
    token = token_of(plan)
    # After the faults: FastAPI may be absent.
    from eat_lightning.deploy.serve.server import run_server

    run_server(plan, token)


main = entry("serve", serve)
