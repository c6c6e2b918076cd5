"""Heads that see the two texts of an example apart, and beside each other token by token."""

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from helpers.models import method, packed, ragged, tiny

from eat_lightning.methods.head.aligned import Aligned
from eat_lightning.methods.head.pair import Pair
from eat_lightning.methods.reduction._merged import merged
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch, Packed, text_noted
from eat_lightning.model.recorder import ALL_EXITS, PassOptions
from eat_lightning.new import checks
from eat_lightning.weights.checkpoint import load_pretrained, save_model

HeadOfPairs = TypeVar("HeadOfPairs", Pair, Aligned)


class Sizes:
    hidden_size, dropout, biases, eps = 2, 0.0, True, 1e-5


def rows_with_texts() -> Packed:
    """Two examples: [CLS] a b [SEP] c [SEP], and [CLS] d [SEP] e [SEP]."""
    rows = [[9.0, 9.0], [1.0, 0.0], [3.0, 2.0], [9.0, 9.0], [5.0, -1.0], [9.0, 9.0]]
    rows += [[9.0, 9.0], [2.0, 2.0], [9.0, 9.0], [2.0, 4.0], [9.0, 9.0]]
    made = packed(rows, [6, 5])
    text_N = torch.tensor([0, 1, 1, 0, 2, 0, 0, 1, 0, 2, 0])
    return replace(made, special_N=text_N == 0, notes={"text": text_N})


def bound(made: HeadOfPairs) -> HeadOfPairs:
    made.bind(Sizes(), [3], 2)
    return made.eval()


def pair(**changes) -> Pair:
    return bound(Pair(activation=None, **changes))


def aligned(**changes) -> Aligned:
    return bound(Aligned(activation=None, **changes))


def test_features_are_those_of_a_persons_sum():
    """u = (2, 1), v = (5, -1) of the first example, (2, 2) and (2, 4) of the second."""
    head, rows = pair(), rows_with_texts()
    assert head.vector(rows).tolist() == [[2, 1, 5, -1], [2, 2, 2, 4]]
    expected = [[2, 1, 5, -1, 3, 2, 10, -1], [2, 2, 2, 4, 0, 2, 4, 8]]
    assert head.pooled(rows).tolist() == expected


@pytest.mark.parametrize("head", [pair(texts=1), aligned(texts=1)], ids=["pair", "aligned"])
def test_of_one_text_the_mean_is_left(head: Pair | Aligned):
    expected = torch.tensor([[3.0, 1 / 3], [2.0, 3.0]])
    torch.testing.assert_close(head.pooled(rows_with_texts()), expected)


@pytest.mark.parametrize("head", [pair(), aligned()], ids=["pair", "aligned"])
def test_merged_tokens_count_as_often_as_they_stand_for(head: Pair | Aligned):
    """a stands there twice: joined with itself it weighs twice, and nothing changes."""
    rows = rows_with_texts()
    rows.x_ND[2] = rows.x_ND[1]
    joined = merged(rows, torch.tensor([1]), torch.tensor([2]), proportional=False)
    assert joined.layout.lengths_B.tolist() == [5, 5]
    torch.testing.assert_close(head.vector(joined), head.vector(rows))


@pytest.mark.parametrize(
    ("head", "left"),
    [(pair(), [2, 1, 0, 0]), (aligned(), [2, 1, *[0] * 18])],
    ids=["pair", "aligned"],
)
def test_a_text_of_which_no_token_is_left_is_zero(head: Pair | Aligned, left: list[int]):
    """And nothing of the other text matches it."""
    rows = rows_with_texts()
    kept = torch.tensor([0, 1, 2, 3, 5, 6, 7, 8, 9, 10])
    found = head.vector(rows.take(kept, torch.tensor([5, 5])))
    assert found[0].tolist() == left
    torch.testing.assert_close(found[1], head.vector(rows)[1])


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


def test_distances_and_cosines_are_those_of_a_persons_sum():
    """c = (5, -1) finds 0.285 of a and 0.715 of b; d and e have each other alone."""
    found = aligned().vector(rows_with_texts())
    first = [2, 1, 3, 2, 4, 3, 1.97557, 0.97557, -0.78600, -0.83205]
    first += [5, -1, 2.56943, 2.43057, 2.56943, 2.43057, 5, -1, -0.73994, -0.73994]
    second = [2, 2, 0, 2, 0, 2, 2, 2, -1, -1, 2, 4, 0, 2, 0, 2, 2, 4, -1, -1]
    torch.testing.assert_close(found, torch.tensor([first, second]), atol=2e-5, rtol=1e-5)


def test_without_the_largest_distances_the_rest_is_as_it_was():
    rows = rows_with_texts()
    whole_BTX = aligned().vector(rows).unflatten(1, (2, -1))
    without_BV = aligned(largest=False).vector(rows)
    expected_BTX = torch.cat([whole_BTX[..., :4], whole_BTX[..., 6:]], -1)
    assert torch.equal(without_BV, expected_BTX.flatten(1))


@pytest.mark.parametrize("head", [pair(), aligned(), aligned(largest=False)])
def test_what_is_pooled_at_once_is_what_the_vector_gives(head: Pair | Aligned):
    rows = rows_with_texts()
    by_vector = head.of_features(head.features(head.vector(rows)))
    assert torch.equal(head.pooled(rows), by_vector)


@pytest.mark.parametrize(("kind", "texts"), [("aligned", 2), ("pair", 2), ("pair", 1)])
def test_the_dense_layer_is_as_narrow_as_asked(kind: str, texts: int):
    assert dense_width(kind, texts, narrowing=2) == 0.5


def test_of_one_text_aligned_keeps_the_width_that_it_always_had():
    """Folders of earlier versions name a narrowing there, which had no effect."""
    assert dense_width("aligned", 1, narrowing=2) == 1


def dense_width(kind: str, texts: int, **changes) -> float:
    """Width of the dense layer, by that of the encoder."""
    head = {"kind": kind, "texts": texts, "layers": [3], "activation": "tanh"}
    encoder = tiny(exit="never", head=head | changes)
    return encoder.heads.at(3).dense.out_features / encoder.shape.hidden_size


def test_texts_of_one_repeated_word_have_no_direction():
    """All tokens stand in the middle but for rounding, whose direction says nothing."""
    text_N = torch.tensor([0, 1, 1, 1, 0, 2, 0])
    made = packed([[33.3, 77.7]] * 7, [7])
    rows = replace(made, special_N=text_N == 0, notes={"text": text_N})
    found = aligned().vector(rows)
    expected = torch.tensor([2 * [33.3, 77.7, 0, 0, 0, 0, 33.3, 77.7, 0, 0]])
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_features_are_those_of_pair_and_how_tokens_match():
    head, beside = aligned(), pair()
    vector_BV, rows = head.vector(rows_with_texts()), rows_with_texts()
    features_BW = head.features(vector_BV)
    torch.testing.assert_close(features_BW[:, :8], beside.pooled(rows))
    more = [*range(2, 10), *range(12, 20)]
    torch.testing.assert_close(features_BW[:, 8:], vector_BV[:, more])


@pytest.mark.parametrize("reduction", ["none", "norm_topk", "tome"])
def test_an_example_is_answered_as_it_is_alone(reduction: str):
    """However long its neighbours are, and which of its tokens are left."""
    head = {"kind": "aligned", "layers": [0, 3, 4]}
    encoder, batch = tiny("dense", reduction, "confidence", head=head), pairs()
    together = encoder(batch, ALL_EXITS).guesses
    for i in range(batch.size):
        alone = encoder(batch.take(torch.tensor([i])), ALL_EXITS).guesses
        for layer, guess_BC in together.items():
            torch.testing.assert_close(guess_BC[i], alone[layer][0], atol=1e-4, rtol=1e-4)


def test_flops_are_those_of_the_counter():
    head = {"kind": "aligned", "layers": [0, 3, 4]}
    checks.flops_are_torchs(tiny("dense", "norm_topk", "confidence", head=head))


def means(texts: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([text.mean(0) for text in texts])


def matches(texts: list[torch.Tensor]) -> torch.Tensor:
    """The vector of `Aligned`, by a sum for each token."""
    middle_D = (texts[0].mean(0) + texts[1].mean(0)) / 2
    found = []
    for own_MD, other_KD in (texts, texts[::-1]):
        cosine_MK = torch.cosine_similarity(
            own_MD[:, None] - middle_D, other_KD[None] - middle_D, dim=-1
        )
        weight_MK = (10 * cosine_MK).exp() / (10 * cosine_MK).exp().sum(1, keepdim=True)
        gap_MD, nearest_M = (own_MD - weight_MK @ other_KD).abs(), cosine_MK.amax(1)
        new_1M = (1.1 - nearest_M)[None]
        found += [own_MD.mean(0), gap_MD.mean(0), gap_MD.amax(0)]
        found += [(new_1M @ own_MD / new_1M.sum())[0]]
        found += [torch.stack([nearest_M.mean(), nearest_M.min()])]
    return torch.cat(found)


@pytest.mark.parametrize(("kind", "by_hand"), [("pair", means), ("aligned", matches)])
def test_dropped_tokens_are_masked_ones(kind: str, by_hand: Any):
    """With pruning the vector is that of the tokens that are left."""
    head = {"kind": kind, "layers": [3, 4]}
    encoder, batch = tiny("dense", "norm_topk", "confidence", head=head), pairs((30, 24, 18))
    trace = encoder(batch, PassOptions(leave=False, keep_hidden=True))
    assert (trace.tokens_LB[3] < batch.lengths_B).all()
    rows, own = encoder.for_heads(trace.inside.hidden[4]), encoder.heads.at(4)
    assert isinstance(own, Pair | Aligned)
    lengths = rows.layout.lengths_B.tolist()
    parts = zip(rows.x_ND.split(lengths), text_numbers(batch, rows).split(lengths), strict=True)
    wanted = [by_hand([x_TD[text_T == 1], x_TD[text_T == 2]]) for x_TD, text_T in parts]
    torch.testing.assert_close(own.vector(rows), torch.stack(wanted), atol=1e-4, rtol=1e-4)


def text_numbers(batch: Batch, rows: Packed) -> torch.Tensor:
    """Of each row that is left the number of its text, by where the separators stood."""
    found = []
    lengths = batch.lengths_B.tolist()
    places = rows.position_N.split(rows.layout.lengths_B.tolist())
    for ids_T, place_T in zip(batch.ids_N.split(lengths), places, strict=True):
        first, last = (ids_T == 3).nonzero().flatten().tolist()
        found.append(
            ((place_T > 0) & (place_T < first)) + 2 * ((place_T > first) & (place_T < last))
        )
    return torch.cat(found)


def test_a_backbone_learns_through_it():
    """Gradients are finite where a text is gone, and reach the embeddings from the first exit."""
    head = {"kind": "aligned", "layers": [0, 3, 4]}
    encoder, batch = tiny("dense", "none", "confidence", head=head), pairs((9, 4, 12))
    batch.ids_N[9:13] = torch.tensor([2, 7, 3, 3])
    guess_BC = encoder.train()(batch, ALL_EXITS).guesses[0]
    guess_BC.logsumexp(-1).sum().backward()
    grads = [p.grad for p in encoder.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    assert encoder.embedding.word.weight.grad.abs().sum() > 0


def test_a_gate_of_0_is_a_token_less():
    """Soft gates of training weigh a row by 0 where the hard stage drops it."""
    rows, head = rows_with_texts(), aligned()
    gate_N = torch.ones(11)
    gate_N[[1, 4]] = 0.0
    gated = replace(rows, size_N=gate_N.requires_grad_())
    kept = torch.tensor([0, 2, 3, 5, 6, 7, 8, 9, 10])
    expected_BV = head.vector(rows.take(kept, torch.tensor([4, 5])))
    found_BV = head.vector(gated)
    torch.testing.assert_close(found_BV, expected_BV)
    found_BV.sum().backward()
    assert gate_N.grad is not None
    assert gate_N.grad.isfinite().all()
