"""The gateway's own format: an example or a list; answers as in `predict`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse, StreamingResponse

from eat_lightning.deploy.serve import operation
from eat_lightning.deploy.serve.access import answer_of
from eat_lightning.deploy.serve.body import Error, ListedQuestion, question_types
from eat_lightning.deploy.serve.call import Call
from eat_lightning.deploy.serve.gateway import Gateway
from eat_lightning.deploy.serve.operation import Dialect, Operation
from eat_lightning.deploy.serve.worker import Answer, Ask, Refused

NDJSON = "application/x-ndjson"
STATUSES = {
    422: "invalid input, with the reason",
    503: "the queue is full, or the worker died: see Retry-After",
    504: "the deadline passed",
}


def operations(gateway: Gateway) -> list[Operation]:
    plan, columns = gateway.plan, gateway.about.columns
    alone, several = question_types(columns, plan.max_texts, plan.max_chars)
    dialect = Dialect(answer_of, Error, STATUSES, partial(fault_line, columns))
    names = {"text", *columns}

    def is_one(content: dict[str, Any]) -> bool:
        return bool(names & content.keys()) and "examples" not in content

    return [
        Operation("/classify", alone, classify, Any, dialect, is_one),
        Operation("/classify", several, classify, Any, dialect, operation.has("examples")),
    ]


async def classify(call: Call, question: Any) -> Response:
    """Answer one or several examples, as a list, or line by line as each example exits."""
    examples = question.found()
    if NDJSON in call.request.headers.get("accept", ""):
        asks = call.gateway.accept(examples, call.sooner(question.deadline_ms))
        return await streamed(call.gateway, asks)
    _, answers = await call.whole(examples, question.deadline_ms)
    several = isinstance(question, ListedQuestion)
    return JSONResponse({"answers": answers} if several else answers[0])


async def streamed(gateway: Gateway, asks: list[Ask]) -> Response:
    """Stream a line for each answer. A failure before the first line fails the whole request."""
    answers = gateway.answers(asks)
    first = await anext(answers)
    if isinstance(first[1], Refused):
        await answers.aclose()
        raise first[1]

    async def lines() -> AsyncIterator[str]:
        async with aclosing(answers):
            yield line_of(*first)
            async for place, answer in answers:
                yield line_of(place, answer)

    return StreamingResponse(lines(), media_type=NDJSON)


def line_of(place: int, answer: Answer | Refused) -> str:
    if isinstance(answer, Refused):
        answer = {"error": answer.detail, "status": answer.status_code}
    return json.dumps({"index": place} | answer) + "\n"


def fault_line(columns: Sequence[str], fault: Any) -> str:
    key = operation.key_of(fault)
    if fault["type"] == "missing":
        return f"no key {key}: give {keys_to_give(columns, key)}"
    if fault["type"] == "extra_forbidden":
        return f"{key!r} is not known"
    if not key:
        kind = type(fault["input"]).__name__
        return f'the body must be {{"text": ...}} or {{"examples": [...]}}, got a {kind}'
    return operation.fault_line(fault)


def keys_to_give(columns: Sequence[str], key: str) -> str:
    choices = [" and ".join(("text", "text_pair")[: len(columns)]), " and ".join(columns)]
    choices += [] if key.startswith("examples") else ["examples"]
    return ", or ".join(dict.fromkeys(choices))
