"""The way of examples: nested, as counted, as the encoder itself goes, and readable."""

import json

import numpy as np
import pytest
import torch
from helpers.finished import finish, tiny_for
from helpers.models import method

from eat_lightning.data.split import Split
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.model.specification import build
from eat_lightning.report.explorer import compared, explore
from eat_lightning.runs.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished toy run without training."""
    folder = tmp_path_factory.mktemp("runs") / "task=sst2,model=eat,seed=1"
    encoder = tiny_for("sst2", "confidence", head={"layers": [3, 4]}, max_positions=300)
    encoder = encoder.replacing(exit=method("exit", "confidence", tau=0.6, layers=[3, 4]))
    data = {"num_validation": 60, "cache_dir": str(folder / "cache")}
    return Run.open(finish(folder, encoder, "sst2", data, seed=1, model="eat", study="s"))


@pytest.fixture(scope="module")
def explored(run: Run) -> dict:
    return explore(run, examples=12)


@pytest.fixture(scope="module")
def split(run: Run) -> Split:
    return run.data().split("validation")


def test_what_a_page_needs(run: Run, explored: dict, split: Split):
    assert json.loads(json.dumps(explored)) == explored
    assert (explored["task"], explored["labels"]) == ("sst2", ["negative", "positive"])
    assert explored["run"] == "s/task=sst2,model=eat,seed=1"
    assert len(explored["examples"]) == 12
    for example in explored["examples"]:
        row = example["id"]
        assert tuple(example["text"]) == split.text(row)
        assert example["label"] == ["negative", "positive"][split.labels[row]]
        assert example["tokens"][0], example["tokens"][-1] == ("[CLS]", "[SEP]")
        assert len(example["tokens"]) == len(example["segments"]) == split.lengths[row]
        names = [way["name"].split()[0] for way in example["ways"]]
        assert (names[0], names[-1]) == ("norm_topk", "none")
        assert {"cls_topk", "received_topk", "tome"} <= set(names)  # those with ratio and layers
        assert [way["own"] for way in example["ways"]] == [True] + [False] * (len(names) - 1)
        assert example["ways"][0]["name"] == "norm_topk ratio 0.4 layers 2/4"


def test_kept_tokens_are_nested_and_cls_stays(explored: dict):
    dropped = {}
    for example in explored["examples"]:
        for way in example["ways"]:
            assert way["kept"][0] == list(range(len(example["tokens"])))
            for before, after in zip(way["kept"], way["kept"][1:], strict=False):
                assert set(after) <= set(before)
                assert after[0] == 0
                assert after == sorted(after)
            dropped.setdefault(way["name"], []).append(way["kept"][-1])
    kinds = {str(kept) for kept in dropped.values()}
    assert len(kinds) == len(dropped), "reductions keep other tokens"


def test_as_the_encoder_goes(run: Run, explored: dict, split: Split):
    """Sizes, exits and leaving are those of a plain forward pass with each rule."""
    encoder, labels = run.model()
    methods = compared(encoder)
    for example in explored["examples"][:4]:
        for way, reduction in zip(example["ways"], methods, strict=True):
            encoder = encoder.replacing(reduction=reduction)
            encoder = encoder.replacing(exit=build("exit", {"kind": "never"}))
            with torch.inference_mode():
                trace = encoder.eval()(split.batch(np.array([example["id"]])), ALL_EXITS)
            assert [len(places) for places in way["kept"]] == trace.tokens_LB[:, 0].tolist()
            for found in way["exits"]:
                expected = trace.guesses[found["layer"]].softmax(-1)[0].tolist()
                assert found["probabilities"] == pytest.approx(expected, abs=1e-4)
                assert found["confidence"] == max(found["probabilities"])
                assert found["answer"] == labels[int(np.argmax(expected))]
            for found in way["rules"]:
                tau = float(found["rule"].removeprefix("tau "))
                encoder = encoder.replacing(
                    exit=method("exit", "confidence", tau=tau, layers=[3, 4])
                )
                with torch.inference_mode():
                    trace = encoder(split.batch(np.array([example["id"]])))
                assert found["left_at"] == int(trace.depth_B[0])
                assert (found["reason"] == "last_layer") == (found["left_at"] == 6)
                assert found["answer"] == labels[int(trace.logits_BC[0].argmax())]


def test_sentences_of_ones_own(run: Run):
    found = explore(run, examples=0, texts=[["the plot was great"], ["a dull film"]])
    first, second = found["examples"]
    assert first["tokens"] == ["[CLS]", "the", "plot", "was", "great", "[SEP]"]
    assert (first["id"], first["label"], first["text"]) == (None, None, ["the plot was great"])
    # 0.4 of 5 others leave after layer 2, 0.4 of 3 after layer 4.
    assert [len(kept) for kept in first["ways"][0]["kept"]] == [6, 6, 4, 4, 3, 3]
    assert len(second["tokens"]) == 5
