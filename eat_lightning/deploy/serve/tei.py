"""text-embeddings-inference: `/predict`, `/rerank`, `/info`, and `/` and `/invocations` by task.

Formats are those of its `docs/openapi.json` (1.6 and newer): `["a", "b"]` is a pair, and a batch is
`[["a"], ["b"]]`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, Field

from eat_lightning.deploy.serve.body import errors
from eat_lightning.deploy.serve.call import Call, Scored, depth_fields, depth_headers
from eat_lightning.deploy.serve.gateway import Gateway
from eat_lightning.deploy.serve.operation import (
    STATUSES,
    Dialect,
    Operation,
    PeerBody,
    Text,
    shaped,
)
from eat_lightning.deploy.serve.reranking import check_reranker, is_reranker, ranked
from eat_lightning.deploy.serve.worker import QueueFull, Refused
from eat_lightning.machine import version_of

ErrorType = Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer", "Empty"]
KINDS: dict[int, ErrorType] = {
    **{400: "Empty", 413: "Validation", 422: "Tokenizer", 424: "Backend"},
    **{429: "Overloaded", 503: "Unhealthy", 504: "Overloaded"},
}
EMPTY = {400: "no texts, or no JSON"}
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}
OneOrTwo = Annotated[list[Text], Field(min_length=1, max_length=2)]


def capital(given: Any) -> Any:
    return given.capitalize() if isinstance(given, str) else given


Inputs = Annotated[
    Text | OneOrTwo | Annotated[list[OneOrTwo], Field(min_length=1)],
    shaped("a text, a pair [text, text], or a batch [[text], [text, text], ...]"),
]
Direction = Annotated[Literal["Left", "Right"], BeforeValidator(capital)]


class TeiError(BaseModel):
    error: str
    error_type: ErrorType


class TeiBody(PeerBody):
    truncate: bool | None = None
    truncation_direction: Direction = "Right"
    raw_scores: bool = False

    async def scored(self, call: Call, texts: Sequence[Sequence[str]]) -> list[Scored]:
        long = None if self.truncate is None else "cut" if self.truncate else "refuse"
        return await call.scored(texts, self.truncation_direction.lower(), long)


class PredictRequest(TeiBody):
    inputs: Inputs


class TeiRerankRequest(TeiBody):
    query: Text
    texts: list[Text]
    return_text: bool = False


class Rank(BaseModel):
    index: int
    score: float
    text: str | None = None


class ClassifierModel(BaseModel):
    id2label: dict[str, str]
    label2id: dict[str, int]


class Info(BaseModel):
    """Facts about model and server, under text-embeddings-inference's names."""

    model_id: str
    model_sha: str | None = None
    model_dtype: str
    model_type: dict[Literal["classifier", "reranker"], ClassifierModel]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int = 1
    version: str = version_of("eat_lightning")
    sha: str | None = None
    docker_label: str | None = None


class Prediction(BaseModel):
    label: str
    score: float


def operations(gateway: Gateway) -> list[Operation]:
    by_task = rerank_at if is_reranker(gateway.about) else predict_at
    return [
        predict_at("/predict"),
        rerank_at("/rerank"),
        by_task("/"),
        by_task("/invocations"),
    ]


def predict_at(path: str) -> Operation:
    result = list[Prediction] | list[list[Prediction]]
    return Operation(path, PredictRequest, predict, result, DIALECT)


def rerank_at(path: str) -> Operation:
    return Operation(path, TeiRerankRequest, rerank, list[Rank], DIALECT)


async def predict(call: Call, body: PredictRequest) -> Response:
    """Return every label with its score, highest first, for a text, a pair, or a batch
    of either.
    """
    start, inputs = time.monotonic(), body.inputs
    is_batch = isinstance(inputs, list) and isinstance(inputs[0], list)
    texts: Any = inputs if is_batch else [[inputs] if isinstance(inputs, str) else inputs]
    scored = await body.scored(call, texts)
    function = "none" if body.raw_scores else None
    names = call.gateway.about.label_names
    found = [predictions(names, each.scores(function)) for each in scored]
    headers = cost_headers(start, texts, scored) | depth_headers(scored)
    return JSONResponse(found if is_batch else found[0], headers=headers)


async def rerank(call: Call, body: TeiRerankRequest) -> Response:
    """Return the indices of the texts by score for the query, highest first."""
    start = time.monotonic()
    if not body.texts:
        raise Refused(400, "`texts` cannot be empty")
    check_reranker(call.gateway.about)
    pairs = [[body.query, text] for text in body.texts]
    scored = await body.scored(call, pairs)
    ranks = []
    for index, score in ranked(scored, body.raw_scores):
        text = {"text": body.texts[index]} if body.return_text else {}
        ranks.append({"index": index, "score": score} | text | depth_fields(scored[index]))
    headers = cost_headers(start, pairs, scored) | depth_headers(scored)
    return JSONResponse(ranks, headers=headers)


def predictions(labels: Sequence[str], scores: Sequence[float]) -> list[dict[str, object]]:
    """Return every label once, highest score first."""
    order = sorted(range(len(labels)), key=lambda i: -scores[i])
    return [{"label": labels[i], "score": scores[i]} for i in order]


def cost_headers(
    start: float, texts: Sequence[Sequence[str]], scored: Sequence[Scored]
) -> dict[str, str]:
    """Return headers with a request's cost in milliseconds, tokens and characters."""
    taken_ms = f"{(time.monotonic() - start) * 1000:.0f}"
    return {
        "X-Compute-Type": "cpu",
        "X-Compute-Time": taken_ms,
        "X-Total-Time": taken_ms,
        "X-Compute-Characters": str(sum(len(text) for each in texts for text in each)),
        "X-Compute-Tokens": str(sum(each.num_tokens for each in scored)),
    }


def add_status(app: FastAPI, gateway: Gateway) -> None:
    """Add read-only routes."""

    @app.get("/info", responses=errors(401), name="info")
    async def found() -> Info:
        """Return facts about the model and the limits."""
        return info(gateway)

    add_health(app, gateway)


def add_health(app: FastAPI, gateway: Gateway) -> None:
    """Add the health check routes for load balancers, unless they exist already."""

    async def health() -> Response:
        """Return 200 while requests are accepted and answered."""
        if gateway.state == "up":
            return Response()
        return refusal(Refused(503, "unhealthy"))

    shape: Any = {"response_class": Response, "responses": {503: {"model": TeiError}}}
    known = {getattr(route, "path", "/") for route in app.routes}
    for path in ("/health", "/ping"):
        if path not in known:
            app.get(path, name=path, **shape)(health)


def info(gateway: Gateway) -> Info:
    about, plan = gateway.about, gateway.plan
    labels = about.label_names
    model = ClassifierModel(
        id2label={str(i): label for i, label in enumerate(labels)},
        label2id={label: i for i, label in enumerate(labels)},
    )
    return Info(
        model_id=about.name,
        model_dtype=DTYPES[about.dtype],
        model_type={"reranker" if is_reranker(about) else "classifier": model},
        max_concurrent_requests=plan.queue,
        max_input_length=about.max_length if about.long != "windows" else plan.max_chars,
        auto_truncate=about.long == "cut",
        max_batch_tokens=about.max_length * plan.examples_at_once,
        max_batch_requests=plan.examples_at_once,
        max_client_batch_size=plan.max_texts,
    )


def refusal(refused: Refused) -> JSONResponse:
    status = 429 if isinstance(refused, QueueFull) else refused.status_code
    status = 424 if status == 500 else status
    content = {"error": refused.detail, "error_type": KINDS.get(status, "Validation")}
    return JSONResponse(content, status, refused.headers)


DIALECT = Dialect(refusal, TeiError, EMPTY | STATUSES)
