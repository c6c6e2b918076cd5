"""Answer lines with an exported model, using numpy, tokenizers, and onnxruntime or OpenVINO, but
not torch.

`python -m eat_lightning.bundle.onnx_runner FOLDER < lines`. An export contains a copy of this file
with answer_kind.py, text_io.py, long_texts.py, sessions.py and eat_trace.py. There, `python
FOLDER/runner.py < lines` needs nothing else from this package.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING or __package__:
    from eat_lightning import long_texts
    from eat_lightning.answer_kind import SCORE, AnswerKind, kind_of
    from eat_lightning.bundle.sessions import ENGINES, NEXT, State, engine_faults
    from eat_lightning.long_texts import JOINS, MODES
    from eat_lightning.model.trace import Trace
    from eat_lightning.text_io import answer_input
else:  # a copy, with its own text_io.py beside it; python -I does not look there by itself
    sys.path.insert(0, str(Path(__file__).parent))
    import long_texts
    from answer_kind import SCORE, AnswerKind, kind_of
    from eat_trace import Trace
    from long_texts import JOINS, MODES
    from sessions import ENGINES, NEXT, State, engine_faults
    from text_io import answer_input

ABOUT = "export.json"
FORMAT = 2  # 1 had other codes for reasons
STAYS, LAST_LAYER, FALLBACK = 0, 1, 3
WEIGHTS = "weights.bin"
MOST = 16 << 30  # bytes of a file; BERT-base has 440 million of weights
MOST_OF = {ABOUT: 1 << 20, "tokenizer.json": 32 << 20, ".onnx": 64 << 20}  # by name or suffix

Gone = Iterator[tuple[np.ndarray, Trace]]
# Asked at each exit beside the graphs, and can only make exits later: their reasons, the guesses so
# far (None: at the last layer), places of those still here -> reasons, 0 for who stays.
Review = Callable[[np.ndarray, np.ndarray | None, np.ndarray], np.ndarray]


def is_export(path: str | Path) -> bool:
    """True for a folder written by `export`."""
    return (Path(path) / ABOUT).is_file()


class Runner(long_texts.Answerer):
    """An exported model, ready to answer lines.

    A batch runs graph by graph, and examples that exit are removed between graphs. A single example
    runs through one graph with conditional exits, unless `review` is given or the engine cannot
    compute conditions in this dtype.

    Args:
        threads: None: all CPU threads.
        engine: one of `ENGINES`.
        dtype: None: that of the graphs.
    """

    def __init__(
        self,
        folder: str | Path,
        threads: int | None = None,
        engine: str = "onnx",
        dtype: str | None = None,
    ):
        self.graphs, self.threads, self.engine = Path(folder), threads, engine
        self.about = read_about(self.graphs)
        self.dtype = dtype_of(self.about, engine, dtype)
        self.joined = self.can_join()
        self.labels, self.columns = self.about["labels"], self.about["columns"]
        self.kind, self.num_layers = kind_in(self.about), self.about["num_layers"]
        self.names = {int(code): name for code, name in self.about["reasons"].items()}
        self.reader = self.open_reader()
        self.sessions: dict[str, Any] = {}

    def can_join(self) -> bool:
        """True where a single example can run through one graph."""
        return len(self.about["stretches"]) == 1 or self.dtype in ENGINES[self.engine].branching

    def open_reader(self) -> long_texts.Reader:
        """Open the tokenizer. Long texts are rejected unless `reader.long` is changed."""
        from tokenizers import Tokenizer

        path = self.graphs / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises that very class for a file it cannot parse
            raise ValueError(f"{path}: not a tokenizer ({error!s:.120})") from None
        about = self.about
        return long_texts.Reader(
            tokenizer, about["max_length"], about["truncation_side"], about["types"]
        )

    @property
    def tokenizer(self) -> Any:
        return self.reader.tokenizer

    def session(self, name: str) -> Any:
        if name not in self.sessions:
            path = self.graphs / name
            try:
                session = ENGINES[self.engine](path, self.threads, self.dtype)
            except Exception as error:  # both engines' errors have no other class in common
                message = " ".join(str(error).split())
                raise ValueError(f"{path}: not a graph that can be run ({message:.120})") from None
            self.sessions[name] = session
        return self.sessions[name]

    def run(self, request: long_texts.AnswerRequest) -> Iterator[Trace]:
        windows, joiner = request.windows, request.joiner
        review = None if joiner is None else full_depth_if_found(joiner, len(windows))
        review = nobody_leaves if request.deep else review
        for gone_B, trace in self.leaving(first_state(windows), review):
            yield trace.take(gone_B)

    def run_state(self, state: State, review: Review | None = None) -> Trace:
        """Run all examples to their exits."""
        return [trace for _, trace in self.leaving(state, review)][-1]

    def leaving(self, state: State, review: Review | None = None) -> Gone:
        """Yield the examples that leave at each exit, with a complete trace."""
        size = len(state["lengths_B"])
        if size == 1 and review is None and self.joined:
            logits_BC, depth_B, reason_B, tokens_LB = self.session(self.about["single"])(state)
            yield np.arange(1), Trace(logits_BC, depth_B, tokens_LB, reason_B, self.names)
            return
        trace = Trace.blank(size, self.kind.width, self.num_layers, self.names)
        here_B = np.arange(size)
        for stretch in self.about["stretches"]:
            session = self.session(stretch["file"])
            handed_on = [name.removeprefix(NEXT) for name in session.gives]
            state = state | dict(zip(handed_on, session(state), strict=True))
            first, last = stretch["layers"]
            if last > 0:  # the embedding alone is no layer
                trace.tokens_LB[first - 1 : last, here_B] = state["tokens_LB"]
            ends = last == self.num_layers
            reason_B = np.full(len(here_B), LAST_LAYER) if ends else state["reason_B"]
            trace.guesses[last] = among(state["logits_BC"], here_B, size)
            if review is not None:
                reason_B = review(reason_B, None if ends else state["guesses_EBC"], here_B)
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


def among(here_GC: np.ndarray, here_G: np.ndarray, size: int) -> np.ndarray:
    """Return values for all examples, with NaN for those that have exited."""
    if len(here_G) == size:
        return here_GC
    whole_BC = np.full((size, here_GC.shape[1]), np.nan, here_GC.dtype)
    whole_BC[here_G] = here_GC
    return whole_BC


def first_state(windows: Sequence[long_texts.TokenWindow]) -> State:
    """Return the first graph's input: concatenated token ids and types, and lengths."""
    return {
        "ids_N": np.concatenate([each.ids for each in windows]).astype(np.int64),
        "types_N": np.concatenate([each.types for each in windows]).astype(np.int64),
        "lengths_B": np.array([len(each.ids) for each in windows], np.int64),
    }


def full_depth_if_found(joiner: long_texts.Joiner, size: int) -> Review:
    """Return a `Review` that runs windows with the label through every layer."""
    found_B = np.zeros(size, bool)

    def review(
        reason_B: np.ndarray, guesses_EBC: np.ndarray | None, rows_B: np.ndarray
    ) -> np.ndarray:
        if guesses_EBC is None:
            return np.where(found_B[rows_B], FALLBACK, LAST_LAYER)
        found_B[rows_B] |= (reason_B != STAYS) & joiner.found(guesses_EBC[-1])
        return np.where(found_B[rows_B], STAYS, reason_B)

    return review


def nobody_leaves(
    reason_B: np.ndarray, guesses_EBC: np.ndarray | None, rows_B: np.ndarray
) -> np.ndarray:
    """A `Review` that lets no example exit early; answers give the reason `fallback`."""
    return np.full(len(rows_B), FALLBACK if guesses_EBC is None else STAYS)


def staying(state: State, stays_B: np.ndarray) -> State:
    """Remove exiting examples from a state, whose rows are tokens or examples. Token ids are
    dropped, because only the first graph reads them.
    """
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
    """Read export.json.

    Raises:
        ValueError: in one line, where the folder is not an export.
    """
    path = folder / ABOUT
    try:
        check_file(path)
        about = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{folder} is no exported model ({ABOUT}: {error})") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        got = about.get("format") if isinstance(about, dict) else about
        raise ValueError(f"{path}: format must be {FORMAT}, got {got!r:.60}: export the run again")
    for key, sound in SOUND.items():
        if not sound(about.get(key)):
            raise ValueError(f"{path}: {key} cannot be {about.get(key)!r:.60}")
    for each in folder.rglob("*"):  # a graph can name any of them
        if not each.is_dir() or each.is_symlink():
            check_file(each)
    try:
        kind_in(about)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    ends = [stretch["layers"] for stretch in about["stretches"]]
    follows = [0 if ends[0] == [0, 0] else 1, *(last + 1 for _, last in ends)]
    if [first for first, _ in ends] != follows[:-1] or follows[-1] != about["num_layers"] + 1:
        raise ValueError(f"{path}: stretches must go from layer 1 to the last, got {ends!r:.60}")
    return about


def kind_in(about: dict[str, Any]) -> AnswerKind:
    """Return the kind of an export's answers.

    Raises:
        ValueError: where its labels do not match.
    """
    kind, labels = kind_of(about, max(len(about["labels"]), 1)), about["labels"]
    if (kind.problem_type == SCORE) != (not labels):
        raise ValueError(f"labels cannot be {labels!r:.60} for {kind.problem_type}")
    return kind


def check_file(path: Path) -> None:
    """Raise ValueError for a link, a pipe, or a file that is too large, OSError for a
    missing file.
    """
    if path.is_symlink():
        raise ValueError(f"{path}: a link, put the file itself there")
    size, most = path.stat().st_size, MOST_OF.get(path.name, MOST_OF.get(path.suffix, MOST))
    if not path.is_file():
        raise ValueError(f"{path}: no file that can be read")
    if size > most:
        raise ValueError(f"{path}: {size} bytes, and at most {most} are read")


def dtype_of(about: dict[str, Any], engine: str, dtype: str | None) -> str:
    """Return the dtype in which graphs are computed: as exported, or bf16 from fp32.

    Raises:
        ValueError: in one line, where the engine or the graphs do not support it.
    """
    stored: str = about.get("dtype") or "fp32"
    wanted = stored if dtype is None else dtype
    if faults := engine_faults(engine, wanted):
        raise ValueError("; ".join(faults))
    if wanted != stored and (stored, wanted) != ("fp32", "bf16"):
        raise ValueError(f"dtype={wanted}: these graphs are of {stored}")
    return wanted


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
    return isinstance(ends, list) and len(ends) == 2 and all(within(k, 0, 1000) for k in ends)


SOUND: dict[str, Any] = {  # what an export may say of itself; it may come from someone else
    "labels": names,
    "columns": lambda value: names(value) and len(value) in (1, 2),
    "max_length": lambda value: within(value, 1, 1 << 20),
    "num_layers": lambda value: within(value, 1, 1000),
    "truncation_side": lambda value: value in ("left", "right"),
    "types": lambda value: isinstance(value, bool),
    "reasons": lambda value: (
        isinstance(value, dict) and all(map(str.isdecimal, value)) and names([*value.values()])
    ),
    "single": is_graph,
    "dtype": lambda value: value in (None, "fp32", "int8"),
    "stretches": lambda value: isinstance(value, list) and value and all(map(is_stretch, value)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Answer lines of text, one JSON line for each.")
    here = Path(__file__).parent
    beside = (here / ABOUT).is_file()
    parser.add_argument("folder", nargs="?" if beside else None, default=here, type=Path)
    parser.add_argument("--batch", type=int, default=32, help="maximum examples per batch")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--engine", choices=ENGINES, default="onnx", help="onnxruntime or OpenVINO")
    parser.add_argument("--dtype", choices=("fp32", "bf16", "int8"), help="default: as exported")
    parser.add_argument(
        "--long", choices=MODES, default="refuse", help="handling of texts that are too long"
    )
    parser.add_argument("--label", help="windows: the label to detect")
    parser.add_argument(
        "--join", choices=JOINS, default="any", help="windows: how their answers are combined"
    )
    parser.add_argument(
        "--size", type=int, help="windows: tokens per window (default: the maximum)"
    )
    parser.add_argument(
        "--overlap", type=int, help="windows: shared tokens (default: a quarter of a window)"
    )
    given = parser.parse_args()
    if (least := min(given.batch, 1 if given.threads is None else given.threads)) < 1:
        parser.error(f"--batch and --threads must be 1 or more, got {least}")
    try:
        runner = Runner(given.folder, given.threads, given.engine, given.dtype)
        long = long_texts.LongTexts(given.long, given.size, given.overlap, given.join, given.label)
        if faults := long.faults(runner.kind, runner.labels, runner.about["max_length"]):
            raise ValueError(faults[0])
        runner.reader = replace(runner.reader, long=long)
        status = int(answer_input(runner, given.batch) > 0)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    except BrokenPipeError:  # nobody reads on, as with `| head`: the rest goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        status = 130
    raise SystemExit(status)


if __name__ == "__main__":
    main()
