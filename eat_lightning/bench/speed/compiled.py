"""What a compiler adds: Hugging Face's model, the static encoder and EAT of one run, as they are
and as torch.compile makes them, everybody the same way.

* compiled: inductor with dynamic shapes, weights as they are.
* frozen: the same with inductor's freezing, which takes weights for constants and prepacks them.
* AOTI: AOTInductor's package of the frozen program, without Python between its kernels.

Dynamo cannot follow the encoder's own loop: it asks the host who leaves, and makes layouts whose
lengths are Python's numbers. Ours are therefore compiled stretch by stretch (deploy/stretched.py),
from the programs that are also exported to ONNX. Hugging Face's model is compiled whole, as it is
called. A single example has a program of its own: torch takes a size of 1 for a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from eat_lightning.bench.speed.contestants import Contestant, Field, Work, itself
from eat_lightning.bench.speed.deployed import in_torch
from eat_lightning.export.graph import quiet, traced
from eat_lightning.export.stretched import Call, State, Stretched
from eat_lightning.export.trace import Stretch
from eat_lightning.measure.baselines import HuggingFaceTwin, in_dtype
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.model.encoder import AdaptiveEncoder, with_slots
from eat_lightning.model.packed import Batch

OPTIONS: dict[str, dict[str, Any]] = {"compiled": {}, "frozen": {"freezing": True}}
AOTI = "AOTI"
COMPILERS = (*OPTIONS, AOTI)
SAMPLES = {True: [7], False: [9, 4, 6]}  # lengths, of one example alone and of several


def compiled(
    encoder: AdaptiveEncoder, dtype: str, folder: Path, compilers: Sequence[str] = COMPILERS
) -> Field:
    """`folder`: for packages, until the race is over. Who cannot be compiled is missing."""
    encoder, missing = in_dtype(encoder.eval(), dtype), []
    found = in_torch(encoder, dtype, missing)
    static = with_slots(encoder, attention=Dense(), reduction=Keep(), exit=Never())
    bodies = {"static": Programs(static), "EAT": Programs(encoder)}
    by_name = {entry.name: entry for entry in found}
    for how in compilers:
        for who in ("HF", "static", "EAT"):
            like, begun = by_name[f"{who} {dtype}"], monotonic()
            name = f"{who} {how} {dtype}"
            place = folder / name.replace(" ", "-")
            place.mkdir(parents=True, exist_ok=True)
            try:
                if who == "HF":
                    entry = theirs(encoder, like, how, place)
                else:
                    entry = ours(bodies[who], like, how, place)
            except Exception as error:  # dynamo, inductor and the C++ compiler raise many kinds
                said = " ".join(str(error).split())[:160] or type(error).__name__
                missing.append(f"{name}: no rows, {said}")
                continue
            entry.name, entry.answers_like = name, like.name if dtype == "fp32" else None
            print(f"{name}: made in {monotonic() - begun:.0f} s", flush=True)
            found.append(entry)
    return Field(found, {who: f"{who} {dtype}" for who in ("HF", "static", "EAT")}, missing)


class Programs:
    """An encoder, and the programs of its stretches, each traced once for all compilers."""

    def __init__(self, encoder: AdaptiveEncoder):
        self.encoder = encoder
        self.traced: dict[str, Any] = {}

    def of(self, stretch: Stretch, state: State) -> tuple[str, Any]:
        """A name for a file, and the program."""
        kind = "one" if stretch.alone else "several"
        name = f"{kind}-{stretch.first}-{stretch.last}"
        if name not in self.traced:
            with quiet(), torch.no_grad():
                self.traced[name] = traced(stretch, state)
        return name, self.traced[name]


def ours(body: Programs, like: Contestant, how: str, folder: Path) -> Contestant:
    def make(stretch: Stretch, state: State) -> Call:
        name, program = body.of(stretch, state)
        if how == AOTI:
            call = packaged(program, folder / f"{name}.pt2")
        else:
            call = by_dynamo(program.module(), how)
        with quiet(), torch.inference_mode():  # as in a race; what compiles when called has done so
            call({name: value.clone() for name, value in state.items()})
        return call

    stretched = Stretched(body.encoder, make)

    def run(given: Work) -> Any:
        return stretched(given.batch)

    return Contestant("", like.dtype, like.shape, run, itself, like.static, body.encoder)


def theirs(encoder: AdaptiveEncoder, like: Contestant, how: str, folder: Path) -> Contestant:
    twin = HuggingFaceTwin(encoder)
    samples = {
        alone: twin.ready(Batch.from_lists([[5] * length for length in lengths]))
        for alone, lengths in SAMPLES.items()
    }
    calls: dict[bool, Any]
    if how == AOTI:
        calls = {alone: package_of(twin, folder, given) for alone, given in samples.items()}
    else:
        calls = dict.fromkeys(samples, by_dynamo(twin, how, whole=False))

    def run(columns: dict[str, Tensor]) -> Tensor:
        return calls[len(columns["input_ids"]) == 1](columns)

    with quiet(), torch.inference_mode():
        for columns in samples.values():
            run(columns)
    return Contestant("", like.dtype, like.shape, run, like.ready, like.static)


def package_of(twin: HuggingFaceTwin, folder: Path, columns: dict[str, Tensor]) -> Any:
    alone = len(columns["input_ids"]) == 1
    axes = dict.fromkeys((1,) if alone else (0, 1), torch.export.Dim.DYNAMIC)
    with quiet(), torch.no_grad():
        program = torch.export.export(
            twin, (columns,), dynamic_shapes=(dict.fromkeys(columns, axes),), strict=False
        )
    return packaged(program, folder / f"{'one' if alone else 'several'}.pt2")


def by_dynamo(module: Any, how: str, whole: bool = True) -> Any:
    """`whole`: as one graph, or it is refused."""
    # A stretch asks for its longest length and for how many tokens stay; both are open sizes.
    settings: Any = torch._dynamo.config
    settings.capture_scalar_outputs = settings.capture_dynamic_output_shape_ops = True
    return torch.compile(module, dynamic=True, fullgraph=whole, options={**OPTIONS[how]})


def packaged(program: Any, path: Path) -> Any:
    inductor: Any = torch._inductor
    how = {"package_path": str(path), "inductor_configs": {**OPTIONS["frozen"]}}
    with quiet(), torch.no_grad():
        return inductor.aoti_load_package(inductor.aoti_compile_and_package(program, **how))
