"""Load backbones of any family into the encoder; read and write model folders.

A model folder holds config.json (names and plain arguments) and model.safetensors: in the encoder's
own form, or as transformers' classifier with the rest in `exits/` (`hf_folder.save_run_model`).
Loading one imports nothing that the config names, except modules of the slots.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from eat_lightning.answer_kind import SCORE, AnswerKind, kind_of
from eat_lightning.errors import ConfigError, one_line
from eat_lightning.files import write_text
from eat_lightning.model.contracts import Policy
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.heads import as_pretrained, slot_faults
from eat_lightning.model.policies import from_folder, portable
from eat_lightning.model.shape import Probability, Shape, shape_faults
from eat_lightning.model.specification import (
    MODEL_SLOTS,
    STATIC,
    Specification,
    build_all,
    specs_by_slot,
)
from eat_lightning.untrusted import TOKENIZER, json_of, tokenizer_faults
from eat_lightning.validation import Count, Share, raise_faults, value_faults
from eat_lightning.weights.families import FAMILIES
from eat_lightning.weights.files import (
    EXITS,
    SAFE,
    own_config,
    read_weights,
    save_weights,
    sizes_in,
    weight_files,
)
from eat_lightning.weights.hf_names import fuse, rename, sizes_of, tuned_weights
from eat_lightning.weights.hub import model_folder, nearest_backbone
from eat_lightning.weights.pretrained_head import (
    NEW_HEAD,
    classifier_found,
    head_found,
    heads_from,
)
from eat_lightning.weights.untrusted import UNFIT, read_config, weight_faults

TAKES = ("first", "alternate")
BACKBONE = ("embedding", "layers", "relative", "final_norm")  # what no fine-tuning makes
SHARES = ("dropout", "attention_dropout", "layerdrop")  # what training leaves out, and no weight


def layers_taken(num_source: int, num_layers: int, take: str) -> list[int]:
    """Return the first layers, or evenly spaced ones (12 -> 6: 0 2 4 7 9 11, 0-based as
    DistilBERT's).
    """
    if take == "alternate" and num_layers > 1:
        return [round(i * (num_source - 1) / (num_layers - 1)) for i in range(num_layers)]
    return list(range(num_layers))


def pick_layers(weights: dict[str, Tensor], chosen: Sequence[int]) -> dict[str, Tensor]:
    """Return a backbone with only these layers (0-based)."""
    kept = {name: w for name, w in weights.items() if not name.startswith("layers.")}
    for new, old in enumerate(chosen):
        home = f"layers.{old}."
        names = [name for name in weights if name.startswith(home)]
        kept |= {f"layers.{new}.{n.removeprefix(home)}": weights[n] for n in names}
    return kept


def sep_id(folder: Path, config: dict[str, Any]) -> int:
    """Return the id of [SEP] from the tokenizer's files if there are any, else from the family."""
    path = folder / "tokenizer.json"
    if path.is_file():
        if faults := tokenizer_faults(folder):
            raise ConfigError(f"{folder}: {faults[0]}")
        try:
            added = json_of(path, TOKENIZER).get("added_tokens", [])
            tokens = {str(token["content"]): token["id"] for token in added}
        except (ValueError, OSError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"{path}: not a tokenizer ({one_line(error)})") from None
        for token in ("[SEP]", "</s>"):
            if token in tokens:
                return tokens[token]
    family = FAMILIES.get(config["model_type"])
    return config.get("sep_token_id") or (family.sep_token_id if family else 102)


def source_shape(config: dict[str, Any], folder: Path, sep_token_id: int = 0) -> Shape:
    """Return the shape of a backbone or of a run's model.

    Raises:
        ConfigError: for a shape that no encoder supports.
    """
    try:
        sizes = sizes_of(config, sep_token_id)
        faults = shape_faults(sizes)
        if not faults:
            return Shape(**sizes)
    except (TypeError, KeyError) as error:
        faults = [f"lacks sizes ({error})"]
    raise ConfigError(f"{folder / 'config.json'}: {one_line(faults[0])}")


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
    kind: AnswerKind | None = None,
    column: int | None = None,
    **overrides: Any,
) -> AdaptiveEncoder:
    """Load an encoder from a Hugging Face backbone (a folder or a hub name) or a finished run's
    model folder. Heads are new, or the last one is the folder's. It is returned in training mode.

    Args:
        num_layers: build fewer layers than the backbone has, the first or evenly spaced ones
            (`take`).
        column: the logit of the folder's classifier that the last head outputs.
        overrides: fields of `Shape`, such as dropout.
    """
    name, folder = pretrained, model_folder(pretrained)
    config = read_config(folder)
    sep = sep_id(folder, config) if tokenizer is None else tokenizer.sep_token_id
    source = source_shape(config, folder, sep)
    num_layers = num_layers or source.num_layers
    if num_layers > source.num_layers:
        raise ConfigError(
            f"encoder.num_layers must be in 1..{source.num_layers} for {name}, got {num_layers}"
        )
    weights = source_weights(name, folder, config, source)
    if column is not None:
        rows = ("classes.weight", "classes.bias")
        weights |= {row: weights[row][column : column + 1] for row in rows if row in weights}
    chosen = layers_taken(source.num_layers, num_layers, take)
    if num_layers < source.num_layers and source.layer_groups > 1:  # of which none can go
        raise ConfigError(
            f"encoder.num_layers must be {source.num_layers}, got {num_layers}: this backbone's "
            f"layers share the weights of {source.layer_groups} groups"
        )
    shape = replace(source.of_layers(chosen), **overrides)
    if not source.layer_groups:
        weights = pick_layers(weights, chosen)
    found, keeps = head_found(config, weights), head.get("last") == "auto"
    head = as_pretrained(head, found, classifier_found(config, weights, found))
    encoder = AdaptiveEncoder(shape, num_labels, attention, reduction, exit, head, kind=kind)
    fill(encoder, weights, name, keeps)
    return encoder.train()


def source_weights(
    name: str, folder: Path, config: dict[str, Any], source: Shape
) -> dict[str, Tensor]:
    """Return the weights of a backbone or of a run's model under the encoder's names.

    Raises:
        ConfigError: where they do not match its shape.
    """
    if config["model_type"] == "eat":
        weights = tuned_weights(own_weights(folder, config), source.num_layers)
        family = None
    else:
        family = FAMILIES[config["model_type"]]
        if faults := family.faults(config):
            raise ConfigError(f"{name}: {one_line(faults[0])}")
        weights = rename(read_weights(folder, old=True), family)
    try:
        weights = weights if family is None else fuse(weights, source.num_distinct)
    except KeyError as error:
        raise ConfigError(f"{name}: its weights lack {one_line(error)}") from None
    with torch.device("meta"):
        static = AdaptiveEncoder(source, 1, **build_all(STATIC, source.num_layers), head={})
    wanted = {n: w for n, w in static.state_dict().items() if n.startswith(BACKBONE)}
    if faults := weight_faults(wanted, weights):
        raise ConfigError(f"{name}: {faults[0]}")
    return weights


def fill(
    encoder: AdaptiveEncoder, weights: dict[str, Tensor], name: str, keeps: bool = False
) -> None:
    """Load a backbone, and the compatible parts of its head.

    Args:
        keeps: the last head's answers stay unchanged, including its temperature.
    """
    backbone = {n: w for n, w in weights.items() if n in encoder.state_dict()}
    # No pretrained backbone has the parts of fine-tuning: heads, strength, methods' parameters.
    encoder.load_state_dict(backbone | heads_from(weights, encoder, name, keeps), strict=False)


def fresh(
    num_labels: int,
    attention: Any,
    reduction: Any,
    exit: Any,
    head: dict[str, Any],
    tokenizer: Any,
    num_layers: int,
    pretrained: None = None,
    kind: AnswerKind | None = None,
    **shape: Any,
) -> AdaptiveEncoder:
    """Return an encoder with random weights for a tokenizer's vocabulary.

    Args:
        shape: fields of `Shape`.
    """
    whole = Shape(
        vocab_size=len(tokenizer),
        num_layers=num_layers,
        sep_token_id=tokenizer.sep_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **shape,
    )
    head = as_pretrained(head, NEW_HEAD)
    return AdaptiveEncoder(whole, num_labels, attention, reduction, exit, head, kind=kind)


def encoder_faults(
    num_layers: Any = None,
    pretrained: str | None = None,
    take: str = "first",
    random: bool = False,
    **overrides: Any,
) -> list[str]:
    """List errors in an encoder's settings that can be found without reading weights."""
    if faults := value_faults(Count, "encoder.num_layers", num_layers):
        return faults
    faults = [] if take in TAKES else [f"encoder.take must be first or alternate, got {take!r}"]
    names = {f.name for f in fields(Shape)} if random else {*SHARES}
    names -= {"vocab_size", "sep_token_id", "pad_token_id"}  # the tokenizer's
    faults += [f"encoder.{key} is not an option" for key in overrides if key not in names]
    if random:
        sizes = {"vocab_size": 1, "num_layers": num_layers} | overrides
        return faults or [f"encoder.{fault}" for fault in shape_faults(sizes)]
    for key in SHARES:
        faults += value_faults(Probability, f"encoder.{key}", overrides.get(key, 0.0))
    if not isinstance(pretrained, str):
        return [*faults, f"encoder.pretrained must be a folder or a hub's name, got {pretrained!r}"]
    folder, looks_local = Path(pretrained), pretrained.startswith((".", "/", "~"))
    if folder.is_dir():
        return faults + folder_faults(folder, num_layers)
    if looks_local or pretrained.count("/") > 1:
        near = nearest_backbone(pretrained)
        faults.append(f"encoder.pretrained={pretrained}: there is no such folder{near}")
    return faults


def folder_faults(folder: Path, num_layers: int) -> list[str]:
    """List errors in a pretrained backbone, from its config.json."""
    try:
        config = read_config(folder)
        most = source_shape(config, folder).num_layers
    except ConfigError as error:
        return [str(error)]
    faults = []
    if num_layers > most:
        faults.append(f"encoder.num_layers must be in 1..{most} for {folder}, got {num_layers}")
    family = FAMILIES.get(config["model_type"])
    faults += [f"{folder}: {one_line(f)}" for f in (family.faults(config) if family else [])]
    return faults


def classes_in(folder: Path) -> set[int]:
    """Return the numbers of classes of a local folder's classifiers, from the weights' header."""
    files = [path for path in weight_files(folder) if path.suffix == ".safetensors"]
    return class_counts(sizes_in(files))


def class_counts(sizes: Mapping[str, Sequence[int]]) -> set[int]:
    """Return the numbers of classes of classifiers among weights, by their names and sizes."""
    # With a dot before: DistilBERT's pre_classifier is a layer, and has no classes.
    ends = (".classifier.weight", ".classifier.out_proj.weight", ".classes.weight")
    return {size[0] for name, size in sizes.items() if f".{name}".endswith(ends) and size}


def has_classes(pretrained: str | None) -> bool:
    """True if a backbone has a classifier, or may have one. This is unknown for a hub name before
    the download, and for .bin files, which do not list sizes.
    """
    if pretrained is None or not Path(pretrained).is_dir():
        return pretrained is not None
    folder = Path(pretrained)
    try:
        return bool(classes_in(folder)) or any(
            p.suffix != ".safetensors" for p in weight_files(folder)
        )
    except (ConfigError, SafetensorError, OSError):
        return True  # `class_faults` says what is wrong


def depth_of(pretrained: str | None) -> int | None:
    """Number of layers of a local folder's backbone; None where its files do not say."""
    if pretrained is None or not Path(pretrained).is_dir():
        return None
    try:
        return source_shape(read_config(Path(pretrained)), Path(pretrained)).num_layers
    except ConfigError:
        return None  # `folder_faults` says why


def class_faults(pretrained: str | None, kind: AnswerKind) -> list[str]:
    """List the error of a local folder's classifier that does not fit the kind of answers."""
    folder = Path(pretrained or "")
    if not pretrained or not folder.is_dir():
        return []
    try:
        found, there = classes_in(folder), read_config(folder).get("problem_type")
    except ConfigError as error:
        return [str(error)]
    except (SafetensorError, OSError) as error:
        return [f"{folder / SAFE}: not a whole safetensors file ({error})"]
    if found and there is not None and there != kind.problem_type:
        return [
            f"encoder.pretrained={pretrained}: its classifier's problem_type is {there!r:.60}, the "
            f"task's {kind.problem_type}"
        ]
    fitting = {kind.num_labels, kind.with_error().width}
    return [
        f"encoder.pretrained={pretrained}: its classifier has {n} classes, the task "
        f"{kind.num_labels}"
        for n in found - fitting
    ]


def model_config(encoder: AdaptiveEncoder, labels: list[str]) -> dict[str, Any]:
    """Return the config.json of a model folder in Hugging Face's format. A regression needs no
    label names.
    """
    labels = labels or [f"LABEL_{i}" for i in range(encoder.num_labels)]
    return {
        "model_type": "eat",
        "architectures": ["EatForSequenceClassification"],
        "dtype": str(encoder.embedding.word.weight.dtype).removeprefix("torch."),
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        **encoder.kind.spec(),
        **asdict(encoder.shape),
        "head": encoder.head,
        **{slot: method.as_dict() for slot, method in specs_by_slot(encoder).items()},
        "policy": portable(encoder.policies),
    }


def save_model(
    encoder: AdaptiveEncoder,
    labels: list[str],
    folder: Path,
    objective: Specification | None = None,
) -> None:
    """Write config.json and model.safetensors.

    Args:
        objective: the training objective, stored for further training.
    """
    config = model_config(encoder, labels)
    config |= {} if objective is None else {"objective": objective.as_dict()}
    save_weights({f"encoder.{n}": w for n, w in encoder.state_dict().items()}, folder)
    write_text(folder / "config.json", json.dumps(config, indent=2))


def encoder_from(config: dict[str, Any], num_labels: int) -> AdaptiveEncoder:
    """Return an encoder with new weights from the config of a model folder."""
    shape = Shape(**sizes_of(config, 0))
    specs = {slot: config[slot] for slot in MODEL_SLOTS}
    slots = build_all(specs, shape.num_layers)
    policies = from_folder(config.get("policy", []))
    kind, head = kind_of(config, num_labels), config["head"]
    encoder = AdaptiveEncoder(shape, num_labels, **slots, head=head, policies=policies, kind=kind)
    raise_faults(slot_faults(slots["exit"], encoder.head["layers"], shape.num_layers, kind))
    return encoder


def claimed(config: dict[str, Any], num_labels: int) -> dict[str, Tensor]:
    """Return the weights that a model folder's config requires, by name, on the meta device."""
    with torch.device("meta"):
        return encoder_from(config, num_labels).state_dict()


def own_weights(folder: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return all weights of a run's model, in either form, under the encoder's names.

    Raises:
        ConfigError: where they cannot be read.
    """
    weights = read_weights(folder)
    if own_config(folder) is None:
        return {name.removeprefix("encoder."): weight for name, weight in weights.items()}
    plain = backbone_weights(weights, folder, config.get("layer_groups") or config["num_layers"])
    return plain | read_weights(folder / EXITS)


def backbone_weights(
    weights: dict[str, Tensor], folder: Path, num_distinct: int
) -> dict[str, Tensor]:
    """Return the backbone of transformers' classifier under the encoder's names."""
    family = FAMILIES[json_of(folder / "config.json")["model_type"]]
    try:
        ours = fuse(rename(weights, family), num_distinct)
    except KeyError as error:
        raise ConfigError(f"{folder}: its weights lack {one_line(error)}") from None
    except RuntimeError as error:
        raise ConfigError(f"{folder}: {UNFIT} ({one_line(error, 120)})") from None
    return {name: weight for name, weight in ours.items() if name.startswith(BACKBONE)}


def load_model(folder: Path | str) -> tuple[AdaptiveEncoder, list[str]]:
    """Load the encoder of a model folder in evaluation mode, and its label names (none for a
    score).
    """
    folder = Path(folder)
    config = read_config(folder)
    if config["model_type"] != "eat":
        raise ConfigError(f"{folder}: model_type must be eat, got {config['model_type']!r}")
    weights = own_weights(folder, config)
    try:
        labels = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
        raise_faults(weight_faults(claimed(config, len(labels)), weights))
        encoder = encoder_from(config, len(labels))
        encoder.load_state_dict(weights)
        labels = [] if encoder.kind.problem_type == SCORE else labels
        raise_faults(value_faults(Share, "strength", encoder.strength.item()))
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ConfigError(f"{folder}: {UNFIT} ({one_line(error)})") from None
    return encoder.eval(), labels


def load_second_runs(policies: Iterable[Policy]) -> None:
    """Load the encoder and labels for policies that query a second run (`policy.veto.run`)."""
    for policy in policies:
        if (folder := policy.wants_model()) is not None:
            policy.take_model(*load_model(folder))
