"""The words of a study's command: `key=value`, values in YAML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from eat_lightning.errors import ConfigError


def given_of(
    words: Sequence[str], keys: Sequence[str], needs: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the values by key; ConfigError for a key that is not known, or that it needs and is
    not given."""
    pairs = (word.partition("=") for word in words)
    given = {key: yaml.safe_load(value) for key, _, value in pairs}
    if unknown := sorted(given.keys() - {*needs, *keys}):
        known = ", ".join(f"{key}=" for key in (*needs, *keys))
        raise ConfigError(f"only {known} are known, got {unknown[0]}")
    if lacking := [key for key in needs if key not in given]:
        raise ConfigError(f"{lacking[0]}= must be given")
    return given
