"""What `from_pretrained` is asked for, beside what a folder says: dtype and classes."""

from __future__ import annotations

from typing import Any

import torch


def dtype_of(asked: Any, saved: dict[str, Any]) -> torch.dtype:
    """Choose as transformers does: what was asked for, or for "auto" what the folder's config
    says."""
    if asked in (None, "auto"):
        asked = saved.get("dtype") or saved.get("torch_dtype") or "float32"
    return asked if isinstance(asked, torch.dtype) else getattr(torch, asked)


def label_names(saved: dict[str, Any], options: dict[str, Any]) -> list[str]:
    """Taken out of `options`: id2label, or num_labels of the folder's own names where they fit."""
    names, num_labels = options.pop("id2label", None), options.pop("num_labels", None)
    options.pop("label2id", None)
    if names is None and num_labels in (None, len(saved.get("id2label") or {})):
        names = saved.get("id2label")
    if names is None:
        return [f"LABEL_{i}" for i in range(num_labels or 2)]
    return [names[i] if i in names else names[str(i)] for i in range(len(names))]


def check_num_labels(
    name: str, saved: dict[str, Any], config: Any, ignore_mismatched_sizes: bool = False, **kw: Any
) -> None:
    names = kw.get("id2label") or getattr(config, "id2label", None)
    asked = kw.get("num_labels") or len(names or saved.get("id2label") or ())
    there = len(saved.get("id2label") or ())
    if asked != there and not ignore_mismatched_sizes:
        raise ValueError(f"{name}: its heads have {there} classes, {asked} were asked for")
