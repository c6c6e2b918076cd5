"""A fuzzer over the gateway's schema and TEI's, and odd bytes: no 500, no crash."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.exports import make_run
from helpers.finished import make_run as make_ranker
from helpers.gateways import Running, plan, running

from eat_lightning.deploy.serve.remote import Remote
from eat_lightning.errors import ConfigError


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A real tiny model in its own process."""
    folder = tmp_path_factory.mktemp("fuzz")
    run = make_run(folder / "run", "dense", "norm_topk", "confidence")
    changes = {"run": str(run), "max_bytes": 20_000}
    changes |= {"mode": "triage", "batch": 16, "wait_ms": 1, "max_texts": 8, "max_chars": 500}
    model = Remote(plan(**changes))

    def refuse(plan: object) -> None:
        raise ConfigError("no such run")

    with running(model, revive=refuse, **changes) as found:
        yield found
        assert found.deaths == 0


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def statuses_of(document: dict[str, Any], served: Running, often: int) -> set[tuple[str, int]]:
    """Try every operation of an OpenAPI document; each answer is as it says."""
    schemathesis = pytest.importorskip("schemathesis", reason="from the extra `dev`")
    from hypothesis import HealthCheck, given, settings
    from schemathesis.checks import CHECKS

    schema = schemathesis.openapi.from_dict(document)
    names = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
    checks = [CHECKS.get_one(name) for name in names]
    tried: set[tuple[str, int]] = set()
    for operation in schema.get_all_operations():
        found = operation.ok()

        def one(case) -> None:
            response = case.call(base_url=str(served.client.base_url).rstrip("/"))
            assert response.status_code < 500 or response.status_code in (503, 504)
            case.validate_response(response, checks=checks)
            tried.add((case.operation.label, response.status_code))

        how = settings(
            max_examples=often,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        how(given(case=found.as_strategy())(one))()
    return tried


@pytest.mark.nightly
def test_schemathesis_finds_nothing(served: Running):
    document = served.client.get("/openapi.json").json()
    document.pop("servers", None)
    tried = {label for label, _ in statuses_of(document, served, 40)}
    assert tried == {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert {"POST /classify", "POST /predict", "POST /v1/rerank", "POST /reload"} <= tried


@pytest.mark.nightly
@pytest.mark.parametrize("task", ["one text", "pairs"])
def test_schemathesis_finds_nothing_by_tei_s_document(task: str, request, tmp_path: Path):
    document = yaml.safe_load(Path(__file__).with_name("tei_openapi.yaml").read_text("utf-8"))
    if task == "one text":
        tried = statuses_of(document, request.getfixturevalue("served"), 40)
        assert {("POST /predict", 200), ("POST /rerank", 424)} <= tried
        return
    run = str(make_ranker(tmp_path / "run", "stsb"))
    with running(Remote(plan(run=run)), run=run) as ranker:
        tried = statuses_of(document, ranker, 40)
    assert {("POST /predict", 200), ("POST /rerank", 200)} <= tried


POSTED = ["/", "/classify", "/invocations", "/predict", "/reload", "/rerank"]
POSTED += ["/v1/classify", "/v1/rerank", "/v2/rerank"]
ODD = [
    b'{"inputs": "\\ud800"}',
    b'{"inputs": ["\\udfff"], "parameters": {}}',
    b'{"inputs": [[["a"]]]}',
    b'{"inputs": {"text": "a"}}',
    b'{"inputs": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"inputs": [' + b'["a"],' * 3000 + b'["a"]]}',
    b'{"inputs": "a", "parameters": {"top_k": 1' + b"0" * 400 + b"}}",
    b'{"inputs": "a", "truncation_direction": "\\u0000"}',
    b'{"inputs": 1, "input": 1, "text": 1, "texts": 1, "documents": 1}',
    b'{"input": [1, 2, 3]}',
    b'{"input": "\\ud800", "model": "\\udfff"}',
    b'{"input": "a", "truncate_prompt_tokens": -2}',
    b'{"query": "\\ud800", "texts": ["\\ud800"], "return_text": true}',
    b'{"query": "a", "texts": {"a": 1}}',
    b'{"query": "a", "documents": [{}, "\\ud800"], "return_documents": true}',
    b'{"query": "a", "documents": ["a"], "top_n": 0}',
    b"",
    b"\x00" * 100,
    b"\xff\xfe{\x00",
    b'{"text": "\xed\xa0\x80"}',
    b'{"text": "\\ud800", "source": "\\udfff"}',
    b'{"text": "a", "mime": "\\u0000"}',
    b'{"text": "\\u0000\\u202e\\u200d"}',
    b'{"text": 1e999}',
    b'{"deadline_ms": 1' + b"0" * 400 + b', "text": "a"}',
    b'{"deadline_ms": 1e-320, "text": "a"}',
    b'{"text": "a", "text": "b"}',
    b'{"examples": {"text": "a"}}',
    b'{"examples": [{"examples": ["a"]}]}',
    b"[" * 10_000,
    b'{"a":' * 3000,
    b'{"examples": [' + b'"",' * 6000 + b'""]}',
    b'{"' + b"k" * 15_000 + b'": 1, "text": "a"}',
    b'{"__proto__": {}, "text": "a"}',
    b'\xef\xbb\xbf{"text": "a"}',
    b'{"text": "a"} trailing',
    b"NaN",
    b'"text"',
    b"null",
]


@pytest.mark.slow
def test_odd_bodies(served: Running):
    headers = {"content-type": "application/json"}
    for body, path in product(ODD, POSTED):
        response = served.client.post(path, content=body, headers=headers)
        assert response.status_code < 500 or response.status_code == 504, (path, body)
        assert isinstance(response.json(), dict | list), (path, body)
