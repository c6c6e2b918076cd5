"""Factors of inputs with which int8 rounds less (SmoothQuant, Xiao et al. 2023, equation 4).

A vector has one scale in int8, which its largest number decides, and after a norm a few channels
are far larger than others for every token. Dividing each channel by a factor, and multiplying the
weights that read it by the same, moves part of that range into the weights, which have a scale for
each output. On six classifiers the error of logits fell by 13 to 34 % (study `adapt`).

Factors are powers of two, so that both steps are exact. They are attributes of the layers in fp32,
which `int8.Int8Linear` reads; nothing else changes.

Shapes: N packed tokens, K channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.int8 import FACTOR, factor_in
from eat_lightning.model.packed import Batch

READ_NORMS = ("qkv", "up")  # the products of a layer whose input a norm has made
SHARE = 0.65  # of the inputs' range in a factor; 0.5 and 0.75 left more error on QQP and SST-2
RANGE = 2.0**-60, 2.0**60  # of factors, so that neither they nor their inverses overflow
LEAST = 1e-6  # of a range, so that channels that are always 0 have a factor


def smoothed_layers(encoder: AdaptiveEncoder) -> dict[str, nn.Linear]:
    """Return the layers that may have factors, by name. Layers that share weights are one."""
    return {
        f"layers.{i}.{name}": cast(nn.Linear, layer.get_submodule(name))
        for i, layer in enumerate(encoder.layers.children())
        for name in READ_NORMS
    }


def factors_of(encoder: AdaptiveEncoder, batches: Iterable[Batch]) -> dict[str, Tensor]:
    """Return the factors (K) of each layer, from the inputs that it has for some batches.

    Args:
        encoder: in fp32, at a point at which nothing leaves.
    """
    layers = smoothed_layers(encoder)
    with noting_ranges(layers) as ranges, torch.inference_mode():
        for batch in batches:
            encoder(batch)
    return {
        name: factor(ranges[name], layers[name].weight.detach().abs().amax(0)) for name in layers
    }


@contextmanager
def noting_ranges(layers: Mapping[str, nn.Linear]) -> Iterator[dict[str, Tensor]]:
    """Note the largest absolute value of each input channel of the layers meanwhile."""
    ranges = {name: layer.weight.new_zeros(layer.in_features) for name, layer in layers.items()}

    def note(range_K: Tensor, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        torch.maximum(range_K, inputs[0].detach().flatten(0, -2).abs().amax(0), out=range_K)

    hooks = [
        layer.register_forward_pre_hook(partial(note, ranges[name]))
        for name, layer in layers.items()
    ]
    try:
        yield ranges
    finally:
        for hook in hooks:
            hook.remove()


def factor(inputs_K: Tensor, weights_K: Tensor) -> Tensor:
    """Return inputs ** SHARE / weights ** (1 - SHARE) of both ranges, as powers of two around 1."""
    inputs_K, weights_K = (range_K.clamp(min=LEAST).log2() for range_K in (inputs_K, weights_K))
    factor_K = SHARE * inputs_K - (1 - SHARE) * weights_K
    return torch.exp2((factor_K - factor_K.mean()).round())


def set_factors(encoder: AdaptiveEncoder, factors: Mapping[str, Tensor]) -> None:
    """Give layers their factors.

    Raises:
        ValueError: for other layers, other sizes or a factor that is not a positive number.
    """
    layers = smoothed_layers(encoder)
    if factors.keys() != layers.keys():
        raise ValueError("factors of other layers than the encoder has")
    for name, factor_K in factors.items():
        size, (low, high) = layers[name].in_features, RANGE
        fits = factor_K.dtype == torch.float32 and factor_K.shape == (size,)
        if not fits or not bool(((factor_K >= low) & (factor_K <= high)).all()):
            raise ValueError(f"factors of {name} must be {size} positive numbers in fp32")
        layers[name].register_buffer(FACTOR, factor_K.clone(), persistent=False)


def factors_in(encoder: AdaptiveEncoder) -> dict[str, Tensor]:
    """Return the factors that the layers have; an empty dict where they have none."""
    found = {name: factor_in(layer) for name, layer in smoothed_layers(encoder).items()}
    return {name: factor_K for name, factor_K in found.items() if factor_K is not None}
