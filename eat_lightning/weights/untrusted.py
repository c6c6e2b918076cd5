"""Files that others may have written: read with bounds, and what they ask for is checked before it
is done.

A run, a model folder, a certificate and an export are data. None is unpickled, none makes us import
what is not the package's own (or imported by its owner already), and none is believed about a size
that its weights do not have.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from torch import Tensor

from eat_lightning.bounds import layer_faults, number_faults, switch_faults, whole_faults
from eat_lightning.errors import ConfigError
from eat_lightning.model.heads import ACTIVATIONS, head_faults
from eat_lightning.model.layer import FEED_FORWARDS, NORMS
from eat_lightning.model.positions import DISTANCES
from eat_lightning.model.specification import MODEL_SLOTS
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


def one_line(error: object, most: int = 300) -> str:
    """What an error says, whatever the file put into it: no line breaks, no control characters."""
    words = " ".join(str(error).split())[:most]
    return "".join(c if c.isprintable() else "?" for c in words)


def shape_faults(sizes: Mapping[str, Any]) -> list[str]:
    """Check the sizes of an encoder (fields of `Shape`), as a config.json gives them."""
    least = dict.fromkeys((*REQUIRED, "max_positions"), 1)
    least |= {"type_vocab_size": 0, "position_offset": 0, "relative_buckets": 0, "sep_token_id": 0}
    least |= {"pad_token_id": 0, "head_width": 0, "embedding_size": 0, "layer_groups": 0}
    least["local_window"] = 0
    faults = [f for key, low in least.items() for f in whole_faults(key, sizes.get(key, low), low)]
    faults += [
        f"{key} must be at most {most}, got {sizes[key]}"
        for key in least
        if not faults and sizes.get(key, 0) > (most := MOST_LAYERS if key == "num_layers" else MOST)
    ]
    faults += number_faults("eps", [sizes.get("eps", 1e-12)], "(0, 1)")
    for key in ("dropout", "attention_dropout", "layerdrop"):
        faults += number_faults(key, [sizes.get(key, 0.0)], "[0, 1)")
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
    for key in ("absolute_positions", "biases"):
        faults += switch_faults(key, sizes.get(key, True))
    for key in ("rotary_base", "local_rotary_base"):
        faults += number_faults(key, [sizes.get(key, 1e4)], "(1, inf)")
    layers, groups = sizes["num_layers"], sizes.get("layer_groups", 0)
    faults += layer_faults("local_layers", sizes.get("local_layers") or [], layers)
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
        sound = all(not whole_faults(key, n, 1) and n <= top for n in given)
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
        if isinstance(head, Mapping) and head.get("layers") == "all":
            faults.append("head.layers must be a list of layers, got 'all'")
    for slot in MODEL_SLOTS:
        chosen = config.get(slot)
        if not isinstance(chosen, dict) or not isinstance(chosen.get("kind"), str):
            faults.append(f'{slot} must be a dict such as {{"kind": "<method>"}}, got {chosen!r}')
    names = config.get("id2label")
    names_of = names if isinstance(names, dict) else {}
    numbers = [str(i) for i in range(len(names_of))]
    if not numbers or not all(isinstance(names_of.get(i), str) for i in numbers):
        faults.append(f"id2label must name each class by its number, got {names!r}")
    return faults


def read_config(folder: Path) -> dict[str, Any]:
    """ConfigError, in one line, where it is none, or asks for what no model can have."""
    path = folder / "config.json"
    if not path.exists():
        raise ConfigError(f"{folder}: no config.json, so not a model folder")
    try:
        config = json_of(path)
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read ({one_line(error)})") from None
    kind = config.get("model_type") if isinstance(config, dict) else config
    if not isinstance(config, dict) or (kind != "eat" and known_family(kind) is None):
        raise ConfigError(f"{folder}: {one_line(type_fault(kind))}")
    if kind == "eat" and (faults := model_faults(config)):
        raise ConfigError(f"{folder}: {UNFIT} ({one_line(faults[0])})")
    return config


def claim_faults(shape: Any, sizes: Mapping[str, Sequence[int]], prefix: str = "") -> list[str]:
    """What a shape asks for and the weights (their sizes by our names) do not hold: what is then
    allocated is no more than the file itself."""
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
        own = shape.at(i + 1)
        wanted[f"layers.{i}.out.weight"] = [width, own.attention_width]
        wanted[f"layers.{i}.up.weight"] = [own.up_width, width]
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


def weight_faults(shape: Any, weights: Mapping[str, Tensor]) -> list[str]:
    """What weights, by our names, lack of a shape; or the first that holds no numbers."""
    if faults := claim_faults(shape, {name: weight.shape for name, weight in weights.items()}):
        return faults
    for name, weight in weights.items():
        if weight.is_floating_point() and not weight.float().isfinite().all():
            return [f"{name} holds values that are no numbers (NaN or infinity)"]
    return []


STEPS = {  # of a tokenizer.json; what is not here could grow a text, or take for ever over it
    "normalizer": "BertNormalizer Lowercase NFC NFD NFKC NFKD StripAccents Strip ByteLevel "
    "Precompiled Replace",
    "pre_tokenizer": "BertPreTokenizer ByteLevel Metaspace Whitespace WhitespaceSplit Punctuation "
    "Digits UnicodeScripts",
    "post_processor": "BertProcessing RobertaProcessing ByteLevel TemplateProcessing",
}
MOST_STEPS = 16
LONGEST_ENTRY = 64  # bytes; NFKC's longest are 33
BLANKS = " {2,}"  # the one pattern of theirs that is no plain string
READ = (".json", ".txt", ".model", ".jinja")


def tokenizer_faults(folder: Path) -> list[str]:
    """Check a local tokenizer, before a library parses it."""
    faults = []
    for path in sorted(p for p in folder.glob("*") if p.suffix in READ):
        is_config = path.name.endswith("config.json") or path.name.startswith("special")
        most = SMALL if is_config else TOKENIZER
        if not path.is_file():
            faults.append(f"{path.name}: no file that can be read")
        elif (size := path.stat().st_size) > most:
            faults.append(f"{path.name}: {size} bytes, and at most {most} are read")
    path = folder / "tokenizer.json"
    if faults or not path.exists():
        return faults
    try:
        return [f"tokenizer.json: {fault}" for fault in step_faults(json_of(path, TOKENIZER))]
    except (ValueError, OSError) as error:
        return [f"tokenizer.json: {one_line(error)}"]


def step_faults(content: Any) -> list[str]:
    """A tokenizer.json holds a small program. Its steps must be those of the bodies that we read:
    a few chained replacements make gigabytes of one word, and a pattern can backtrack for ever."""
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        return ["not a tokenizer"]
    if content["model"].get("type", "WordPiece") not in ("WordPiece", "BPE", "Unigram"):
        return [f"model.type must be WordPiece, BPE or Unigram, got {content['model'].get('type')}"]
    added = content.get("added_tokens", [])
    if not isinstance(added, list) or not all(map(is_token, added)):
        return ["added_tokens must be a list of tokens"]
    template = content.get("post_processor")
    for key in ("single", "pair"):
        pieces = template.get(key) if isinstance(template, dict) else None
        if isinstance(pieces, list) and len(pieces) > MOST_STEPS:
            return [f"{key} must add at most {MOST_STEPS} pieces, got {len(pieces)}"]
    for part, names in STEPS.items():
        known, steps = sorted(names.split()), [kind_of(s) for s in nodes_of(content.get(part))]
        if strange := [step for step in steps if step not in known]:
            return [f"{part} must be made of {', '.join(known)}, got {strange[0]!r}"]
        if len(steps) > MOST_STEPS:
            return [f"{part} must have at most {MOST_STEPS} steps, got {len(steps)}"]
    return growth_faults(content.get("normalizer"))


def growth_faults(normalizer: Any) -> list[str]:
    """Those of SentencePiece (XLM-RoBERTa, ALBERT, DeBERTa) put other characters in place of some:
    by one table whose entries are short, or by a replacement that is no longer than what it is for.
    """
    steps = [step for step in nodes_of(normalizer) if isinstance(step, dict)]
    tables = [step for step in steps if step.get("type") == "Precompiled"]
    if len(tables) > 1 or any(longest_entry(table) > LONGEST_ENTRY for table in tables):
        return [f"Precompiled must be one table of entries of at most {LONGEST_ENTRY} bytes"]
    for step in steps:
        if step.get("type") == "Replace" and not is_no_longer(step):
            return [f"Replace must not lengthen a text, got {one_line(step.get('pattern'), 40)}"]
    return []


def is_no_longer(step: Mapping[str, Any]) -> bool:
    """Whether a replacement is at most as long as its pattern: a plain string, or two blanks and
    more."""
    given, content = step.get("pattern"), step.get("content")
    pattern = given if isinstance(given, dict) else {}
    plain = "  " if pattern.get("Regex") == BLANKS else pattern.get("String")
    if not isinstance(plain, str) or not isinstance(content, str):
        return False
    return len(content) <= len(plain)


def longest_entry(step: Mapping[str, Any]) -> int:
    """Bytes of the longest replacement in SentencePiece's table: a trie, whose length the first
    four bytes tell, then strings that end in a zero."""
    try:
        table = b64decode(step["precompiled_charsmap"], validate=True)
        strings = table[4 + int.from_bytes(table[:4], "little") :]
        return max(map(len, strings.split(b"\0")))
    except (KeyError, ValueError, TypeError):
        return LONGEST_ENTRY + 1


def nodes_of(node: Any) -> Iterator[Any]:
    """A part's steps, sequences opened; one that holds no list of steps is given as it is."""
    lists = []
    if isinstance(node, dict) and node.get("type") == "Sequence":
        lists = [node.get(key) for key in ("normalizers", "pretokenizers", "processors")]
        lists = [steps for steps in lists if steps is not None]
    if lists and all(isinstance(steps, list) for steps in lists):
        for step in chain.from_iterable(lists):
            yield from nodes_of(step)
    elif node is not None:
        yield node


def kind_of(step: Any) -> str:
    return str(step.get("type") if isinstance(step, dict) else step)[:40]


def is_token(value: Any) -> bool:
    kinds = {"content": str, "id": int}
    return isinstance(value, dict) and all(isinstance(value.get(k), t) for k, t in kinds.items())
