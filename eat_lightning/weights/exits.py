"""Exits stored in their own folder beside a transformers classifier: heads and exit rule.

The classifier's files are unchanged, so transformers can open them without this package.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from eat_lightning.errors import reading
from eat_lightning.files import write_json
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.specification import Specification
from eat_lightning.untrusted import json_of
from eat_lightning.weights.files import EXITS as EXITS
from eat_lightning.weights.files import SAFE, save_weights


def early_head_weights(encoder: AdaptiveEncoder) -> dict[str, Tensor]:
    """Return the weights of all heads but the last, by the encoder's names."""
    last = f"heads.{encoder.shape.num_layers}."
    state = encoder.state_dict()
    return {k: w for k, w in state.items() if k.startswith("heads.") and not k.startswith(last)}


def save_exits(encoder: AdaptiveEncoder, folder: Path) -> None:
    """Write the early heads and the exit rule beside a classifier."""
    save_weights(early_head_weights(encoder), folder / EXITS)
    about = {
        "head": encoder.head | {"last": "auto"},
        "exit": Specification.of("exit", encoder.exit),
    }
    write_json(folder / EXITS / "config.json", about)


def exits_beside(folder: Path) -> dict[str, Any]:
    """Return the settings `head` and `exit` of a folder; an empty dict where it has no exits.

    Raises:
        ConfigError: where they cannot be read.
    """
    path = folder / EXITS / "config.json"
    if not path.is_file():
        return {}
    with reading(path):
        found = json_of(path)
        return {"head": dict(found["head"]), "exit": dict(found["exit"])}


def load_exits(encoder: AdaptiveEncoder, folder: Path) -> None:
    """Load the early heads of a folder.

    Raises:
        ConfigError: where they do not fit.
    """
    path = folder / EXITS / SAFE
    with reading(path, SafetensorError, RuntimeError):
        weights = load_file(path)
        if weights.keys() != early_head_weights(encoder).keys():
            raise ValueError("other weights than these exits have")
        encoder.load_state_dict(weights, strict=False)
