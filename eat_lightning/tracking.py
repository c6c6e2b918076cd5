"""Loggers beside the CSV: Weights & Biases (offline without an account) and TensorBoard."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from typing import Any

from eat_lightning.config import arguments, target


def extra_logger(node: dict[str, Any], config: dict[str, Any], folder: Path) -> Any:
    settings = arguments(node)
    if node["_target_"].endswith("WandbLogger"):
        return wandb_logger(node, settings, config, folder)
    return target(node)(**({"save_dir": folder} | settings))


def wandb_logger(
    node: dict[str, Any], settings: dict[str, Any], config: dict[str, Any], folder: Path
) -> Any:
    """One W&B run per training run, grouped by study, with the nested config."""
    if settings.get("offline") == "auto":
        settings["offline"] = not has_account()
    task, model = config["task"]["name"], config["model"]
    return target(node)(
        **settings,
        save_dir=folder,
        name=folder.name,
        group=config["study"],
        job_type="train",
        tags=[task, model],
        config=config,
    )


def has_account() -> bool:
    """Whether W&B would find a key: in the environment or in ~/.netrc."""
    if os.environ.get("WANDB_MODE") in ("offline", "disabled"):
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False
