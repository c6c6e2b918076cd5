"""What answers requests: a backend, in this process or in one of its own (`remote.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Protocol

from eat_lightning.drift.observation import observations
from eat_lightning.drift.reference import Reference, read_references
from eat_lightning.errors import ConfigError
from eat_lightning.infer.backend import NOBODY, Backend, Source

# Places in the batch, and their answers. An answer may hold, under "seen", an observation for the
# monitor, which is taken out before it is given.
Chunk = tuple[list[int], list[dict[str, Any]]]
Deep = frozenset[Source]  # sources of which nobody leaves early; None: whoever has no own exits


@dataclass(frozen=True)
class About:
    """What the gateway must know of a model. exits: layers where an example may leave. sources:
    those that have exits of their own. normal: what is, by source, where drift is watched."""

    name: str
    columns: Sequence[str]
    labels: Sequence[str]
    num_layers: int
    exits: Sequence[int]
    sources: frozenset[str]
    normal: Mapping[Source, Reference] = field(default_factory=dict)

    @property
    def task(self) -> tuple[Sequence[str], Sequence[str]]:
        """What another model must share to take this one's requests."""
        return tuple(self.columns), tuple(self.labels)


class Model(Protocol):
    about: About

    def stream(self, examples: Sequence[Any], deep: Deep = NOBODY) -> Iterator[Chunk]:
        """Each example's answer, those who leave first in the first chunk. An example has `texts`,
        one for each column, and `about`, what is known of where they come from."""
        ...

    def is_alive(self) -> bool: ...

    def kill(self) -> None:
        """At once, whatever it is at work on; by another thread than that which streams."""
        ...

    def close(self) -> None: ...


def open_model(plan: Any) -> LocalModel:
    """A model, tried on two examples. plan: see `serve/plan.py`. ConfigError says why a run cannot
    be served."""
    from eat_lightning.predict.open import open_backend

    backend = open_backend(plan)
    model = LocalModel(backend, read_references(backend) if plan.drift.monitor else {})
    for text in ("a", "another try"):
        example = SimpleNamespace(texts=[text] * len(backend.columns), about={})
        [(_, [answer])] = model.stream([example])
        value = answer.get("confidence", answer.get("score"))
        if value is None or value != value or abs(value) == float("inf"):
            raise ConfigError(f"run={plan.run} gives no finite answer: {answer}")
    return model


class LocalModel:
    """A backend in this process. It lives as long as the process does, and that is what a gateway
    kills (`Remote`)."""

    def __init__(self, backend: Backend, normal: Mapping[Source, Reference]):
        self.backend = backend
        self.about = About(
            backend.name,
            backend.columns,
            backend.labels,
            backend.num_layers,
            backend.exits,
            own_exits(backend),
            normal,
        )

    def stream(self, examples: Sequence[Any], deep: Deep = NOBODY) -> Iterator[Chunk]:
        texts, about = [e.texts for e in examples], [e.about for e in examples]
        for left in self.backend.stream(texts, about, deep):
            answers = left.answers
            if left.source in self.about.normal:
                pairs = zip(answers, observations(left.exits), strict=True)
                answers = [answer | {"seen": seen} for answer, seen in pairs]
            yield left.places, answers

    def is_alive(self) -> bool:
        return True

    def kill(self) -> None:
        raise NotImplementedError("a model in this process cannot be killed")

    def close(self) -> None:
        pass


def own_exits(backend: Backend) -> frozenset[str]:
    """The sources that have exits of their own: by a certificate each, or by a policy."""
    from eat_lightning.methods.policy.per_source import PerSource

    named: set[str] = {source for source in backend.by_source if source is not None}
    for source in backend.by_source:
        for policy in backend.policies(source):
            named |= {*policy.taus} if isinstance(policy, PerSource) else set()
    return frozenset(named)
