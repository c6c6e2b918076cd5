"""One head for all exits, or one pooler."""

import torch
from helpers.models import ragged, tiny

from eat_lightning.model.recorder import ALL_EXITS


def encoder_with(**head):
    return tiny(exit="confidence", head={"kind": "shared", **head})


def names(encoder) -> set[str]:
    return {name.rpartition(".")[0] for name, _ in encoder.heads.named_parameters()}


def test_all_exits_have_the_last_ones_parameters():
    encoder = encoder_with()
    assert names(encoder) == {"6.dense", "6.classes"}
    with torch.no_grad():
        encoder.heads["6"].classes.weight.zero_()
        encoder.heads["6"].classes.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    guesses = encoder(ragged(), ALL_EXITS).guesses
    for layer in (3, 4, 6):
        assert (guesses[layer] == torch.tensor([1.0, 2.0, 3.0])).all()


def test_with_classes_of_their_own_only_the_pooler_is_shared():
    encoder = encoder_with(separate_classes=True)
    assert names(encoder) == {"6.dense", "3.classes", "4.classes", "6.classes"}
    assert encoder.heads["3"].dense is encoder.heads["6"].dense
