"""Twins of modules and of methods that share their weights."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def sharing(module: M, **parts: Any) -> M:
    """A twin of a module that shares its parts but for those given."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    for name, part in parts.items():
        put(twin, name, part)
    return twin


def put(module: nn.Module, name: str, part: Any) -> None:
    """Set an attribute to a module or to what is none, whichever stood there before."""
    module._modules.pop(name, None)  # else torch refuses to replace a module by what is none
    setattr(module, name, part)
