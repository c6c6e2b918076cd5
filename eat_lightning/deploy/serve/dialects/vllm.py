"""vLLM and SGLang: `/classify` and `/v1/classify`, and `/v1/models`.

Formats are those of vLLM's `entrypoints/pooling/classify/protocol.py`. As there, texts that are too
long are refused, unless `truncate_prompt_tokens` allows truncation, or the gateway reads windows.
"""

from __future__ import annotations

import time
from typing import Annotated, Literal
from uuid import uuid4

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from eat_lightning.deploy.serve import tei
from eat_lightning.deploy.serve.body import errors
from eat_lightning.deploy.serve.call import Call, depth_fields, depth_headers
from eat_lightning.deploy.serve.gateway import Gateway
from eat_lightning.deploy.serve.operation import Dialect, Operation, PeerBody, Texts, has
from eat_lightning.deploy.serve.worker import Refused

BAD = 400  # for whatever a client can mend
STATUSES = {
    400: "invalid input, with the reason",
    424: "the model failed",
    503: "the queue is full, or the worker died: see Retry-After",
    504: "the deadline passed",
}


class VllmRequest(PeerBody):
    input: Texts
    model: str | None = None
    use_activation: bool | None = None
    truncate_prompt_tokens: Annotated[int, Field(ge=-1)] | None = None


class Usage(BaseModel):
    prompt_tokens: int
    total_tokens: int
    completion_tokens: int = 0


class ClassificationData(BaseModel):
    index: int
    label: str | None
    probs: list[float]
    num_classes: int


class ClassificationResponse(BaseModel):
    id: str
    object: str = "list"
    created: int
    model: str
    data: list[ClassificationData]
    usage: Usage


class Fault(BaseModel):
    message: str
    type: str
    param: str | None = None
    code: int


class VllmError(BaseModel):
    error: Fault


class Card(BaseModel):
    id: str
    object: str = "model"
    created: int
    owned_by: str = "eat_lightning"
    root: str
    parent: str | None = None
    max_model_len: int


class Cards(BaseModel):
    object: str = "list"
    data: list[Card]


def operations(gateway: Gateway) -> list[Operation]:
    shape = VllmRequest, classify, ClassificationResponse, DIALECT, has("input")
    return [Operation(path, *shape) for path in ("/classify", "/v1/classify", "/invocations")]


async def classify(call: Call, body: VllmRequest) -> Response:
    about = call.gateway.about
    texts = [body.input] if isinstance(body.input, str) else body.input
    scored = await call.scored([[text] for text in texts], long=long_of(call, body))
    function = "none" if body.use_activation is False else None
    names, data = about.label_names, []
    for index, each in enumerate(scored):
        probs = each.scores(function)
        label = names[probs.index(max(probs))]
        item = {"index": index, "label": label, "probs": probs, "num_classes": len(probs)}
        data.append(item | depth_fields(each))
    num_tokens = sum(each.num_tokens for each in scored)
    usage = Usage(prompt_tokens=num_tokens, total_tokens=num_tokens)
    about_it = {"id": f"classify-{uuid4().hex}", "object": "list", "created": int(time.time())}
    found = about_it | {"model": about.name, "data": data, "usage": usage.model_dump()}
    return JSONResponse(found, headers=depth_headers(scored))


def long_of(call: Call, body: VllmRequest) -> Literal["cut", "refuse"] | None:
    """Truncate the end of a text that is too long if the request says so; otherwise refuse it,
    unless the gateway reads windows.

    Raises:
        Refused: 400 for truncation below the model's length.
    """
    wanted, most = body.truncate_prompt_tokens, call.gateway.about.max_length
    if wanted is not None and 0 <= wanted < most:
        raise Refused(BAD, f"truncate_prompt_tokens must be -1, or {most} or more, got {wanted}")
    if wanted is not None:
        return "cut"
    return None if call.gateway.about.long == "windows" else "refuse"


def add_status(app: FastAPI, gateway: Gateway) -> None:
    """Add read-only routes."""

    @app.get("/v1/models", responses=errors(401), name="models")
    async def found() -> Cards:
        """Return the model, under the name that requests may use."""
        return models(gateway)

    tei.add_health(app, gateway)


def models(gateway: Gateway) -> Cards:
    about = gateway.about
    created = int(gateway.metrics.began)
    card = Card(id=about.name, root=about.name, created=created, max_model_len=about.max_length)
    return Cards(data=[card])


def refusal(refused: Refused) -> JSONResponse:
    status = BAD if refused.status_code in (413, 422) else refused.status_code
    kind = "BadRequestError" if status == BAD else "InternalServerError"
    content = {"message": refused.detail, "type": kind, "param": None, "code": status}
    return JSONResponse({"error": content}, status, refused.headers)


DIALECT = Dialect(refusal, VllmError, STATUSES)
