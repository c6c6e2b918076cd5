"""Requests that one server takes at one path; where several share it, the body tells them apart."""

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
    422: "what cannot be taken, and why",
    424: "the model is of another kind, or failed",
    429: "the queue is full: see Retry-After",
    503: "the worker died, or is started",
    504: "the deadline passed",
}


def shaped(shapes: str) -> WrapValidator:
    """Make an annotation of a type with several shapes: one line for a value that has none."""

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
    """A request of another server: typed as there; fields that are not read here are let pass."""

    model_config = ConfigDict(strict=True, extra="ignore")


def fault_line(fault: Any) -> str:
    """Say what pydantic found wrong with a request: key, bound, and the value, cut."""
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
    """Shape of a server's refusals.

    Args:
        refusal: makes the response.
        error: its body.
        statuses: those that it may have, with their meaning.
        fault: makes the line for what pydantic found.
    """

    refusal: Callable[[Refused], JSONResponse]
    error: Any
    statuses: dict[int, str]
    fault: Callable[[Any], str] = fault_line


@dataclass(frozen=True)
class Operation:
    """A shape of requests at a path.

    Args:
        body: its type.
        answer: answers one.
        result: type of a response with status 200.
        takes: true for the JSON object of a body that has this shape, and no other at the path.
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
    """Make the type of a path's bodies; one that no operation takes is the first one's."""
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
    """The operation that a body was taken for."""
    return next((each for each in operations if each.tag in fault["loc"]), operations[0])
