"""Checks that every family must pass on a small model with random weights.

`CHECKS` are functions that take a family and raise AssertionError where it violates the contract.
The package's tests run them on all families in `weights/families/`.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from eat_lightning.bundle.padded import padded_inputs
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.new.toy import ragged, spread
from eat_lightning.weights.checkpoint import load_pretrained
from eat_lightning.weights.family import Family
from eat_lightning.weights.hf_folder import save_classifier

CLOSE = 1e-5  # largest difference / largest value, in fp32
NUM_LABELS = 3


def hugging_face(family: Family) -> Any:
    """Return transformers' classifier of the family's small config, with weights that distinguish
    tokens.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(0)
    config = AutoConfig.for_model(family.name, **family.small, num_labels=NUM_LABELS)
    model: Any = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for weight in spread(model).parameters():
            weight.mul_(0.7)  # in fp32 larger ones would magnify what rounding leaves
    return model.eval()


def encoder_in(folder: Path, **options: Any) -> AdaptiveEncoder:
    """Return the folder's backbone and head, without methods."""
    nothing: Any = Keep()
    head = {"layers": [], "activation": "auto"}
    given = (str(folder), NUM_LABELS, Dense(), nothing, Never(), head)
    return load_pretrained(*given, **options).eval()


def examples(model: Any) -> Batch:
    """Return texts of different lengths, one at the maximum, that do not contain the padding id."""
    config = model.config
    longest = config.max_position_embeddings - 2
    batch = ragged((9, 1, longest, 2, longest // 2))
    batch.ids_N[batch.ids_N == (config.pad_token_id or 0)] = 7
    batch.types_N %= max(getattr(config, "type_vocab_size", 0), 1)
    return batch


def padded(model: Any, batch: Batch, left: bool) -> dict[str, Tensor]:
    """Return a batch in transformers' format, padded right or left. Position ids are adjusted for
    models that have position embeddings and do not compute them from the mask.
    """
    typed = getattr(model.config, "type_vocab_size", 0) > 1
    side = "left" if left else "right"
    return padded_inputs(batch, model.config.pad_token_id or 0, typed, side)


def vectors(encoder: AdaptiveEncoder, batch: Batch) -> Tensor:
    """Return the hidden states of all tokens that a head reads (N x D)."""
    packed = encoder.embed(batch)
    for number in range(1, len(encoder.layers) + 1):
        packed, _ = encoder.run_layer(packed, number)
    return encoder.for_heads(packed).x_ND


def assert_near(ours: Tensor, theirs: Tensor, close: float = CLOSE) -> None:
    gap = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    assert gap <= close, f"largest difference / largest value is {gap:.2e}"


def equals_hugging_face(family: Family) -> None:
    """Logits and all hidden states equal transformers', with right padding, and also with left
    padding if positions do not depend on it.
    """
    model = hugging_face(family)
    batch = examples(model)
    with TemporaryDirectory() as folder, torch.no_grad():
        model.save_pretrained(folder)
        encoder = encoder_in(Path(folder))
        assert_near(encoder(batch).logits_BC, model(**padded(model, batch, False)).logits)
        backbone = getattr(model, model.base_model_prefix)
        counts = encoder.shape.position_offset > 0 or not encoder.shape.absolute_positions
        for left in (False, True) if counts else (False,):
            given = padded(model, batch, left)
            theirs = backbone(**given).last_hidden_state[given["attention_mask"].bool()]
            assert_near(vectors(encoder, batch), theirs)


def comes_back(family: Family) -> None:
    """An encoder loaded from transformers' classifier can be saved as such a classifier, with equal
    weights and equal logits.
    """
    from transformers import AutoModelForSequenceClassification

    model = hugging_face(family)
    with TemporaryDirectory() as folder, TemporaryDirectory() as again, torch.no_grad():
        model.save_pretrained(folder)
        save_classifier(encoder_in(Path(folder)), ["a", "b", "c"], Path(again))
        found: Any = AutoModelForSequenceClassification.from_pretrained(again)
        theirs, ours = model.state_dict(), found.state_dict()
        assert theirs.keys() == ours.keys()
        assert [name for name in theirs if not torch.equal(theirs[name], ours[name])] == []
        given = padded(model, examples(model), False)
        torch.testing.assert_close(found.eval()(**given).logits, model(**given).logits)
        assert found.config.id2label == {0: "a", 1: "b", 2: "c"}


def fewer_layers_are_the_first(family: Family) -> None:
    """A shallower backbone has the first layers of the original, each with its own attention
    pattern.
    """
    model = hugging_face(family)
    with TemporaryDirectory() as folder, torch.no_grad():
        model.save_pretrained(folder)
        whole, fewer = encoder_in(Path(folder)), encoder_in(Path(folder), num_layers=2)
        batch = examples(model)
        packed, _ = whole.run_layer(whole.embed(batch), 1)
        packed, _ = whole.run_layer(packed, 2)
        assert_near(vectors(fewer, batch), whole.for_heads(packed).x_ND)


CHECKS = (equals_hugging_face, comes_back, fewer_layers_are_the_first)
