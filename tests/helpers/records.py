"""Records made by hand."""

import numpy as np

from eat_lightning.methods.exit.never import Never
from eat_lightning.record.record import Record


def list_record(
    score_DB: np.ndarray, wanted_B: np.ndarray, list_B: np.ndarray, keep: int = 2
) -> Record:
    """Lists of pairs of five tokens. score_DB: at each depth, the embedding's first. wanted_B: the
    scores that order them."""
    guesses = {depth: np.asarray(scores)[:, None] for depth, scores in enumerate(score_DB)}
    lengths = np.full(len(list_B), 5)
    tokens_LB = np.full((len(guesses) - 1, len(list_B)), 5)
    return Record(wanted_B, lengths, guesses, tokens_LB, Never(), group_B=list_B, keep=keep)
