"""A tiny classifier as transformers writes it, and texts for it."""

from pathlib import Path

import numpy as np
import torch

from eat_lightning.data import grammar
from eat_lightning.data.tokens import toy_tokenizer

LABELS = ["no", "yes"]


def drawn_texts(num: int, seed: int = 0) -> list[str]:
    """Random words of the toy grammar."""
    random, words = np.random.default_rng(seed), sorted(grammar.WORDS)[:80]
    return [" ".join(random.choice(words, random.integers(4, 16))) for _ in range(num)]


def save_classifier(folder: Path, **settings: object) -> Path:
    """Write a BERT of random weights, whose answers are balanced."""
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    tokenizer = toy_tokenizer()
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 40, "max_position_embeddings": 64, "initializer_range": 0.2}
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {n: i for i, n in enumerate(LABELS)}}
    model = BertForSequenceClassification(
        BertConfig(vocab_size=len(tokenizer), **sizes | names | settings)
    ).eval()
    given = tokenizer(drawn_texts(64), padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits_BC = model(**given).logits
    if logits_BC.shape[1] > 1:
        model.classifier.bias.data -= logits_BC.median(0).values
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
