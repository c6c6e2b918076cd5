"""An export that answers as a run does: policies and certificates on top of its graphs' exits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.infer.graph_faults import WEIGHTS, check_graphs, is_trusted
from eat_lightning.infer.later import Way
from eat_lightning.infer.onnx_runner import ABOUT, Runner, Trace, files_of, read_about
from eat_lightning.model.contracts import Policy, build
from eat_lightning.model.policies import policy_faults, specs_of
from eat_lightning.predict.__main__ import answered, places_by
from eat_lightning.runs.certificate import Certificate, combination_of_export, sha256_of
from eat_lightning.weights.untrusted import TOKENIZER, json_of, one_line, step_faults

IN_GRAPHS = ("exit", "dtype", "prepack", "pool")  # options that only a run in torch has


def option_faults(config: dict[str, Any], asked_by: str = "backend=onnx") -> list[str]:
    """Of what a command was told beside that: what is in the graphs cannot be set."""
    asked = {
        "exit": any(value is not None for value in config["exit"].values()),
        "dtype": config["dtype"] != "fp32",
        "prepack": config["prepack"] is not None,
        "pool": bool(config.get("pool")),
    }
    return [
        f"{key} is not an option of {asked_by}: the export has its exits in its graphs"
        for key in IN_GRAPHS
        if asked[key]
    ]


@dataclass(frozen=True)
class Export:
    """A folder that `export` wrote, and what it says of itself."""

    folder: Path
    runner: Runner

    @classmethod
    def open(cls, folder: str | Path, threads: int | None = None) -> Export:
        """ConfigError, in one line, where it is none, or its files ask for what ours do not. It may
        be a stranger's, so all of them are looked at before one is loaded."""
        path = Path(folder)
        try:
            about = read_about(path)
            check_graphs(path, files_of(about))
            if not is_trusted(path):
                check_tokenizer(path / "tokenizer.json")
            return cls(path, Runner(path, threads))
        except (ValueError, OSError) as error:
            raise ConfigError(one_line(error)) from None

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def about(self) -> dict[str, Any]:
        return self.runner.about

    @property
    def layers(self) -> list[int]:
        """Where its graphs let examples go before the last layer."""
        return [stretch["layers"][1] for stretch in self.about["stretches"]][:-1]

    @cached_property
    def digest(self) -> str:
        """Of the files that decide what it answers."""
        names = [*files_of(self.about), WEIGHTS, "tokenizer.json", ABOUT]
        there = [self.folder / name for name in sorted(names)]
        return sha256_of([path for path in there if path.is_file()])

    def combination(self, exit: dict[str, Any], policies: Sequence[Policy]) -> dict[str, Any]:
        """What a certificate, or a drift reference, holds for."""
        return combination_of_export(self.digest, self.about, self.specs(exit, policies))

    def specs(self, exit: dict[str, Any], policies: Sequence[Policy]) -> dict[str, Any]:
        """What decides who leaves, by slot."""
        slots = {slot: self.about.get(slot) for slot in ("attention", "reduction")}
        return {**slots, "exit": exit, "policy": specs_of(policies)}

    def check_policies(self, policies: Sequence[Policy]) -> None:
        """ConfigError with what of them cannot be asked of an export."""
        faults = lost(policies)
        labels = self.about["labels"]
        stand_in = SimpleNamespace(
            exit=SimpleNamespace(layers=self.layers), num_labels=max(len(labels), 1)
        )
        faults += [] if faults else policy_faults(policies, stand_in, labels)
        if faults:
            raise ConfigError.of(faults)


def check_tokenizer(path: Path) -> None:
    """ValueError where its steps are none of the bodies that we read."""
    faults = step_faults(json_of(path, TOKENIZER))
    if faults:
        raise ValueError(f"{path}: {faults[0]}")


def lost(policies: Sequence[Policy]) -> list[str]:
    """What of policies an export cannot do, one line each."""
    return [
        fault for policy in policies for fault in getattr(policy, "lost_in_export", lambda: [])()
    ]


def ways_of(
    export: Export, certificate: str | None, policies: Sequence[Policy] | None
) -> dict[str | None, Way]:
    """By source of data; None is what any other source gets. policies: None are the certificate's.
    ConfigError where the certificate holds for another combination."""
    if certificate is None:
        export.check_policies(policies or ())
        return {None: Way(export.layers, policies=tuple(policies or ()))}
    found: dict[str | None, Way] = {None: Way(export.layers).deep()}
    for source, held in Certificate.by_source(export, certificate).items():
        asked = tuple(held.asked() if policies is None else policies)
        export.check_policies(asked)
        rule = held.policies["exit"]
        held.check(export.combination(rule, asked))
        way = Way(export.layers, taus_of(rule, export), asked)
        found[source] = way.deep() if held.fallback else way
    return found


def taus_of(rule: dict[str, Any], export: Export) -> dict[int, float] | None:
    """By layer; None where the rule is that of the graphs. ConfigError where it is one that they
    cannot be held to."""
    if rule in ({"kind": "never"}, export.about["exit"]):
        return None
    made = build("exit", rule)
    if rule["kind"] != "confidence" or not {*made.layers} <= {*export.layers}:
        raise ConfigError(f"an export is held to a tau at its own exits, not to {rule['kind']}")
    taus = made.tau if isinstance(made.tau, list) else [made.tau] * len(made.layers)
    return dict(zip(made.layers, taus, strict=True))


@dataclass
class ExportAnswerer:
    """As `predict.Answerer` is of a run. ways: by source of data; None is for any other."""

    export: Export
    ways: dict[str | None, Way]

    @classmethod
    def of(
        cls, export: Export, certificate: str | None, policies: Sequence[Policy] | None
    ) -> ExportAnswerer:
        return cls(export, ways_of(export, certificate, policies))

    @property
    def columns(self) -> Sequence[str]:
        return self.export.about["columns"]

    @property
    def labels(self) -> Sequence[str]:
        return self.export.about["labels"]

    def __call__(self, lines: list[bytes], first: int = 1) -> list[dict[str, Any]]:
        return answered(lines, first, self.columns, self.answer)

    def answer(
        self, texts: Sequence[Sequence[str]], about: Sequence[Mapping[str, str]] | None = None
    ) -> list[dict[str, Any]]:
        """In the order of the texts. about: what is known of each, such as its source or mime."""
        answers: list[dict[str, Any]] = [{} for _ in texts]
        for places, found in self.stream(texts, [{} for _ in texts] if about is None else about):
            for place, answer in zip(places, found, strict=True):
                answers[place] = answer
        return answers

    def stream(
        self, texts: Sequence[Sequence[str]], about: Sequence[Mapping[str, str]]
    ) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
        """Places and answers of those that left at an exit, as soon as they have."""
        for places, trace, _ in self.traced(texts, about):
            yield places, self.export.runner.say(trace)

    def traced(
        self,
        texts: Sequence[Sequence[str]],
        about: Sequence[Mapping[str, str]],
        deep: frozenset[str | None] = frozenset(),
    ) -> Iterator[tuple[list[int], Trace, str | None]]:
        """Places, traces, and whose exits they are. deep: of these sources nobody leaves early."""
        for source, places in places_by(about, self.ways).items():
            way = self.ways[source].deep() if source in deep else self.ways[source]
            later = way.later([about[place] for place in places])
            given = [list(texts[place]) for place in places]
            for rows_G, trace in self.export.runner.stream(given, later):
                yield [places[row] for row in rows_G.tolist()], trace, source
