"""Candidates of a race: Hugging Face's classifier as people use it, our static encoder, EAT, and
engines that run the same weights.

Shapes: B examples, E exits, C classes, S signals.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from eat_lightning.bundle.graphs.graph_folder import SINGLE, Graphs
from eat_lightning.bundle.graphs.trace import with_open_exits
from eat_lightning.bundle.onnx_runner import ABOUT, FORMAT, Runner
from eat_lightning.bundle.sessions import engine_faults
from eat_lightning.errors import ConfigError
from eat_lightning.evaluation.baselines import HuggingFaceTwin
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.methods.reduction.norm_topk import NormTopK
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.shape import Shape
from eat_lightning.runs.run import write_json
from eat_lightning.validation import raise_faults
from eat_lightning.weights.families import FAMILIES
from eat_lightning.weights.precision import in_dtype
from eat_lightning.weights.prepacked import cannot_in, prepacked

ENGINES = {"onnx": "ORT", "openvino": "OV"}  # that run our own exports
CONVERTED = "OpenVINO"  # Hugging Face's model, padded, as OpenVINO converts it
HINTS = {"fp32": "f32", "bf16": "bf16"}
LEAVE_AFTER = 2 / 3  # of the layers
RELEASED: dict[str, tuple[str, dict[str, Any]]] = {  # transformers' name, and what differs from it
    "bert_base": ("bert", {}),
    "modernbert_base": ("modernbert", {}),
    "deberta_v3_small": (
        "deberta-v2",
        {
            "hidden_size": 768,
            "num_hidden_layers": 6,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "vocab_size": 128100,
            "position_buckets": 256,
            "position_biased_input": False,
            "type_vocab_size": 0,
            "relative_attention": True,
        },
    ),
    "roberta_base": ("roberta", {"max_position_embeddings": 514, "type_vocab_size": 1}),
    "electra_small": ("electra", {}),
}


def shape_of(body: str) -> Shape:
    """The sizes of a released backbone; ConfigError names those that there are."""
    from transformers import AutoConfig

    if body not in RELEASED:
        raise ConfigError(f"body must be one of {', '.join(RELEASED)}, got {body!r}")
    kind, sizes = RELEASED[body]
    config = AutoConfig.for_model(kind, **sizes).to_dict()
    family = FAMILIES[config["model_type"]]
    return Shape(**family.shape_of(config, family.sep_token_id))


@dataclass(frozen=True)
class Examples:
    """A batch, and which of its examples leave where random weights would not say."""

    batch: Batch
    easy_B: Bool[Tensor, " b"]


@dataclass
class Candidate:
    """`run` answers what `ready` makes of examples.

    Args:
        static: the candidate that its FLOPs ratio is against.
        encoder: whose work is counted.
        answers_like: the candidate of the same weights whose logits it must give.
    """

    name: str
    dtype: str
    run: Callable[[Any], Any]
    ready: Callable[[Examples], Any]
    static: str
    encoder: AdaptiveEncoder
    answers_like: str | None = None

    @property
    def is_ours(self) -> bool:
        """True for what PyTorch runs on our kernels, without an engine."""
        return self.name.split()[0] in ("static", "EAT")

    @property
    def is_engine(self) -> bool:
        return self.name.split()[0] in (*ENGINES.values(), CONVERTED)


@dataclass
class Field:
    """Candidates of a race, and a line for each that is not there."""

    candidates: list[Candidate] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class Preset(Confidence):
    """A rule whose leavers are set beforehand, since random weights have no confidence worth a
    threshold; the rule is evaluated all the same."""

    def __init__(self, layer: int, *leaves: bool):
        super().__init__(tau=1.0, layers=[layer])
        self.leaves_B = torch.tensor(leaves, dtype=torch.bool)

    def decides(
        self, logits_EBC: Float[Tensor, "e b c"], signals_EBS: Float[Tensor, "e b s"] | None = None
    ) -> Int[Tensor, " b"]:
        decided_B = super().decides(logits_EBC, signals_EBS)
        return torch.where(self.leaves_B, 1, decided_B * 0)


def random_encoder(shape: Shape, ratio: float, seed: int) -> AdaptiveEncoder:
    """Random weights that drop a share of the tokens after a third and two thirds of the layers,
    and let the easy examples leave after two thirds."""
    torch.manual_seed(seed)
    third, last = shape.num_layers // 3, round(LEAVE_AFTER * shape.num_layers)
    prunes, leaves = NormTopK(ratio, [third, last]), Preset(last)
    return AdaptiveEncoder(shape, 2, Dense(), prunes, leaves, {"layers": [last]}).eval()


def bare(encoder: AdaptiveEncoder) -> AdaptiveEncoder:
    """The same weights with everything off."""
    return encoder.replacing(attention=Dense(), reduction=Keep(), exit=Never())


def of_weights(encoder: AdaptiveEncoder, dtypes: Sequence[str]) -> Field:
    """The same weights in each dtype: Hugging Face's model of them, padded; static and EAT, packed,
    with plain weights and prepacked."""
    found = Field(missing=["HF unpadded: transformers packs rows for flash attention alone (CUDA)"])
    for dtype in dtypes:
        body, static = in_dtype(encoder.eval(), dtype), f"static {dtype}"
        bodies = {"static": bare(body), "EAT": body}
        found.candidates.append(hugging_face(body, dtype, static))
        found.candidates += [
            packed(f"{who} {dtype}", of, dtype, static) for who, of in bodies.items()
        ]
        if reason := cannot_in(dtype):
            found.missing.append(f"prepacked {dtype}: no rows, {reason}")
            continue
        static = f"static prepacked {dtype}"
        found.candidates += [
            packed(f"{who} prepacked {dtype}", prepacked(of), dtype, static)
            for who, of in bodies.items()
        ]
    return found


def packed(name: str, encoder: AdaptiveEncoder, dtype: str, static: str) -> Candidate:
    """An encoder of ours on packed examples, whose leavers are set where its rule is a `Preset`."""
    exit = encoder.exit

    def run(given: Examples) -> Any:
        if isinstance(exit, Preset):
            exit.leaves_B = given.easy_B
        return encoder(given.batch)

    return Candidate(name, dtype, run, lambda given: given, static, encoder)


def hugging_face(encoder: AdaptiveEncoder, dtype: str, static: str) -> Candidate:
    """Hugging Face's model of the same weights in eager mode, which in fp32 must answer alike."""
    twin, like = HuggingFaceTwin(encoder), static if dtype == "fp32" else None

    def ready(given: Examples) -> dict[str, Tensor]:
        return twin.ready(given.batch)

    return Candidate(f"HF {dtype}", dtype, twin, ready, static, bare(encoder), like)


def add_engines(
    field: Field, encoder: AdaptiveEncoder, dtypes: Sequence[str], folder: Path, adaptive: bool
) -> None:
    """Add our exports in onnxruntime and OpenVINO, static and with exits (`adaptive`), and Hugging
    Face's model as OpenVINO converts it. One that cannot run here is named in `missing`."""
    bodies = {"static": bare(encoder)} | ({"EAT": encoder} if adaptive else {})
    for engine, short in ENGINES.items():
        for who, body in bodies.items():
            for dtype in dtypes:
                add(
                    field,
                    f"{short} {who} {dtype}",
                    lambda d=dtype, e=engine, w=who, b=body: exported(w, b, e, d, folder),
                )
    for dtype in filter(HINTS.get, dtypes):
        add(field, f"{CONVERTED} {dtype}", lambda d=dtype: converted(encoder, d))


def add(field: Field, name: str, make: Callable[[], Candidate]) -> None:
    try:
        field.candidates.append(make())
    except Exception as error:  # engines and their converters raise many kinds
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        field.missing.append(f"{name}: no rows, {reason}")


class WithoutTokenizer(Runner):
    def open_reader(self) -> Any:
        return None


def exported(
    who: str, encoder: AdaptiveEncoder, engine: str, dtype: str, folder: Path
) -> Candidate:
    """Our export of an encoder in an engine, given token ids."""
    raise_faults(engine_faults(engine, dtype)[:1])
    made_in = "int8" if dtype == "int8" else "fp32"
    at = folder / f"{who}-{made_in}"
    if not (at / ABOUT).is_file():
        write_export(with_open_exits(encoder), made_in, at)
    graphs = WithoutTokenizer(at, torch.get_num_threads(), engine, dtype)
    short, like = ENGINES[engine], f"{who} fp32" if dtype == "fp32" else None
    static = f"{short} static {dtype}"
    return Candidate(
        f"{short} {who} {dtype}", dtype, graphs.run_state, ids_of, static, encoder, like
    )


def ids_of(given: Examples) -> dict[str, np.ndarray]:
    return {x: getattr(given.batch, x).numpy() for x in ("ids_N", "types_N", "lengths_B")}


def write_export(encoder: AdaptiveEncoder, dtype: str, folder: Path) -> None:
    """The graphs that `eat export` writes, without a run's tokenizer and labels."""
    graphs = Graphs(encoder, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    graphs.write(folder)
    parts = zip(graphs.files, graphs.layers, strict=True)
    about = {
        "format": FORMAT,
        "labels": [str(i) for i in range(encoder.num_labels)],
        "columns": ["text"],
        "dtype": dtype,
        "max_length": encoder.shape.max_length,
        "truncation_side": "right",
        "types": True,
        "reasons": {},
        "num_layers": encoder.shape.num_layers,
        "stretches": [{"file": name, "layers": layers} for name, layers in parts],
        "single": SINGLE,
    }
    write_json(folder / ABOUT, about)


def converted(encoder: AdaptiveEncoder, dtype: str) -> Candidate:
    """Hugging Face's model of the fp32 weights, padded, converted by OpenVINO to compute in a
    dtype."""
    openvino, twin = import_module("openvino"), HuggingFaceTwin(encoder)
    columns = twin.ready(Batch.from_lists([[1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5]]))
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns of every shape that it looks at
        model = openvino.convert_model(
            Spread(twin, [*columns]), example_input=tuple(columns.values())
        )
    how: dict[str, Any] = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1}
    how["INFERENCE_PRECISION_HINT"] = HINTS[dtype]
    compiled = openvino.Core().compile_model(model, "CPU", how)

    def run(given: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(compiled(given)[0])

    def ready(given: Examples) -> list[np.ndarray]:
        return [column.numpy() for column in twin.ready(given.batch).values()]

    static, like = f"static {dtype}", "static fp32" if dtype == "fp32" else None
    return Candidate(f"{CONVERTED} {dtype}", dtype, run, ready, static, bare(encoder), like)


class Spread(nn.Module):
    """A twin whose columns come one by one, as a tracer wants them."""

    def __init__(self, twin: HuggingFaceTwin, names: list[str]):
        super().__init__()
        self.twin, self.names = twin, names

    def forward(self, *columns: Tensor) -> Tensor:
        return self.twin(dict(zip(self.names, columns, strict=True)))
