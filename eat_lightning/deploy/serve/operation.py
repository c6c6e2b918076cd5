"""Requests of one server at a path. Where several servers share a path, the body decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from eat_lightning.deploy.serve.body import CUT, without_half_pairs
from eat_lightning.deploy.serve.call import Call
from eat_lightning.deploy.serve.worker import Refused

Text = Annotated[str, BeforeValidator(without_half_pairs)]
STATUSES = {  # of servers that tell a full queue from a dead worker
    413: "a batch or a text is too long",
    422: "invalid input, with the reason",
    424: "the model is of another kind, or failed",
    429: "the queue is full: see Retry-After",
    503: "the worker died, or is started",
    504: "the deadline passed",
}


def shaped(shapes: str) -> WrapValidator:
    """Return an annotation for a type with several forms, which gives invalid values a one-line
    error.
    """

    def one_line(given: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(given)
        except ValidationError:
            raise PydanticCustomError(
                "shapes", "Input should be {shapes}", {"shapes": shapes}
            ) from None

    return WrapValidator(one_line)


Texts = Annotated[
    Text | Annotated[list[Text], Field(min_length=1)],
    shaped("a text, or a list of texts; token ids are not read"),
]


class PeerBody(BaseModel):
    """A request of another server, with its types; fields that are not used here are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore")


def fault_line(fault: Any) -> str:
    """Format a pydantic error of a request: key, constraint, and the truncated value."""
    key = key_of(fault) or "the body"
    if fault["type"] == "missing":
        return f"no key {key}"
    bound = fault["msg"].partition(" should ")[2]
    if fault["type"] in ("too_long", "too_short"):  # of a list of texts, which are not repeated
        return f"{key} must {bound.replace(' after validation', '')}"
    return f"{key} must {bound}, got {fault['input']!r:.{CUT}}"


def key_of(fault: Any) -> str:
    path = [part for part in fault["loc"][1:] if not str(part).startswith("#")]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return key.lstrip(".")[:CUT]


@dataclass(frozen=True)
class Dialect:
    """A server's format of refusals.

    Args:
        refusal: makes the response.
        error: type of its body.
        statuses: possible status codes, with their meaning.
        fault: formats a pydantic error.
    """

    refusal: Callable[[Refused], JSONResponse]
    error: Any
    statuses: dict[int, str]
    fault: Callable[[Any], str] = fault_line


@dataclass(frozen=True)
class Operation:
    """A type of request at a path.

    Args:
        body: type of the body.
        answer: handles a request.
        result: type of a response with status 200.
        takes: True for JSON objects of this format, and for no other at the path.
    """

    path: str
    body: type[BaseModel]
    answer: Callable[[Call, Any], Awaitable[Response]]
    result: Any
    dialect: Dialect
    takes: Callable[[dict[str, Any]], bool] = lambda content: False

    @property
    def tag(self) -> str:
        return f"#{self.body.__name__}"


def has(key: str) -> Callable[[dict[str, Any]], bool]:
    return lambda content: key in content


def body_type(operations: Sequence[Operation]) -> Any:
    """Return the type of a path's bodies. The first operation handles bodies that match none."""
    if len(operations) == 1:
        return operations[0].body

    def tag(content: Any) -> str:
        found = operations[0]
        if isinstance(content, dict):
            found = next((each for each in operations if each.takes(content)), found)
        return found.tag

    tagged: Any = tuple(Annotated[each.body, Tag(each.tag)] for each in operations)
    return Annotated[Union[tagged], Discriminator(tag)]  # noqa: UP007


def of_fault(operations: Sequence[Operation], fault: Any) -> Operation:
    """Return the operation under which a body was parsed."""
    return next((each for each in operations if each.tag in fault["loc"]), operations[0])
