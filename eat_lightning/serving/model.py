"""What answers: a run in torch, or an export in onnxruntime, each giving early answers early."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from eat_lightning.errors import ConfigError
from eat_lightning.onnx_runner import Runner
from eat_lightning.serving.question import Example
from eat_lightning.serving.watched import Chunk, Watched


@dataclass(frozen=True)
class About:
    """What the gateway must know of a model. exits: layers where an example may leave. sources:
    those that have exits of their own."""

    name: str
    columns: Sequence[str]
    labels: Sequence[str]
    num_layers: int
    exits: Sequence[int]
    sources: frozenset[str]
    normal: Sequence[Any] = ()  # observations of the calibration part, where drift is watched

    @property
    def task(self) -> tuple[Sequence[str], Sequence[str]]:
        """What another model must share to take this one's requests."""
        return tuple(self.columns), tuple(self.labels)


class Model(Protocol):
    about: About

    def stream(self, examples: list[Example], full_depth: bool = False) -> Iterator[Chunk]:
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


class TorchModel:
    def __init__(self, config: dict[str, Any]):
        import torch

        from eat_lightning.policies import policies_of
        from eat_lightning.predict import Answerer
        from eat_lightning.runs import Run

        torch.set_num_threads(config["threads"])
        run = Run.open(config["run"])
        watching = config["drift"]["monitor"]
        how = config["exit"], config["dtype"], config["certificate"], policies_of(config["policy"])
        self.answerer = Answerer.of(run, *how, config["prepack"])
        encoders = self.answerer.encoders
        self.watched = Watched.of(run, encoders, config["dtype"]) if watching else None
        last = encoders[None].shape.num_layers
        exits = {layer for encoder in encoders.values() for layer in encoder.exit.layers}
        self.about = About(
            run.folder.resolve().name,
            self.answerer.columns,
            self.answerer.labels,
            last,
            sorted({*exits, last}),
            sources_of(encoders),
            self.watched.reference.seen if self.watched else (),
        )

    def stream(self, examples: list[Example], full_depth: bool = False) -> Iterator[Chunk]:
        texts, about = [e.texts for e in examples], [e.about for e in examples]
        if self.watched is not None:
            yield from self.watched.stream(self.answerer, texts, about, full_depth)
            return
        self.answerer.full_depth = full_depth
        for left in self.answerer.stream(texts, about):
            yield [place for place, _ in left], [answer for _, answer in left]

    def is_alive(self) -> bool:
        return True

    def kill(self) -> None:
        raise NotImplementedError("a model in this process cannot be killed")

    def close(self) -> None:
        pass


def sources_of(encoders: dict[str | None, Any]) -> frozenset[str]:
    """The sources that have exits of their own: by a certificate each, or by a policy."""
    from eat_lightning.policy.per_source import PerSource

    policies = [policy for encoder in encoders.values() for policy in encoder.policies]
    named = [policy.taus for policy in policies if isinstance(policy, PerSource)]
    return frozenset().union(filter(None, encoders), *named)


class OnnxModel:
    """A folder that `export` wrote. Its exits are in its graphs, so it knows no sources and no
    certificate, and cannot be told to go to full depth."""

    def __init__(self, config: dict[str, Any]):
        try:
            self.runner = Runner(config["run"], config["threads"])
        except ValueError as error:
            raise ConfigError(str(error)) from None
        about = self.runner.about
        ends = [stretch["layers"][1] for stretch in about["stretches"]]
        name = Path(config["run"]).resolve().name
        self.about = About(
            name, about["columns"], about["labels"], about["num_layers"], ends, frozenset()
        )

    def stream(self, examples: list[Example], full_depth: bool = False) -> Iterator[Chunk]:
        assert not full_depth
        return self.runner.stream([example.texts for example in examples])

    def is_alive(self) -> bool:
        return True

    def kill(self) -> None:
        raise NotImplementedError("a model in this process cannot be killed")

    def close(self) -> None:
        pass
