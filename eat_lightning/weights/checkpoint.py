"""Hugging Face weights <-> ours: BERT, DistilBERT, MPNet and RoBERTa in, our folders both ways.

A model folder holds config.json (names and plain arguments) and model.safetensors. Loading one
imports nothing that the config names, except modules of the slots.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from eat_lightning.bounds import number_faults, raise_faults, whole_faults
from eat_lightning.errors import ConfigError
from eat_lightning.model.contracts import build_all, spec
from eat_lightning.model.encoder import AdaptiveEncoder, Shape
from eat_lightning.model.heads import ACTIVATIONS, slot_faults, with_activation
from eat_lightning.model.policies import from_folder, portable
from eat_lightning.weights.from_run import sizes_in_run, source_shape, tuned_weights
from eat_lightning.weights.hf_names import FAMILIES, fuse, rename
from eat_lightning.weights.untrusted import (
    TOKENIZER,
    UNFIT,
    claim_faults,
    json_of,
    number_fault,
    one_line,
    read_config,
    read_weights,
    sizes_in,
    tokenizer_faults,
)


def model_folder(name: str) -> Path:
    """A local folder as it is, or a snapshot of a hub's repository."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    wanted = [
        "config.json",
        "model.safetensors",
        "tokenizer*",
        "vocab.txt",
        "special_tokens_map.json",
    ]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (OSError, ValueError, HfHubHTTPError) as error:
        first = str(error).splitlines()[0][:120]
        raise ConfigError(
            f"encoder.pretrained={name} is neither a folder nor to be had from a hub: give a local "
            f"folder (encoder.pretrained=path) or network access ({first})"
        ) from None


TAKES = ("first", "alternate")


def chosen_layers(num_source: int, num_layers: int, take: str) -> list[int]:
    """0-based source layers: the first, or spread evenly (12 -> 6: 0 2 4 7 9 11, DistilBERT's)."""
    if take == "first":
        return list(range(num_layers))
    if num_layers == 1:
        return [0]
    return [round(i * (num_source - 1) / (num_layers - 1)) for i in range(num_layers)]


def pick_layers(weights: dict[str, Tensor], chosen: list[int]) -> dict[str, Tensor]:
    kept = {name: w for name, w in weights.items() if not name.startswith("layers.")}
    for new, old in enumerate(chosen):
        home = f"layers.{old}."
        kept |= {
            f"layers.{new}.{n.removeprefix(home)}": w
            for n, w in weights.items()
            if n.startswith(home)
        }
    return kept


def sep_id(folder: Path, config: dict[str, Any]) -> int:
    """The id of [SEP], from the tokenizer's files where there are any."""
    path = folder / "tokenizer.json"
    if path.is_file():
        if faults := tokenizer_faults(folder):
            raise ConfigError(f"{folder}: {faults[0]}")
        added = json_of(path, TOKENIZER).get("added_tokens", [])
        tokens = {token.get("content"): token.get("id") for token in added}
        for token in ("[SEP]", "</s>"):
            if token in tokens:
                return tokens[token]
    return config.get("sep_token_id") or (
        2 if config["model_type"] in ("mpnet", "roberta") else 102
    )


def heads_from(
    weights: dict[str, Tensor], encoder: AdaptiveEncoder, where: str
) -> dict[str, Tensor]:
    """A pretrained pooler starts every head's dense layer; a classifier becomes the last head, as
    far as names and sizes fit."""
    last = str(encoder.shape.num_layers)
    num_labels = len(weights.get("classes.weight", range(encoder.num_labels)))
    if num_labels != encoder.num_labels:
        raise ConfigError(
            f"{where}: its classifier has {num_labels} classes, the task {encoder.num_labels}"
        )
    heads = {}
    for layer, head in encoder.heads.items():
        for name, own in head.named_parameters():
            fits = name in weights and weights[name].shape == own.shape
            if fits and (layer == last or name.startswith("dense.")):
                heads[f"heads.{layer}.{name}"] = weights[name]
    return heads


def default_activation(config: dict[str, Any], weights: dict[str, Tensor]) -> str | None:
    if config["model_type"] == "eat":
        return config["head"].get("activation")
    return FAMILIES[config["model_type"]].activation if "dense.weight" in weights else "tanh"


def load_pretrained(
    pretrained: str,
    num_labels: int,
    attention: Any,
    reduction: Any,
    exit: Any,
    head: dict[str, Any],
    num_layers: int | None = None,
    take: str = "first",
    tokenizer: Any = None,
    **overrides: Any,
) -> AdaptiveEncoder:
    """An encoder from a Hugging Face body (a folder or a hub name) or from a finished run's model
    folder; heads are new, or the last one is the folder's.

    num_layers: build fewer layers than the body has, taking its first ones or spreading evenly
    (`take`). overrides: fields of `Shape`, such as dropout. Returned in training mode.
    """
    name, folder = pretrained, model_folder(pretrained)
    config = read_config(folder)
    tuned = config["model_type"] == "eat"
    sep = sep_id(folder, config) if tokenizer is None else tokenizer.sep_token_id
    source = source_shape(config, folder, sep)
    num_layers = num_layers or source.num_layers
    if num_layers > source.num_layers:
        raise ConfigError(
            f"encoder.num_layers must be in 1..{source.num_layers} for {name}, got {num_layers}"
        )
    weights = read_weights(folder)
    if tuned:
        weights = tuned_weights(weights, source.num_layers)
    else:
        weights = rename(weights, FAMILIES[config["model_type"]])
    sizes_there = {name: list(weight.shape) for name, weight in weights.items()}
    if faults := claim_faults(source, sizes_there) or number_fault(weights):
        raise ConfigError(f"{name}: {faults[0]}")
    try:
        weights = weights if tuned else fuse(weights, source.num_layers)
    except KeyError as error:
        raise ConfigError(f"{name}: model.safetensors lacks {one_line(error)}") from None
    weights = pick_layers(weights, chosen_layers(source.num_layers, num_layers, take))
    head = with_activation(head, default_activation(config, weights))
    sizes: dict[str, Any] = asdict(source) | overrides | {"num_layers": num_layers}
    shape = Shape(**sizes)
    encoder = AdaptiveEncoder(shape, num_labels, attention, reduction, exit, head)
    if encoder.relative is not None:
        weights["relative"] = weights["relative.weight"]
    body = {n: w for n, w in weights.items() if n in encoder.state_dict()}
    loaded = body | heads_from(weights, encoder, name)
    # What fine-tuning makes is in no pretrained body: heads, the strength, parameters of methods.
    absent = encoder.load_state_dict(loaded, strict=False).missing_keys
    missing = [n for n in absent if n.startswith(("embedding", "layers", "relative"))]
    if missing:
        raise ConfigError(
            f"{name}: model.safetensors lacks {missing[0]} and {len(missing) - 1} more"
        )
    return encoder.train()


def fresh(
    num_labels: int,
    attention: Any,
    reduction: Any,
    exit: Any,
    head: dict[str, Any],
    tokenizer: Any,
    num_layers: int,
    pretrained: None = None,
    **shape: Any,
) -> AdaptiveEncoder:
    """An encoder with random weights for a tokenizer's vocabulary. shape: fields of `Shape`."""
    whole = Shape(
        vocab_size=len(tokenizer),
        num_layers=num_layers,
        sep_token_id=tokenizer.sep_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **shape,
    )
    head = with_activation(head, "tanh")
    return AdaptiveEncoder(whole, num_labels, attention, reduction, exit, head)


def encoder_faults(
    num_layers: Any = None,
    pretrained: str | None = None,
    take: str = "first",
    random: bool = False,
    **overrides: Any,
) -> list[str]:
    """What is wrong with an encoder's settings, as far as it shows before weights are read."""
    if not isinstance(num_layers, int) or isinstance(num_layers, bool) or num_layers < 1:
        return [f"encoder.num_layers must be 1 or more, got {num_layers!r}"]
    faults = [] if take in TAKES else [f"encoder.take must be first or alternate, got {take!r}"]
    names = {f.name for f in fields(Shape)} if random else {"dropout", "attention_dropout"}
    names -= {"vocab_size", "sep_token_id", "pad_token_id"}  # the tokenizer's
    faults += [f"encoder.{key} is not an option" for key in overrides if key not in names]
    for key in ("dropout", "attention_dropout"):
        faults += number_faults(f"encoder.{key}", [overrides.get(key, 0.0)], "[0, 1)")
    if random:
        return faults or size_faults(**overrides)
    if not isinstance(pretrained, str):
        return [*faults, f"encoder.pretrained must be a folder or a hub's name, got {pretrained!r}"]
    looks_local = pretrained.startswith((".", "/", "~")) or pretrained.count("/") > 1
    if looks_local and not Path(pretrained).is_dir():
        return [*faults, f"encoder.pretrained={pretrained}: there is no such folder"]
    if Path(pretrained).is_dir():
        return faults + folder_faults(Path(pretrained), num_layers)
    return faults


def size_faults(
    hidden_size: Any = None,
    num_heads: Any = None,
    intermediate_size: Any = None,
    hidden_act: str = "gelu",
    eps: Any = 1e-12,
    **counts: Any,
) -> list[str]:
    """Of an encoder with random weights; counts: positions, token types and the like."""
    sizes = {
        "hidden_size": hidden_size,
        "num_heads": num_heads,
        "intermediate_size": intermediate_size,
        "max_positions": counts.get("max_positions", 512),
    }
    least = {"type_vocab_size": 0, "position_offset": 0, "relative_buckets": 0}
    faults = [f for key, value in sizes.items() for f in whole_faults(f"encoder.{key}", value, 1)]
    faults += [
        f for k, low in least.items() for f in whole_faults(f"encoder.{k}", counts.get(k, low), low)
    ]
    faults += number_faults("encoder.eps", [eps], "(0, inf)")
    if hidden_act not in ACTIVATIONS:
        faults.append(
            f"encoder.hidden_act must be among {', '.join(ACTIVATIONS)}, got {hidden_act!r}"
        )
    if not faults and hidden_size % num_heads:
        faults.append(f"encoder.num_heads must divide hidden_size={hidden_size}, got {num_heads}")
    return faults


def folder_faults(folder: Path, num_layers: int) -> list[str]:
    """Of a pretrained body, from its config.json."""
    try:
        config = read_config(folder)
        shape = source_shape(config, folder, 0)
    except ConfigError as error:
        return [str(error)]
    faults = []
    if num_layers > shape.num_layers:
        most = shape.num_layers
        faults.append(f"encoder.num_layers must be in 1..{most} for {folder}, got {num_layers}")
    positions = config.get("position_embedding_type", "absolute")
    if positions != "absolute":
        faults.append(f"{folder}: position_embedding_type must be absolute, got {positions!r}")
    return faults


def has_classifier(folder: Path) -> bool:
    return any(name.startswith("classifier.") for name in read_weights(folder))


def class_faults(pretrained: str | None, num_labels: int) -> list[str]:
    """Whether a local folder's classifier fits the task, from the header of its weights."""
    path = Path(pretrained or "") / "model.safetensors"
    if not pretrained or not path.is_file():
        return []
    try:
        ends = ("classifier.weight", "classifier.out_proj.weight", ".classes.weight")
        found = {size[0] for name, size in sizes_in(path).items() if name.endswith(ends) and size}
    except (SafetensorError, OSError) as error:
        return [f"{path}: not a whole safetensors file ({error})"]
    return [
        f"encoder.pretrained={pretrained}: its classifier has {n} classes, the task {num_labels}"
        for n in found
        if n != num_labels
    ]


def model_config(encoder: AdaptiveEncoder, labels: list[str]) -> dict[str, Any]:
    """config.json of a model folder, in Hugging Face's form; a regression needs no label names."""
    labels = labels or [f"LABEL_{i}" for i in range(encoder.num_labels)]
    return {
        "model_type": "eat",
        "architectures": ["EatForSequenceClassification"],
        "dtype": str(encoder.embedding.word.weight.dtype).removeprefix("torch."),
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        **asdict(encoder.shape),
        "head": encoder.head,
        "attention": spec("attention", encoder.attention),
        "reduction": spec("reduction", encoder.reduction),
        "exit": spec("exit", encoder.exit),
        "policy": portable(encoder.policies),
    }


def save_model(
    encoder: AdaptiveEncoder,
    labels: list[str],
    folder: Path,
    objective: dict[str, Any] | None = None,
) -> None:
    """Write config.json and model.safetensors, each beside its place and then renamed.

    objective: the spec of what the weights were trained for, for whoever trains them further.
    """
    config = model_config(encoder, labels)
    config |= {} if objective is None else {"objective": objective}
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        f"encoder.{n}": w.detach().cpu().contiguous() for n, w in encoder.state_dict().items()
    }
    beside = folder / "model.safetensors.part"
    save_file(weights, beside, metadata={"format": "pt"})
    os.replace(beside, folder / "model.safetensors")
    beside = folder / "config.json.part"
    beside.write_text(json.dumps(config, indent=2))
    os.replace(beside, folder / "config.json")


def shape_in(config: dict[str, Any]) -> Shape:
    return Shape(**sizes_in_run(config))


def encoder_from(config: dict[str, Any], num_labels: int) -> AdaptiveEncoder:
    """An encoder with fresh weights from the config of a model folder."""
    shape = shape_in(config)
    specs = {slot: config[slot] for slot in ("attention", "reduction", "exit")}
    slots = build_all(specs, shape.num_layers)
    policies = from_folder(config.get("policy", []))
    encoder = AdaptiveEncoder(shape, num_labels, **slots, head=config["head"], policies=policies)
    faults = slot_faults(slots["exit"], encoder.head["layers"], shape.num_layers, num_labels)
    if faults:
        raise ValueError("; ".join(faults))
    return encoder


def load_model(folder: Path | str) -> tuple[AdaptiveEncoder, list[str]]:
    """The encoder of a model folder, in evaluation mode, and its label names."""
    folder = Path(folder)
    config = read_config(folder)
    if config["model_type"] != "eat":
        raise ConfigError(f"{folder}: model_type must be eat, got {config['model_type']!r}")
    weights = {n.removeprefix("encoder."): w for n, w in read_weights(folder).items()}
    try:
        labels = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
        sizes = {name: list(weight.shape) for name, weight in weights.items()}
        raise_faults(claim_faults(shape_in(config), sizes) or number_fault(weights))
        encoder = encoder_from(config, len(labels))
        encoder.load_state_dict(weights)
        raise_faults(number_faults("strength", encoder.strength.item(), "[0, 1]"))
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ConfigError(f"{folder}: {UNFIT} ({one_line(error)})") from None
    return encoder.eval(), labels
