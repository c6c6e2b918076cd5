"""The model under attack, as an attacker sees it: texts in, every exit's logits out.

Shapes: B texts, L layers, E exit heads, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from eat_lightning.data.source import Source
from eat_lightning.data.split import Split, tokenize
from eat_lightning.infer.torch_backend import TorchBackend
from eat_lightning.model.flops import flops
from eat_lightning.model.packed import Batch
from eat_lightning.record.record import Record
from experiments.attack.edits import Text
from experiments.attack.rules import Rule


@dataclass
class Victim:
    """`asked` remembers each text's guesses and tokens, so that the attacks on several rules pay
    once for what they have in common; queries are counted by who asks. `batch`: texts at once."""

    backend: TorchBackend
    batch: int = 64
    asked: dict[Text, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.heads = sorted(int(layer) for layer in self.backend.encoder.heads)
        self.num_layers, self.max_length = self.backend.num_layers, self.backend.max_length

    def __call__(self, texts: Sequence[Text], labels_B: np.ndarray) -> Record:
        """Return the guesses of all exits for each text; none leaves."""
        self.learn([text for text in dict.fromkeys(texts) if text not in self.asked])
        known = [self.asked[text] for text in texts]
        guesses_BEC = np.stack([guess_EC for guess_EC, _ in known])
        tokens_LB = np.stack([tokens_L for _, tokens_L in known], axis=1)
        guesses = {layer: guesses_BEC[:, e] for e, layer in enumerate(self.heads)}
        rule, empty = self.backend.encoder.exit, Batch.from_lists([[]] * len(texts))
        # Policies are handed the examples; those that look at them are none of ours (rules.py).
        return Record(labels_B, tokens_LB[0], guesses, tokens_LB, rule, batch=lambda rows_B: empty)

    def learn(self, texts: list[Text]) -> None:
        if not texts:
            return
        columns = [list(column) for column in zip(*texts, strict=True)]
        source = Source(columns, np.zeros(len(texts), np.int64))
        tokens = tokenize(columns, self.backend.tokenizer, self.max_length)
        recorded = self.backend.record(Split("attack", source, tokens, ""), self.batch)
        guesses_BEC = np.stack([recorded.guesses[layer] for layer in self.heads], axis=1)
        for text, guess_EC, tokens_L in zip(texts, guesses_BEC, recorded.tokens_LB.T, strict=True):
            self.asked[text] = guess_EC, tokens_L

    def cost(self, rule: Rule, recorded: Record, depth_B: np.ndarray) -> np.ndarray:
        """FLOPs of each text."""
        lengths_B = recorded.lengths
        return flops(self.backend.encoder, rule.exit, recorded.tokens_LB, depth_B, lengths_B)

    def bound(self, rule: Rule) -> float:
        """FLOPs that no request can exceed, whatever its text: as many tokens as the length cap
        lets in, none dropped, every layer and every head of the rule."""
        tokens_L1 = np.full((self.num_layers, 1), self.max_length)
        return float(
            flops(self.backend.encoder, rule.exit, tokens_L1, np.array([self.num_layers]))[0]
        )

    def worst(self, rule: Rule) -> float:
        """FLOPs of the costliest of all texts that were asked, under this rule."""
        texts = [*self.asked]
        recorded = self(texts, np.zeros(len(texts), np.int64))
        return float(self.cost(rule, recorded, rule.judge(recorded).trace.depth_B).max())
