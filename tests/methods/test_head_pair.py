"""Heads that see the two texts of an example apart."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.models import method, packed, ragged, tiny

from eat_lightning.methods.head.pair import Pair
from eat_lightning.methods.reduction._merged import merged
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch, Packed, text_noted
from eat_lightning.model.recorder import ALL_EXITS, PassOptions
from eat_lightning.weights.checkpoint import load_pretrained, save_model


class Sizes:
    hidden_size, dropout, biases, eps = 2, 0.0, True, 1e-5


def rows_with_texts() -> Packed:
    """Two examples: [CLS] a b [SEP] c [SEP], and [CLS] d [SEP] e [SEP]."""
    rows = [[9.0, 9.0], [1.0, 0.0], [3.0, 2.0], [9.0, 9.0], [5.0, -1.0], [9.0, 9.0]]
    rows += [[9.0, 9.0], [2.0, 2.0], [9.0, 9.0], [2.0, 4.0], [9.0, 9.0]]
    made = packed(rows, [6, 5])
    text_N = torch.tensor([0, 1, 1, 0, 2, 0, 0, 1, 0, 2, 0])
    return replace(made, special_N=text_N == 0, notes={"text": text_N})


def bound(**changes) -> Pair:
    head = Pair(**changes)
    head.bind(Sizes(), [3], 2)
    return head.eval()


def test_features_are_those_of_a_persons_sum():
    """u = (2, 1), v = (5, -1) of the first example, (2, 2) and (2, 4) of the second."""
    head, rows = bound(activation=None), rows_with_texts()
    assert head.vector(rows).tolist() == [[2, 1, 5, -1], [2, 2, 2, 4]]
    expected = [[2, 1, 5, -1, 3, 2, 10, -1], [2, 2, 2, 4, 0, 2, 4, 8]]
    assert head.pooled(rows).tolist() == expected


def test_of_one_text_the_mean_is_left():
    head, rows = bound(activation=None, texts=1), rows_with_texts()
    torch.testing.assert_close(head.pooled(rows), torch.tensor([[3.0, 1 / 3], [2.0, 3.0]]))


def test_merged_tokens_count_as_often_as_they_stand_for():
    """a and b joined are their mean, and weigh twice: u stays."""
    rows = rows_with_texts()
    joined = merged(rows, torch.tensor([1]), torch.tensor([2]), proportional=False)
    assert joined.layout.lengths_B.tolist() == [5, 5]
    torch.testing.assert_close(bound().vector(joined), bound().vector(rows))


def test_a_text_of_which_no_token_is_left_is_zero():
    rows = rows_with_texts()
    kept = torch.tensor([0, 1, 2, 3, 5, 6, 7, 8, 9, 10])
    found = bound().vector(rows.take(kept, torch.tensor([5, 5])))
    assert found.tolist() == [[2, 1, 0, 0], [2, 2, 2, 4]]


@pytest.mark.parametrize("between", [[3], [3, 3]])
def test_texts_are_told_apart_by_separators(between: list[int]):
    """One separator between the texts as BERT has it, two as RoBERTa; no segment ids are read."""
    ids = [[2, 7, 8, *between, 9, 3], [2, 10, *between, 11, 12, 3]]
    batch = Batch.from_lists(ids)
    special_N = (batch.layout().index_N == 0) | (batch.ids_N == 3)
    number_N = text_noted(batch, batch.layout(), special_N)
    none = [0] * len(between)
    assert number_N.tolist() == [0, 1, 1, *none, 2, 0, 0, 1, *none, 2, 2, 0]


def pairs(lengths: tuple[int, ...] = (9, 12, 7, 16, 8)) -> Batch:
    """Random examples with a separator in the middle and at the end."""
    batch = ragged(lengths)
    ends_B = batch.lengths_B.cumsum(0)
    batch.ids_N[batch.ids_N == 3] = 4
    batch.ids_N[ends_B - 1] = 3
    batch.ids_N[ends_B - batch.lengths_B // 2] = 3
    return batch


def test_dropped_tokens_are_masked_ones():
    """With pruning the guess is that of the means over those tokens that are left."""
    encoder = tiny("dense", "norm_topk", "confidence", head={"kind": "pair", "layers": [3, 4]})
    batch = pairs()
    trace = encoder(batch, PassOptions(leave=False, keep_hidden=True))
    assert (trace.tokens_LB[3] < batch.lengths_B).all()
    rows, head = trace.inside.hidden[4], encoder.heads["4"]
    starts_B = batch.lengths_B.cumsum(0) - batch.lengths_B
    for i, (x_TD, place_T) in enumerate(
        zip(
            rows.x_ND.split(rows.layout.lengths_B.tolist()),
            rows.position_N.split(rows.layout.lengths_B.tolist()),
            strict=True,
        )
    ):
        ids_T = batch.ids_N[starts_B[i] :][: batch.lengths_B[i]]
        ends = (ids_T == 3).nonzero().flatten().tolist()
        first_T = (place_T > 0) & (place_T < ends[0])
        second_T = (place_T > ends[0]) & (place_T < ends[1])
        u_D, v_D = x_TD[first_T].mean(0), x_TD[second_T].mean(0)
        read_W = torch.cat([u_D, v_D, (u_D - v_D).abs(), u_D * v_D])
        expected_C = head.classes(torch.tanh(head.dense(read_W)))
        torch.testing.assert_close(trace.guesses[4][i], expected_C, atol=1e-4, rtol=1e-4)


def test_rules_that_learn_from_vectors_take_those_behind_a_dense_layer():
    tiny(exit="cats", head={"kind": "pair", "layers": [3, 4]})
    with pytest.raises(ValueError, match="which head=pair does not pool: use head=pooled"):
        tiny(exit="cats", head={"kind": "pair", "layers": [3, 4], "activation": None})


LAST = {"kind": "pooled", "pool": "mean", "activation": "relu"}


def with_last(**last) -> AdaptiveEncoder:
    return tiny(exit="confidence", head={"kind": "pair", "layers": [3, 4], "last": LAST | last})


def test_the_last_head_may_be_of_another_kind(tmp_path: Path):
    encoder, batch = with_last(), pairs()
    kinds = {k: type(head).__name__ for k, head in encoder.heads.items()}
    assert kinds == {"3": "Pair", "4": "Pair", "6": "Pooled"}
    assert encoder.head["last"] == {**LAST, "norm": False}
    save_model(encoder, ["a", "b", "c"], tmp_path)
    head = {"kind": "pair", "layers": [2], "texts": 2, "last": "auto"}
    methods = [method("attention", "dense"), method("reduction", "none"), method("exit", "never")]
    again = load_pretrained(str(tmp_path), 3, *methods, head=head).eval()
    assert again.head["last"] == encoder.head["last"]
    full = [e(batch, ALL_EXITS).guesses[6] for e in (encoder, again)]
    assert torch.equal(*full)
