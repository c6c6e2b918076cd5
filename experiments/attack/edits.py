"""Small changes of a text: letters within a word, or another word that the model's own embedding
puts near it.

A text is its columns; a place is a column and a word's number in it. An edit may split a word
("f1lm") or leave too little of it to be one, so places are those of the text as it was, and edits
that add up are made of it all at once.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch

Text = tuple[str, ...]
Place = tuple[int, int]

KINDS = ("characters", "words")
WORD = re.compile(r"[^\W\d_]{3,}")  # letters alone, three or more
LOOKS_LIKE = {"a": "@", "b": "8", "e": "3", "g": "9", "i": "1", "l": "1", "o": "0", "s": "$"}
LOOKS_LIKE |= {"t": "7", "z": "2"}
BESIDE = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wertyuiooosdfghjkllxcvbnmm", strict=True))


def places(text: Text) -> list[Place]:
    """Places of the words that may be edited."""
    return [(c, i) for c, column in enumerate(text) for i in range(len(WORD.findall(column)))]


def word_at(text: Text, place: Place) -> str:
    return WORD.findall(text[place[0]])[place[1]]


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
    """A letter dropped, doubled, swapped with the next, mistyped, or replaced by one that looks
    like it: what a reader reads over. First and last letters stay, but for look-alikes."""
    inner = range(1, len(word) - 1)
    dropped = [word[:i] + word[i + 1 :] for i in inner]
    doubled = [word[:i] + word[i] + word[i:] for i in inner]
    swapped = [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in inner[:-1]]
    typed = [word[:i] + BESIDE.get(word[i].lower(), "") + word[i + 1 :] for i in inner]
    alike = [
        word[:i] + LOOKS_LIKE[c.lower()] + word[i + 1 :]
        for i, c in enumerate(word)
        if c.lower() in LOOKS_LIKE
    ]
    made = [*dropped, *doubled, *swapped, *typed, *alike]
    return [edit for edit in dict.fromkeys(made) if edit != word]


class Neighbours:
    """Whole words of a tokenizer, and which of them lie near another in the embedding (cosine)."""

    def __init__(self, vocabulary: dict[str, int], weight_VD: torch.Tensor, most: int = 8):
        # "Ġ" stands for a space in byte-level vocabularies; "##" goes on with a word in WordPiece.
        words = {piece.removeprefix("Ġ"): i for piece, i in vocabulary.items() if piece[:2] != "##"}
        whole = {word: i for word, i in words.items() if WORD.fullmatch(word)}
        self.words = sorted(whole, key=whole.__getitem__)
        rows = torch.tensor([whole[word] for word in self.words], dtype=torch.int64)
        vectors = weight_VD.detach().float()[rows]
        self.unit_VD = torch.nn.functional.normalize(vectors, dim=-1)
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
    for place in chosen:
        word = word_at(text, place)
        edits = character_edits(word) if "characters" in kinds else []
        edits = [edits[i] for i in rng.permutation(len(edits))]
        nearby = near(word) if "words" in kinds else []
        # By turns, so that neither kind crowds out the other.
        turns = [e for pair in zip(nearby, edits, strict=False) for e in pair]
        by_place.append((place, [*dict.fromkeys([*turns, *nearby, *edits])]))
    found = []
    for turn in range(max((len(edits) for _, edits in by_place), default=0)):
        found += [(place, edits[turn]) for place, edits in by_place if turn < len(edits)]
        if len(found) >= most:
            break
    return found[:most]
