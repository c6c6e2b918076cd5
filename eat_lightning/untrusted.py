"""Files that others may have written: read with bounds, and checked before a library parses them.

A run, a model folder, a certificate and an export are data. None is unpickled, none makes us import
what is not the package's own (or imported by its owner already), and none is believed about a size
that its weights do not have.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SMALL = 1 << 20  # bytes: configs, certificates, what a run noted; ours have some thousand
TOKENIZER = 32 << 20  # bytes of a tokenizer's file; BERT's has 0.7 million, multilingual ones 17
ROWS = 256 << 20  # bytes of a rows.jsonl; a row has two thousand
MOST_STEPS = 64  # of a part of a tokenizer, with patterns and pieces; backbones' have some 20
LONGEST_ENTRY = 64  # bytes; NFKC's longest are 33
BLANKS = " {2,}"  # the one pattern of backbones' tokenizers that is no plain string
READ = (".json", ".txt", ".model", ".jinja")


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
