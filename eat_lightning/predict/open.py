"""A run or an export made ready to answer, with the exits of a certificate where one is named."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

from eat_lightning.config import make, target
from eat_lightning.errors import ConfigError
from eat_lightning.infer.backend import Source
from eat_lightning.infer.later import LaterExits
from eat_lightning.infer.onnx_backend import Export, OnnxBackend
from eat_lightning.infer.precision import form_of, in_dtype, in_form
from eat_lightning.infer.torch_backend import TorchBackend
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.policy.full_depth import FullDepth
from eat_lightning.model.contracts import (
    Exit,
    Policy,
    build,
    build_all,
    method_faults,
    spec,
    untrained,
)
from eat_lightning.model.encoder import AdaptiveEncoder, with_slots
from eat_lightning.model.heads import slot_faults
from eat_lightning.model.policies import idle_faults, policy_faults
from eat_lightning.runs.certificate import DTYPES, Certificate, combination
from eat_lightning.weights.second import load_second_runs

if TYPE_CHECKING:
    from eat_lightning.runs.run import Run


def open_run(
    run: Run,
    exit: dict[str, Any] | None = None,
    dtype: str = "fp32",
    certificate: str | None = None,
    policies: Sequence[Policy] | None = None,
    prepack: bool | None = None,
    device: str = "cpu",
) -> TorchBackend:
    """exit: settings of the run's own rule, or of another that it names. policies: in place of the
    certificate's, or of the run's own (None: as they are). prepack: the form of the weights, see
    `infer/precision.py`; plain ones are freed. ConfigError with every fault."""
    form = form_of(prepack, dtype, device, held=form_held(run, certificate))
    encoder, labels = run.model()
    encoder = in_form(in_dtype(encoder, dtype).to(device), form)
    if policies is not None:
        encoder.policies = policies
    if certificate is None:
        encoder.exit = exit_rule(exit or {}, encoder)
        encoders: dict[Source, AdaptiveEncoder] = {None: encoder}
    else:
        encoders = {None: at_full_depth(encoder)}
        for source, held in Certificate.by_source(run, certificate).items():
            methods = {slot: build(slot, given) for slot, given in held.policies.items()}
            asked = held.asked() if policies is None else policies
            encoders[source] = with_slots(encoder, **methods, policies=asked)
            encoders[source].exit = exit_rule(exit or {}, encoders[source])
    for body in encoders.values():
        load_second_runs(body.policies)
        faults = policy_faults(body.policies, body, labels, run.folder / "model")
        if certificate is None:
            faults += idle_faults(body.policies, body.exit)
        if faults:
            raise ConfigError.of(faults)
    task = run.task
    limit = run.config.get("data", {}).get("max_length") or task.max_length
    made = TorchBackend(
        run.folder,
        encoders,
        run.tokenizer(),
        task.columns,
        labels if encoder.num_labels > 1 else [],
        min(limit, encoder.shape.max_length),
        partial(combination, run, dtype=DTYPES[dtype], device=device, form=form),
    )
    if certificate is not None:
        for source, held in Certificate.by_source(run, certificate).items():
            held.check(made.identity(source))
            if held.fallback:
                encoders[source] = at_full_depth(encoders[source])
    return made


def form_held(run: Run, certificate: str | None) -> str | None:
    """The form of weights that a certificate holds for; of those by source that of the first: one
    that differs is refused."""
    if certificate is None:
        return None
    return next(iter(Certificate.by_source(run, certificate).values())).form


def at_full_depth(encoder: AdaptiveEncoder) -> AdaptiveEncoder:
    """Nobody leaves early, and the answers say `fallback`."""
    return with_slots(encoder, exit=Never(), policies=(FullDepth(), *encoder.policies))


def exit_rule(node: dict[str, Any], encoder: AdaptiveEncoder) -> Exit:
    """The rule a config names, or the encoder's own with other settings; None changes nothing. A
    rule named without layers looks at each of the encoder's early heads."""
    last, heads = encoder.shape.num_layers, encoder.head["layers"]
    given = {key: value for key, value in node.items() if value is not None}
    if "_target_" not in given:
        try:
            rule = build_all({"exit": spec("exit", encoder.exit) | given}, last)["exit"]
        except ValueError as error:
            raise ConfigError.of(str(error).split("; ")) from None
    else:
        if "layers" not in given and "layers" in signature(target(given)).parameters:
            given["layers"] = [layer for layer in heads if layer < last]
        if faults := method_faults("exit", given, last):
            raise ConfigError.of(faults)
        rule = make(given)
        if faults := untrained("exit", rule, spec("exit", encoder.exit)["kind"]):
            raise ConfigError.of(faults)
    if faults := slot_faults(rule, heads, last, encoder.num_labels):
        raise ConfigError.of(faults)
    return rule


def open_export(
    export: Export, certificate: str | None = None, policies: Sequence[Policy] | None = None
) -> OnnxBackend:
    """policies: None are the certificate's. ConfigError where the certificate holds for another
    combination, and for what an export cannot do."""
    if certificate is None:
        asked = tuple(policies or ())
        export.check_policies(asked)
        rule = export.about.get("exit")
        if faults := idle_faults(asked, build("exit", rule) if asked and rule else None):
            raise ConfigError.of(faults)
        return OnnxBackend(export, {None: LaterExits(export.layers, policies=asked)})
    found: dict[Source, LaterExits] = {None: LaterExits(export.layers).deep()}
    for source, held in Certificate.by_source(export, certificate).items():
        asked = tuple(held.asked() if policies is None else policies)
        export.check_policies(asked)
        rule = held.policies["exit"]
        exits = LaterExits(export.layers, export.stricter(rule), asked)
        here = OnnxBackend(export, {None: exits}).identity()
        held.check(here | {"exit": rule})
        found[source] = exits.deep() if held.fallback else exits
    return OnnxBackend(export, found)
