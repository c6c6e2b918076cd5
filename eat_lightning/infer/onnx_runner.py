"""Answer lines with an exported model: by numpy, onnxruntime and tokenizers, without torch.

`python -m eat_lightning.infer.onnx_runner FOLDER < lines`. An export puts a copy of this file
beside its graphs, where `python FOLDER/runner.py < lines` needs nothing else of this package; what
`predict` does likewise therefore stands here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

CHUNK = 1 << 16  # bytes read at once; a pipe holds as many
ABOUT = "export.json"
NEXT = "next_"  # in front of what a graph hands on
STAYS, LAST_LAYER = 0, 1
MOST = {ABOUT: 1 << 20, "tokenizer.json": 32 << 20}  # bytes that are read


@dataclass
class Trace:
    """What happened to each example of a batch: the logits that count, layers run, why it left, and
    tokens entering each layer, 0 where it was not run. exits: until the first left, the guess and
    the graphs' own reason at each layer where one may leave."""

    logits_BC: np.ndarray
    depth_B: np.ndarray
    reason_B: np.ndarray
    tokens_LB: np.ndarray
    exits: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @property
    def retention_B(self) -> np.ndarray:
        """Tokens entering the last executed layer / tokens entering layer 1."""
        last_B = np.take_along_axis(self.tokens_LB, self.depth_B[None] - 1, axis=0)[0]
        return last_B / self.tokens_LB[0]

    def only(self, rows_B: np.ndarray) -> Trace:
        parts = self.logits_BC[rows_B], self.depth_B[rows_B], self.reason_B[rows_B]
        exits = {
            layer: (guess[rows_B], said[rows_B]) for layer, (guess, said) in self.exits.items()
        }
        return Trace(*parts, self.tokens_LB[:, rows_B], exits)


Ids = list[list[int]]
Left = Iterator[tuple[np.ndarray, Trace]]
# Asked at each exit beside the graphs, and can only make exits later: their reasons, the guesses so
# far (None: at the last layer), places of those still here -> reasons, 0 for who stays.
Later = Callable[[np.ndarray, np.ndarray | None, np.ndarray], np.ndarray]


class Runner:
    """An exported model, ready to answer lines. `threads` None: all that there are.

    A batch goes from graph to graph, and who leaves at an exit is taken out between them; a single
    example goes through one graph that decides inside, unless `later` is asked too.
    """

    def __init__(self, folder: str | Path, threads: int | None = None):
        self.folder, self.threads = Path(folder), threads
        self.about = read_about(self.folder)
        self.labels, self.columns = self.about["labels"], self.about["columns"]
        self.tokenizer = self.open_tokenizer()
        self.sessions: dict[str, Any] = {}

    def open_tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        path = self.folder / "tokenizer.json"
        try:
            if (size := path.stat().st_size) > MOST[path.name]:
                raise ValueError(f"{size} bytes, and at most {MOST[path.name]} are read")
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises that very class for a file it cannot parse
            raise ValueError(f"{path}: not a tokenizer ({error!s:.120})") from None
        tokenizer.no_padding()
        limit, side = self.about["max_length"], self.about["truncation_side"]
        tokenizer.enable_truncation(limit, strategy="longest_first", direction=side)
        return tokenizer

    def session(self, name: str) -> Any:
        if name not in self.sessions:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads or 0
            options.log_severity_level = 3
            start, path = onnxruntime.InferenceSession, self.folder / name
            try:
                self.sessions[name] = start(str(path), options, ["CPUExecutionProvider"])
            except Exception as error:  # its errors have no other class in common
                first = str(error).splitlines()[0]
                raise ValueError(f"{path}: not a graph that can be run ({first:.120})") from None
        return self.sessions[name]

    def __call__(self, lines: list[bytes], first: int = 1) -> list[dict[str, Any]]:
        """An answer or an error for each line; `first` is the number of the first one."""
        return answer_lines(
            lines, first, self.columns, lambda texts: self.say(self.run(*self.tokens(texts)))
        )

    def stream(self, texts: list[list[str]], later: Later | None = None) -> Left:
        """For each exit the places of those who leave there, and their trace."""
        ids, types = self.tokens(texts)
        if len(texts) == 1 and later is None:
            yield np.arange(1), self.run(ids, types)
            return
        for gone_B, trace in self.leaving(state_of(ids, types), later):
            yield gone_B, trace.only(gone_B)

    def say(self, trace: Trace) -> list[dict[str, Any]]:
        reasons = [self.about["reasons"][str(code)] for code in trace.reason_B.tolist()]
        depths, retentions = trace.depth_B.tolist(), trace.retention_B.tolist()
        return said(trace.logits_BC, depths, reasons, retentions, self.labels)

    def tokens(self, texts: list[list[str]]) -> tuple[Ids, Ids]:
        """Ids and types of each example."""
        given = [text[0] if len(text) == 1 else tuple(text) for text in texts]
        encoded, typed = self.tokenizer.encode_batch(given), self.about["types"]
        ids = [example.ids for example in encoded]
        return ids, [example.type_ids if typed else [0] * len(example.ids) for example in encoded]

    def run(self, ids: Ids, types: Ids, later: Later | None = None) -> Trace:
        state = state_of(ids, types)
        if len(ids) == 1 and later is None:
            return Trace(*self.session(self.about["single"]).run(None, state))
        return [trace for _, trace in self.leaving(state, later)][-1]

    def leaving(self, state: dict[str, np.ndarray], later: Later | None = None) -> Left:
        """Who leaves, at each exit where someone does, and one trace that is whole for those who
        have left."""
        size, num_layers = len(state["lengths_B"]), self.about["num_layers"]
        trace = Trace(
            np.zeros((size, max(len(self.labels), 1)), np.float32),
            np.zeros(size, np.int64),
            np.zeros(size, np.int64),
            np.zeros((num_layers, size), np.int64),
        )
        here_B = np.arange(size)
        for stretch in self.about["stretches"]:
            state = state | call(self.session(stretch["file"]), state)
            first, last = stretch["layers"]
            trace.tokens_LB[first - 1 : last, here_B] = state["tokens_LB"]
            ends = last == num_layers
            reason_B = np.full(len(here_B), LAST_LAYER) if ends else state["reason_B"]
            if len(here_B) == size:
                trace.exits[last] = state["logits_BC"], reason_B
            if later is not None:
                reason_B = later(reason_B, None if ends else state["guesses_EBC"], here_B)
            leaves_B = reason_B != STAYS
            gone_B = here_B[leaves_B]
            trace.logits_BC[gone_B] = state["logits_BC"][leaves_B]
            trace.depth_B[gone_B], trace.reason_B[gone_B] = last, reason_B[leaves_B]
            here_B = here_B[~leaves_B]
            if len(gone_B):
                yield gone_B, trace
            if not len(here_B):
                break
            if len(gone_B):
                state = staying(state, ~leaves_B)


def state_of(ids: Ids, types: Ids) -> dict[str, np.ndarray]:
    """What the first graph takes."""
    return {
        "ids_N": np.concatenate([np.array(x, np.int64) for x in ids]),
        "types_N": np.concatenate([np.array(x, np.int64) for x in types]),
        "lengths_B": np.array([len(x) for x in ids], np.int64),
    }


def call(session: Any, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a graph hands on, by the names under which the next one takes it."""
    feeds = {value.name: state[value.name] for value in session.get_inputs()}
    names = [value.name.removeprefix(NEXT) for value in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def staying(state: dict[str, np.ndarray], stays_B: np.ndarray) -> dict[str, np.ndarray]:
    """A state without the rows of the examples that leave, whether of tokens or of examples. Token
    ids are not carried on: only the first graph takes them."""
    rows_N = np.repeat(stays_B, state["lengths_B"])
    kept = {}
    for name, value in state.items():
        axes = name.rpartition("_")[2]
        if "N" in axes and len(value) == len(rows_N):
            kept[name] = value[rows_N]
        elif "B" in axes:
            kept[name] = value.compress(stays_B, axis=axes.index("B"))
    return kept


def read_about(folder: Path) -> dict[str, Any]:
    """ValueError, in one line, where the folder is no export."""
    path = folder / ABOUT
    try:
        if path.stat().st_size > MOST[ABOUT]:
            raise ValueError(f"{path.stat().st_size} bytes, and at most {MOST[ABOUT]} are read")
        about = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{folder} is no exported model ({ABOUT}: {error})") from None
    if not isinstance(about, dict) or about.get("format") != 1:
        got = about.get("format") if isinstance(about, dict) else about
        raise ValueError(f"{path}: format must be 1, got {got!r:.60}")
    for key, sound in SOUND.items():
        if not sound(about.get(key)):
            raise ValueError(f"{path}: {key} cannot be {about.get(key)!r:.60}")
    for name in files_of(about):
        if (folder / name).is_symlink():
            raise ValueError(f"{folder / name}: a link, put the file itself there")
    ends = [stretch["layers"] for stretch in about["stretches"]]
    follows = [1, *(last + 1 for _, last in ends)]
    if [first for first, _ in ends] != follows[:-1] or follows[-1] != about["num_layers"] + 1:
        raise ValueError(f"{path}: stretches must go from layer 1 to the last, got {ends!r:.60}")
    return about


def files_of(about: dict[str, Any]) -> list[str]:
    return [about["single"], *(stretch["file"] for stretch in about["stretches"])]


def names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def within(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_graph(value: Any) -> bool:  # a file in the export's own folder
    return isinstance(value, str) and re.fullmatch(r"\w[\w.-]*\.onnx", value) is not None


def is_stretch(value: Any) -> bool:
    if not isinstance(value, dict) or not is_graph(value.get("file")):
        return False
    ends = value.get("layers")
    return isinstance(ends, list) and len(ends) == 2 and all(within(k, 1, 1000) for k in ends)


SOUND: dict[str, Any] = {  # what an export may say of itself; it may come from someone else
    "labels": names,
    "columns": lambda value: names(value) and len(value) in (1, 2),
    "max_length": lambda value: within(value, 1, 1 << 20),
    "num_layers": lambda value: within(value, 1, 1000),
    "truncation_side": lambda value: value in ("left", "right"),
    "types": lambda value: isinstance(value, bool),
    "reasons": lambda value: isinstance(value, dict) and names([*value.values()]),
    "single": is_graph,
    "stretches": lambda value: isinstance(value, list) and value and all(map(is_stretch, value)),
}


def said(
    logits_BC: np.ndarray,
    depths: Sequence[int],
    reasons: Sequence[str],
    retentions: Sequence[float],
    labels: Sequence[str],
) -> list[dict[str, Any]]:
    """What is told of each example; confidence is the largest calibrated probability. Without
    labels it is a regression."""
    best_B, confidence_B = logits_BC.argmax(-1), softmax(logits_BC).max(-1)
    answers = []
    for i, (depth, reason, retention) in enumerate(zip(depths, reasons, retentions, strict=True)):
        answer: dict[str, Any] = (
            {"label": labels[int(best_B[i])], "confidence": round(float(confidence_B[i]), 6)}
            if labels
            else {"score": round(float(logits_BC[i, 0]), 6)}
        )
        taken = {"depth": depth, "exit_reason": reason, "retention": round(retention, 6)}
        answers.append(answer | taken)
    return answers


def softmax(logits_BC: np.ndarray) -> np.ndarray:
    odds_BC = np.exp(logits_BC - logits_BC.max(-1, keepdims=True))
    return odds_BC / odds_BC.sum(-1, keepdims=True)


def answer_lines(
    lines: list[bytes], first: int, columns: Sequence[str], answer: Any
) -> list[dict[str, Any]]:
    """`answer` gets the texts of all lines that can be read; an error stands in the place of the
    others, with the line's number."""
    answers: list[dict[str, Any]] = []
    texts = []
    for number, line in enumerate(lines, start=first):
        try:
            texts.append(parse(line, columns))
            answers.append({})
        except ValueError as error:
            answers.append({"line": number, "error": str(error)})
    found = iter(answer(texts) if texts else [])
    return [given or next(found) for given in answers]


def batches(descriptor: int, size: int) -> Iterator[list[bytes]]:
    """Lines as they come, `size` at most; waits for more only when there is not one whole line: a
    read gives what is there, so a file makes full batches and a keyboard batches of one."""
    unfinished: list[bytes] = []
    while chunk := os.read(descriptor, CHUNK):
        first, *others = chunk.split(b"\n")
        unfinished.append(first)
        if others:
            lines = [b"".join(unfinished), *others[:-1]]
            unfinished = [others[-1]]
            for start in range(0, len(lines), size):
                yield lines[start : start + size]
    if last := b"".join(unfinished):
        yield [last]


def parse(line: bytes, columns: Sequence[str]) -> list[str]:
    """The texts of a line, one for each column; ValueError says what is wrong with it."""
    text = line.decode("utf-8-sig", errors="replace").removesuffix("\r")
    if text.lstrip().startswith("{"):
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not JSON, as a line that starts with {{ must be: {error}") from None
        return texts_of(content, columns)
    if len(columns) == 1:
        return [text]
    parts = text.split("\t")
    if len(parts) != 2:
        raise ValueError(f"expected 2 texts with a tab between them, got {len(parts)}")
    return parts


def texts_of(content: dict[str, Any], columns: Sequence[str]) -> list[str]:
    """By the task's column names, or as text and text_pair. ValueError says what is wrong."""
    general = ["text", "text_pair"]
    names = columns if all(name in content for name in columns) else general[: len(columns)]
    for name in names:
        if name not in content:
            wanted = " and ".join(general[: len(columns)])
            raise ValueError(f"no key {name}: give {wanted}, or {' and '.join(columns)}")
        if not isinstance(content[name], str):
            raise ValueError(f"{name} must be a text, got {content[name]!r:.40}")
    if len(columns) == 1 and "text_pair" in content:
        raise ValueError("text_pair: this task takes one text")
    # JSON can spell half of a surrogate pair, which no tokenizer takes.
    return [content[name].encode("utf-8", "replace").decode() for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description="Answer lines of text, one JSON line for each.")
    here = Path(__file__).parent
    beside = (here / ABOUT).is_file()
    parser.add_argument("folder", nargs="?" if beside else None, default=here, type=Path)
    parser.add_argument("--batch", type=int, default=32, help="examples at once, at most")
    parser.add_argument("--threads", type=int, help="processor threads; else all")
    given = parser.parse_args()
    if (least := min(given.batch, 1 if given.threads is None else given.threads)) < 1:
        parser.error(f"--batch and --threads must be 1 or more, got {least}")
    try:
        if not beside:  # else this file is as much the folder's as its graphs
            from eat_lightning.infer.graph_faults import check_graphs

            check_graphs(given.folder, files_of(read_about(given.folder)))
        status = int(answer_all(Runner(given.folder, given.threads), given.batch) > 0)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    except BrokenPipeError:  # nobody reads on, as with `| head`: the rest goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        status = 130
    raise SystemExit(status)


def answer_all(runner: Any, batch: int) -> int:
    """Answer standard input; returns how many lines could not be read."""
    num_bad, first = 0, 1
    for lines in batches(sys.stdin.fileno(), batch):
        answers = runner(lines, first)
        first += len(lines)
        num_bad += sum("error" in answer for answer in answers)
        sys.stdout.write("".join(json.dumps(answer) + "\n" for answer in answers))
        sys.stdout.flush()
    return num_bad


if __name__ == "__main__":
    main()
