"""Hugging Face's inference services and clients, and semantic-router's `http_classify`.

`{"inputs": "a text"}` returns every label once, in a flat list. With `parameters`, as sent by
`huggingface_hub.InferenceClient`, or with a list of texts, it returns a list for each text.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import Field

from eat_lightning.deploy.serve.access import answer_of
from eat_lightning.deploy.serve.body import Error
from eat_lightning.deploy.serve.call import Call, depth_headers
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
from eat_lightning.deploy.serve.tei import Prediction, predictions
from eat_lightning.deploy.serve.worker import QueueFull, Refused


class TextPair(PeerBody):
    text: Text
    text_pair: Text


class Parameters(PeerBody):
    top_k: Annotated[int, Field(ge=1)] | None = None
    function_to_apply: Literal["sigmoid", "softmax", "none"] | None = None


class HfRequest(PeerBody):
    inputs: Annotated[
        Text | TextPair | Annotated[list[Text | TextPair], Field(min_length=1)],
        shaped('a text, {"text", "text_pair"}, or a list of either'),
    ]
    parameters: Parameters | None = None


def operations(gateway: Gateway) -> list[Operation]:
    result = list[Prediction] | list[list[Prediction]]
    return [
        Operation("/classify", HfRequest, classify, result, DIALECT, has("inputs")),
        Operation("/", HfRequest, classify, result, DIALECT, has("parameters")),
    ]


async def classify(call: Call, body: HfRequest) -> Response:
    given = body.inputs if isinstance(body.inputs, list) else [body.inputs]
    texts = [[each] if isinstance(each, str) else [each.text, each.text_pair] for each in given]
    scored = await call.scored(texts)
    wanted, names = body.parameters or Parameters(), call.gateway.about.label_names
    found: Any = [
        predictions(names, each.scores(wanted.function_to_apply))[: wanted.top_k] for each in scored
    ]
    is_flat = body.parameters is None and not isinstance(body.inputs, list)
    return JSONResponse(found[0] if is_flat else found, headers=depth_headers(scored))


def refusal(refused: Refused) -> JSONResponse:
    if isinstance(refused, QueueFull):
        refused.status_code = 429
    return answer_of(refused)


DIALECT = Dialect(refusal, Error, STATUSES)
