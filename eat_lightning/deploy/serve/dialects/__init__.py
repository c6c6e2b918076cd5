"""Requests and answers of other servers that the gateway can stand in for.

A module here is a value of `api=`, by its name. It has `operations(gateway)`, the requests that it
takes, and may have `add_status(app, gateway)`, which adds routes that are only read. All of them
share the queue, the limits and the access control of the gateway's own routes.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any

CORE = ("native", "tei")  # the gateway's own shapes, and those that most clients of classifiers use


def names() -> list[str]:
    """All values of `api=`. At a path that several take, the first one is meant by a body that has
    no key of the others."""
    return [*CORE, *sorted(each.name for each in pkgutil.iter_modules(__path__))]


def opened(name: str) -> Any:
    """The module of a dialect."""
    package = __name__.rpartition(".")[0] if name in CORE else __name__
    return import_module(f"{package}.{name}")
