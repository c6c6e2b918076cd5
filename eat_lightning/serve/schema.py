"""What the OpenAPI page says of the bodies that routes read themselves, with the limits in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eat_lightning.serve.question import MAX_DEADLINE_MS, MAX_NAME, Limits

SAID = {
    400: "the body is no JSON",
    401: "no bearer token, or another one",
    404: "no such job",
    408: "the body did not arrive in time",
    409: "refused; the old run goes on",
    413: "more bytes than the limit",
    415: "another content type than application/json",
    422: "what cannot be taken, and why",
    500: "a fault of the gateway or the model",
    503: "the queue is full, or the worker died: see Retry-After",
    504: "the deadline passed",
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    error = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    content = {"application/json": {"schema": error}}
    return {status: {"description": SAID[status], "content": content} for status in statuses}


CLASSIFY = responses(400, 401, 408, 413, 415, 422, 503, 504)
JOBS = responses(400, 401, 408, 413, 415, 422, 503)
JOB = responses(401, 404, 422)
RELOAD = responses(400, 401, 408, 409, 413, 415, 422)


def body_schema(columns: Sequence[str], limits: Limits, deadline: bool = True) -> dict[str, Any]:
    """`deadline`: the request may carry one."""
    text = {"type": "string", "maxLength": limits.max_chars}
    name = {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_NAME}
    source = name
    if limits.sources is not None:
        source = {"type": "string", "enum": sorted(limits.sources)}
    about = {"source": source, "mime": name}
    general = ["text", "text_pair"][: len(columns)]
    namings = [general] if list(columns) == general else [general, list(columns)]
    examples = [
        {
            "type": "object",
            "properties": dict.fromkeys(names, text) | about,
            "required": [*names, *(["source"] if limits.sources is not None else [])],
            "additionalProperties": False,
        }
        for names in namings
    ]
    until = {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_DEADLINE_MS}
    more = {"deadline_ms": until} if deadline else {}
    alone = [e | {"properties": e["properties"] | more} for e in examples]
    items = [*examples, text] if len(columns) == 1 and limits.sources is None else examples
    listed = {"type": "array", "minItems": 1, "maxItems": limits.max_texts}
    many = {
        "type": "object",
        "properties": {
            "examples": listed | {"items": {"anyOf": items}},
            "mime": name,
        }
        | more
        | ({"source": name} if limits.sources is None else {}),
        "required": ["examples"],
        "additionalProperties": False,
    }
    header = {"name": "X-Deadline-Ms", "in": "header", "required": False, "schema": until}
    parameters = {"parameters": [header]} if deadline else {}
    return of({"anyOf": [*alone, many]}, required=True) | parameters


def reload_schema() -> dict[str, Any]:
    run = {"type": ["string", "null"], "minLength": 1, "maxLength": 255, "pattern": "^[\\w.,=-]+$"}
    return of({"type": "object", "properties": {"run": run}, "additionalProperties": False}, True)


def of(schema: dict[str, Any], required: bool) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": required, "content": content}}
