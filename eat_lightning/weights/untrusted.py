"""Files that others may have written: read with bounds, and what they ask for is checked before it
is done.

A run, a model folder, a certificate and an export are data. None is unpickled, none makes us import
what is not the package's own (or imported by its owner already), and none is believed about a size
that its weights do not have.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from eat_lightning.answer_kind import kind_of
from eat_lightning.errors import ConfigError, one_line, reading
from eat_lightning.model.heads import head_faults
from eat_lightning.model.shape import shape_faults
from eat_lightning.model.specification import MODEL_SLOTS
from eat_lightning.weights.families import known_family
from eat_lightning.weights.hf_names import type_fault

SMALL = 1 << 20  # bytes: configs, certificates, what a run noted; ours have some thousand
TOKENIZER = 32 << 20  # bytes of a tokenizer's file; BERT's has 0.7 million, multilingual ones 17
ROWS = 256 << 20  # bytes of a rows.jsonl; a row has two thousand
UNFIT = "not a model that can be loaded"


def text_of(path: Path, most: int = SMALL) -> str:
    """ValueError where it is no regular file (a pipe would never end), or larger than `most`."""
    if not path.is_file():
        raise ValueError("there is no such file")
    if (size := path.stat().st_size) > most:
        raise ValueError(f"{size} bytes, and at most {most} are read")
    return path.read_text(encoding="utf-8")


def json_of(path: Path, most: int = SMALL) -> Any:
    """ValueError or OSError where it cannot be read."""
    return parsed(text_of(path, most))


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def model_faults(config: Mapping[str, Any]) -> list[str]:
    """Check a run's config.json; its methods are checked where they are built."""
    faults = shape_faults(config)
    head = config.get("head")
    if not faults:
        faults += head_faults(config["num_layers"], head)
        if isinstance(head, Mapping) and isinstance(named := head.get("layers"), str):
            faults.append(f"head.layers must be a list of layers, got {named!r:.60}")
    for slot in MODEL_SLOTS:
        chosen = config.get(slot)
        if not isinstance(chosen, dict) or not isinstance(chosen.get("kind"), str):
            faults.append(f'{slot} must be a dict such as {{"kind": "<method>"}}, got {chosen!r}')
    names = config.get("id2label")
    names_of = names if isinstance(names, dict) else {}
    numbers = [str(i) for i in range(len(names_of))]
    if not numbers or not all(isinstance(names_of.get(i), str) for i in numbers):
        faults.append(f"id2label must name each class by its number, got {names!r}")
    if not faults:
        try:
            kind_of(config, len(numbers))
        except ValueError as error:
            faults.append(str(error))
    return faults


def read_config(folder: Path) -> dict[str, Any]:
    """ConfigError, in one line, where it is none, or asks for what no model can have."""
    path = folder / "config.json"
    if not path.exists():
        raise ConfigError(f"{folder}: no config.json, so not a model folder")
    with reading(path):
        config = json_of(path)
    kind = config.get("model_type") if isinstance(config, dict) else config
    if not isinstance(config, dict) or (kind != "eat" and known_family(kind) is None):
        raise ConfigError(f"{folder}: {one_line(type_fault(kind))}")
    if kind == "eat" and (faults := model_faults(config)):
        raise ConfigError(f"{folder}: {UNFIT} ({one_line(faults[0])})")
    return config


def claim_faults(
    wanted: Mapping[str, Tensor], sizes: Mapping[str, Sequence[int]], prefix: str = ""
) -> list[str]:
    """List the error of weights whose names or sizes do not match those of an encoder, which stands
    on torch's meta device. One that passes takes no more memory than the file itself."""
    for name, weight in wanted.items():
        if name not in sizes:
            return [f"its weights lack {prefix}{name}"]
        if (size := [*sizes[name]]) != (says := [*weight.shape]):
            return [f"size mismatch: {name} is {size}, its config says {says}"]
    return []


def weight_faults(wanted: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """List the error of weights that do not match an encoder's or hold no numbers."""
    if faults := claim_faults(wanted, {name: weight.shape for name, weight in weights.items()}):
        return faults
    for name, weight in weights.items():
        if weight.is_floating_point() and not weight.float().isfinite().all():
            return [f"{name} holds values that are no numbers (NaN or infinity)"]
    return []


MOST_STEPS = 64  # of a part of a tokenizer, with patterns and pieces; backbones' have some 20
LONGEST_ENTRY = 64  # bytes; NFKC's longest are 33
BLANKS = " {2,}"  # the one pattern of backbones' tokenizers that is no plain string
READ = (".json", ".txt", ".model", ".jinja")


def tokenizer_faults(folder: Path) -> list[str]:
    """Check the files of a local tokenizer, before a library parses them."""
    faults = []
    for path in sorted(p for p in folder.glob("*") if p.suffix in READ):
        is_config = path.name.endswith("config.json") or path.name.startswith("special")
        most = SMALL if is_config else TOKENIZER
        if not path.is_file():
            faults.append(f"{path.name}: no file that can be read")
        elif (size := path.stat().st_size) > most:
            faults.append(f"{path.name}: {size} bytes, and at most {most} are read")
    return faults


def step_faults(tokenizer: Any) -> list[str]:
    """Steps of a `tokenizers.Tokenizer` that make gigabytes of one word, or backtrack for ever.

    The steps are those that the library read, which takes a file's step without a type too. A chain
    of steps that lengthen doubles a text again and again, so each kind may come once in a part.
    """
    for part in ("normalizer", "pre_tokenizer", "post_processor"):
        step = getattr(tokenizer, part)
        nodes = [] if step is None else [*dicts_in(json.loads(step.__getstate__()))]
        if len(nodes) > MOST_STEPS:
            return [f"{part} must have at most {MOST_STEPS} steps, got {len(nodes)}"]
        kinds = Counter(node["type"] for node in nodes if "type" in node)
        for kind in kinds.keys() - {"Sequence", "Replace"}:
            if kinds[kind] > 1:
                return [f"{part} must have {kind} once, got {kinds[kind]}"]
        for node in nodes:
            if node.get("Regex", BLANKS) != BLANKS:
                return [f"{part}: a pattern must be a plain string, got {node['Regex']!r:.40}"]
            if node.get("type") == "Replace" and not is_no_longer(node):
                return [f"{part}: Replace must not lengthen a text, got {node['pattern']!s:.40}"]
            if node.get("type") == "Precompiled" and longest_entry(node) > LONGEST_ENTRY:
                return [f"{part}: Precompiled must have entries of at most {LONGEST_ENTRY} bytes"]
    return []


def dicts_in(node: Any) -> Iterator[dict[str, Any]]:
    """All dicts of a json, however deep."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def is_no_longer(step: Mapping[str, Any]) -> bool:
    """True where a replacement is at most as long as its pattern: a plain string, or two blanks and
    more."""
    pattern = step["pattern"]
    plain = "  " if "Regex" in pattern else pattern["String"]
    return 0 < len(plain) >= len(step["content"])


def longest_entry(step: Mapping[str, Any]) -> int:
    """Bytes of the longest replacement in SentencePiece's table: a trie, whose length the first
    four bytes tell, then strings that end in a zero."""
    table = b64decode(step["precompiled_charsmap"])
    strings = table[4 + int.from_bytes(table[:4], "little") :]
    return max(map(len, strings.split(b"\0")))
