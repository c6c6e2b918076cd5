"""Settings of `serve`, typed and bounded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from eat_lightning.bundle.plan import AnswerSettings
from eat_lightning.deploy.serve.dialects import names
from eat_lightning.errors import ConfigError, reading
from eat_lightning.monitor.monitor import WatchSettings
from eat_lightning.validation import Count

PACKAGES = ("fastapi", "uvicorn", "prometheus_client")
BATCHES = {"inline": 1, "triage": 32}  # examples at once, where batch=null
Mode = Literal["inline", "triage"]


def known_api(name: str) -> str:
    """Check the name of a dialect. Raises ValueError for an unknown one."""
    if name not in names():
        raise ValueError(f"must be one of {', '.join(names())}, got {name!r}")
    return name


Api = Annotated[str, AfterValidator(known_api)]


def listed(given: Any) -> Any:
    """Accept one name as a list, and "native,tei" as two."""
    return given.split(",") if isinstance(given, str) else given


def number(given: Any) -> Any:
    """Accept digits, since environment variables are strings."""
    return int(given) if isinstance(given, str) and given.isdecimal() else given


class GatewayDriftSettings(WatchSettings):
    """Settings of drift monitoring.

    Args:
        state: folder that keeps the monitor's state over restarts; None: it is not kept.
    """

    fallback: bool
    state: str | None


class ServeSettings(AnswerSettings):
    """Settings of the gateway, in addition to those of the model."""

    api: Annotated[list[Api], Field(min_length=1), BeforeValidator(listed)]
    host: str
    port: Annotated[int, BeforeValidator(number)]
    token_env: str | None
    token_file: str | None
    mode: Mode
    batch: Count | None  # pyright: ignore[reportIncompatibleVariableOverride]
    wait_ms: Annotated[float, Field(ge=0, le=10000)]
    queue: Count
    deadline_ms: Annotated[float, Field(gt=0, le=3600000)]
    max_bytes: Count
    max_texts: Count
    max_chars: Count
    stuck_s: Annotated[float, Field(gt=0, le=3600)]
    machine: Literal["refuse", "warn"]
    drift: GatewayDriftSettings
    stop_s: Annotated[float, Field(ge=0, le=3600)]
    log: str | None
    log_text: bool

    @property
    def examples_at_once(self) -> int:
        return self.batch or BATCHES[self.mode]

    def rules(self) -> Iterator[str]:
        yield from super().rules()
        if self.mode == "inline" and self.examples_at_once != 1:
            yield f"batch must be 1 with mode=inline, got {self.batch}"
        if self.mode == "triage" and self.examples_at_once < 16:
            yield f"batch must be 16 or more, got {self.batch}"
        if self.max_texts > self.queue:
            bound = f"at most queue={self.queue}, got {self.max_texts}"
            yield f"max_texts must be {bound}: such a request would never find room"
        if not 0 <= self.port <= 65535:
            yield f"port must be in 0..65535 (0: any that is free), got {self.port}"
        state = self.drift.state
        if state is not None and not Path(state).is_dir():
            yield f"drift.state={state} must be an existing folder"
        elif state is not None and Path(state).resolve() == Path(self.run).resolve():
            yield "drift.state must be another folder than run, whose drift.json is the reference"
        yield from absent_packages("serve")


def absent_packages(command: str) -> list[str]:
    absent = [name for name in PACKAGES if find_spec(name) is None]
    how = "pip install 'eat-lightning[serve]'"
    return [f"{command} needs {', '.join(absent)}: {how}"] if absent else []


def token_of(plan: ServeSettings) -> str | None:
    """Read the token from the environment or a file, because other users can see command lines."""
    if plan.token_env and plan.token_file:
        raise ConfigError("token_env and token_file: give one of them")
    if not plan.token_env and not plan.token_file:
        return None
    source = f"token_env={plan.token_env}"
    token = os.environ.get(plan.token_env or "", "")
    if plan.token_file:
        source = f"token_file={plan.token_file}"
        with reading(source):
            token = Path(plan.token_file).read_text()
    if not (token := token.strip()):
        raise ConfigError(f"{source}: there is no token in it")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("the token must be printable ASCII without spaces")
    return token
