"""Every family of bodies: equal to transformers' model, saved as one, and opened by every command.

Budgets, certificates and the gateway do not look at the family.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.exports import exported, with_opinions
from helpers.finished import finish
from helpers.models import method, spread

from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.original import Original
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.data.tokens import toy_tokenizer
from eat_lightning.data.unlabelled import read_texts
from eat_lightning.deploy.adapt.run import check_encoder, splits_of
from eat_lightning.model.packed import Batch
from eat_lightning.new.family_checks import CHECKS, assert_near, encoder_in, vectors
from eat_lightning.runs.run import Run
from eat_lightning.weights.checkpoint import load_pretrained
from eat_lightning.weights.families import FAMILIES


@pytest.mark.parametrize("name", sorted({family.name for family in FAMILIES.values()}))
def test_a_family_keeps(name: str):
    for check in CHECKS:
        check(FAMILIES[name])


NAMES = sorted({family.name for family in FAMILIES.values()})
WORDS = ["good", "bad", "film", "not", "very", "the", "plot", "is", "dull", "but", "fine"]
TEXTS = [" ".join(np.random.default_rng(i).choice(WORDS, 1 + 5 * i % 31)) for i in range(24)]


@pytest.fixture(scope="module", params=NAMES)
def body(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that transformers saved, of the family's small config and the toy tokenizer."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    family, tokenizer = FAMILIES[request.param], toy_tokenizer()
    longest = max(84, family.small["max_position_embeddings"])
    changes = {"vocab_size": len(tokenizer), "max_position_embeddings": longest, "num_labels": 2}
    folder = tmp_path_factory.mktemp(request.param) / "body"
    torch.manual_seed(0)
    config = AutoConfig.for_model(request.param, **family.small | changes)
    model: Any = AutoModelForSequenceClassification.from_config(config)
    spread(model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run(body: Path) -> Path:
    """Three layers of it as a run that nobody trained: it prunes, and examples leave at 1 and 2."""
    slots = {
        "attention": method("attention", "dense"),
        "reduction": method("reduction", "norm_topk", ratio=0.3, layers=[1, 2]),
        "exit": method("exit", "confidence", tau=[0.75, 0.7], layers=[1, 2]),
    }
    head = {"layers": [1, 2], "pool": "cls", "activation": "auto"}
    encoder = load_pretrained(str(body), 2, **slots, head=head, num_layers=3)
    data = {"num_validation": 40, "cache_dir": str(body.parent / "cache")}
    named = {"encoder": {"pretrained": str(body)}, "seed": 1, "model": "eat", "study": "s"}
    return finish(body.parent / "run", with_opinions(encoder.eval()), "sst2", data, **named)


def answered(backend: Any) -> list[dict[str, Any]]:
    return backend.answer([[text] for text in TEXTS])


def shares_alike(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> float:
    """Of answers with one label and one depth."""
    pairs = zip(one, other, strict=True)
    return float(np.mean([all(a[k] == b[k] for k in ("label", "depth")) for a, b in pairs]))


def test_adapt_opens_it_and_our_kernels_answer_as_transformers_does(body: Path, tmp_path: Path):
    original = Original.open(str(body))
    assert len(original.same.labels) == 2
    texts = read_texts(TEXTS, None, len(TEXTS))
    parts = {"select": np.arange(len(texts))}
    check_encoder(
        original.encoder(1), original, splits_of(texts, parts, original, tmp_path)["select"]
    )


@pytest.mark.nightly
@pytest.mark.skipif(find_spec("onnxscript") is None, reason="needs the extra `onnx`")
def test_its_export_answers_as_it_does(run: Path):
    to = exported(run, "check=all")
    found = json.loads((to / "export.json").read_text())["agreement"]
    for batch in ("batch_1", "batch_32"):
        assert found[batch]["largest_gap"] < 1e-3
        thin = len(found[batch]["thin_and_different"])
        for what in ("answers", "depth", "retention"):
            assert found[batch][f"{what}_equal"] >= found[batch]["examples"] - thin
    answers = answered(GraphModel(to, 1).with_rules())
    assert shares_alike(answers, answered(TorchModel.open(run))) > 0.9


def test_transformers_opens_it_with_and_without_its_exits(run: Path, tmp_path: Path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from eat_lightning.bundle.hf import EatForSequenceClassification

    plain: Any = AutoModelForSequenceClassification.from_pretrained(run / "model")
    model: Any = EatForSequenceClassification.from_pretrained(run / "model")
    assert plain.config.model_type == model.config.family
    given = AutoTokenizer.from_pretrained(run / "model")(TEXTS, padding=True, return_tensors="pt")
    encoder, _ = Run.open(run).model()
    lengths = given.attention_mask.sum(1).tolist()
    lists = [ids[:n].tolist() for ids, n in zip(given.input_ids, lengths, strict=True)]
    with torch.no_grad():
        ours, trace = model(**given), encoder(Batch.from_lists(lists))
        model.save_pretrained(tmp_path)
        again: Any = AutoModelForSequenceClassification.from_pretrained(tmp_path)
        torch.testing.assert_close(ours.logits, trace.logits_BC, rtol=1e-4, atol=1e-4)
        assert torch.equal(ours.depth, trace.depth_B)
        torch.testing.assert_close(again(**given).logits, ours.logits, rtol=1e-4, atol=1e-4)
    assert again.config.family == encoder.shape.family


LONG = 8192


def long_body(folder: Path) -> Any:
    """Four layers, of which the second and third see 64 tokens on each side, as ModernBERT's do."""
    from transformers import ModernBertConfig, ModernBertForSequenceClassification

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "num_labels": 3}
    sizes |= {"num_hidden_layers": 4, "intermediate_size": 16, "max_position_embeddings": LONG}
    ids = {f"{name}_token_id": 3 for name in ("bos", "eos", "cls", "sep")} | {"pad_token_id": 0}
    model: Any = ModernBertForSequenceClassification(ModernBertConfig(**sizes | ids))
    with torch.no_grad():
        for weight in spread(model).parameters():
            weight.mul_(0.7)
    model.eval().save_pretrained(folder)
    return model


@pytest.mark.nightly
def test_a_text_of_8192_tokens_has_transformers_vectors(tmp_path: Path):
    model = long_body(tmp_path)
    encoder = encoder_in(tmp_path)
    assert encoder.shape.local_layers == (2, 3)
    assert encoder.shape.max_length == LONG
    torch.manual_seed(1)
    ids = [2, *torch.randint(5, 50, (LONG - 1,)).tolist()]
    with torch.no_grad():
        found_ND = vectors(encoder, Batch.from_lists([ids]))
        theirs_ND = model.model(torch.tensor([ids])).last_hidden_state[0]
    assert_near(found_ND, theirs_ND)
