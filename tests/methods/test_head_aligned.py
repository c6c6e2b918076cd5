"""Heads that lay the two texts of an example beside each other, token by token."""

from dataclasses import replace

import pytest
import torch
from helpers.models import packed, tiny
from test_head_pair import Sizes, pairs, rows_with_texts

from eat_lightning.methods.head.aligned import Aligned
from eat_lightning.methods.head.pair import Pair
from eat_lightning.methods.reduction._merged import merged
from eat_lightning.model.recorder import ALL_EXITS, PassOptions
from eat_lightning.new import checks


class Wide(Sizes):
    hidden_size = 8


def bound(**changes) -> Aligned:
    head = Aligned(**changes)
    head.bind(Sizes() if head.activation is None else Wide(), [3], 2)
    return head.eval()


def test_distances_and_cosines_are_those_of_a_persons_sum():
    """c = (5, -1) finds 0.285 of a and 0.715 of b; d and e have each other alone."""
    found = bound(activation=None).vector(rows_with_texts())
    first = [2, 1, 3, 2, 4, 3, 1.97557, 0.97557, -0.78600, -0.83205]
    first += [5, -1, 2.56943, 2.43057, 2.56943, 2.43057, 5, -1, -0.73994, -0.73994]
    second = [2, 2, 0, 2, 0, 2, 2, 2, -1, -1, 2, 4, 0, 2, 0, 2, 2, 4, -1, -1]
    torch.testing.assert_close(found, torch.tensor([first, second]), atol=2e-5, rtol=1e-5)


def test_texts_of_one_repeated_word_have_no_direction():
    """All tokens stand in the middle but for rounding, whose direction says nothing."""
    text_N = torch.tensor([0, 1, 1, 1, 0, 2, 0])
    made = packed([[33.3, 77.7]] * 7, [7])
    rows = replace(made, special_N=text_N == 0, notes={"text": text_N})
    found = bound(activation=None).vector(rows)
    expected = torch.tensor([2 * [33.3, 77.7, 0, 0, 0, 0, 33.3, 77.7, 0, 0]])
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_features_are_those_of_pair_and_how_tokens_match():
    head, beside = bound(activation=None), Pair(activation=None)
    beside.bind(Sizes(), [3], 2)
    vector_BV, rows = head.vector(rows_with_texts()), rows_with_texts()
    features_BW = head.features(vector_BV)
    torch.testing.assert_close(features_BW[:, :8], beside.pooled(rows))
    more = [*range(2, 10), *range(12, 20)]
    torch.testing.assert_close(features_BW[:, 8:], vector_BV[:, more])


def test_of_one_text_it_is_the_head_of_pairs():
    head, beside = Aligned(texts=1, activation=None), Pair(texts=1, activation=None)
    for one in (head, beside):
        one.bind(Sizes(), [3], 2)
    assert torch.equal(head.pooled(rows_with_texts()), beside.pooled(rows_with_texts()))


def test_merged_tokens_count_as_often_as_they_stand_for():
    """a is there twice: joined with itself nothing changes."""
    rows = rows_with_texts()
    rows.x_ND[2] = rows.x_ND[1]
    joined = merged(rows, torch.tensor([1]), torch.tensor([2]), proportional=False)
    assert joined.layout.lengths_B.tolist() == [5, 5]
    head = bound(activation=None)
    torch.testing.assert_close(head.vector(joined), head.vector(rows))


def test_beside_a_text_of_which_no_token_is_left_nothing_matches():
    rows, head = rows_with_texts(), bound(activation=None)
    kept = torch.tensor([0, 1, 2, 3, 5, 6, 7, 8, 9, 10])
    found = head.vector(rows.take(kept, torch.tensor([5, 5])))
    assert found[0].tolist() == [2, 1] + 18 * [0]
    torch.testing.assert_close(found[1], head.vector(rows)[1])


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


def test_dropped_tokens_are_masked_ones():
    """With pruning the vector is that of the tokens that are left, by a sum for each."""
    head = {"kind": "aligned", "layers": [3, 4]}
    encoder, batch = tiny("dense", "norm_topk", "confidence", head=head), pairs((30, 24, 18))
    trace = encoder(batch, PassOptions(leave=False, keep_hidden=True))
    rows, first = encoder.for_heads(trace.inside.hidden[4]), 0
    head = encoder.heads.at(4)
    assert isinstance(head, Aligned)
    found_BV = head.vector(rows)
    for length, found_V in zip(rows.layout.lengths_B.tolist(), found_BV, strict=True):
        here = slice(first, first + length)
        torch.testing.assert_close(
            found_V, by_hand(rows.x_ND[here], rows.notes["text"][here]), atol=1e-4, rtol=1e-4
        )
        first += length


def by_hand(x_LD: torch.Tensor, text_L: torch.Tensor) -> torch.Tensor:
    texts = [x_LD[text_L == 1], x_LD[text_L == 2]]
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
    rows, head = rows_with_texts(), bound(activation=None)
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
