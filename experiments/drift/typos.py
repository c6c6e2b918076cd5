"""Seeded character edits, as a shift whose size is known: delete, double, swap or replace a letter.

The four kinds are those of Belinkov & Bisk (2018, arXiv:1711.02173) and of keyboard slips.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def with_typos(texts: Sequence[str], rate: float, seed: int) -> list[str]:
    """Each letter is edited with probability `rate`, by one of the four kinds at random; what is no
    letter stays."""
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must be in [0, 1], got {rate}")
    rng = np.random.default_rng(seed)
    return [edited(text, rate, rng) for text in texts]


def edited(text: str, rate: float, rng: np.random.Generator) -> str:
    hit = rng.random(len(text)) < rate
    made, i = [], 0
    while i < len(text):
        letter = text[i]
        if not (hit[i] and letter.isalpha()):
            made.append(letter)
        else:
            kind = rng.integers(4)
            if kind == 1:
                made.append(letter * 2)
            elif kind == 2 and i + 1 < len(text) and text[i + 1].isalpha():
                made.append(text[i + 1] + letter)
                i += 1
            elif kind >= 2:  # at a word's end there is none to swap with
                made.append(LETTERS[rng.integers(26)])
        i += 1
    return "".join(made)
