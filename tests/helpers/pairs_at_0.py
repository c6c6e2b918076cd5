"""Small encoders of pairs of texts, some of which leave at depth 0, and runs of them, for tests."""

from pathlib import Path

import numpy as np
import torch
from helpers import finished
from helpers.models import spread, tiny

from eat_lightning.bundle.race import made_texts
from eat_lightning.data.tokens import toy_tokenizer
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.recorder import ALL_EXITS

PAIRS = made_texts(["good", "bad", "film", "not", "very", "the"], 2, 24)


def pairs_batch() -> Batch:
    """PAIRS as the tokenizer of the toy grammar reads them."""
    read = toy_tokenizer()(*map(list, zip(*PAIRS, strict=True)))
    return Batch.from_lists(read["input_ids"], read["token_type_ids"])


def leaving_at_0(kind: str, num_layers: int = 2) -> AdaptiveEncoder:
    """A head of two texts at each layer but the last, from the embedding on. Half of PAIRS leave at
    0; the half of the others that layer 1 is surest of leave there."""
    tokenizer, exits = toy_tokenizer(), [*range(num_layers)]
    head = {"kind": kind, "layers": exits, "last": {"kind": "pooled", "pool": "mean"}}
    sizes = {"vocab_size": len(tokenizer), "sep_token_id": tokenizer.sep_token_id}
    encoder = spread(tiny(head=head, num_layers=num_layers, max_positions=90, **sizes)).eval()
    for layer in exits:  # else tanh is at its ends, and all are of one opinion
        encoder.heads[str(layer)].dense.weight.data.mul_(0.1)
    with torch.no_grad():
        guesses = encoder(pairs_batch(), ALL_EXITS).guesses
    here_B, taus = np.ones(len(PAIRS), bool), []
    for layer in exits:
        sure_B = guesses[layer].softmax(-1).amax(-1).numpy()
        taus.append(between_halves(sure_B[here_B]))
        here_B &= sure_B < taus[-1]
    return encoder.replacing(exit=Confidence(taus, exits))


def between_halves(values: np.ndarray) -> float:
    """A number that no value is near."""
    return float(np.sort(values)[len(values) // 2 - 1 :][:2].mean())


def make_pairs_run(folder: Path, kind: str, num_layers: int = 2) -> Path:
    """A finished run without training."""
    data = {"num_validation": 24, "calibration": 40, "cache_dir": str(folder / "cache")}
    return finished.finish(folder, leaving_at_0(kind, num_layers), "mnli", data)
