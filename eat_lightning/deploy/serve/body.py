"""Request bodies, parsed by FastAPI and documented on its OpenAPI page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    create_model,
)

MAX_NAME = 200  # characters of a source or a MIME type
MAX_DEADLINE_MS = 3_600_000
PAIR = ("text", "text_pair")
CUT = 60  # characters of a stranger's value that an answer repeats
MEANING = {
    400: "the body is empty, not JSON, or not UTF-8",
    401: "missing or wrong bearer token",
    408: "the body did not arrive in time",
    409: "refused; the old run stays in use",
    413: "more bytes than the limit",
    415: "content type other than application/json",
    422: "invalid input, with the reason",
    503: "the queue is full, or the worker died: see Retry-After",
    504: "the deadline passed",
}


class RequestExample(NamedTuple):
    """One text for each of the task's columns, and facts about its origin.

    Args:
        cut_at: side at which texts that are too long are truncated, "left" or "right"; None: the
            tokenizer's.
        guesses: include the logits of each exit up to the one where the example leaves.
        long: "cut" or "refuse" such texts; None: the gateway's setting.
    """

    texts: list[str]
    source: str | None = None
    mime: str | None = None
    cut_at: str | None = None
    guesses: bool = False
    long: Literal["cut", "refuse"] | None = None

    @property
    def about(self) -> dict[str, str]:
        """Facts on the example that policies may use, by name, without unknown ones."""
        known = {"source": self.source, "mime": self.mime}
        return {name: value for name, value in known.items() if value is not None}


def without_half_pairs(text: Any) -> Any:
    """Replace unpaired surrogates, which JSON allows and tokenizers reject."""
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else text


def folder_name(name: str) -> str:
    """Reject a path, which would let a client run the code of any folder."""
    if name in (".", "..") or {"/", "\\", "\0"} & set(name):
        raise ValueError("a run should be the name of one beside this one")
    return name


Deadline = Annotated[float, Field(gt=0, le=MAX_DEADLINE_MS)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME), BeforeValidator(without_half_pairs)]


class Error(BaseModel):
    error: str


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Error, "description": MEANING[status]} for status in statuses}


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Reload(Closed):
    run: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(folder_name)] | None = (
        None
    )


class Sourced(Closed):
    """Fields shared by a single example and a list, in addition to those of `question_types`.

    Args:
        source, mime: defaults for the examples of a list.
        guesses: include the logits of each exit.
    """

    source: Name | None = None
    mime: Name | None = None
    guesses: StrictBool = False

    def found(self) -> list[RequestExample]:
        """The examples, in order."""
        found = []
        for one in getattr(self, "examples", [self]):
            texts = [getattr(one, key) for key in PAIR if key in type(one).model_fields]
            about = one.source or self.source, one.mime or self.mime
            found.append(RequestExample(texts, *about, guesses=one.guesses or self.guesses))
        return found


class Question(Sourced):
    deadline_ms: Annotated[Deadline, Field(strict=True)] | None = None


class ListedQuestion(Question):
    """Several examples, with fields from `question_types`."""


def question_types(
    columns: Sequence[str], max_texts: int, max_chars: int
) -> tuple[type[Question], type[ListedQuestion]]:
    """Return the types of a body for a task: one example, or several. The keys of texts are
    generic, or those of the task's columns.
    """
    text = Annotated[str, Field(max_length=max_chars), BeforeValidator(without_half_pairs)]
    texts: dict[str, Any] = {
        key: (text, Field(validation_alias=AliasChoices(key, column), description=f"or {column}"))
        for key, column in zip(PAIR, columns, strict=False)
    }
    example = create_model("Example", __base__=Sourced, **texts)
    as_object = BeforeValidator(
        lambda given: {"text": given} if isinstance(given, str) else given,
        json_schema_input_type=example | str,
    )
    listed: Any = (list[Annotated[example, as_object]], Field(min_length=1, max_length=max_texts))
    alone: type[Question] = create_model("OneQuestion", __base__=(example, Question))  # pyright: ignore[reportAssignmentType]
    return alone, create_model("Questions", __base__=ListedQuestion, examples=listed)
