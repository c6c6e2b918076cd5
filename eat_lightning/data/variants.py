"""Altered copies of texts. Exits learn from them without labels, because the model that they copy
answers a fragment as well as a whole text (data augmentation in distillation, as in TinyBERT, Jiao
et al. 2020, there with words that a language model replaces).

The two texts of a pair are exchanged or thinned out. They are neither cut nor spliced, because
hardly a pair would still have anything in common.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from eat_lightning.data.unlabelled import Row

Alter = Callable[[Row, Row, np.random.Generator], Row]

FEW = 4  # a text of fewer words, or without spaces, is altered by characters
SHORTEST = 0.25  # share of the words that a stretch has at least
DROPPED = 0.2  # share of the words that are left out on average


def variants(rows: Sequence[Row], copies: int) -> list[Row]:
    """Return `copies` altered copies of each text or pair. Three ways take turns: the fourth
    copy is altered in the way of the first."""
    random, made = np.random.default_rng(0), list[Row]()
    for number in range(copies):
        ways = WAYS[len(rows[0])]
        alter = ways[number % len(ways)]
        others = [rows[place] for place in random.permutation(len(rows))]
        made += [alter(row, other, random) for row, other in zip(rows, others, strict=True)]
    return made


def stretch(row: Row, other: Row, random: np.random.Generator) -> Row:
    """Return successive words."""
    words = words_of(row[0])
    size = int(random.integers(int(np.ceil(SHORTEST * len(words))), len(words) + 1))
    start = int(random.integers(len(words) - size + 1))
    return (joined(words[start : start + size], row[0]),)


def spliced(row: Row, other: Row, random: np.random.Generator) -> Row:
    """Return the first half of a text and the second half of another one."""
    words, rest = words_of(row[0]), words_of(other[0])
    return (joined([*words[: (len(words) + 1) // 2], *rest[len(rest) // 2 :]], row[0]),)


def thinned(row: Row, other: Row, random: np.random.Generator) -> Row:
    """Return each text without some of its words."""
    made = []
    for text in row:
        words = words_of(text)
        kept_N = random.random(len(words)) >= DROPPED
        kept = [word for word, is_kept in zip(words, kept_N, strict=True) if is_kept]
        made.append(joined(kept, text))
    return tuple(made)


def exchanged(row: Row, other: Row, random: np.random.Generator) -> Row:
    """Return the second text, then the first."""
    return row[::-1]


def thinned_and_exchanged(row: Row, other: Row, random: np.random.Generator) -> Row:
    return exchanged(thinned(row, other, random), other, random)


WAYS: dict[int, tuple[Alter, ...]] = {  # by the number of texts
    1: (stretch, spliced, thinned),
    2: (exchanged, thinned, thinned_and_exchanged),
}


def words_of(text: str) -> list[str]:
    """Return the words with the spaces that follow them."""
    words = re.findall(r"\S+\s*", text)
    return words if len(words) >= FEW else [*text]


def joined(words: Sequence[str], text: str) -> str:
    """Return words as a text, or `text` where nothing but spaces would be left."""
    made = "".join(words)
    return made if made.strip() else text
