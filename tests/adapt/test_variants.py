"""Altered copies of texts, from which exits learn."""

import numpy as np
import pytest

from eat_lightning.data.variants import WAYS, Alter, spliced, stretch, thinned, variants

TEXT = "one two  three\nfour five six seven eight"
OTHER = "a b c d"


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(1)


def test_each_text_has_as_many_copies_and_the_same_in_every_call():
    rows = [(TEXT,), (OTHER,)]
    found = variants(rows, 4)
    assert len(found) == 8
    assert found == variants(rows, 4)
    assert found[:2] != found[6:]  # the fourth copy is a stretch as the first is, and another one


def test_no_copies_are_none():
    assert variants([(TEXT,)], 0) == []


def test_a_stretch_has_a_quarter_of_the_words_or_more_and_their_spaces(
    random: np.random.Generator,
):
    found = [stretch((TEXT,), (OTHER,), random)[0] for _ in range(200)]
    assert all(made in TEXT for made in found)
    assert {len(made.split()) for made in found} == {2, 3, 4, 5, 6, 7, 8}


def test_a_splice_begins_as_one_text_and_ends_as_the_other(random: np.random.Generator):
    assert spliced((TEXT,), (OTHER,), random) == ("one two  three\nfour c d",)


def test_a_fifth_of_the_words_is_left_out_and_none_is_moved(random: np.random.Generator):
    found = [thinned((TEXT,), (OTHER,), random)[0].split() for _ in range(2000)]
    words = TEXT.split()
    assert all(made == [word for word in words if word in made] for made in found)
    left_out = 1 - np.mean([len(made) for made in found]) / len(words)
    assert left_out == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("alter", WAYS[1])
@pytest.mark.parametrize("text", ["好きな映画でした", "ok", "x", "a b"])
def test_a_text_of_few_words_is_altered_by_characters(alter: Alter, text: str):
    for seed in range(50):
        [made] = alter((text,), (text,), np.random.default_rng(seed))
        assert made.strip()
        assert {*made} <= {*text}


def test_the_texts_of_a_pair_are_exchanged_and_both_are_thinned():
    exchanged, thin, both = variants([(TEXT, TEXT.upper())], 3)
    assert exchanged == (TEXT.upper(), TEXT)
    assert thin[0].islower()
    assert {*thin[0].split()} < {*TEXT.split()}
    assert both[0].isupper()
    assert {*both[1].split()} < {*TEXT.split()}
