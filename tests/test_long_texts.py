"""Windows of long texts: where they lie, how their answers are joined, and who may leave early."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import tiny

from eat_lightning.answer_kind import MultiLabel, Score, SingleLabel
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.data.module import TextData, count_faults
from eat_lightning.data.source import Source
from eat_lightning.data.task import Task
from eat_lightning.data.tokens import toy_tokenizer
from eat_lightning.errors import ConfigError
from eat_lightning.long_texts import (
    CUT,
    JOINS,
    MODES,
    PACK_TOKENS,
    REFUSE,
    AnswerRequest,
    Joiner,
    LongTexts,
    Reader,
    TokenWindow,
    packs,
)
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.model.trace import Trace, run_tokens

LABELS = ["benign", "attack"]


def reader(long: LongTexts, size: int = 8, columns: int = 1) -> Reader:
    return Reader(toy_tokenizer().backend_tokenizer, size, "right", columns == 2, long)


def words(read: Any) -> list[str]:
    """The words of each window, special tokens included."""
    tokenizer = toy_tokenizer()
    return [" ".join(tokenizer.convert_ids_to_tokens(w.ids.tolist())) for w in read.windows]


def windows(overlap: int = 2, **given: Any) -> LongTexts:
    return LongTexts("windows", overlap=overlap, **given)


def test_windows_are_by_tokens_and_the_last_one_is_the_rest():
    """Of ten letters windows of six letters share two: 1-6, 5-10."""
    letters = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]
    [short, exact, two, three] = reader(windows())(
        [[" ".join(letters[:count])] for count in (2, 6, 10)] + [[" ".join([*letters, "k"])]]
    )
    assert words(short) == ["[CLS] a b [SEP]"]
    assert words(exact) == ["[CLS] a b c d e f [SEP]"]
    assert words(two) == ["[CLS] a b c d e f [SEP]", "[CLS] e f g h i j [SEP]"]
    assert words(three) == [*words(two), "[CLS] i j k [SEP]"]
    assert three.sizes == {"windows": 3, "tokens": 13, "truncated": False}


def test_the_longer_text_of_a_pair_is_cut_into_windows():
    """Of ten tokens the short text and three special ones leave six for the long one."""
    both = [["a", "b c d e f g h i"], ["b c d e f g h i", "a"]]
    for read, given in zip(reader(windows(), 10, 2)(both), both, strict=True):
        parts = ["b c d e f g", "f g h i"]
        wanted = [f"a [SEP] {p}" if given[0] == "a" else f"{p} [SEP] a" for p in parts]
        assert words(read) == [f"[CLS] {each} [SEP]" for each in wanted]
        types = read.windows[0].types
        assert types.sum() == (7 if given[0] == "a" else 2)
    [refused] = reader(windows(), 10, 2)([["a b c d e f", "g h i j k l"]])
    assert (refused.windows, refused.sizes["tokens"]) == ([], 15)
    assert refused.refused == (
        "the shorter text of a pair must leave more than 2 of 10 tokens for the longer one, got 6"
    )


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_text_is_cut_only_by_name(side: str):
    text = [["a b c d e f g"]]
    [refused] = reader(REFUSE)(text)
    assert (
        refused.refused
        == "a text must have at most 8 tokens, got 9 (long=cut takes the first, long=windows all)"
    )
    [read] = replace(reader(CUT), side=side)(text)
    kept = "a b c d e f" if side == "right" else "b c d e f g"
    assert words(read) == [f"[CLS] {kept} [SEP]"]
    assert read.sizes == {"windows": 1, "tokens": 9, "truncated": True}


def test_a_cut_pair_is_what_transformers_make_of_it():
    pair, tokenizer = ["a b c d e f g h", "i j k l m"], toy_tokenizer()
    [read] = reader(CUT, 12, 2)([pair])
    theirs = tokenizer(*pair, truncation="longest_first", max_length=12)
    assert read.windows[0].ids.tolist() == theirs["input_ids"]
    assert read.windows[0].types.tolist() == theirs["token_type_ids"]


LOGITS = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])  # benign, attack, more of an attack


@pytest.mark.parametrize(
    ("join", "wanted"),
    [
        ("any", [0.0, 1.0]),  # of the first window where it is found
        ("max", [0.0, 3.0]),
        # Probabilities of an attack: 0.1192, 0.7311, 0.9526.
        ("mean", [np.log(1 - 0.60094), np.log(0.60094)]),
    ],
)
def test_answers_are_joined(join: Any, wanted: list[float]):
    joiner = Joiner(windows(join=join, label="attack"), SingleLabel(2), LABELS)
    np.testing.assert_allclose(joiner.logits(LOGITS), wanted, atol=1e-4)
    nothing = joiner.logits(np.array([[2.0, 0.0], [2.0, 1.0]]))
    assert nothing.argmax() == 0
    if join != "mean":
        assert nothing.tolist() == [2.0, 1.0]  # of the window that is nearest to it


def test_several_labels_and_scores_are_joined():
    logits = np.array([[-1.0, -2.0], [1.0, -3.0], [-1.0, 2.0]])

    def joined(join: Any, label: str | None = None) -> list[float]:
        return (
            Joiner(windows(join=join, label=label), MultiLabel(2), LABELS).logits(logits).tolist()
        )

    assert joined("any") == [1.0, -3.0]
    assert joined("any", "attack") == [-1.0, 2.0]
    assert joined("max") == [1.0, 2.0]
    p = (1 / (1 + np.exp(-logits))).mean(0)
    np.testing.assert_allclose(joined("mean"), np.log(p / (1 - p)), atol=1e-6)
    scores = np.array([[0.5], [2.0], [1.0]])
    for join, score in (("max", 2.0), ("mean", 3.5 / 3)):
        assert Joiner(windows(join=join), Score(), []).logits(scores).item() == pytest.approx(score)


def given_windows(*lengths: int) -> list[TokenWindow]:
    return [TokenWindow(np.zeros(n, np.int32), np.zeros(n, np.int32)) for n in lengths]


def test_windows_go_in_bounded_packs():
    half = PACK_TOKENS // 2
    assert packs([half, half, half, 1]) == [[0, 1], [2, 3]]
    assert packs([2 * PACK_TOKENS, 5]) == [[0], [1]]


def test_the_first_window_where_it_is_found_ends_the_text():
    """The answer does not depend on what else was in its pack."""
    logits_WC = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 9.0], [0.0, 9.0], [0.0, 9.0], [0.0, 9.0]])
    joiner = Joiner(windows(join="any", label="attack"), SingleLabel(2), LABELS)
    seen: list[int] = []

    def run(some: AnswerRequest) -> Any:
        rows = np.arange(len(some.windows))
        places = rows + len(seen)
        seen.extend(places.tolist())
        depth_B = 1 + places % 2
        tokens_LB = run_tokens(np.full((2, len(rows)), 7), depth_B)
        trace = Trace(logits_WC[places], depth_B, tokens_LB, depth_B)
        yield replace(trace, rows_B=rows)

    request = AnswerRequest(given_windows(*[PACK_TOKENS // 3] * 6), [{}] * 6)
    joined = joiner.read(request, run)
    assert seen == [0, 1, 2]  # one pack of two
    assert joined.logits_BC.tolist() == [[0.0, 1.0]]
    assert (joined.depth_B.tolist(), joined.tokens_LB.tolist()) == ([2], [[14], [7]])
    assert joined.parts is not None
    assert joined.parts.rows_B.tolist() == [0, 1]  # the third does not count


EVERYONE = 0.5  # a tau at which all leave at the first exit, layer 3


@pytest.fixture(scope="module")
def encoder() -> AdaptiveEncoder:
    tokenizer = toy_tokenizer()
    sizes = {"vocab_size": len(tokenizer), "sep_token_id": tokenizer.sep_token_id}
    return tiny(exit="confidence", num_labels=2, **sizes)


def backend(encoder: AdaptiveEncoder, long: LongTexts, tau: Any = EVERYONE) -> TorchModel:
    """A backend that reads 12 tokens at once."""
    encoder = encoder.replacing(exit=Confidence(tau=tau, layers=[3, 4]))
    made = TorchModel(Path("tiny"), encoder, toy_tokenizer(), ["text"], LABELS, 12)
    made.read_long(long)
    return made


def texts(*lengths: int) -> list[list[str]]:
    random = np.random.default_rng(0)
    return [[" ".join(random.choice([*"abcdefghijklmnop"], n))] for n in lengths]


ANY = windows(label="attack")
LENGTHS = (3, 30, 10, 7, 57, 11, 41, 90, 24, 1, 66)  # words, of which ten fit


def test_a_text_that_fits_is_answered_as_before(encoder: AdaptiveEncoder):
    fit = texts(3, 10, 7, 1)
    trace = encoder.replacing(exit=Confidence(tau=0.6, layers=[3, 4]))(
        backend(encoder, CUT).batch(fit, [{}] * 4)
    )
    for long in (REFUSE, CUT, ANY, windows(join="mean")):
        logits_BC = np.zeros((4, 2))
        for left in backend(encoder, long, 0.6).stream(fit):
            logits_BC[left.rows_B] = left.logits_BC
            assert left.depth_B.tolist() == trace.depth_B[left.rows_B].tolist()
            assert all(sizes["windows"] == 1 for sizes in left.sizes)
        assert (logits_BC == trace.logits_BC.detach().numpy()).all()


@pytest.mark.parametrize("join", JOINS)
def test_a_batch_is_its_texts_alone(encoder: AdaptiveEncoder, join: Any):
    made = backend(encoder, windows(join=join, label=None if join == "mean" else "attack"), 0.6)
    together = made.answer(texts(*LENGTHS))
    for text, answer in zip(texts(*LENGTHS), together, strict=True):
        [alone] = made.answer([text])
        assert alone.pop("confidence") == pytest.approx(answer.pop("confidence"), abs=1e-5)
        assert alone == answer
    # Windows of ten words share two.
    assert [answer["windows"] for answer in together] == [1, 4, 1, 1, 7, 2, 5, 11, 3, 1, 8]
    assert [answer["tokens"] for answer in together] == [count + 2 for count in LENGTHS]


def test_only_windows_where_nothing_is_found_leave_early(encoder: AdaptiveEncoder):
    """A window that leans to an attack at layer 3 counts only where full depth agrees."""
    made, alarms, early_alarms = backend(encoder, ANY), [], []
    for [text], answer in zip(found := texts(*[60] * 20), made.answer(found), strict=True):
        [read] = made.reader([[text]])
        with torch.inference_mode():
            whole = encoder(made.batch_of(read.windows, [{}] * len(read.windows)), ALL_EXITS)
        early_W, last_W = (whole.guesses[k].argmax(-1).bool() for k in (3, 6))
        both_W = (early_W & last_W).numpy()
        assert answer["label"] == LABELS[int(both_W.any())]
        counted_W = early_W[: both_W.argmax() + 1] if both_W.any() else early_W
        assert answer["depth"] == (6 if counted_W.any() else 3)
        alarms.append(both_W.any())
        early_alarms.append(bool(early_W.any()))
    assert 0 < sum(alarms) < sum(early_alarms)


def test_memory_does_not_grow_with_the_text(encoder: AdaptiveEncoder):
    tokens: list[int] = []
    hook = encoder.embedding.register_forward_pre_hook(
        lambda module, given: tokens.append(len(given[0].ids_N))
    )
    for join, label in (("max", "attack"), ("mean", None)):
        peaks = []
        for count in (2 * PACK_TOKENS, 6 * PACK_TOKENS):
            tokens.clear()
            backend(encoder, windows(join=join, label=label)).answer(texts(count))
            assert sum(tokens) > count
            peaks.append(max(tokens))
        assert peaks[0] == peaks[1] <= PACK_TOKENS
    hook.remove()


def test_training_texts_are_cut_refused_or_read_in_windows(capsys: pytest.CaptureFixture[str]):
    task = Task("toy", ["text"], ["no", "yes"])
    found = {}
    for long in MODES:
        data = GivenTexts(task, toy_tokenizer(), max_length=12, long=long)
        if long == "refuse":
            advice = "long=cut takes the first, long=windows all"
            why = f"a text must have at most 12 tokens, got 22 ({advice})"
            with pytest.raises(ConfigError, match=r"^train: ") as error:
                data.split("train")
            assert str(error.value) == f"train: {why} in row 1, one of 1 such rows"
            continue
        found[long] = data.split("train")
        assert data.split("select").lengths.tolist() == [5, 12]  # measured text by text
    assert found["cut"].lengths.tolist() == [5, 12]
    assert found["windows"].lengths.tolist() == [5, 12, 12, 8]
    assert found["windows"].labels.tolist() == [0, 1, 1, 1]
    said = capsys.readouterr().err.splitlines()
    assert said[1] == (
        "train: 1 of 2 texts have 12 tokens or more and are cut there (data.long=cut)"
    )
    assert [line.partition(":")[0] for line in said] == ["select", "train", "select"]
    assert "data.long must be one of" in count_faults({"long": "maybe"})[0]


class GivenTexts(TextData):
    """A short and a long text."""

    def source(self, name: str) -> Source:
        return Source([[text for [text] in texts(3, 20)]], np.array([0, 1]))
