"""The shapes of other servers: what each takes and answers, before a fake model.

The clients themselves are in test_peer_clients.py.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from helpers.gateways import FakeModel, Running, eventually, running
from prometheus_client.parser import text_string_to_metric_families

from eat_lightning.deploy.serve.access import OPEN
from eat_lightning.deploy.serve.app import make_app
from eat_lightning.deploy.serve.gateway import Gateway

SURE = 1 / (1 + math.exp(-1))  # of two logits that differ by 1, and of the score 1
POSITIVE = {"label": "positive", "score": pytest.approx(SURE)}
NEGATIVE = {"label": "negative", "score": pytest.approx(1 - SURE)}
GOOD = [POSITIVE, NEGATIVE]
BAD = [NEGATIVE | {"score": pytest.approx(SURE)}, POSITIVE | {"score": pytest.approx(1 - SURE)}]


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with running(FakeModel(), max_bytes=5000, max_texts=4, max_chars=100) as found:
        yield found


@pytest.fixture(scope="module")
def pairs() -> Iterator[Running]:
    """A model that reads pairs and gives a score."""
    with running(FakeModel("ranker", ("query", "document"), ()), max_texts=4) as found:
        yield found


def post(served: Running, path: str, content: Any) -> httpx.Response:
    return served.client.post(path, json=content)


@pytest.mark.parametrize("path", ["/predict", "/", "/invocations"])
def test_tei_s_predict(served: Running, path: str):
    response = post(served, path, {"inputs": "good"})
    assert response.json() == GOOD
    assert response.headers["x-depth"] == "3"
    assert response.headers["x-exit-reason"] == "confident"
    assert response.headers["x-compute-tokens"] == "5"
    assert response.headers["x-compute-characters"] == "4"
    assert post(served, path, {"inputs": ["good"]}).json() == GOOD
    batch = post(served, path, {"inputs": [["good"], ["hard bad"]]})
    assert batch.json() == [GOOD, BAD]
    assert batch.headers["x-depth"] == "3,6"
    raw = post(served, path, {"inputs": "good", "raw_scores": True, "truncate": None}).json()
    assert [each["score"] for each in raw] == [1, 0]


def test_tei_reads_two_texts_as_a_pair(served: Running):
    refused = post(served, "/predict", {"inputs": ["good", "bad"]})
    assert refused.status_code == 422
    assert refused.json()["error"] == "inputs must be one text each, for this model"
    with running(FakeModel(columns=("premise", "hypothesis"))) as of_pairs:
        assert post(of_pairs, "/predict", {"inputs": ["a", "good"]}).json() == GOOD
        batch = {"inputs": [["a", "good"], ["bad", "b"]]}
        assert post(of_pairs, "/predict", batch).json() == [GOOD, BAD]
        assert post(of_pairs, "/predict", {"inputs": "good"}).status_code == 422


def test_what_is_not_to_be_cut_is_refused(served: Running):
    for truncate, status in ((True, 200), (None, 413), (False, 413)):
        given = {"inputs": "long and good", "truncate": truncate}
        assert post(served, "/predict", given).status_code == status
    assert post(served, "/predict", given).json() == {
        "error": "a text must have at most 64 tokens, got 65",
        "error_type": "Validation",
    }
    assert post(served, "/predict", given | {"truncate": True}).headers["x-truncated"] == "1"
    vllm = {"input": "long"}
    assert post(served, "/classify", vllm).status_code == 400
    assert post(served, "/classify", vllm | {"truncate_prompt_tokens": -1}).status_code == 200
    assert post(served, "/classify", vllm | {"truncate_prompt_tokens": 9}).status_code == 400


TEI_REFUSED = [
    ({}, 422, "no key inputs", "Tokenizer"),
    ({"inputs": []}, 422, "inputs must be a text, a pair [text, text], or a batch", "Tokenizer"),
    ({"inputs": ["a", "b", "c"]}, 422, "inputs must be a text, a pair", "Tokenizer"),
    ({"inputs": [["a", 3]]}, 422, "inputs must be a text, a pair", "Tokenizer"),
    ({"inputs": "a", "truncate": "yes"}, 422, "truncate must be a valid boolean", "Tokenizer"),
    ({"inputs": [["a"]] * 5}, 413, "batch size 5 > maximum allowed batch size 4", "Validation"),
    ({"inputs": "a" * 101}, 413, "inputs must have at most 100 characters", "Validation"),
    ({"inputs": "fail"}, 424, "the model failed on this example", "Backend"),
    ({"inputs": "die"}, 503, "the worker died with this request", "Unhealthy"),
]


@pytest.mark.parametrize(("content", "status", "said", "kind"), TEI_REFUSED)
def test_tei_s_refusals(served: Running, content, status: int, said: str, kind: str):
    response = post(served, "/predict", content)
    assert response.status_code == status
    assert response.json()["error"].startswith(said)
    assert response.json()["error_type"] == kind


def test_a_full_queue_has_the_status_that_each_server_gives():
    model = FakeModel()
    model.gate.clear()
    with running(model, queue=1, max_texts=1) as served:
        threads, _ = served.at_once({"text": "hard 0"}, {"text": "hard 1"})
        eventually(lambda: len(served.gateway.queue) == 1)
        tei = post(served, "/predict", {"inputs": "a"})
        assert (tei.status_code, tei.json()["error_type"]) == (429, "Overloaded")
        assert int(tei.headers["retry-after"]) >= 1
        assert post(served, "/classify", {"inputs": "a"}).status_code == 429
        vllm = post(served, "/classify", {"input": "a"})
        assert vllm.status_code == vllm.json()["error"]["code"] == 503
        model.gate.set()
        for thread in threads:
            thread.join(20)


def test_tei_s_rerank(pairs: Running):
    texts = ["bad", "good good", "good"]
    for path in ("/rerank", "/", "/invocations"):
        ranks = post(pairs, path, {"query": "q", "texts": texts}).json()
        assert [rank["index"] for rank in ranks] == [1, 2, 0]
        assert ranks[1]["score"] == pytest.approx(SURE)
        assert "text" not in ranks[0]
    given = {"query": "q", "texts": texts, "raw_scores": True, "return_text": True}
    found = post(pairs, "/rerank", given).json()
    assert [(rank["score"], rank["text"]) for rank in found] == [
        (3, "good good"),
        (1, "good"),
        (-1, "bad"),
    ]
    assert {rank["depth"] for rank in found} == {3}
    assert post(pairs, "/rerank", {"query": "q", "texts": []}).status_code == 400
    assert post(pairs, "/predict", {"inputs": ["q", "good"]}).json() == [
        {"label": "LABEL_0", "score": 1}
    ]


def test_a_model_of_another_kind_ranks_nothing(served: Running):
    for path, given in {
        "/rerank": {"query": "q", "texts": ["a"]},
        "/v1/rerank": {"query": "q", "documents": ["a"]},
    }.items():
        response = post(served, path, given)
        assert response.status_code == 424
        assert "model is not a re-ranker model" in response.text
    with running(FakeModel(columns=("sentence",), labels=())) as scores:
        assert post(scores, "/rerank", {"query": "q", "texts": ["a"]}).status_code == 424


def test_tei_s_info_and_health(served: Running, pairs: Running):
    found = served.client.get("/info").json()
    assert found["model_id"] == "fake"
    names: dict[str, Any] = {"id2label": {"0": "negative", "1": "positive"}}
    names["label2id"] = {"negative": 0, "positive": 1}
    assert found["model_type"] == {"classifier": names}
    assert found["max_input_length"] == 64
    assert found["max_client_batch_size"] == 4
    ranker = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    assert pairs.client.get("/info").json()["model_type"] == {"reranker": ranker}
    for path in ("/health", "/ping"):
        assert served.client.get(path).status_code == 200
        assert served.client.get(path).content == b""


def test_hugging_face_s_parameters(served: Running):
    for path in ("/", "/classify"):
        given = {"inputs": "good", "parameters": {}}
        assert post(served, path, given).json() == [GOOD]
        given["parameters"] = {"top_k": 1, "function_to_apply": "sigmoid", "other": 1}
        found = post(served, path, given).json()
        assert found == [[{"label": "positive", "score": pytest.approx(SURE)}]]
        given["parameters"] = {"function_to_apply": "none"}
        assert [each["score"] for each in post(served, path, given).json()[0]] == [1, 0]
    listed = {"inputs": ["good", "bad"]}
    assert post(served, "/classify", listed).json() == [GOOD, BAD]
    refused = post(served, "/classify", {"inputs": "a", "parameters": {"top_k": 0}})
    assert refused.status_code == 422
    assert refused.json() == {"error": "parameters.top_k must be greater than or equal to 1, got 0"}
    with running(FakeModel(columns=("premise", "hypothesis"))) as pairs:
        pair = {"inputs": {"text": "a", "text_pair": "good"}}
        assert post(pairs, "/classify", pair).json() == GOOD


def test_several_labels_each_have_a_sigmoid():
    model = FakeModel()
    model.about = replace(model.about, problem_type="multi_label_classification")
    with running(model) as several:
        for path in ("/predict", "/classify"):
            found = post(several, path, {"inputs": "good"}).json()
            assert found == [POSITIVE, {"label": "negative", "score": 0.5}]
        data = post(several, "/v1/classify", {"input": "good"}).json()["data"]
        assert data[0]["probs"] == pytest.approx([0.5, SURE])


@pytest.mark.parametrize("path", ["/classify", "/v1/classify", "/invocations"])
def test_vllm_s_classify(served: Running, path: str):
    found = post(served, path, {"model": "any", "input": ["good", "hard bad"]}).json()
    assert found["object"] == "list"
    assert found["model"] == "fake"
    assert found["usage"] == {"prompt_tokens": 10, "total_tokens": 10, "completion_tokens": 0}
    assert [(each["index"], each["label"], each["depth"]) for each in found["data"]] == [
        (0, "positive", 3),
        (1, "negative", 6),
    ]
    assert found["data"][0]["probs"] == pytest.approx([1 - SURE, SURE])
    assert found["data"][0]["num_classes"] == 2
    raw = post(served, path, {"input": "good", "use_activation": False}).json()
    assert raw["data"][0]["probs"] == [0, 1]
    refused = post(served, path, {"input": []})
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "BadRequestError"


def test_vllm_s_models(served: Running):
    (card,) = served.client.get("/v1/models").json()["data"]
    assert (card["id"], card["object"], card["max_model_len"]) == ("fake", "model", 64)


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_cohere_s_rerank(pairs: Running, path: str):
    documents = ["bad", {"text": "good good"}, "good"]
    given = {"model": "any", "query": "q", "documents": documents, "top_n": 2}
    found = post(pairs, path, given).json()
    assert [each["index"] for each in found["results"]] == [1, 2]
    assert found["results"][1]["relevance_score"] == pytest.approx(SURE)
    assert "document" not in found["results"][0]
    assert found["usage"]["total_tokens"] == 15
    echoed = post(pairs, path, given | {"return_documents": True}).json()
    assert echoed["results"][0]["document"] == {"text": "good good"}
    refused = post(pairs, path, given | {"documents": []})
    assert refused.status_code == 422
    assert refused.json() == {"message": "documents must have at least 1 item, not 0"}


def test_a_body_says_which_server_is_meant(served: Running):
    """At /classify: the gateway's shape wins, and is meant by a body that has no other's key."""
    both = post(served, "/classify", {"text": "good", "inputs": "a"})
    assert both.json() == {"error": "'inputs' is not known"}
    neither = post(served, "/classify", {"colour": "a"})
    assert neither.json()["error"].startswith("no key text: give text")


def test_api_names_the_servers():
    with running(FakeModel(), api=["vllm"]) as served:
        assert post(served, "/classify", {"input": "good"}).status_code == 200
        assert post(served, "/classify", {"text": "good"}).status_code == 400
        for path in ("/predict", "/rerank", "/v1/rerank", "/"):
            assert post(served, path, {}).status_code in (404, 405)
        assert served.client.get("/info").status_code == 404
    with running(FakeModel(), api=["native"]) as served:
        assert served.say({"text": "good"}).status_code == 200
        assert post(served, "/classify", {"inputs": "good"}).status_code == 422
        assert served.client.get("/health").status_code == 404


def test_the_header_names_a_source():
    model = FakeModel()
    with running(model) as served:
        given = {"json": {"inputs": "good"}, "headers": {"x-source": "mail"}}
        assert served.client.post("/predict", **given).json() == GOOD
    assert model.sources == ["mail"]


def test_a_passed_deadline_has_each_server_s_shape():
    model = FakeModel()
    model.gate.clear()
    with running(model) as served:
        headers = {"x-deadline-ms": "50"}
        late = served.client.post("/predict", json={"inputs": "hard"}, headers=headers)
        assert late.status_code == 504
        assert late.json() == {"error": "the deadline passed", "error_type": "Overloaded"}
        model.gate.set()


def all_routes() -> set[tuple[str, str]]:
    """(method, path) of every route there is."""
    model: Any = FakeModel()
    from helpers.gateways import plan

    app = make_app(Gateway(plan(), lambda _: model))
    routes: Any = app.routes
    found = {(m, route.path) for route in routes for m in getattr(route, "methods", ())}
    return {(method, path) for method, path in found if method != "HEAD"}


def test_nobody_comes_in_without_a_token():
    routes = all_routes()
    assert ("POST", "/") in routes
    with running(FakeModel(), token="secret") as served:
        for method, path in sorted(routes):
            is_open = method == "GET" and path in OPEN
            for given in ({}, {"authorization": "Bearer wrong"}):
                response = served.client.request(method, path, headers=given, json={"inputs": "a"})
                assert response.status_code == (200 if is_open else 401), (method, path)
        headers = {"authorization": "Bearer secret"}
        found = served.client.post("/", json={"inputs": "good"}, headers=headers)
        assert found.json() == GOOD


def test_te_metrics_stand_beside_the_gateway_s(served: Running):
    with running(FakeModel()) as counted:
        post(counted, "/predict", {"inputs": "good"})
        post(counted, "/predict", {"inputs": [["good"], ["bad"]]})
        post(counted, "/predict", {"inputs": "fail"})
        text = counted.client.get("/metrics").text
    families = {each.name: each for each in text_string_to_metric_families(text)}
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for name, family in families.items()
        if name.startswith("te_")
        for sample in family.samples
    }
    assert values["te_request_count", "single"] == 2
    assert values["te_request_success", "batch"] == 1
    assert values["te_request_failure", "inference"] == 1
    assert values["te_predict_count",] == 4
    assert values["te_predict_success",] == 3
    assert values["te_queue_size",] == 0
    assert values["te_request_duration_count",] == 2
    assert values["te_batch_next_size_sum",] == 4
    assert values["te_batch_next_tokens_sum",] == 15
    assert 'eat_requests_total{path="/predict",status="424"} 1.0' in text


def test_a_score_that_is_no_number_is_refused():
    class Lost(FakeModel):
        def stream(self, examples: Any, *rest: Any) -> Iterator[Any]:
            for places, answers in super().stream(examples, *rest):
                for answer in answers:
                    answer["scores"].logits[0] = math.nan
                yield places, answers

    with running(Lost()) as served:
        response = post(served, "/predict", {"inputs": "a"})
        assert response.status_code == 424
        assert response.json() == {"error": "a score is not finite", "error_type": "Backend"}


def test_half_of_a_surrogate_pair_is_a_text(served: Running):
    for path, key in (("/predict", "inputs"), ("/classify", "inputs"), ("/classify", "input")):
        body = json.dumps({key: "\ud800"})
        headers = {"content-type": "application/json"}
        assert served.client.post(path, content=body, headers=headers).status_code == 200
