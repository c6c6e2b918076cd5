"""Small edits of a text: of letters within a word, or to a word that is near in the embedding.

A text is a tuple of its columns, and a place is a column with a word's number in it. An edit may
split a word ("f1lm"), so places are those of the original text, and edits are applied together.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch

Text = tuple[str, ...]
Place = tuple[int, int]

WORD = re.compile(r"[^\W\d_]{3,}")  # letters alone, three or more
LOOKS_LIKE = dict(zip("abegilostz", "@839110$72", strict=True))
BESIDE = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wertyuiooosdfghjkllxcvbnmm", strict=True))


def places(text: Text) -> list[Place]:
    """Places of the words that may be edited."""
    return [(c, i) for c, column in enumerate(text) for i in range(len(WORD.findall(column)))]


def with_words(text: Text, words: Mapping[Place, str]) -> Text:
    """The text with other words (or none, "") at some of its places."""
    columns = []
    for number, column in enumerate(text):
        count = itertools.count()
        columns.append(
            WORD.sub(lambda w, c=number, n=count: words.get((c, next(n)), w.group()), column)
        )
    return tuple(columns)


def character_edits(word: str) -> list[str]:
    """The word with one letter dropped, doubled, swapped, mistyped, or replaced by a look-alike.
    First and last letters stay, except for look-alikes."""
    inner = range(1, len(word) - 1)
    dropped = [word[:i] + word[i + 1 :] for i in inner]
    doubled = [word[:i] + word[i] + word[i:] for i in inner]
    swapped = [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in inner[:-1]]
    typed = [word[:i] + BESIDE.get(word[i].lower(), "") + word[i + 1 :] for i in inner]
    found = ((i, LOOKS_LIKE.get(letter.lower())) for i, letter in enumerate(word))
    alike = [word[:i] + other + word[i + 1 :] for i, other in found if other]
    made = [*dropped, *doubled, *swapped, *typed, *alike]
    return [edit for edit in dict.fromkeys(made) if edit != word]


class Neighbours:
    """The words of a tokenizer that lie nearest to another in the embedding (cosine)."""

    def __init__(self, vocabulary: dict[str, int], weight_VD: torch.Tensor, most: int = 8):
        # "Ġ" stands for a space in byte-level vocabularies; "##" goes on with a word in WordPiece.
        words = {piece.removeprefix("Ġ"): i for piece, i in vocabulary.items() if piece[:2] != "##"}
        whole = {word: i for word, i in words.items() if WORD.fullmatch(word)}
        self.words = sorted(whole, key=whole.__getitem__)
        rows = torch.tensor([whole[word] for word in self.words], dtype=torch.int64)
        self.unit_VD = torch.nn.functional.normalize(weight_VD.detach().float()[rows], dim=-1)
        self.number = {word: n for n, word in enumerate(self.words)}
        self.most, self.known = most, {}

    def __call__(self, word: str) -> list[str]:
        """The nearest first; none for a word that the tokenizer splits."""
        if word not in self.known:
            number = self.number.get(word, self.number.get(word.lower()))
            self.known[word] = [] if number is None else self.nearest(number)
        return self.known[word]

    def nearest(self, number: int) -> list[str]:
        near_V = self.unit_VD @ self.unit_VD[number]
        near_V[number] = -torch.inf
        best = near_V.topk(min(self.most, len(self.words) - 1)).indices
        return [self.words[i] for i in best.tolist()]


def variants(
    text: Text,
    chosen: Sequence[Place],
    kinds: Sequence[str],
    near: Neighbours,
    most: int,
    rng: np.random.Generator,
) -> list[tuple[Place, str]]:
    """At most `most` edits, a place and its new word each, drawn evenly from the places."""
    by_place = []
    for column, number in chosen:
        word = WORD.findall(text[column])[number]
        edits = character_edits(word) if "characters" in kinds else []
        edits = [edits[i] for i in rng.permutation(len(edits))]
        nearby = near(word) if "words" in kinds else []
        turns = [edit for pair in zip(nearby, edits, strict=False) for edit in pair]
        by_place.append(((column, number), [*dict.fromkeys([*turns, *nearby, *edits])]))
    rounds = itertools.zip_longest(*([(place, e) for e in edits] for place, edits in by_place))
    return [edit for turn in rounds for edit in turn if edit is not None][:most]
