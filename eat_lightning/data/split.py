"""A split: texts tokenized once, cached on disk, and returned as packed batches.

Shapes: B examples, N packed tokens, C classes.
"""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from eat_lightning.data.batching import Share
from eat_lightning.data.source import ORIGIN, Source
from eat_lightning.data.tokens import Tokenizer
from eat_lightning.errors import ConfigError
from eat_lightning.files import replacing
from eat_lightning.long_texts import LongTexts, Reader
from eat_lightning.model.packed import Batch
from eat_lightning.progress import shown

CHUNK = 2048  # texts tokenized at a time: bounds the memory of their Python lists


@dataclass
class Tokens:
    """Concatenated token ids and types of all examples; example i is offsets[i] to
    offsets[i + 1].
    """

    ids: np.ndarray
    types: np.ndarray
    offsets: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


@dataclass(eq=False)
class Split(Dataset[Batch]):
    """Tokenized examples of a split.

    `teacher` (logits, one row per example) may be set at any time. `key` changes with the
    tokenizer, the length limit or any text, so that values computed per example can be cached under
    it.
    """

    name: str
    source: Source
    tokens: Tokens
    key: str
    teacher: np.ndarray | None = None
    difficulty: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.source)

    @property
    def labels(self) -> np.ndarray:
        return self.source.labels

    @property
    def origins(self) -> list[str] | None:
        return self.source.origins

    @property
    def lengths(self) -> np.ndarray:
        return self.tokens.lengths

    def __getitem__(self, share: Share) -> Batch:
        """Return the batch of a share of examples, as a DataLoader requests it."""
        return replace(self.batch(share.rows, share.num_global), idle=share.idle)

    def text(self, i: int) -> tuple[str, ...]:
        return tuple(column[i] for column in self.source.texts)

    def batch(self, indices: np.ndarray, num_global: int | None = None) -> Batch:
        """Return the batch of these examples, in this order.

        Args:
            num_global: number of examples over all processes, if others have the rest.
        """
        index_B = np.asarray(indices, dtype=np.int64)
        lengths_B = self.lengths[index_B]
        ends_B = np.cumsum(lengths_B)
        start_B = self.tokens.offsets[index_B] - (ends_B - lengths_B)
        token_N = np.repeat(start_B, lengths_B) + np.arange(ends_B[-1])
        origins = self.source.origins
        return Batch(
            ids_N=torch.from_numpy(self.tokens.ids[token_N].astype(np.int64)),
            types_N=torch.from_numpy(self.tokens.types[token_N].astype(np.int64)),
            lengths_B=torch.from_numpy(lengths_B),
            labels_B=torch.from_numpy(self.labels[index_B]),
            index_B=torch.from_numpy(index_B),
            teacher_BC=None if self.teacher is None else torch.from_numpy(self.teacher[index_B]),
            num_global=len(index_B) if num_global is None else num_global,
            about=None if origins is None else [{ORIGIN: origins[i]} for i in index_B],
        )

    def take(self, rows: Sequence[int] | np.ndarray) -> Split:
        """Return these examples as a split of their own, which is not cached."""
        batch = self.batch(np.asarray(rows))
        offsets = np.concatenate([[0], np.cumsum(batch.lengths_B.numpy())])
        tokens = Tokens(batch.ids_N.numpy(), batch.types_N.numpy(), offsets)
        return Split(self.name, self.source.take(np.asarray(rows)), tokens, key="")


def make_split(
    name: str, source: Source, tokenizer: Tokenizer, max_length: int, cache_dir: Path | None = None
) -> Split:
    """Tokenize a split, or read it from `cache_dir` if an equal call stored it there."""
    key = identity(source.texts, tokenizer, max_length)
    path = None if cache_dir is None else cache_dir / f"{key}.npz"
    tokens = None if path is None else load(path, len(source))
    if tokens is None:
        tokens = tokenize(source.texts, tokenizer, max_length, f"tokenizing {name}")
        try:
            if path is not None:
                with replacing(path) as beside, beside.open("wb") as file:
                    np.savez(file, **vars(tokens))
        except OSError as error:
            warnings.warn(f"tokens are not cached: {error}", stacklevel=2)
    return Split(name, source, tokens, key)


def reader_of(tokenizer: Tokenizer, max_length: int, long: LongTexts) -> Reader:
    """Return a reader of long texts with the tokenizer and length limit of a split."""
    has_types = "token_type_ids" in tokenizer.model_input_names
    backend: Any = tokenizer.backend_tokenizer  # type: ignore[union-attr]
    return Reader(backend, max_length, tokenizer.truncation_side, has_types, long)


def in_windows(split: Split, reader: Reader) -> tuple[Split, np.ndarray]:
    """Return a split whose examples are windows of texts, each with its text's label, and the row
    of each window's text.

    Raises:
        ConfigError: for a text that the reader rejects.
    """
    read = reader([list(split.text(i)) for i in range(len(split))])
    if refused := [(i, text.refused) for i, text in enumerate(read) if text.refused]:
        row, why = refused[0]
        raise ConfigError(f"{split.name}: {why} in row {row}, one of {len(refused)} such rows")
    text_W = np.repeat(np.arange(len(read)), [len(text.windows) for text in read])
    windows = [window for text in read for window in text.windows]
    tokens = Tokens(
        np.concatenate([window.ids for window in windows]),
        np.concatenate([window.types for window in windows]),
        np.cumsum([0, *(len(window.ids) for window in windows)]),
    )
    size, overlap = reader.long.window(reader.max_length)
    key = split.key and f"{split.key}-{size}-{overlap}"
    return Split(split.name, split.source.take(text_W), tokens, key), text_W


def tokenize(
    texts: list[list[str]], tokenizer: Tokenizer, max_length: int, title: str = "tokenizing"
) -> Tokens:
    """Tokenize texts. In pairs that are too long, the longer text is truncated first. Tokenizers
    without token types (DistilBERT, MPNet) give type 0.
    """
    starts = range(0, len(texts[0]), CHUNK)
    ids, types, lengths = [], [], []
    for start in shown(starts, title, fewest=4):
        first, *second = (column[start : start + CHUNK] for column in texts)
        encoded = tokenizer(
            first,
            second[0] if second else None,
            truncation="longest_first" if len(texts) == 2 else True,
            max_length=max_length,
            return_attention_mask=False,
        )
        ids += [np.concatenate([np.array(x, np.int32) for x in encoded["input_ids"]])]
        if "token_type_ids" in encoded:
            types += [np.concatenate([np.array(x, np.uint8) for x in encoded["token_type_ids"]])]
        lengths += map(len, encoded["input_ids"])
    flat = np.concatenate(ids)
    flat_types = np.concatenate(types) if types else np.zeros(len(flat), np.uint8)
    return Tokens(flat, flat_types, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def identity(texts: list[list[str]], tokenizer: Tokenizer, max_length: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    rules = json.loads(tokenizer.backend_tokenizer.to_str())  # type: ignore[union-attr]
    rules.update(truncation=None, padding=None)  # left over from the last call
    names = [*tokenizer.model_input_names, tokenizer.truncation_side, max_length]
    digest.update(json.dumps([rules, names], sort_keys=True).encode())
    for column in texts:
        encoded = [text.encode("utf-8", "surrogatepass") for text in column]
        digest.update(np.array([len(text) for text in encoded], np.int64).tobytes())
        digest.update(b"".join(encoded))
    return digest.hexdigest()


def load(path: Path, num_examples: int) -> Tokens | None:
    """Read cached tokens; None where they are missing or damaged and must be computed again."""
    try:
        # np.load leaves open what it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            # Ours are stored as they are; what is packed could grow to anything.
            if any(item.compress_type for item in arrays.zip.infolist()):
                return None
            tokens = Tokens(arrays["ids"], arrays["types"], arrays["offsets"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, TypeError, AttributeError):
        return None
    whole = len(tokens.ids) == len(tokens.types) == tokens.offsets[-1]
    return tokens if whole and len(tokens.offsets) == num_examples + 1 else None
