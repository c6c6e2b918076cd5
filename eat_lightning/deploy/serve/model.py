"""Model that answers requests: a backend in this process. A gateway runs it in a process apart
(`remote.py`)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from eat_lightning.deploy.drift.observation import observations
from eat_lightning.deploy.drift.reference import Reference, read_references
from eat_lightning.deploy.predict.explain import guesses_of
from eat_lightning.deploy.serve.body import RequestExample
from eat_lightning.deploy.serve.plan import ServeSettings
from eat_lightning.engines.open import open_backend
from eat_lightning.errors import ConfigError
from eat_lightning.infer.backend import NOBODY, Backend, Left, Source
from eat_lightning.long_texts import LongTexts, Mode, Reader
from eat_lightning.text_io import refusal

# Places in the batch, and their answers. An answer holds its `AnswerScores` under "scores", and may
# hold an observation for the monitor under "seen"; both are taken out before it is given.
Chunk = tuple[list[int], list[dict[str, Any]]]
Deep = frozenset[Source]  # sources of which nobody leaves early; None: whoever has no own exits


@dataclass(frozen=True)
class AnswerScores:
    """Logits of an answer, one for each label or one score, and the tokens that the model read, of
    all windows together."""

    logits: list[float]
    num_tokens: int


@dataclass(frozen=True)
class About:
    """Facts on a model that a gateway needs.

    Args:
        exits: layers where an example may leave.
        sources: those that have separate exits.
        problem_type: as in a `config.json` of transformers.
        max_length: tokens of an example that the model reads at once.
        dtype: in which it is computed.
        long: what is done with longer examples.
        normal: drift references by source, where drift is watched.
    """

    name: str
    columns: Sequence[str]
    labels: Sequence[str]
    num_layers: int
    exits: Sequence[int]
    sources: frozenset[str]
    problem_type: str
    max_length: int
    dtype: str = "fp32"
    long: Mode = "refuse"
    normal: Mapping[Source, Reference] = field(default_factory=dict)

    @property
    def task(self) -> tuple[Sequence[str], Sequence[str], str]:
        """Facts that another model must share to take this model's requests."""
        return tuple(self.columns), tuple(self.labels), self.problem_type


@dataclass
class Model:
    backend: Backend
    normal: Mapping[Source, Reference]

    @property
    def about(self) -> About:
        backend = self.backend
        return About(
            backend.name,
            backend.columns,
            backend.labels,
            backend.num_layers,
            backend.exits,
            sources_with_exits(backend),
            backend.kind.problem_type,
            backend.max_length,
            backend.dtype,
            backend.reader.long.mode,
            self.normal,
        )

    def stream(self, examples: Sequence[RequestExample], deep: Deep = NOBODY) -> Iterator[Chunk]:
        """Each example's answer, those who leave first in the first chunk. Those that are read in
        another manner come after the others, and examples with guesses go first, one by one."""
        alone = [i for i, e in enumerate(examples) if self.shows_guesses(e, deep)]
        for i in alone:
            look = self.backend.look(examples[i].texts, examples[i].about)
            [answer] = self.answers(look.left)
            yield [i], [answer | {"guesses": guesses_of(self.backend, look)}]
        together: dict[int, tuple[str | None, Mode | None]]
        together = {i: (e.cut_at, e.long) for i, e in enumerate(examples) if i not in alone}
        for side, long in dict.fromkeys(together.values()):
            places = [i for i, manner in together.items() if manner == (side, long)]
            texts, about = [examples[i].texts for i in places], [examples[i].about for i in places]
            for left in self.backend.stream(texts, about, deep, self.reader(side, long)):
                yield [places[i] for i in left.places], self.answers(left)

    def reader(self, cut_at: str | None, long: Mode | None) -> Reader:
        """As the gateway reads texts, but for what a request names."""
        usual = self.backend.reader
        named = usual.long if long is None else LongTexts(long)
        return replace(usual, side=cut_at or usual.side, long=named)

    def shows_guesses(self, example: RequestExample, deep: Deep) -> bool:
        """False too where nobody of its source leaves early, since no exit decides there, and for a
        text of several windows."""
        if not example.guesses or self.backend.source_of(example.about) in deep:
            return False
        return len(self.backend.reader([example.texts])[0].windows) == 1

    def answers(self, left: Left) -> list[dict[str, Any]]:
        """Answers of examples that left together, with what the gateway takes out of them."""
        if refusal(left.answers[0]):
            return left.answers
        # A score's early heads may give more than the score.
        logits_BC = left.trace.logits_BC[:, : max(len(self.backend.labels), 1)]
        scores = zip(logits_BC.tolist(), left.trace.tokens_LB[0].tolist(), strict=True)
        for answer, (logits, num_tokens) in zip(left.answers, scores, strict=True):
            answer["scores"] = AnswerScores(logits, num_tokens)
        if left.source in self.normal:
            for answer, seen in zip(left.answers, observations(left.exits), strict=True):
                answer["seen"] = seen
        return left.answers


def open_model(plan: ServeSettings) -> Model:
    """A model, tried on two examples. ConfigError says why a run cannot be served."""
    backend = open_backend(plan)
    watched = plan.drift.monitor
    model = Model(backend, read_references(backend, plan.certificate) if watched else {})
    for text in ("a", "another try"):
        [(_, [answer])] = model.stream([RequestExample([text] * len(backend.columns))])
        if not math.isfinite(answer.get("confidence", answer.get("score", math.nan))):
            raise ConfigError(f"run={plan.run} gives no finite answer: {answer}")
    return model


def sources_with_exits(backend: Backend) -> frozenset[str]:
    """The sources that have exits of their own: by a certificate each, or by a policy."""
    from eat_lightning.methods.policy.per_source import PerSource

    named: set[str] = {source for source in backend.by_source if source is not None}
    for source in backend.by_source:
        for policy in backend.policies(source):
            named |= {*policy.known} if isinstance(policy, PerSource) else set()
    return frozenset(named)
