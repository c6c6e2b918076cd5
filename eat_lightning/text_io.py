"""Lines of text in, answers out: what a runner without torch and `predict` have in common.

By the standard library alone. An export puts a copy of this file beside its graphs, so nothing of
the package is imported here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CHUNK = 1 << 16  # bytes read at once; a pipe holds as many
Texts = Sequence[Sequence[str]]
About = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class InputLine:
    """A line that could be read: a text for each column, and what else it says of its example, such
    as source and mime; or the error that stands in the place of its answer."""

    texts: list[str] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] | None = None


def read_lines(lines: Sequence[bytes], first: int, columns: Sequence[str]) -> list[InputLine]:
    """`first` is the number of the first line, which an error names."""
    found = []
    for number, line in enumerate(lines, start=first):
        try:
            found.append(parse(line, columns))
        except ValueError as error:
            found.append(InputLine(error={"line": number, "error": str(error)}))
    return found


def answer_lines(
    lines: Sequence[bytes],
    first: int,
    columns: Sequence[str],
    answer: Callable[[list[list[str]], list[dict[str, str]]], list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """An answer or an error for each line, in order."""
    read = read_lines(lines, first, columns)
    sound = [line for line in read if line.error is None]
    made = answer([x.texts for x in sound], [x.about for x in sound]) if sound else []
    answers = iter(made)
    found = [next(answers) if line.error is None else line.error for line in read]
    return [
        {"line": number} | each if refusal(each) else each
        for number, each in enumerate(found, start=first)
    ]


def parse(line: bytes, columns: Sequence[str]) -> InputLine:
    """ValueError says what is wrong with a line."""
    text = decoded(line).removesuffix("\r")
    if text.lstrip().startswith("{"):
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not JSON, as a line that starts with {{ must be: {error}") from None
        texts = texts_of(content, columns)
        names = {"text", "text_pair", *columns}
        about = {k: v for k, v in content.items() if k not in names and isinstance(v, str)}
        return InputLine(texts, about)
    return InputLine(split_texts(text, len(columns)))


def decoded(line: bytes) -> str:
    """ValueError where a line is not UTF-8."""
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start} of the line") from None


def split_texts(line: str, num: int) -> list[str]:
    """Read one text of a line, or two with a tab between. ValueError where they are others."""
    texts = [line] if num == 1 else line.split("\t")
    if len(texts) != num:
        raise ValueError(f"expected {num} texts with a tab between, got {len(texts)}")
    return texts


def without_half_pairs(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON can spell and no tokenizer takes."""
    return text.encode("utf-8", "replace").decode()


def texts_of(content: dict[str, Any], columns: Sequence[str]) -> list[str]:
    """Read the texts of a request, by the task's column names or as text and text_pair. ValueError
    says what is wrong."""
    general = ["text", "text_pair"]
    names = columns if all(name in content for name in columns) else general[: len(columns)]
    for name in names:
        if name not in content:
            choices = " and ".join(general[: len(columns)]), " and ".join(columns)
            raise ValueError(f"no key {name}: give {', or '.join(dict.fromkeys(choices))}")
        if not isinstance(content[name], str):
            raise ValueError(f"{name} must be a text, got {content[name]!r:.40}")
    if len(columns) == 1 and "text_pair" in content:
        raise ValueError("text_pair: this task takes one text")
    return [without_half_pairs(content[name]) for name in names]


def batches(
    descriptor: int, size: int, read: Callable[[int, int], bytes] = os.read
) -> Iterator[list[bytes]]:
    """Lines as they come, `size` at most; waits for more only when there is not one whole line: a
    read gives what is there, so a file makes full batches and a keyboard batches of one."""
    unfinished: list[bytes] = []
    while chunk := read(descriptor, CHUNK):
        first, *others = chunk.split(b"\n")
        unfinished.append(first)
        if others:
            lines = [b"".join(unfinished), *others[:-1]]
            unfinished = [others[-1]]
            for start in range(0, len(lines), size):
                yield lines[start : start + size]
    if last := b"".join(unfinished):
        yield [last]


def answer_input(answer: Callable[[list[bytes], int], list[dict[str, Any]]], batch: int) -> int:
    """Answer standard input; returns how many lines could not be read. answer: lines and the number
    of the first of them -> an answer for each."""
    num_bad, first = 0, 1
    for lines in batches(sys.stdin.fileno(), batch):
        num_bad += write(answer(lines, first))
        first += len(lines)
    return num_bad


def write(answers: Sequence[dict[str, Any]]) -> int:
    """JSON lines to standard output, at once; returns how many are errors."""
    sys.stdout.write("".join(json.dumps(answer) + "\n" for answer in answers))
    sys.stdout.flush()
    return sum(bool(refusal(answer)) for answer in answers)


def refusal(answer: Mapping[str, Any]) -> str:
    """Return why there is no answer; "" where there is one. A score's predicted error is a
    number."""
    why = answer.get("error", "")
    return why if isinstance(why, str) else ""
