"""Request and response formats of other servers that the gateway can replace.

The name of each module is a value of `api=`. It defines `operations(gateway)`, the supported
requests, and optionally `add_status(app, gateway)`, which adds read-only routes. All share the
queue, limits and access control of the gateway's own routes.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any

CORE = ("native", "tei")  # the gateway's own shapes, and those that most clients of classifiers use


def names() -> list[str]:
    """Return all values of `api=`. Where several dialects share a path, a body without keys of the
    others belongs to the first.
    """
    return [*CORE, *sorted(each.name for each in pkgutil.iter_modules(__path__))]


def opened(name: str) -> Any:
    """Import the module of a dialect."""
    package = __name__.rpartition(".")[0] if name in CORE else __name__
    return import_module(f"{package}.{name}")
