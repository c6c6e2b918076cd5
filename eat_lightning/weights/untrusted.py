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
from eat_lightning.model.heads import ACTIVATIONS, head_faults
from eat_lightning.model.layer import FEED_FORWARDS, NORMS
from eat_lightning.model.positions import DISTANCES
from eat_lightning.model.shape import Shape
from eat_lightning.model.specification import MODEL_SLOTS
from eat_lightning.validation import InLayers, Whole, Within
from eat_lightning.weights.families import known_family
from eat_lightning.weights.hf_names import type_fault

SMALL = 1 << 20  # bytes: configs, certificates, what a run noted; ours have some thousand
TOKENIZER = 32 << 20  # bytes of a tokenizer's file; BERT's has 0.7 million, multilingual ones 17
ROWS = 256 << 20  # bytes of a rows.jsonl; a row has two thousand
MOST_LAYERS, MOST = 1000, 2**31 - 1
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


def shape_faults(sizes: Mapping[str, Any]) -> list[str]:
    """Check the sizes of an encoder (fields of `Shape`), as a config.json gives them."""
    least = dict.fromkeys((*REQUIRED, "max_positions"), 1)
    least |= {"type_vocab_size": 0, "position_offset": 0, "relative_buckets": 0, "sep_token_id": 0}
    least |= {"pad_token_id": 0, "head_width": 0, "embedding_size": 0, "layer_groups": 0}
    least["local_window"] = 0
    faults = [f for key, low in least.items() for f in Whole(low).lines(key, sizes.get(key, low))]
    faults += [
        f"{key} must be at most {most}, got {sizes[key]}"
        for key in least
        if not faults and sizes.get(key, 0) > (most := MOST_LAYERS if key == "num_layers" else MOST)
    ]
    faults += Within("(0, 1)").lines("eps", sizes.get("eps", 1e-12))
    for key in ("dropout", "attention_dropout", "layerdrop"):
        faults += Within("[0, 1)").lines(key, sizes.get(key, 0.0))
    act = sizes.get("hidden_act", "gelu")
    if not isinstance(act, str) or act not in ACTIVATIONS:
        faults.append(f"hidden_act must be among {', '.join(ACTIVATIONS)}, got {act!r}")
    if not faults:
        faults += head_size_faults(sizes) + by_layer_faults(sizes) + part_faults(sizes)
    if not faults and sizes.get("max_positions", 512) <= sizes.get("position_offset", 0):
        faults.append(f"max_positions must be above position_offset, got {sizes['max_positions']}")
    return faults


def head_size_faults(sizes: Mapping[str, Any]) -> list[str]:
    """Heads fill the width, or are as wide as `head_width` says and are no more than would."""
    width, heads, of_head = sizes["hidden_size"], sizes["num_heads"], sizes.get("head_width", 0)
    if not of_head and width % heads:
        return [f"num_heads must divide hidden_size={width}, got {heads}"]
    if of_head and width % of_head:
        return [f"head_width must divide hidden_size={width}, got {of_head}"]
    if of_head and heads * of_head > width:
        return [f"num_heads must be in 1..{width // of_head} at head_width={of_head}, got {heads}"]
    return []


def part_faults(sizes: Mapping[str, Any]) -> list[str]:
    """Check the parts that a shape names, given that its sizes are sound."""
    faults = []
    for key, usual, known in (
        ("relative", "bias", DISTANCES),
        ("norm", "last", NORMS),
        ("feed_forward", "plain", FEED_FORWARDS),
    ):
        if (named := sizes.get(key, usual)) not in [*known]:
            faults.append(f"{key} must be one of {', '.join(known)}, got {named!r:.60}")
    faults += [
        f"{key} must be true or false, got {sizes[key]!r}"
        for key in ("absolute_positions", "biases")
        if not isinstance(sizes.get(key, True), bool)
    ]
    for key in ("rotary_base", "local_rotary_base"):
        faults += Within("(1, inf)").lines(key, sizes.get(key, 1e4))
    layers, groups = sizes["num_layers"], sizes.get("layer_groups", 0)
    faults += InLayers().lines("local_layers", sizes.get("local_layers") or [], layers)
    if groups > layers:
        faults.append(f"layer_groups must be in 0..{layers}, got {groups}")
    if not isinstance(sizes.get("family", ""), str):
        faults.append(f"family must be a name, got {sizes['family']!r:.60}")
    width = sizes.get("head_width", 0) or sizes["hidden_size"] // sizes["num_heads"]
    if not faults and sizes.get("relative") == "rotary" and width % 2:
        faults.append(f"a head must have an even width with relative=rotary, got {width}")
    few = sizes.get("relative_buckets", 0) < 2
    if not faults and sizes.get("relative") == "disentangled" and few:
        faults.append("relative_buckets must be 2 or more with relative=disentangled")
    return faults


def by_layer_faults(sizes: Mapping[str, Any]) -> list[str]:
    """Layers that differ have their widths listed, each up to the widest."""
    for key, most in (("heads_by_layer", "num_heads"), ("inner_by_layer", "intermediate_size")):
        given, count, top = sizes.get(key), sizes["num_layers"], sizes[most]
        if given is None:
            continue
        if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != count:
            return [f"{key} must list a number for each of {count} layers, got {given!r}"]
        sound = all(not Whole(1).lines(key, n) and n <= top for n in given)
        if not sound or max(given) != top:
            return [f"{key} must be in 1..{most}={top}, which is their most, got {list(given)}"]
    return []


REQUIRED = ("vocab_size", "hidden_size", "num_layers", "num_heads", "intermediate_size")


def model_faults(config: Mapping[str, Any]) -> list[str]:
    """Check a run's config.json; its methods are checked where they are built."""
    faults = [f"{key} is missing" for key in REQUIRED if key not in config]
    faults = faults or shape_faults(config)
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


def claim_faults(shape: Shape, sizes: Mapping[str, Sequence[int]], prefix: str = "") -> list[str]:
    """List the error of weights whose names or sizes (by our names) do not match a shape. A shape
    that passes allocates no more memory than the file itself."""
    width = shape.hidden_size
    narrow = shape.embedding_size or width
    wanted = {"embedding.word.weight": [shape.vocab_size, narrow]}
    if shape.absolute_positions:
        wanted["embedding.position.weight"] = [shape.max_positions, narrow]
    if shape.type_vocab_size:
        wanted["embedding.token_type.weight"] = [shape.type_vocab_size, narrow]
    if shape.embedding_size:
        wanted["embedding.project.weight"] = [width, narrow]
    for i in range(shape.num_distinct):
        layer_shape = shape.at(i + 1)
        wanted[f"layers.{i}.out.weight"] = [width, layer_shape.attention_width]
        wanted[f"layers.{i}.up.weight"] = [layer_shape.up_width, width]
    for name, size in wanted.items():
        if name not in sizes:
            return [f"its weights lack {prefix}{name}"]
        if list(sizes[name]) != size:
            return [f"size mismatch: {name} is {list(sizes[name])}, its config says {size}"]
    buckets, there = shape.relative_buckets, sizes.get("relative.weight")
    of_buckets = [buckets, shape.num_heads]
    if shape.relative == "disentangled":
        of_buckets = [2 * buckets, width]
    if buckets and (there is None or list(there) != of_buckets):
        return [f"size mismatch: relative.weight is {there}, its config says {buckets} buckets"]
    return []


def weight_faults(shape: Shape, weights: Mapping[str, Tensor]) -> list[str]:
    """List the error of weights that do not match a shape or hold no numbers."""
    if faults := claim_faults(shape, {name: weight.shape for name, weight in weights.items()}):
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
