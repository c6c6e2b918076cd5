"""A request's body: the examples it asks about, held against the limits first."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from eat_lightning.answers import texts_of
from eat_lightning.serve.refused import Refused

MAX_NAME = 200  # characters of a source or a MIME type
MAX_DEADLINE_MS = 3_600_000


class Example(NamedTuple):
    """One text for each of the task's columns, and what is known of where they come from."""

    texts: list[str]
    source: str | None = None
    mime: str | None = None

    @property
    def about(self) -> dict[str, str]:
        """What policies may ask for, without what is not known."""
        known = {"source": self.source, "mime": self.mime}
        return {name: value for name, value in known.items() if value is not None}

    @property
    def num_characters(self) -> int:
        return sum(map(len, self.texts))


@dataclass(frozen=True)
class Limits:
    """max_bytes: of a body. max_texts: examples of a request. max_chars: of one text.
    sources: None, or the only ones that are taken."""

    max_bytes: int
    max_texts: int
    max_chars: int
    sources: frozenset[str] | None = None


@dataclass(frozen=True)
class Question:
    """`many`: asked as a list, and answered as one."""

    examples: list[Example]
    many: bool
    deadline_ms: float | None

    @classmethod
    def of(cls, body: bytes, columns: Sequence[str], limits: Limits) -> Question:
        """Raises Refused: 400 where the body is no JSON, 422 where it says what cannot be taken."""
        content = from_bytes(body)
        deadline_ms = deadline_of(content.pop("deadline_ms", None), "deadline_ms")
        many = "examples" in content
        shared = {key: content.pop(key, None) for key in ("source", "mime")}
        if not many:
            found = [example_of(content | shared, "", columns, limits)]
            return cls(found, many, deadline_ms)
        given = content.pop("examples")
        if content:
            raise Refused(422, f"{some(content)} beside examples is not known")
        if not isinstance(given, list) or not given:
            raise Refused(422, "examples must be a list with at least one example")
        if len(given) > limits.max_texts:
            raise Refused(422, f"examples must be at most {limits.max_texts}, got {len(given)}")
        found = []
        for place, one in enumerate(given):
            one = {"text": one} if isinstance(one, str) else one
            if not isinstance(one, dict):
                raise Refused(422, f"examples[{place}] must be a text or an object")
            found.append(example_of(shared | one, f"examples[{place}].", columns, limits))
        return cls(found, many, deadline_ms)


def from_bytes(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Refused(400, "the body is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise Refused(422, 'the body must be an object: {"text": ...} or {"examples": [...]}')
    return content


def example_of(
    content: dict[str, Any], place: str, columns: Sequence[str], limits: Limits
) -> Example:
    names = [name_of(content.pop(key, None), place + key) for key in ("source", "mime")]
    try:
        texts = texts_of(content, columns)
    except ValueError as error:
        raise Refused(422, f"{place}{error}") from None
    pairs = columns if all(c in content for c in columns) else ("text", "text_pair")
    unknown = [key for key in content if key not in pairs]
    if unknown:
        raise Refused(422, f"{place}{some(unknown)} is not known")
    for key, text in zip(pairs, texts, strict=False):
        if len(text) > limits.max_chars:
            said = f"at most {limits.max_chars} characters, got {len(text)}"
            raise Refused(422, f"{place}{key} must have {said}")
    if limits.sources is not None and names[0] not in limits.sources:
        known = ", ".join(sorted(limits.sources))
        raise Refused(422, f"{place}source must be one of {known}, got {names[0]!r:.60}")
    return Example(texts, *names)


def name_of(value: Any, key: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value or len(value) > MAX_NAME:
        raise Refused(422, f"{key} must be a text of 1 to {MAX_NAME} characters, got {value!r:.40}")
    return value.encode("utf-8", "replace").decode()


def deadline_of(value: Any, key: str) -> float | None:
    """Milliseconds from now."""
    if value is None:
        return None
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 < number <= MAX_DEADLINE_MS:
        said = f"must be in (0, {MAX_DEADLINE_MS}] milliseconds, got {value!r:.40}"
        raise Refused(422, f"{key} {said}")
    return float(number)


def some(keys: Any) -> str:
    """The first of some keys, cut: they are a stranger's."""
    return f"{next(iter(keys))!r:.60}"
