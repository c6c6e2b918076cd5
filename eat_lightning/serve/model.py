"""What answers: a run in torch, or an export in onnxruntime, each giving early answers early."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from eat_lightning.drift.reference import Reference
from eat_lightning.errors import ConfigError
from eat_lightning.serve.body import Example

# Places in the batch, and their answers. An answer may hold, under "seen", an observation for the
# monitor, which is taken out before it is given.
Chunk = tuple[list[int], list[dict[str, Any]]]
Deep = frozenset[str | None]  # sources of which nobody leaves early; None: whoever has no own exits
NOBODY: Deep = frozenset()


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
    normal: Mapping[str | None, Reference] = field(default_factory=dict)

    @property
    def task(self) -> tuple[Sequence[str], Sequence[str]]:
        """What another model must share to take this one's requests."""
        return tuple(self.columns), tuple(self.labels)


class Model(Protocol):
    about: About

    def stream(self, examples: list[Example], deep: Deep = NOBODY) -> Iterator[Chunk]:
        """Each example's answer, those who leave first in the first chunk."""
        ...

    def is_alive(self) -> bool: ...

    def kill(self) -> None:
        """At once, whatever it is at work on; by another thread than that which streams."""
        ...

    def close(self) -> None: ...


def open_model(config: dict[str, Any]) -> Model:
    """Loaded, and tried on one example. ConfigError says why a run cannot be served."""
    model = OnnxModel(config) if config["backend"] == "onnx" else TorchModel(config)
    columns = len(model.about.columns)
    for example in (Example(["a"] * columns), Example(["another try"] * columns)):
        [(_, [answer])] = model.stream([example])
        value = answer.get("confidence", answer.get("score"))
        if value is None or value != value or abs(value) == float("inf"):
            raise ConfigError(f"run={config['run']} gives no finite answer: {answer}")
    return model


class InProcess:
    """It lives as long as its process does, and that is what a gateway kills (`Remote`)."""

    def is_alive(self) -> bool:
        return True

    def kill(self) -> None:
        raise NotImplementedError("a model in this process cannot be killed")

    def close(self) -> None:
        pass


class TorchModel(InProcess):
    def __init__(self, config: dict[str, Any]):
        import torch

        from eat_lightning.drift.watching import RunWatching, references_for
        from eat_lightning.model.policies import policies_of
        from eat_lightning.predict.__main__ import Answerer
        from eat_lightning.runs.run import Run

        torch.set_num_threads(config["threads"])
        run = Run.open(config["run"])
        how = config["exit"], config["dtype"], config["certificate"], policies_of(config["policy"])
        self.answerer = Answerer.of(run, *how, config["prepack"])
        encoders = self.answerer.encoders
        self.watching = RunWatching(run, self.answerer, config["dtype"])
        last = encoders[None].shape.num_layers
        exits = {layer for encoder in encoders.values() for layer in encoder.exit.layers}
        self.about = About(
            run.folder.resolve().name,
            self.answerer.columns,
            self.answerer.labels,
            last,
            sorted({*exits, last}),
            sources_of(encoders, [p for e in encoders.values() for p in e.policies]),
            references_for(self.watching) if config["drift"]["monitor"] else {},
        )

    def stream(self, examples: list[Example], deep: Deep = NOBODY) -> Iterator[Chunk]:
        if self.about.normal:
            yield from watched(self.watching, examples, deep)
            return
        self.answerer.full_depth = bool(deep)
        for left in self.answerer.stream([e.texts for e in examples], [e.about for e in examples]):
            yield [place for place, _ in left], [answer for _, answer in left]


def watched(watching: Any, examples: list[Example], deep: Deep) -> Iterator[Chunk]:
    """Answers with what the monitors must know of each."""
    for told in watching.stream([e.texts for e in examples], [e.about for e in examples], deep):
        if told.seen:
            pairs = zip(told.answers, told.seen, strict=True)
            told.answers = [answer | {"seen": seen} for answer, seen in pairs]
        yield told.places, told.answers


def sources_of(certified: Iterable[str | None], policies: Iterable[Any]) -> frozenset[str]:
    """The sources that have exits of their own: by a certificate each, or by a policy."""
    from eat_lightning.methods.policy.per_source import PerSource

    named = [policy.taus for policy in policies if isinstance(policy, PerSource)]
    return frozenset().union(filter(None, certified), *named)


class OnnxModel(InProcess):
    """A folder that `export` wrote, with what is asked on top of its graphs' exits."""

    def __init__(self, config: dict[str, Any]):
        from eat_lightning.drift.watching import references_for
        from eat_lightning.drift.watching_export import ExportWatching
        from eat_lightning.infer.exported import Export, ExportAnswerer
        from eat_lightning.model.policies import policies_of

        export = Export.open(config["run"], config["threads"])
        asked = policies_of(config["policy"])
        self.answerer = ExportAnswerer.of(export, config["certificate"], asked)
        self.watching = ExportWatching(self.answerer)
        last, ways = export.about["num_layers"], self.answerer.ways
        policies = [policy for way in ways.values() for policy in way.policies]
        self.about = About(
            export.name,
            self.answerer.columns,
            self.answerer.labels,
            last,
            [*export.layers, last],
            sources_of(ways, policies),
            references_for(self.watching) if config["drift"]["monitor"] else {},
        )

    def stream(self, examples: list[Example], deep: Deep = NOBODY) -> Iterator[Chunk]:
        if self.about.normal:
            yield from watched(self.watching, examples, deep)
            return
        texts, about = [e.texts for e in examples], [e.about for e in examples]
        for places, trace, _ in self.answerer.traced(texts, about, deep):
            yield places, self.answerer.export.runner.say(trace)
