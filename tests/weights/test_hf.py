"""The Hugging Face face: from_pretrained, AutoModel and pipeline give the adaptive model."""

from pathlib import Path

import pytest
import torch
from helpers.models import each_once, kinds, ragged, tiny
from helpers.models import padded as hugging
from helpers.pairs_at_0 import leaving_at_0, pairs_batch

from eat_lightning.answer_kind import MULTI
from eat_lightning.bundle.hf import EatConfig, EatForSequenceClassification
from eat_lightning.data.tokens import toy_tokenizer
from eat_lightning.methods.objective.joint import Joint
from eat_lightning.model.int8 import is_int8
from eat_lightning.model.reason import FIRST_REASON, Reason
from eat_lightning.model.specification import Specification
from eat_lightning.model.training import Context
from eat_lightning.weights.checkpoint import load_model, save_model

LABELS = ["bad", "fair", "good"]
ADAPTIVE = {
    "reduction": {"kind": "norm_topk", "ratio": 0.4, "layers": [1, 2]},
    "exit": {"kind": "confidence", "tau": 0.6, "layers": [2]},
}


@pytest.fixture(autouse=True, scope="module")
def quiet():
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def padded(left: bool = False) -> dict[str, torch.Tensor]:
    return hugging(ragged(), left=left)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's model folder, as training leaves it: with its tokenizer."""
    folder, tokenizer = tmp_path_factory.mktemp("run"), toy_tokenizer()
    encoder = tiny("longformer", "cls_topk", "confidence", vocab_size=len(tokenizer))
    encoder.strength.fill_(0.7)
    encoder.heads["3"].temperature.fill_(1.1)
    save_model(encoder, LABELS, folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("attention", "reduction", "exit"),
    each_once(kinds("attention"), kinds("reduction"), kinds("exit")),
)
def test_every_method_is_what_our_own_loader_makes(
    attention: str, reduction: str, exit: str, tmp_path: Path
):
    encoder = tiny(attention, reduction, exit)
    save_model(encoder, LABELS[: encoder.num_labels], tmp_path)
    opened = EatForSequenceClassification.from_pretrained(tmp_path).encoder
    with torch.no_grad():
        ours, theirs = encoder(ragged()), opened(ragged())
    assert torch.equal(ours.tokens_LB, theirs.tokens_LB)
    torch.testing.assert_close(ours.logits_BC, theirs.logits_BC, atol=1e-4, rtol=0)


def test_int8(run: Path, tmp_path: Path):
    """Of a run's folder and of a plain one: the same heads, other products; it is not saved."""
    whole = EatForSequenceClassification.from_pretrained(run)
    model = EatForSequenceClassification.from_pretrained(run, dtype="int8")
    assert is_int8(model.encoder)
    assert not is_int8(whole.encoder)
    with torch.no_grad():
        gap = (model(**padded()).logits - whole(**padded()).logits).abs().max()
    assert 0 < gap < 1
    with pytest.raises(ValueError, match="int8 is not saved"):
        model.save_pretrained(tmp_path)


def test_plain_folder_made_adaptive(bert: Path, tmp_path: Path):
    inputs = padded()
    model = EatForSequenceClassification.from_pretrained(bert, num_labels=3, **ADAPTIVE)
    assert not model.training
    assert model.config.id2label == dict(enumerate(LABELS))
    assert [*model.encoder.heads] == ["2", "3"]
    assert model.config.reduction == ADAPTIVE["reduction"]
    with torch.no_grad():
        output = model(**inputs)
        assert output.tokens[1].tolist() == [6, 1, 9, 2, 5]  # 1 + ceil(0.6 (t - 1))
        model.save_pretrained(tmp_path)
        again = EatForSequenceClassification.from_pretrained(tmp_path)(**inputs)
    assert torch.equal(again.logits, output.logits)


def test_auto_model_gives_the_run(run: Path):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(run)
    assert type(model) is EatForSequenceClassification
    assert not model.training
    assert model.dtype == torch.float32
    assert model.config.num_hidden_layers == 6
    encoder, _ = load_model(run)
    with torch.no_grad():
        output, trace = model(**padded()), encoder(ragged())
    assert torch.equal(output.logits, trace.logits_BC)
    assert torch.equal(output.depth, trace.depth_B)
    assert torch.equal(output.tokens, trace.tokens_LB)
    assert torch.equal(output.exit_reason, trace.reason_B)
    assert output.exit_logits.shape == (3, 5, 3)  # the heads at 3, 4 and 6
    for row, layer in zip(output.exit_logits, [3, 4, 6], strict=True):
        assert torch.equal(row.isnan().any(1), trace.depth_B < layer)
    assert {*output.exit_reason.tolist()} <= {FIRST_REASON, Reason.LAST_LAYER}


@pytest.mark.parametrize("kind", ["aligned", "pair"])
def test_heads_of_two_texts_on_the_embedding_answer_as_before(kind: str, tmp_path: Path):
    """Of our own folder by an Auto class, and of the one that this saves."""
    from transformers import AutoModelForSequenceClassification

    encoder, batch = leaving_at_0(kind), pairs_batch()
    encoder.heads["0"].temperature.fill_(0.98)
    encoder.heads["0"].centre.fill_(0.02)
    save_model(encoder, LABELS, tmp_path / "0")
    with torch.no_grad():
        trace = encoder(batch)
        for place in (0, 1):
            model = AutoModelForSequenceClassification.from_pretrained(tmp_path / str(place))
            output = model(**hugging(batch))
            assert torch.equal(output.logits, trace.logits_BC)
            assert torch.equal(output.depth, trace.depth_B)
            assert not output.exit_logits[0].isnan().any()  # all meet the exit at 0
            model.save_pretrained(tmp_path / str(place + 1))
    assert {*trace.depth_B.tolist()} == {0, 1, 2}
    assert torch.equal(load_model(tmp_path / "2")[0](batch).depth_B, trace.depth_B)


def test_round_trip_keeps_strength_temperature_and_slots(run: Path, tmp_path: Path):
    model = EatForSequenceClassification.from_pretrained(run)
    model.encoder.exit = tiny(exit="patience").exit  # at layers 2, 3, 4; there is no head at 2
    with pytest.raises(ValueError, match=r"exit.layers must have exit heads"):
        model.save_pretrained(tmp_path)
    model.encoder.exit = type(model.encoder.exit)(1, [3, 4])
    model.save_pretrained(tmp_path)
    again = EatForSequenceClassification.from_pretrained(tmp_path)
    assert again.config.exit == {"kind": "patience", "patience": 1, "layers": [3, 4]}
    assert again.encoder.strength.item() == 0.7
    assert again.encoder.strength.dtype == torch.float64
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    assert load_model(tmp_path)[1] == LABELS  # our own loader reads it too


@pytest.mark.parametrize("auto", [False, True])
def test_settings_replace_those_of_the_run(run: Path, auto: bool):
    from transformers import AutoModelForSequenceClassification

    cls = AutoModelForSequenceClassification if auto else EatForSequenceClassification
    rule = {"kind": "patience", "patience": 1, "layers": [2, 3]}
    model = cls.from_pretrained(run, reduction={"kind": "none"}, exit=rule)
    assert [*model.encoder.heads] == ["2", "3", "4", "6"]
    new, old = model.encoder.heads["2"], model.encoder.heads["3"]
    assert new.temperature == 1.0
    assert new.classes.weight.isfinite().all()
    assert old.temperature.item() == pytest.approx(1.1)
    assert model(**padded()).tokens[2].tolist() == [9, 1, 14, 2, 7]


def test_padding_on_either_side(run: Path):
    model = EatForSequenceClassification.from_pretrained(run)
    with torch.no_grad():
        right, left = model(**padded()), model(**padded(left=True))
    assert torch.equal(right.logits, left.logits)
    ids = ragged((7,)).ids_N[None]
    assert torch.equal(model(ids).logits, model(ids, torch.ones_like(ids)).logits)


def test_training_runs_all_and_sums_the_exits(run: Path):
    model = EatForSequenceClassification.from_pretrained(run).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for layer in model.encoder.layers:
        layer.attention_dropout = 0.0
    labels = torch.tensor([0, 1, 2, 0, 1])
    output = model(**padded(), labels=labels)
    assert output.depth.tolist() == [6] * 5
    assert not output.exit_logits.isnan().any()
    guesses = dict(zip([3, 4, 6], output.exit_logits, strict=True))
    torch.testing.assert_close(output.loss, Joint()(Context(guesses, labels, last=6)).total / 5)
    output.loss.backward()
    assert all(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize("kind", ["alternating", "hidden_distillation", "sandwich"])
def test_an_objective_that_asks_for_more_than_a_batch_is_refused(run: Path, kind: str):
    model = EatForSequenceClassification.from_pretrained(run, objective={"kind": kind}).train()
    teacher = {"teacher_logits": torch.zeros(5, 3)}
    with pytest.raises(
        ValueError, match=f"objective={kind} asks for more than a batch: train with"
    ):
        model(**padded(), labels=torch.tensor([0, 1, 2, 0, 1]), **teacher)


def test_pipeline(run: Path):
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(run))
    texts = [*["a fine film"] * 5, "bad", "", "the film is not very good at all", "x"] * 2
    single = [classify(text)[0] for text in texts]
    for batched in classify(texts, batch_size=8), classify(texts, batch_size=18):
        assert [x["label"] for x in batched] == [x["label"] for x in single]
        for one, other in zip(batched, single, strict=True):
            assert one["score"] == pytest.approx(other["score"], abs=1e-5)
    pair = classify({"text": "a film", "text_pair": "no film"})
    assert pair["label"] in LABELS
    every = classify("good", top_k=None)
    assert {x["label"] for x in every} == {*LABELS}
    assert sum(x["score"] for x in every) == pytest.approx(1.0)


def test_regression_scores_are_left_as_they_are(tmp_path: Path):
    from transformers import pipeline

    tokenizer = toy_tokenizer()
    encoder = tiny(num_labels=1, vocab_size=len(tokenizer))
    encoder.heads["6"].classes.bias.data.fill_(7.0)
    save_model(encoder, [], tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert pipeline("text-classification", model=str(tmp_path))("good")[0]["score"] > 2
    with pytest.raises(ValueError, match="this task is a regression: use exit=never"):
        EatForSequenceClassification.from_pretrained(tmp_path, exit={"kind": "confidence"})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"exit": {"kind": "os.system", "command": "true"}}, "is no ExitRule"),
        ({"exit": {"kind": "confidence", "teu": 0.9}}, "exit.teu is not an option of confidence"),
        ({"exit": {"kind": "confidence", "layers": [9]}}, r"exit.layers must be in 0..\d, got 9"),
        ({"num_labels": 2}, "classes"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(settings: dict, said: str, run: Path, bert: Path):
    for folder in run, bert:
        with pytest.raises(ValueError, match=said) as caught:
            EatForSequenceClassification.from_pretrained(folder, **settings)
        assert "\n" not in str(caught.value)
    if "num_labels" not in settings:
        with pytest.raises(ValueError, match=said):
            EatConfig(**settings, num_layers=6)


def test_input_that_does_not_fit(run: Path):
    model = EatForSequenceClassification.from_pretrained(run)
    with pytest.raises(ValueError, match=r"must have 1..40 tokens, got \[41\]"):
        model(torch.full((1, 41), 5))
    with pytest.raises(ValueError, match=r"must have 1..40 tokens, got \[0, 3\]"):
        model(torch.full((2, 3), 5), torch.tensor([[1, 1, 1], [0, 0, 0]]))
    with pytest.raises(ValueError, match=r"must both be \(examples, length\)"):
        model(torch.full((2, 3), 5), torch.ones(2, 1, 3, 3))


def test_lacking_weights_are_refused(run: Path, tmp_path: Path):
    """transformers would start them at random and only print a table."""
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(run, tmp_path / "cut")
    path = tmp_path / "cut" / "model.safetensors"
    weights = load_file(path)
    del weights["encoder.layers.2.up.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"its weights lack encoder.layers.2.up.weight"):
        EatForSequenceClassification.from_pretrained(tmp_path / "cut")


def test_training_goes_on_with_the_objective_of_the_run(run: Path, tmp_path: Path):
    encoder, labels = load_model(run)
    ids, target = torch.full((2, 5), 5), torch.tensor([0, 1])

    def loss(**objective: float) -> float:
        save_model(encoder, labels, tmp_path, Specification("objective", "joint", objective))
        model = EatForSequenceClassification.from_pretrained(
            tmp_path, dropout=0.0, attention_dropout=0.0
        )
        return float(model.train()(ids, labels=target).loss.detach())

    last, once, twice = (loss(early_weight=weight) for weight in (0.0, 1.0, 2.0))
    assert once > last
    assert twice - once == pytest.approx(once - last, rel=1e-4)
    with pytest.raises(ValueError, match=r"objective.distill needs teacher_logits"):
        loss(distill=0.5)


@pytest.mark.filterwarnings("ignore")
def test_a_multi_label_folder_of_transformers_is_opened_as_one(tmp_path: Path):
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 64, "vocab_size": 60, "num_labels": 3}
    theirs = BertForSequenceClassification(BertConfig(**sizes, problem_type=MULTI)).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    with pytest.warns(UserWarning, match="theirs has no exits: all of its layers run"):
        ours = EatForSequenceClassification.from_pretrained(tmp_path / "theirs")
    assert ours.encoder.kind.problem_type == ours.config.problem_type == MULTI
    ids = torch.randint(5, 60, (2, 7))
    wanted = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    with torch.inference_mode():
        expected, found = theirs(ids, labels=wanted), ours(ids, labels=wanted)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.loss, expected.loss, atol=1e-5, rtol=0)
    ours.save_pretrained(tmp_path / "ours")
    again = EatForSequenceClassification.from_pretrained(tmp_path / "ours")
    assert again.encoder.kind == ours.encoder.kind
