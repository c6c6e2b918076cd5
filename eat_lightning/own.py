"""Modules of one's own: only those that EAT_IMPORT names are imported because a file asks."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec

ALLOW = "EAT_IMPORT"


def own_modules() -> list[str]:
    """The modules that a person lets be imported, several with commas between them."""
    names = map(str.strip, os.environ.get(ALLOW, "").split(","))
    return [name for name in names if name]


def own_faults() -> list[str]:
    return [
        f"{ALLOW} must name modules, with commas between them: there is no {name!r} here"
        for name in own_modules()
        if not is_there(name)
    ]


def is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # its package is not there, or it is no name
        return False


def import_own(name: str) -> None:
    """Import a module if its owner names it; ValueError where it fails."""
    if name not in own_modules():
        return
    try:
        import_module(name)
    except ImportError as error:
        raise ValueError(f"{ALLOW}: {name} cannot be imported ({error})") from None
