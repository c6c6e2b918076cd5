"""The model that answers requests, in this process. The gateway runs it in its own
process (`remote.py`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from eat_lightning.bundle.bundle import Bundle
from eat_lightning.bundle.model import Model
from eat_lightning.bundle.open import answered_canaries
from eat_lightning.deploy.predict.explain import guesses_of
from eat_lightning.deploy.serve.body import RequestExample
from eat_lightning.deploy.serve.plan import ServeSettings
from eat_lightning.errors import ConfigError
from eat_lightning.long_texts import LongTexts, Mode, Reader
from eat_lightning.model.trace import Trace
from eat_lightning.monitor.observation import observations
from eat_lightning.monitor.reference import Reference, is_watchable, read_reference

# Places in the batch, and their answers. An answer holds its `AnswerScores` under "scores", and may
# hold an observation for the monitor under "seen"; both are taken out before it is given.
Chunk = tuple[list[int], list[dict[str, Any]]]


@dataclass(frozen=True)
class AnswerScores:
    """Logits of an answer (one per label, or one score), and the number of tokens read in all
    windows.
    """

    logits: list[float]
    num_tokens: int


@dataclass(frozen=True)
class About:
    """Facts about a model that the gateway needs.

    Args:
        exits: layers at which an example may exit.
        problem_type: as in transformers' `config.json`.
        max_length: maximum tokens of an example.
        dtype: in which it is computed.
        long: how longer examples are handled.
        normal: the drift reference, where drift is monitored.
        watchable: whether there is such a reference.
    """

    name: str
    columns: Sequence[str]
    labels: Sequence[str]
    num_layers: int
    exits: Sequence[int]
    problem_type: str
    max_length: int
    dtype: str = "fp32"
    long: Mode = "refuse"
    normal: Reference | None = None
    watchable: bool = False

    @property
    def label_names(self) -> list[str]:
        """Label names in order; models with one score have transformers' default name."""
        return [*self.labels] or ["LABEL_0"]

    @property
    def task(self) -> tuple[Sequence[str], Sequence[str], str]:
        """Properties that a new model must share to take over requests."""
        return tuple(self.columns), tuple(self.labels), self.problem_type


@dataclass
class ServedModel:
    model: Model
    normal: Reference | None
    watchable: bool = False

    @property
    def about(self) -> About:
        model = self.model
        return About(
            model.name,
            model.columns,
            model.labels,
            model.num_layers,
            model.exits,
            model.kind.problem_type,
            model.max_length,
            model.dtype,
            model.reader.long.mode,
            self.normal,
            self.watchable,
        )

    def stream(self, examples: Sequence[RequestExample], deep: bool = False) -> Iterator[Chunk]:
        """Yield answers in chunks, with examples that exit early first.

        Examples with their own settings for long texts follow the others; examples with `guesses`
        come first, one at a time.
        """
        alone = [i for i, e in enumerate(examples) if not deep and self.shows_guesses(e)]
        for i in alone:
            trace = self.model.look(examples[i].texts, examples[i].about)
            answer = self.answers(trace)[0]
            yield [i], [answer | {"guesses": guesses_of(self.model, trace)}]
        together: dict[int, tuple[str | None, Mode | None]]
        together = {i: (e.cut_at, e.long) for i, e in enumerate(examples) if i not in alone}
        for side, long in dict.fromkeys(together.values()):
            places = [i for i, manner in together.items() if manner == (side, long)]
            texts, about = [examples[i].texts for i in places], [examples[i].about for i in places]
            for trace in self.model.stream(texts, about, deep, self.reader(side, long)):
                answers = self.answers(trace)
                yield [places[i] for i in answers], [*answers.values()]

    def reader(self, cut_at: str | None, long: Mode | None) -> Reader:
        """Return the gateway's reader of texts, with an example's own settings for long texts."""
        usual = self.model.reader
        named = usual.long if long is None else LongTexts(long)
        return replace(usual, side=cut_at or usual.side, long=named)

    def shows_guesses(self, example: RequestExample) -> bool:
        """True where an example requests the logits of exits and has a single window."""
        return example.guesses and len(self.model.reader([example.texts])[0].windows) == 1

    def answers(self, trace: Trace) -> dict[int, dict[str, Any]]:
        """Return answers of examples that left together, by position in the request, with the data
        that the gateway keeps for itself.
        """
        answers = self.model.printed(trace)
        rows = trace.rows_B.tolist()
        # A score's early heads may give more than the score.
        logits_BC = trace.logits_BC[:, : max(len(self.model.labels), 1)]
        scores = map(AnswerScores, logits_BC.tolist(), trace.tokens_LB[0].tolist())
        for row, each in zip(rows, scores, strict=True):
            answers[row]["scores"] = each
        if self.normal is not None:
            for row, seen in zip(rows, observations(trace), strict=True):
                answers[row]["seen"] = seen
        return answers


def open_model(plan: ServeSettings) -> ServedModel:
    """Open a model, and test it on its canaries, if it has any, and on two examples.

    Raises:
        ConfigError: where the run cannot be served.
    """
    model = plan.open()
    check_canaries(model, plan)
    normal = read_reference(model, plan.certificate) if plan.drift.monitor else None
    served = ServedModel(model, normal, is_watchable(model, plan.certificate))
    check_answers(served)
    return served


def check_answers(served: ServedModel) -> None:
    """Answer two examples, alone and together, with early exits and to full depth.

    No request waits for an engine to open a graph, since all are opened here, among them those of a
    model that answers only unsure texts again.

    Raises:
        ConfigError: where an answer is not finite.
    """
    texts = ("a", "another try")
    pair = [RequestExample([text] * len(served.model.columns)) for text in texts]
    for examples, deep in product(([pair[0]], [pair[1]], pair), (False, True)):
        for _, answers in served.stream(examples, deep):
            for answer in answers:
                if not math.isfinite(answer.get("confidence", answer.get("score", math.nan))):
                    raise ConfigError(f"run={served.model.folder} gives no finite answer: {answer}")


def check_canaries(model: Model, plan: ServeSettings) -> None:
    """Compare an adapted classifier's answers to its canaries with the certified ones.

    Raises:
        ConfigError: where they differ; with machine=warn this is a line on standard error.
    """
    folder = Path(plan.run)
    if not Bundle(folder).canaries.is_file():
        return
    if find_spec("pyarrow") is None:
        print("note: canaries are not checked, which needs pyarrow", file=sys.stderr, flush=True)
        return
    found = answered_canaries(model)
    if found.changed and plan.machine == "refuse":
        raise ConfigError(f"run={plan.run}: {found}: machine=warn serves it anyway")
    print(f"{'warning' if found.changed else 'note'}: {found}", file=sys.stderr, flush=True)
