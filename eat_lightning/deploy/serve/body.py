"""The bodies of requests, by which FastAPI reads them and describes them in its OpenAPI page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, Union

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    create_model,
)

MAX_NAME = 200  # characters of a source or a MIME type
MAX_DEADLINE_MS = 3_600_000
PAIR = ("text", "text_pair")
CUT = 60  # characters of a stranger's value that an answer repeats


class RequestExample(NamedTuple):
    """One text for each of the task's columns, and what is known of where they come from."""

    texts: list[str]
    source: str | None = None
    mime: str | None = None

    @property
    def about(self) -> dict[str, str]:
        """Facts on the example that policies may use, by name, without unknown ones."""
        known = {"source": self.source, "mime": self.mime}
        return {name: value for name, value in known.items() if value is not None}


def without_half_pairs(text: Any) -> Any:
    """Replace halves of surrogate pairs, which JSON can spell and no tokenizer takes."""
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else text


def folder_name(name: str) -> str:
    """Refuse a path: it would let a client have any folder's code run."""
    if name in (".", "..") or {"/", "\\", "\0"} & set(name):
        raise ValueError("a run should be the name of one beside this one")
    return name


Deadline = Annotated[float, Field(gt=0, le=MAX_DEADLINE_MS)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME), BeforeValidator(without_half_pairs)]


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Reload(Closed):
    run: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(folder_name)] | None = (
        None
    )


class Sourced(Closed):
    """An example or a list of them, whose fields `question_type` adds. source, mime: beside a list
    those of its examples that name none."""

    source: Name | None = None
    mime: Name | None = None

    def found(self) -> list[RequestExample]:
        """The examples, in their order."""
        found = []
        for one in getattr(self, "examples", [self]):
            texts = [getattr(one, key) for key in PAIR if key in type(one).model_fields]
            found.append(RequestExample(texts, one.source or self.source, one.mime or self.mime))
        return found


class Question(Sourced):
    deadline_ms: Annotated[Deadline, Field(strict=True)] | None = None


def question_type(columns: Sequence[str], max_texts: int, max_chars: int) -> Any:
    """Make the type of a body for a task. Texts bear general names or those of its columns."""
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
    alone = create_model("OneQuestion", __base__=(example, Question))
    several = create_model("ListedQuestion", __base__=Question, examples=listed)

    def tag(body: Any) -> str:
        return "#list" if isinstance(body, dict) and "examples" in body else "#one"

    return Annotated[
        Union[Annotated[alone, Tag("#one")], Annotated[several, Tag("#list")]],  # noqa: UP007
        Discriminator(tag),
    ]


def fault_line(fault: Any, columns: Sequence[str]) -> str:
    """Say what pydantic found wrong with a request: key, bound, and the value, cut."""
    path = [part for part in fault["loc"][1:] if not str(part).startswith("#")]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    key = key.lstrip(".")[:CUT] or "the body"
    if fault["type"] == "missing":
        choices = [" and ".join(PAIR[: len(columns)]), " and ".join(columns)]
        choices += [] if key.startswith("examples") else ["examples"]
        return f"no key {key}: give {', or '.join(dict.fromkeys(choices))}"
    if fault["type"] == "extra_forbidden":
        return f"{key!r} is not known"
    if key == "the body" and "#one" in fault["loc"]:
        kind = type(fault["input"]).__name__
        return f'the body must be {{"text": ...}} or {{"examples": [...]}}, got a {kind}'
    bound = fault["msg"].partition(" should ")[2]
    if fault["type"] in ("too_long", "too_short"):  # of a list of texts, which are not repeated
        return f"{key} must {bound.replace(' after validation', '')}"
    return f"{key} must {bound}, got {fault['input']!r:.{CUT}}"
