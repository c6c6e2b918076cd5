"""A tuned classifier as a low-rank delta of its backbone: 3 MB in place of 440.

Every linear layer W of the backbone stays as it was fetched, and U D is learned beside it (LoRA,
arXiv 2106.09685). Layers that the backbone lacks are learned too: a square one starts as the
identity and gets its own U D, the layer of the classes is kept whole.

Shapes: O outputs, I inputs, R rank.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForSequenceClassification

from eat_lightning.files import replacing

SCALE = 2.0  # of U D beside W while they are learned; the file's U has it


class LowRank(nn.Module):
    """A frozen linear layer with what is learned beside it."""

    def __init__(self, base: nn.Linear, rank: int):
        super().__init__()
        self.base = base
        self.down_RI = nn.Parameter(torch.empty(rank, base.in_features))
        self.up_OR = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down_RI, a=5**0.5)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        beside = nn.functional.linear(nn.functional.linear(given, self.down_RI), self.up_OR)
        return self.base(given) + SCALE * beside


def is_square(layer: nn.Linear) -> bool:
    return layer.in_features == layer.out_features


def linear_of(model: Any) -> dict[str, nn.Linear]:
    """Linear layers by name."""
    return {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear)}


def opened(body: str, about: dict[str, Any]) -> tuple[Any, dict[str, nn.Linear]]:
    """The backbone with a head, and its linear layers that the backbone's files lack, by name.

    Args:
        about: settings of the model, such as `id2label`.
    """
    model, info = AutoModelForSequenceClassification.from_pretrained(
        body, output_loading_info=True, **about
    )
    names = {key.rpartition(".")[0] for key in info["missing_keys"]}
    new = {name: layer for name, layer in linear_of(model).items() if name in names}
    for layer in filter(is_square, new.values()):
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
    return model, new


def attach(model: Any, new: dict[str, nn.Linear], rank: int) -> None:
    """Freeze the model and put low-rank updates beside its linear layers, in place."""
    model.requires_grad_(False)
    for name, layer in linear_of(model).items():
        if name not in new or is_square(layer):
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, LowRank(layer, rank))
    for layer in new.values():
        layer.bias.requires_grad_(True)
        layer.weight.requires_grad_(not is_square(layer))


def save(model: Any, path: Path, about: dict[str, str]) -> None:
    """Write what was learned as fp16, with `about` as the file's metadata."""
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            layer, _, part = name.replace(".base.", ".").rpartition(".")
            scale = SCALE if part == "up_OR" else 1.0
            found[f"{layer}.{part}"] = (scale * parameter).detach().half().contiguous()
    with replacing(path) as beside:
        save_file(found, beside, about)


def about_of(path: Path) -> dict[str, str]:
    """The metadata of a delta's file."""
    with safe_open(path, "pt") as file:
        return file.metadata()


@torch.no_grad()
def merged(body: str, path: Path, about: dict[str, Any]) -> Any:
    """The backbone with the file's delta in its weights: a plain model of transformers, fp32."""
    model, _ = opened(body, about)
    with safe_open(path, "pt") as file:
        kept = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    for name, tensor in kept.items():
        layer, _, part = name.rpartition(".")
        if part == "up_OR":
            model.get_submodule(layer).weight += tensor @ kept[f"{layer}.down_RI"]
        elif part != "down_RI":
            model.get_parameter(name).copy_(tensor)
    return model.eval()
