"""Open the two models to compare: a file of answers, a server, or a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.bundle.bundle import is_adapted, is_of_lists
from eat_lightning.bundle.model import Model
from eat_lightning.bundle.onnx_runner import is_export
from eat_lightning.bundle.plan import in_its_threads
from eat_lightning.data.text_files import TABLES, json_lines, opened
from eat_lightning.data.unlabelled import Texts
from eat_lightning.deploy.verify.answers import (
    ANSWERS,
    KEYS,
    Answers,
    FileRow,
    check_readable,
    tell_misspelt,
)
from eat_lightning.deploy.verify.plan import Build, VerifySettings
from eat_lightning.deploy.verify.server import Row, Server
from eat_lightning.errors import ConfigError, one_line, reading
from eat_lightning.files import write_text
from eat_lightning.long_texts import Answerer, LongTexts
from eat_lightning.progress import bar
from eat_lightning.record.point import Point
from eat_lightning.text_io import refusal, without_half_pairs
from eat_lightning.validation import did_you_mean

DONE = "done.json"  # in a run's folder
Batch = list[Row]


@dataclass(frozen=True)
class Source:
    """A model that is ready to answer.

    Args:
        where: its name in error messages.
        answer: returns a row for each text of a batch.
        labels: all its labels; None: unknown.
        kind: of its answers; None: unknown.
    """

    where: str
    answer: Callable[[Batch], list[dict[str, Any]]]
    labels: Sequence[str] | None = None
    kind: AnswerKind | None = None

    @property
    def about(self) -> Answers:
        """What is known of its answers before it gives any."""
        assert self.kind is not None
        return Answers(self.where, [], self.kind.problem_type, self.labels, self.kind)


@dataclass
class Kept:
    """Rows by text, written to a file as they arrive, so that a second call requests only the
    missing ones.

    Args:
        about: the source of the answers. Rows from another source are dropped.
    """

    path: Path
    about: dict[str, Any]

    def __post_init__(self) -> None:
        first, *lines = [*whole_lines(self.path)] or [None]
        mine = lines if first == {"about": self.about} else []
        # What was refused is asked again, since the server's settings may have changed.
        answered = (x for x in mine if not refusal(x["row"]))
        self.rows: dict[Row, dict[str, Any]] = {tuple(x["texts"]): x["row"] for x in answered}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, as_lines([{"about": self.about}, *map(line_of, self.rows.items())]))

    def add(self, rows: dict[Row, dict[str, Any]]) -> None:
        self.rows |= rows
        with self.path.open("a", encoding="utf-8") as file:
            file.write(as_lines([*map(line_of, rows.items())]))


def as_lines(values: Sequence[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(value)}\n" for value in values)


def line_of(item: tuple[Row, dict[str, Any]]) -> dict[str, Any]:
    return {"texts": item[0], "row": item[1]}


def whole_lines(path: Path) -> Iterator[Any]:
    """Yield the values of a file's lines, up to a truncated one."""
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        try:
            yield json.loads(line)
        except ValueError:
            return


def rows_for(source: Source, batches: Sequence[Batch], kept: Kept | None) -> dict[Row, Any]:
    """Return a row for each text of the batches."""
    found = {} if kept is None else dict(kept.rows)
    with bar(source.where, sum(map(len, batches))) as advance:
        for batch in batches:
            if missing := [row for row in batch if row not in found]:
                rows = dict(zip(missing, source.answer(missing), strict=True))
                found |= rows
                if kept is not None:
                    kept.add(rows)
            advance(len(batch))
    return found


def batches_of(texts: Sequence[Row], size: int) -> list[Batch]:
    """Batch texts of similar lengths, longest first."""
    order = sorted(texts, key=lambda row: -sum(map(len, row)))
    return [order[start : start + size] for start in range(0, len(order), size)]


def is_file(build: Build) -> bool:
    return not build.is_server and Path(str(build.model)).suffix in TABLES


def rows_of_file(where: str, path: Path, columns: Sequence[str]) -> dict[Row, FileRow]:
    """Return rows of a file of answers by text. Raises ConfigError, in one line, for an invalid
    file.
    """
    with reading(where, pa.ArrowException):
        if not path.is_file():
            raise ValueError("there is no such file")
        if path.suffix == ".jsonl":
            whole = [*json_lines(path)]
        else:  # labels are text, also where they look like numbers
            whole = opened(path, [*columns, "answer", "label"]).read().to_pylist()
        found: dict[Row, FileRow] = {}
        for number, row in enumerate(whole, 1):
            if lacking := [name for name in columns if not isinstance(row.get(name), str)]:
                has = one_line(", ".join(row), 60)
                raise ValueError(f"no text in column {lacking[0]}, only {has}: columns=[...]")
            if not row.keys() & ANSWERS:
                others = [name for name in row if name not in columns]
                near = "".join(did_you_mean(name, ANSWERS) for name in others)
                needed = f"no {', '.join(ANSWERS[:-1])} or {ANSWERS[-1]}"
                raise ValueError(f"{needed}, only {one_line(', '.join(row), 60)}{near}")
            texts = tuple(without_half_pairs(row[name]) for name in columns)
            others = [name for name in row if name not in (*columns, *KEYS)]
            answer = FileRow(number, {key: row[key] for key in KEYS if key in row}, others)
            if found.setdefault(texts, answer).values != answer.values:
                raise ValueError(f"two answers to one text, {one_line(texts[0], 40)!r}")
    return found


def open_source(key: str, plan: VerifySettings, texts: Texts) -> Source:
    """Open a model.

    Args:
        key: old or new.

    Raises:
        ConfigError: in one line, for an invalid model, or one that takes other texts.
    """
    build: Build = getattr(plan, key)
    where, columns = f"{key}={build.model}", texts.columns
    if is_file(build):
        rows = rows_of_file(where, Path(str(build.model)), columns)
        if lacking := [row for row in texts.rows if row not in rows]:
            example = one_line(lacking[0][0], 40)
            count = f"{len(lacking):,} of {len(texts):,} texts, such as {example!r}"
            raise ConfigError(f"{where} has no answer to {count}")
        asked = [rows[row] for row in texts.rows]
        tell_misspelt(where, asked)
        check_readable(where, asked)
        return Source(where, lambda batch: [dict(rows[row].values) for row in batch])
    if build.is_server:
        return Source(where, Server(where, build).rows)
    with named_as(key):
        model = open_folder(build, plan, columns)
    if len(model.columns) != len(columns):
        takes = f"takes {len(model.columns)} texts, and there are {len(columns)}"
        raise ConfigError(f"{where} {takes}: columns=[...] names them")

    keys = {*KEYS, "depth"} if is_of_lists(str(build.model)) else {*KEYS}

    def answer(batch: Batch) -> list[dict[str, Any]]:
        rows = model.answer([[*row] for row in batch])
        return [{key: row[key] for key in row.keys() & keys} for row in rows]

    return Source(where, answer, list(model.labels) or None, model.kind)


def open_folder(build: Build, plan: VerifySettings, columns: Sequence[str]) -> Answerer:
    """Open the model of a folder: runs, exports and adapted classifiers as `predict` does, others
    in transformers or, with backend=torch, on our kernels.
    """
    folder = Path(str(build.model))
    if is_adapted(folder) or is_export(folder) or (folder / DONE).is_file():
        given: Any = {"engine": build.backend, "dtype": build.dtype, "threads": plan.threads}
        long = None if plan.long is None else LongTexts(plan.long)
        model = Model.open(folder, certificate=build.certificate, long=long, **given)
        return in_its_threads(model)
    if build.backend in ("onnx", "openvino"):
        raise ConfigError(f"backend={build.backend} runs what `eat export` or `eat adapt` wrote")
    if build.backend is None and build.dtype not in (None, "fp32"):
        raise ConfigError(f"dtype={build.dtype} needs backend=torch: transformers runs in fp32")
    import torch

    from eat_lightning.bundle.kernels import open_in_kernels
    from eat_lightning.bundle.original import Original, TransformersModel

    if plan.threads:
        torch.set_num_threads(plan.threads)
    lists = plan.queries is not None
    long = LongTexts(plan.long or ("cut" if lists else "refuse"))
    given = {"tolerance": plan.tolerance, "cuts": plan.cuts, "long": long, "lists": lists}
    original = Original.open(str(build.model), **given)
    if build.backend is None:
        return TransformersModel(original, columns)
    about = [*columns], [*original.same.labels], original.max_length
    point = Point.whole("torch", build.dtype or "fp32")
    model = open_in_kernels(original.folder, original.same.kind, point, *about)
    model.read_long(long)
    return model


@contextmanager
def named_as(key: str) -> Iterator[None]:
    """Prefix errors with the setting of this command, old or new."""
    try:
        yield
    except ConfigError as error:
        line = str(error).splitlines()[0]
        for name in ("model=", "run=", "encoder.pretrained="):
            line = line.replace(name, f"{key}=")
        raise ConfigError(line if line.startswith(f"{key}=") else f"{key}: {line}") from None
