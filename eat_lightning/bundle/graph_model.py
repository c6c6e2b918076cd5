"""An exported folder as a `Model`, in onnxruntime or OpenVINO, with policies and certificates in
addition to its graphs' exits. Torch is needed only to record, or to create an exit rule.

Shapes: B examples of a batch, or of a split in its order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from eat_lightning.bundle.certificates import certificate_of
from eat_lightning.bundle.model import Model
from eat_lightning.bundle.onnx_runner import (
    ABOUT,
    WEIGHTS,
    Runner,
    files_of,
    first_state,
    nobody_leaves,
)
from eat_lightning.bundle.sessions import ENGINES
from eat_lightning.bundle.stricter_exits import StricterExits, noting, would_leave
from eat_lightning.errors import ConfigError, Faults, one_line, reading
from eat_lightning.files import sha256_of
from eat_lightning.long_texts import AnswerRequest, placed
from eat_lightning.machine import MACHINE, has_torch, machine
from eat_lightning.model.policies import idle_faults, policy_faults, specs_of
from eat_lightning.model.policy import ModelFacts, Policy
from eat_lightning.model.reason import FIRST_REASON
from eat_lightning.model.specification import MODEL_SLOTS, OFF, Specification
from eat_lightning.model.trace import Trace
from eat_lightning.record.certificate import Certificate, path_of
from eat_lightning.record.full_depth import FullDepthIfFound
from eat_lightning.record.point import Point
from eat_lightning.untrusted import step_faults

if TYPE_CHECKING:
    from eat_lightning.model.contracts import ExitRule
    from eat_lightning.model.packed import Batch
    from eat_lightning.record.point import Point
    from eat_lightning.record.record import Record


class GraphModel(Runner, Model):
    """An exported folder and its description.

    Args:
        methods: in its graphs, as far as export.json names them.
        stricter_exits: rules that let examples exit later than the graphs do.
    """

    uses_torch = False

    def __init__(
        self,
        folder: str | Path,
        threads: int | None = None,
        engine: str = "onnx",
        dtype: str | None = None,
    ):
        """Open a folder. It may be untrusted: engines read no weights outside it, and reject
        weights that do not match their shapes.

        Args:
            engine: "onnx" or "openvino".
            dtype: None: that of the graphs.

        Raises:
            ConfigError: in one line, for a folder without an export, or one that the engine cannot
                run.
        """
        try:
            super().__init__(folder, threads, engine, dtype)
            self.methods = methods_of(self.about)
        except (ValueError, OSError) as error:
            raise ConfigError(one_line(error)) from None
        self.folder = self.graphs  # of an adapted classifier, the folder that holds them
        if faults := step_faults(self.tokenizer):
            raise ConfigError(f"{self.graphs / 'tokenizer.json'}: {faults[0]}")
        self.max_length, self.exits = self.about["max_length"], [*self.layers, self.num_layers]
        self.stricter_exits = StricterExits(self.layers)

    def with_exits(self, rule: ExitRule | None, policies: Sequence[Policy]) -> GraphModel:
        """Return the same graphs with exits restricted by a rule and by policies."""
        made = copy(self)
        made.certificate, made.stricter_exits = None, StricterExits(self.layers, rule, policies)
        return made

    def with_rules(
        self, certificate: str | None = None, policies: Sequence[Policy] | None = None
    ) -> GraphModel:
        """Return the same graphs with the exits of a certificate, and with policies.

        Args:
            certificate: its name; None: none is in force.
            policies: None: those of the certificate.

        Raises:
            ConfigError: where the certificate is valid for another combination, or the export does
                not support its settings.
        """
        valid = None if certificate is None else certificate_of(self, certificate)
        if policies is None:
            policies = () if valid is None else valid.policies
        self.check_policies(policies)
        if valid is None:
            rule = self.methods.get("exit") if policies and has_torch() else None
            Faults(idle_faults(policies, rule.build()) if rule else []).check()
            return self.with_exits(None, tuple(policies))
        made = self.with_exits(self.certified_rule(valid), tuple(policies))
        point = made.point.at(exit=valid.point.methods["exit"])
        valid.check(made.identity() | {"point": point.as_dict()})
        if valid.fallback:
            made.stricter_exits = made.stricter_exits.deep()
        made.certificate = valid
        return made

    def certified_rule(self, certificate: Certificate) -> ExitRule | None:
        """Return the exit rule of a certificate if it is stricter than that of the graphs. Torch
        must then compute it.

        Raises:
            ConfigError: without torch, or where the graphs cannot follow the rule.
        """
        if self.decides_as(certificate.point.methods["exit"]):
            return None
        if not has_torch():
            raise ConfigError(
                f"certificate={certificate.name}: its exits are stricter than those of the graphs, "
                "and only torch computes them: export with the exits that were certified"
            )
        with reading(path_of(self.folder, certificate.name)):
            rule = certificate.methods["exit"]
        return self.stricter(rule)

    def session(self, name: str) -> Any:
        try:
            return super().session(name)
        except ValueError as error:
            raise ConfigError(one_line(error)) from None

    @property
    def layers(self) -> list[int]:
        """Layers at which its graphs have early exits."""
        return [stretch["layers"][1] for stretch in self.about["stretches"]][:-1]

    @cached_property
    def digest(self) -> str:
        """Hash of the files that determine its answers."""
        shared = [path.name for path in self.graphs.glob("*.safetensors")]
        names = [*files_of(self.about), *shared, WEIGHTS, "tokenizer.json", ABOUT]
        there = [self.graphs / name for name in sorted(names)]
        return sha256_of([path for path in there if path.is_file()])

    def check_policies(self, policies: Sequence[Policy]) -> None:
        """Raise ConfigError for policies that exports do not support."""
        faults = [fault for policy in policies for fault in policy.export_blockers()]
        model = ModelFacts(self.layers, self.labels, self.kind)
        Faults(faults or policy_faults(policies, model)).check()

    def decides_as(self, rule: Specification) -> bool:
        """True for the exit rule of its graphs, and for the rule without exits."""
        return rule.kind == OFF["exit"] or rule == self.methods["exit"]

    def stricter(self, rule: ExitRule) -> ExitRule | None:
        """Return an exit rule if it is stricter than that of the graphs; None for the same rule, or
        for the one without exits.

        Raises:
            ConfigError: for any other rule.
        """
        wanted, there = Specification.of("exit", rule), self.methods["exit"]
        if self.decides_as(wanted):
            return None
        if wanted.kind != there.kind or not {*rule.layers} <= {*self.layers}:
            knob = rule.knob
            what = "its own rule" if knob is None else f"a {knob.name} at its own exits"
            raise ConfigError(f"an export can be restricted by {what}, not by {wanted.kind}")
        return rule

    def check_no_laxer(self, rule: ExitRule) -> None:
        """Raise ConfigError for a value of the knob that is laxer than that of the graphs, at which
        examples would leave that these let stay."""
        from eat_lightning.model.contracts import points_by_layer

        if (knob := rule.knob) is None:
            return
        there = points_by_layer(self.methods["exit"].build())
        lax = 1 if knob.fine[-1] > knob.strict else -1
        for layer, point in points_by_layer(rule).items():
            if lax * point > lax * there.get(layer, point):
                raise ConfigError(
                    f"exit.{knob.name} at layer {layer} must be as strict as {there[layer]:g}, "
                    f"which its graphs have, got {point:g}: export the run again"
                )

    def record(self, split: Any, batch: int = 32, title: str = "") -> Record:
        """Record all heads. `Record.exit` is a rule without exits, because the graphs contain their
        own.
        """
        from eat_lightning.methods.exit.never import Never
        from eat_lightning.record.passes import record_by

        def run(rows: Batch) -> Trace:
            return self.run_state(state_of(rows), nobody_leaves)

        known = {"policies": self.policies, "kind": self.kind}
        return record_by(run, Never(), split, batch, title, **known)

    def run(self, request: AnswerRequest) -> Iterator[Trace]:
        windows, about, joiner = request.windows, request.about, request.joiner
        exits, state = self.stricter_exits, first_state(windows)
        if joiner is not None:
            exits = replace(exits, policies=(*exits.policies, FullDepthIfFound(joiner)))
        if not request.deep:
            for rows_B, trace in self.leaving(state, exits.review(about)):
                yield trace.take(rows_B)
            return
        decided: list[np.ndarray] = []
        trace = self.run_state(state, noting(decided, exits.deep().review(about)))
        would = would_leave(trace, decided, exits.review(about))
        yield replace(trace, rows_B=np.arange(len(windows)), would=would)

    def look(self, text: Sequence[str], about: Mapping[str, str]) -> Trace:
        read = self.read_one(text)
        # Asked though the graphs decide alone, so that a single example too goes exit by exit.
        review = noting([], self.stricter_exits.review([about]))
        return placed(self.run_state(first_state(read.windows), review), [0], [read])

    def at(self, point: Point) -> GraphModel:
        with reading("point"):
            rule, policies = point.built.get("exit"), point.policies_like(self.policies)
        self.check_policies(policies)
        if rule is not None and Specification.of("exit", rule).kind == self.methods["exit"].kind:
            self.check_no_laxer(rule)
        model = self.with_exits(None if rule is None else self.stricter(rule), policies)
        if rule is not None and Specification.of("exit", rule).kind == OFF["exit"] and self.layers:
            model.stricter_exits = model.stricter_exits.deep()
        return model

    @property
    def reasons(self) -> list[str]:
        return [name for code, name in sorted(self.names.items()) if code >= FIRST_REASON]

    @property
    def exit_rule(self) -> ExitRule:
        rule = self.stricter_exits.rule
        return self.methods["exit"].build() if rule is None else rule

    @property
    def point(self) -> Point:
        """The methods in the graphs, and the rules that restrict their exits."""
        exits, engine, dtype = self.stricter_exits, cast(Any, self.engine), cast(Any, self.dtype)
        stricter = {} if exits.rule is None else {"exit": Specification.of("exit", exits.rule)}
        methods, policies = self.methods | stricter, tuple(specs_of(exits.policies))
        return Point(engine, dtype, methods=methods, policies=policies)

    def identity(self) -> dict[str, Any]:
        """Hash of the graphs, and their point."""
        package = ENGINES[self.engine].package
        return {
            "export": self.digest,
            "weights": self.about.get("weights"),
            "point": self.point.as_dict(),
            "second": [],
            "device": "cpu",
            package: version(package),
            MACHINE: machine(),
        }

    @property
    def policies(self) -> Sequence[Policy]:
        return self.stricter_exits.policies


def methods_of(about: Mapping[str, Any]) -> dict[str, Specification]:
    """Return the methods named in export.json.

    Raises:
        ValueError: for an invalid one.
    """
    return {slot: Specification.read(slot, about[slot]) for slot in MODEL_SLOTS if slot in about}


def state_of(batch: Batch) -> dict[str, np.ndarray]:
    """Return the inputs of the first graph, by name."""
    rows = {"ids_N": batch.ids_N, "types_N": batch.types_N, "lengths_B": batch.lengths_B}
    return {name: tensor.numpy() for name, tensor in rows.items()}
