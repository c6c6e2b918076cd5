"""Gains by a compiler: Hugging Face's model, the static encoder and EAT of one run, as they are
and as torch.compile makes them, everybody the same way.

* compiled: inductor with dynamic shapes, weights as they are.
* frozen: the same with inductor's freezing, which takes weights for constants and prepacks them.

Dynamo cannot follow the encoder's own loop: it asks the host who leaves, and makes layouts whose
lengths are Python's numbers. Ours are therefore compiled stretch by stretch (stretched.py),
from the programs that are also exported to ONNX. Hugging Face's model is compiled whole, as it is
called. A single example has a program of its own: torch takes a size of 1 for a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

import torch

from eat_lightning.export.graph import quiet, traced
from eat_lightning.export.trace import Stretch
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from experiments.bench.candidates import Field, of_run
from experiments.bench.stretched import Call, State, Stretched

OPTIONS: dict[str, dict[str, Any]] = {"compiled": {}, "frozen": {"freezing": True}}


def compiled(encoder: AdaptiveEncoder, dtype: str, compilers: Sequence[str] = (*OPTIONS,)) -> Field:
    """Race a run as it is and compiled. Who cannot be compiled is missing."""
    field = of_run(encoder, [dtype])
    field.over = {who: f"{who} {dtype}" for who in ("HF", "static", "EAT")}
    programs: dict[str, Any] = {}
    for how in compilers:
        for who, plain in field.over.items():
            like, begun, name = field[plain], monotonic(), f"{who} {how} {dtype}"
            try:
                if like.encoder is None:
                    run = twin_compiled(like.run, how)
                else:
                    run = stretches_compiled(like.encoder, how, programs, who)
            except Exception as error:  # dynamo, inductor and the C++ compiler raise many kinds
                reason = " ".join(str(error).split())[:160] or type(error).__name__
                field.missing.append(f"{name}: no rows, {reason}")
                continue
            equal = plain if dtype == "fp32" else None
            field.candidates.append(replace(like, name=name, run=run, answers_like=equal))
            print(f"{name}: made in {monotonic() - begun:.0f} s", flush=True)
    return field


def stretches_compiled(
    encoder: AdaptiveEncoder, how: str, programs: dict[str, Any], who: str
) -> Any:
    """`programs`: those of each stretch, traced once for all compilers."""

    def make(stretch: Stretch, state: State) -> Call:
        name = f"{who} {stretch.alone} {stretch.first} {stretch.last}"
        if name not in programs:
            with quiet(), torch.no_grad():
                programs[name] = traced(stretch, state)
        call = by_dynamo(programs[name].module(), how)
        with quiet(), torch.inference_mode():  # as in a race; what compiles when called has done so
            call({name: value.clone() for name, value in state.items()})
        return call

    stretched = Stretched(encoder, make)
    return lambda given: stretched(given.batch)


def twin_compiled(twin: Any, how: str) -> Any:
    """Hugging Face's model, compiled on one example alone and on several."""
    run = by_dynamo(twin, how, whole=False)
    with quiet(), torch.inference_mode():
        for lengths in ([7], [9, 4, 6]):
            run(twin.ready(Batch.from_lists([[5] * length for length in lengths])))
    return run


def by_dynamo(module: Any, how: str, whole: bool = True) -> Any:
    """`whole`: as one graph, or it is refused."""
    # A stretch asks for its longest length and for how many tokens stay; both are open sizes.
    settings: Any = torch._dynamo.config
    settings.capture_scalar_outputs = settings.capture_dynamic_output_shape_ops = True
    return torch.compile(module, dynamic=True, fullgraph=whole, options={**OPTIONS[how]})
