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

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from eat_lightning.encoder import AdaptiveEncoder, Shape
from eat_lightning.errors import ConfigError
from eat_lightning.families import FAMILIES, fuse, rename, shape_of
from eat_lightning.heads import ACTIVATIONS, slot_faults
from eat_lightning.policies import from_folder, portable
from eat_lightning.slots import build_all, number_faults, spec, whole_faults


def read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text())
    except FileNotFoundError:
        raise ConfigError(f"{folder}: no config.json, so not a model folder") from None
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{folder / 'config.json'}: cannot be read ({error})") from None
    known = [*FAMILIES, "eat"]
    if not isinstance(config, dict) or config.get("model_type") not in known:
        kind = config.get("model_type") if isinstance(config, dict) else config
        raise ConfigError(f"{folder}: model_type must be one of {', '.join(known)}, got {kind!r}")
    return config


def read_weights(folder: Path) -> dict[str, Tensor]:
    path = folder / "model.safetensors"
    if not path.is_file():
        raise ConfigError(f"{folder}: no model.safetensors (other weight files are not read)")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"{path}: not a whole safetensors file ({error})") from None


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
    for name in ("tokenizer.json",):
        path = folder / name
        if path.is_file():
            tokens = {t["content"]: t["id"] for t in json.loads(path.read_text())["added_tokens"]}
            for token in ("[SEP]", "</s>"):
                if token in tokens:
                    return tokens[token]
    return config.get("sep_token_id") or (
        2 if config["model_type"] in ("mpnet", "roberta") else 102
    )


def heads_from(
    weights: dict[str, Tensor], encoder: AdaptiveEncoder, where: str
) -> dict[str, Tensor]:
    """A pretrained pooler starts every head's dense layer; a classifier becomes the last head."""
    heads = {}
    for layer, head in encoder.heads.items():
        last = int(layer) == encoder.shape.num_layers
        if head.dense is not None and "dense.weight" in weights:
            heads |= {f"heads.{layer}.dense.{e}": weights[f"dense.{e}"] for e in ("weight", "bias")}
        if last and "classes.weight" in weights:
            num_labels = len(weights["classes.weight"])
            if num_labels != encoder.num_labels:
                raise ConfigError(
                    f"{where}: its classifier has {num_labels} classes, the task "
                    f"{encoder.num_labels}"
                )
            heads |= {
                f"heads.{layer}.classes.{e}": weights[f"classes.{e}"] for e in ("weight", "bias")
            }
    return heads


def default_activation(config: dict[str, Any], weights: dict[str, Tensor]) -> str | None:
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
    """An encoder from a Hugging Face body (a folder or a hub name); heads are new or the folder's.

    num_layers: build fewer layers than the body has, taking its first ones or spreading evenly
    (`take`). overrides: fields of `Shape`, such as dropout. Returned in training mode.
    """
    name, folder = pretrained, model_folder(pretrained)
    config = read_config(folder)
    if config["model_type"] == "eat":
        raise ConfigError(
            f"encoder.pretrained={name} is a finished run's model, not a body to start from"
        )
    sep = sep_id(folder, config) if tokenizer is None else tokenizer.sep_token_id
    source = shape_of(config, sep)
    num_layers = num_layers or source.num_layers
    if num_layers > source.num_layers:
        raise ConfigError(
            f"encoder.num_layers must be in 1..{source.num_layers} for {name}, got {num_layers}"
        )
    weights = rename(read_weights(folder), FAMILIES[config["model_type"]])
    weights = pick_layers(
        fuse(weights, source.num_layers), chosen_layers(source.num_layers, num_layers, take)
    )
    if head.get("activation", "auto") == "auto":
        head = head | {"activation": default_activation(config, weights)}
    sizes: dict[str, Any] = asdict(source) | overrides | {"num_layers": num_layers}
    shape = Shape(**sizes)
    encoder = AdaptiveEncoder(shape, num_labels, attention, reduction, exit, head)
    if encoder.relative is not None:
        weights["relative"] = weights["relative.weight"]
    body = {n: w for n, w in weights.items() if n in encoder.state_dict()}
    loaded = body | heads_from(weights, encoder, name)
    missing = [
        n for n in encoder.load_state_dict(loaded, strict=False).missing_keys if n[:5] != "heads"
    ]
    missing = [n for n in missing if n != "strength"]
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
    if head.get("activation") == "auto":
        head = head | {"activation": "tanh"}
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
        shape = None if config["model_type"] == "eat" else shape_of(config, 0)
    except ConfigError as error:
        return [str(error)]
    except (TypeError, KeyError) as error:
        return [f"{folder / 'config.json'}: lacks sizes ({error})"]
    if shape is None:
        return [f"encoder.pretrained={folder} is a run's model, not a body to start from"]
    faults = []
    if num_layers > shape.num_layers:
        most = shape.num_layers
        faults.append(f"encoder.num_layers must be in 1..{most} for {folder}, got {num_layers}")
    if shape.hidden_act not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        faults.append(f"{folder}: hidden_act must be among {known}, got {shape.hidden_act!r}")
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
        with safe_open(path, framework="pt") as weights:
            ends = ("classifier.weight", "classifier.out_proj.weight")
            names = [name for name in weights.keys() if name.endswith(ends)]  # noqa: SIM118
            found = [weights.get_slice(name).get_shape()[0] for name in names]
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


def save_model(encoder: AdaptiveEncoder, labels: list[str], folder: Path) -> None:
    """Write config.json and model.safetensors, each beside its place and then renamed."""
    config = model_config(encoder, labels)
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


def encoder_from(config: dict[str, Any], num_labels: int) -> AdaptiveEncoder:
    """An encoder with fresh weights from the config of a model folder."""
    shape = Shape(**{f.name: config[f.name] for f in fields(Shape) if f.name in config})
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
    try:
        labels = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
        encoder = encoder_from(config, len(labels))
        weights = {n.removeprefix("encoder."): w for n, w in read_weights(folder).items()}
        encoder.load_state_dict(weights)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        first = " ".join(str(error).split())[:300]
        raise ConfigError(f"{folder}: not a model that can be loaded ({first})") from None
    return encoder.eval(), labels
