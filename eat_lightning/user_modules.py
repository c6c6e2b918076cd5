"""Modules of one's own: only those that EAT_IMPORT names are imported because a file asks."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eat_lightning.files import sha256_of

ALLOW = "EAT_IMPORT"
PLACES = "the current folder or on PYTHONPATH"  # where a module of one's own is looked for


def allowed_modules() -> list[str]:
    """The modules that a person lets be imported, several with commas between them."""
    names = map(str.strip, os.environ.get(ALLOW, "").split(","))
    return [name for name in names if name]


def warn_of_absent() -> None:
    """Print a line for each module that is named and not there: only who asks for it must fail."""
    for name in allowed_modules():
        if not is_there(name):
            print(f"warning: {ALLOW}: there is no module {name} in {PLACES}", file=sys.stderr)


def is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # its package is not there, or it is no name
        return False


def import_user_module(name: str) -> None:
    """Import a module if its owner names it; ValueError where it fails."""
    if name not in allowed_modules():
        return
    try:
        import_module(name)
    except (ImportError, TypeError) as error:  # TypeError: a hook is misspelt
        raise ValueError(f"{ALLOW}: {name} cannot be imported ({error})") from None


def user_classes(contract: type) -> Iterator[str]:
    """Give the subclasses of a contract in the modules that a person names, such as
    "my_idea.MyIdea"."""
    for name in allowed_modules():
        with suppress(ValueError):
            import_user_module(name)
        for key, value in vars(sys.modules.get(name, object)).items():
            is_defined_here = inspect.isclass(value) and value.__module__ == name
            if is_defined_here and issubclass(value, contract):
                yield f"{name}.{key}"


def sources_of(classes: Iterable[type]) -> dict[str, str]:
    """Return a short hash of the file of each class from outside the package, by its module. No
    commit and no setting tells that such a file was edited; modules that it imports are not
    read."""
    names = sorted({cls.__module__ for cls in classes})
    outside = [name for name in names if not name.startswith("eat_lightning.")]
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in outside}
    paths = {name: Path(file) for name, file in files.items() if file and Path(file).is_file()}
    return {name: sha256_of([path])[:12] for name, path in paths.items()}


def sources_of_encoder(encoder: Any) -> dict[str, str]:
    """Return the hashes of `sources_of` for an encoder's attention, reduction and exit rule."""
    return sources_of(map(type, (encoder.attention, encoder.reduction, encoder.exit)))


def where_absent(name: str) -> str:
    """Tell where a class's module is looked for, for a name from outside the package."""
    return "" if name.startswith("eat_lightning.") else f" (its module must lie in {PLACES})"
