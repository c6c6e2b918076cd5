"""Cohere and Jina: `/v1/rerank` and `/v2/rerank`; also `/rerank` of vLLM and Infinity."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from eat_lightning.deploy.serve.call import Call, depth_fields, depth_headers
from eat_lightning.deploy.serve.gateway import Gateway
from eat_lightning.deploy.serve.operation import (
    STATUSES,
    Dialect,
    Operation,
    PeerBody,
    Text,
    has,
    shaped,
)
from eat_lightning.deploy.serve.reranking import check_reranker, ranked
from eat_lightning.deploy.serve.worker import QueueFull, Refused


class Document(PeerBody):
    text: Text


class CohereRequest(PeerBody):
    query: Text
    documents: Annotated[
        list[Annotated[Text | Document, shaped('a text, or {"text": ...}')]], Field(min_length=1)
    ]
    model: str | None = None
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool | None = None


class RankedDocument(BaseModel):
    index: int
    relevance_score: float
    document: Document | None = None


class RerankResponse(BaseModel):
    id: str
    model: str
    results: list[RankedDocument]
    usage: dict[str, int]
    meta: dict[str, dict[str, str | int]]


class CohereError(BaseModel):
    message: str


def operations(gateway: Gateway) -> list[Operation]:
    shape = CohereRequest, rerank, RerankResponse, DIALECT, has("documents")
    return [Operation(path, *shape) for path in ("/v1/rerank", "/v2/rerank", "/rerank")]


async def rerank(call: Call, body: CohereRequest) -> Response:
    """Return the indices of the documents by relevance to the query, highest first."""
    check_reranker(call.gateway.about)
    texts = [each if isinstance(each, str) else each.text for each in body.documents]
    scored = await call.scored([[body.query, text] for text in texts])
    results = []
    for index, score in ranked(scored):
        document = {"document": {"text": texts[index]}} if body.return_documents else {}
        result = {"index": index, "relevance_score": score}
        results.append(result | document | depth_fields(scored[index]))
    num_tokens = sum(each.num_tokens for each in scored)
    found = {
        "id": uuid4().hex,
        "model": call.gateway.about.name,
        "results": results[: body.top_n],
        "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
    }
    return JSONResponse(found, headers=depth_headers(scored))


def refusal(refused: Refused) -> JSONResponse:
    status = 429 if isinstance(refused, QueueFull) else refused.status_code
    return JSONResponse({"message": refused.detail}, status, refused.headers)


DIALECT = Dialect(refusal, CohereError, STATUSES)
