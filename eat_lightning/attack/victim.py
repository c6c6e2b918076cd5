"""The model under attack, as an attacker sees it: texts in, every exit's logits out.

Shapes: B texts, L layers, E exit heads, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eat_lightning.attack.edits import Text
from eat_lightning.attack.rules import Rule
from eat_lightning.data.source import Source
from eat_lightning.data.split import Split, tokenize
from eat_lightning.infer.record import Recorded, record
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops
from eat_lightning.model.packed import Batch


@dataclass
class Victim:
    """`asked` remembers each text's guesses and tokens, so that the attacks on several rules pay
    once for what they have in common; queries are counted by who asks. `batch`: texts at once."""

    encoder: AdaptiveEncoder
    tokenizer: Any
    max_length: int
    batch: int = 64
    asked: dict[Text, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @property
    def heads(self) -> list[int]:
        return sorted(int(layer) for layer in self.encoder.heads)

    def __call__(self, texts: Sequence[Text], labels_B: np.ndarray) -> Recorded:
        """What all exits say of each text, none leaving."""
        self.learn([text for text in dict.fromkeys(texts) if text not in self.asked])
        known = [self.asked[text] for text in texts]
        guesses_BEC = np.stack([guess_EC for guess_EC, _ in known])
        tokens_LB = np.stack([tokens_L for _, tokens_L in known], axis=1)
        guesses = {layer: guesses_BEC[:, e] for e, layer in enumerate(self.heads)}
        rule, empty = self.encoder.exit, Batch.from_lists([[]] * len(texts))
        # Policies are handed the examples; those that look at them are none of ours (rules.py).
        return Recorded(
            labels_B, tokens_LB[0], guesses, tokens_LB, rule, batch=lambda rows_B: empty
        )

    def learn(self, texts: list[Text]) -> None:
        if not texts:
            return
        columns = [list(column) for column in zip(*texts, strict=True)]
        source = Source(columns, np.zeros(len(texts), np.int64))
        tokens = tokenize(columns, self.tokenizer, self.max_length)
        recorded = record(self.encoder, Split("attack", source, tokens, ""), self.batch)
        guesses_BEC = np.stack([recorded.guesses[layer] for layer in self.heads], axis=1)
        for text, guess_EC, tokens_L in zip(texts, guesses_BEC, recorded.tokens_LB.T, strict=True):
            self.asked[text] = guess_EC, tokens_L

    def cost(self, rule: Rule, recorded: Recorded, depth_B: np.ndarray) -> np.ndarray:
        """FLOPs of each text."""
        return flops(self.encoder, rule.exit, recorded.tokens_LB, depth_B, recorded.lengths)

    def bound(self, rule: Rule) -> float:
        """FLOPs that no request can exceed, whatever its text: as many tokens as the length cap
        lets in, none dropped, every layer and every head of the rule."""
        last = self.encoder.shape.num_layers
        tokens_L1 = np.full((last, 1), self.max_length)
        return float(flops(self.encoder, rule.exit, tokens_L1, np.array([last]))[0])
