"""Other servers' clients, unmodified, against the gateway; scores beside those of transformers."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from helpers import finished
from helpers.exports import make_run
from helpers.gateways import Running, defaults, plan, running
from helpers.models import method, spread

from eat_lightning.data.tokens import toy_tokenizer
from eat_lightning.deploy.serve.model import ServedModel, open_model
from eat_lightning.weights.checkpoint import load_pretrained

TEXTS = ["good film", "not a very good film", "bad", "the film was bad , very bad"]
NO_CLIENT = "from the extra `clients`"
TOKEN = "secret"
WINDOWS = {"join": "max", "label": "positive"}


class InProcess:
    """A model in this process in the place of one in another."""

    def __init__(self, model: ServedModel):
        self.about, self.stream = model.about, model.stream

    def is_alive(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing to end."""

    kill = close


def classifier(folder: Path, num_labels: int) -> Any:
    """A small model of transformers with a classifier, in a folder."""
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    tokenizer = toy_tokenizer()
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 2, "max_position_embeddings": 80}
    sizes |= {"vocab_size": len(tokenizer), "num_labels": num_labels}
    config = BertConfig(**sizes)
    model: Any = spread(BertForSequenceClassification(config)).eval()
    with torch.no_grad():
        model.classifier.weight.mul_(20)
    model.save_pretrained(folder)
    return model


def at_full_depth(folder: Path, task: str, num_labels: int) -> tuple[Any, Path]:
    """A model of transformers, and a run with the same weights whose examples all go to the end."""
    theirs = classifier(folder / "theirs", num_labels)
    static = {"attention": "dense", "reduction": "none", "exit": "never"}
    slots = {slot: method(slot, kind) for slot, kind in static.items()}
    ours = load_pretrained(str(folder / "theirs"), num_labels, **slots, head={"layers": []})
    (run := folder / "run").mkdir()
    return theirs, finished.finish(run, ours.eval(), task, {"max_length": 60})


def served_run(run: Path, token: str | None = None) -> Any:
    return running(InProcess(open_model(plan(run=str(run)))), token, run=str(run))


def logits_of(model: Any, *texts: Any) -> torch.Tensor:
    batch = toy_tokenizer()(*texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        return model(**batch).logits


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Running]]:
    theirs, run = at_full_depth(tmp_path_factory.mktemp("deep"), "sst2", 2)
    with served_run(run) as found:
        yield theirs, found


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Running]]:
    theirs, run = at_full_depth(tmp_path_factory.mktemp("ranker"), "stsb", 1)
    with served_run(run, TOKEN) as found:
        yield theirs, found


@pytest.fixture(scope="module")
def adaptive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    run = make_run(tmp_path_factory.mktemp("adaptive") / "run", "dense", "none", "confidence")
    with served_run(run) as found:
        yield found


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def url_of(served: Running) -> str:
    return str(served.client.base_url).rstrip("/")


def test_scores_are_those_of_transformers(deep: tuple[Any, Running]):
    """At full depth; in every shape."""
    theirs, served = deep
    logits_BC = logits_of(theirs, TEXTS)
    assert logits_BC.softmax(-1)[:, 0].std() > 0.01  # else equality would say little
    expected = logits_BC.softmax(-1).tolist()
    vllm = served.client.post("/classify", json={"input": TEXTS}).json()["data"]
    tei = served.client.post("/predict", json={"inputs": [[text] for text in TEXTS]}).json()
    hf = served.client.post("/classify", json={"inputs": TEXTS}).json()
    raw = {"inputs": [[text] for text in TEXTS], "raw_scores": True}
    logits = served.client.post("/predict", json=raw).json()
    names = ["negative", "positive"]
    for i, probs in enumerate(expected):
        assert vllm[i]["probs"] == pytest.approx(probs, abs=1e-4)
        for found, wanted in ((tei, probs), (hf, probs), (logits, logits_BC[i].tolist())):
            scores = {each["label"]: each["score"] for each in found[i]}
            assert [scores[name] for name in names] == pytest.approx(wanted, rel=1e-5, abs=1e-4)


def test_an_early_exit_gives_its_whole_distribution(adaptive: Running):
    vllm = adaptive.client.post("/classify", json={"input": TEXTS}).json()["data"]
    assert len({each["depth"] for each in vllm}) > 1
    native = adaptive.say({"examples": TEXTS}).json()["answers"]
    for theirs, ours in zip(vllm, native, strict=True):
        assert sum(theirs["probs"]) == pytest.approx(1)
        assert max(theirs["probs"]) == pytest.approx(ours["confidence"], abs=1e-5)
        assert (theirs["label"], theirs["depth"]) == (ours["label"], ours["depth"])


@pytest.mark.parametrize(
    ("dtype", "named"), [("fp32", "float32"), ("bf16", "bfloat16"), ("int8", "int8")]
)
def test_info_names_the_dtype(tmp_path: Path, dtype: str, named: str):
    run = make_run(tmp_path / "run", "dense", "none", "confidence")
    given = {"run": str(run), "dtype": dtype}
    with running(InProcess(open_model(plan(**given))), **given) as served:
        assert served.client.get("/info").json()["model_dtype"] == named


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_a_text_is_cut_at_the_side_that_is_named(deep: tuple[Any, Running], side: str):
    theirs, served = deep
    text = "good film " * 40 + "not very bad " * 40
    tokenizer = toy_tokenizer()
    tokenizer.truncation_side = side.lower()
    batch = tokenizer(text, truncation=True, max_length=60, return_tensors="pt")
    with torch.no_grad():
        expected = theirs(**batch).logits.softmax(-1)[0].tolist()
    given = {"inputs": text, "truncation_direction": side}
    response = served.client.post("/predict", json=given | {"truncate": True})
    scores = {each["label"]: each["score"] for each in response.json()}
    assert [scores["negative"], scores["positive"]] == pytest.approx(expected, abs=1e-4)
    assert response.headers["x-truncated"] == "1"
    whole = served.client.post("/predict", json=given)
    assert whole.status_code == 413
    assert whole.json()["error"].startswith("a text must have at most 60 tokens, got ")


def test_a_long_text_is_read_in_windows_on_every_route(deep: tuple[Any, Running]):
    """The gateway's windows are those of `predict`; a route that may not cut reads them too."""
    run = str(deep[1].gateway.plan.run)
    given = {"run": run, "long": "windows", "windows": defaults()["windows"] | WINDOWS}
    text = "good film " * 40 + "not very bad " * 40
    with running(InProcess(open_model(plan(**given))), **given) as served:
        native = served.say({"text": text}).json()
        num_tokens = len(toy_tokenizer()(text)["input_ids"])
        count = 1 + math.ceil((num_tokens - 60) / (60 - 15 - 2))  # of 60, 15 shared, 2 special
        found = [native[name] for name in ("windows", "tokens", "truncated")]
        assert found == [count, num_tokens, False]
        for path, key in (("/predict", "inputs"), ("/classify", "inputs"), ("/classify", "input")):
            response = served.client.post(path, json={key: text})
            assert response.status_code == 200
            sizes = [response.headers[f"x-{name}"] for name in ("windows", "tokens", "truncated")]
            assert sizes == [str(count), str(num_tokens), "0"]


def test_hugging_face_s_client(
    deep: tuple[Any, Running], ranker: tuple[Any, Running], monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import InferenceClient, constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # the gateway is on this machine
    theirs, served = deep
    negative, positive = logits_of(theirs, TEXTS[:1]).softmax(-1)[0].tolist()
    expected = {"negative": negative, "positive": positive}
    for url in (url_of(served), f"{url_of(served)}/classify"):
        client = InferenceClient(base_url=url)
        found = {each.label: each.score for each in client.text_classification(TEXTS[0])}
        assert found == pytest.approx(expected, abs=1e-4)
        (first,) = client.text_classification(TEXTS[0], top_k=1, function_to_apply="softmax")
        assert first.score == pytest.approx(max(found.values()))
    url = url_of(ranker[1])
    allowed = InferenceClient(provider="hf-inference", token=TOKEN)
    assert allowed.get_endpoint_info(model=url)["model_id"] == "run"
    assert allowed.health_check(model=url)


def expected_ranks(theirs: Any, query: str, texts: list[str]) -> list[tuple[int, float]]:
    scores = logits_of(theirs, [query] * len(texts), texts)[:, 0].sigmoid().tolist()
    assert max(scores) - min(scores) > 0.01
    return sorted(enumerate(scores), key=lambda each: -each[1])


def test_cohere_s_client(ranker: tuple[Any, Running]):
    cohere = pytest.importorskip("cohere", reason=NO_CLIENT)
    theirs, served = ranker
    expected = expected_ranks(theirs, "a good film", TEXTS)
    given = {"model": "any", "query": "a good film", "documents": TEXTS}
    with httpx.Client() as web:  # which closes what theirs leaves open
        about = {"base_url": url_of(served), "httpx_client": web}
        for version in (cohere.Client, cohere.ClientV2):
            client = version(api_key=TOKEN, **about)
            found = [(each.index, each.relevance_score) for each in client.rerank(**given).results]
            assert [index for index, _ in found] == [index for index, _ in expected]
            assert [s for _, s in found] == pytest.approx([s for _, s in expected], abs=1e-4)
            assert len(client.rerank(**given, top_n=2).results) == 2
            intruder = version(api_key="another", **about)
            with pytest.raises(cohere.UnauthorizedError):
                intruder.rerank(**given)


def test_haystack_s_ranker(ranker: tuple[Any, Running]):
    name = "haystack_integrations.components.rankers.huggingface_api"
    rankers = pytest.importorskip(name, reason=NO_CLIENT)
    from haystack import Document
    from haystack.utils import Secret

    theirs, served = ranker
    found = rankers.HuggingFaceTEIRanker(url=url_of(served), token=Secret.from_token(TOKEN)).run(
        query="a good film", documents=[Document(content=text) for text in TEXTS]
    )["documents"]
    expected = expected_ranks(theirs, "a good film", TEXTS)
    assert [each.content for each in found] == [TEXTS[index] for index, _ in expected]
    assert [each.score for each in found] == pytest.approx([s for _, s in expected], abs=1e-4)


def test_a_client_of_text_embeddings_inference(
    deep: tuple[Any, Running], ranker: tuple[Any, Running]
):
    tei = pytest.importorskip("tei_client", reason=NO_CLIENT)
    theirs, served = deep
    client = tei.HttpClient(url_of(served))
    assert client.health()
    assert client.info().server_model_type == tei.ModelType.Classifier
    expected = logits_of(theirs, TEXTS).softmax(-1)
    for result, probs in zip(client.classify(TEXTS), expected, strict=True):
        scores = {each.label: each.score for each in result.scores}
        assert scores["positive"] == pytest.approx(float(probs[1]), abs=1e-4)
    headers = {"authorization": f"Bearer {TOKEN}"}
    allowed = tei.HttpClient(url_of(ranker[1]), headers=headers)
    ranks = allowed.rerank("a good film", TEXTS).ranks
    wanted = expected_ranks(ranker[0], "a good film", TEXTS)
    assert [(each.index, pytest.approx(each.score, abs=1e-4)) for each in ranks] == wanted
    for each in (client, allowed):
        each.client.close()


def test_vllm_s_example(deep: tuple[Any, Running]):
    """The requests of vLLM's example for texts: the name from /v1/models, four prompts at once."""
    openai = pytest.importorskip("openai", reason=NO_CLIENT)
    _, served = deep
    client = openai.OpenAI(api_key="none", base_url=f"{url_of(served)}/v1")
    (model,) = client.models.list().data
    found = client.post(
        "/classify", cast_to=httpx.Response, body={"model": model.id, "input": TEXTS}
    ).json()
    assert found["model"] == model.id
    assert [each["index"] for each in found["data"]] == [0, 1, 2, 3]
    with pytest.raises(
        openai.BadRequestError,
        match="input must be a text, or a list of texts; token ids are not read, got",
    ):
        client.post("/classify", cast_to=httpx.Response, body={"model": model.id, "input": []})
