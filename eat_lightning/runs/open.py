"""A run or an export made ready to answer, with the exits of a certificate where one is named, or
fitted for a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from eat_lightning.errors import ConfigError
from eat_lightning.infer.backend import Source
from eat_lightning.infer.onnx_backend import Export, OnnxBackend
from eat_lightning.infer.precision import DTYPES, PLAIN, form_of, in_dtype, in_form
from eat_lightning.infer.stricter_exits import StricterExits
from eat_lightning.infer.torch_backend import TorchBackend
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.policy.full_depth import FullDepth
from eat_lightning.model.contracts import ModelFacts, Policy
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.policies import idle_faults, policy_faults
from eat_lightning.runs.budgets import Fitter
from eat_lightning.runs.certificate import Certificate, combination
from eat_lightning.runs.exit_choice import ExitChoice
from eat_lightning.runs.run import Run
from eat_lightning.weights.checkpoint import load_second_runs


def open_run(
    run: Run,
    exit: dict[str, Any] | None = None,
    dtype: str = "fp32",
    certificate: str | None = None,
    policies: Sequence[Policy] | None = None,
    prepack: bool | None = None,
    device: str = "cpu",
) -> TorchBackend:
    """Open a finished run to answer texts; ConfigError with every fault.

    Args:
        run: as `Run.open` gives it.
        exit: settings of the run's rule, or of another that it names, or a budget (see
            `runs.exit_choice.ExitChoice`).
        dtype: fp32, bf16 or int8.
        certificate: name of one that the run has; None: none.
        policies: in place of the certificate's, or of the run's; None: as they are.
        prepack: the form of the weights, see `infer/precision.py`; plain ones are freed.
        device: where it runs, such as "cpu".
    """
    choice = ExitChoice.of(exit, run.model_config()["exit"])
    if choice.budget is not None and certificate is not None:
        both = "a certificate has exits of its own, so give one of them"
        raise ConfigError(f"exit.{choice.budget.key}: {both}")
    certificates = Certificate.by_source(run, certificate)
    forms = (valid.form for valid in certificates.values())  # one that differs is refused
    form = form_of(prepack, dtype, device, certified=next(forms, None))
    encoder, labels = run.model()
    encoder = in_form(in_dtype(encoder, dtype).to(device), form)
    if policies is not None:
        encoder.policies = policies
    encoders, dial = certified(encoder, exit, certificates, policies), None
    if certificate is None:
        fitter = fitter_of(run, encoder, choice, form)
        encoders[None], dial = at_choice(fitter, choice), fitter.on
    check_policies(run, encoders, labels, idle=certificate is None)
    made = TorchBackend(
        run.folder,
        encoders,
        run.tokenizer(),
        run.task.columns,
        labels,
        longest(run, encoder),
        partial(combination, run, dtype=DTYPES[dtype], device=device, form=form),
        dial=dial,
    )
    for source, point in certificates.items():
        point.check(made.identity(source))
        if point.fallback:
            encoders[source] = at_full_depth(encoders[source])
    return made


def certified(
    encoder: AdaptiveEncoder,
    exit: dict[str, Any] | None,
    certificates: Mapping[Source, Certificate],
    policies: Sequence[Policy] | None,
) -> dict[Source, AdaptiveEncoder]:
    """An encoder for each source that has a certificate; whoever else comes runs every layer.
    exit: settings that change the certificate's rule."""
    encoders: dict[Source, AdaptiveEncoder] = {None: at_full_depth(encoder)} if certificates else {}
    for source, certificate in certificates.items():
        chosen = certificate.policies if policies is None else policies
        backbone = encoder.replacing(**certificate.methods, policies=chosen)
        choice = ExitChoice.of(exit, certificate.holds_for["exit"])
        encoders[source] = backbone.replacing(exit=rule_of(choice, backbone))
    return encoders


def check_policies(
    run: Run, encoders: Mapping[Source, AdaptiveEncoder], labels: list[str], idle: bool
) -> None:
    """ConfigError with what does not go together. idle: or would never be heard."""
    for backbone in encoders.values():
        load_second_runs(backbone.policies)
        faults = policy_faults(
            backbone.policies, ModelFacts.of(backbone, labels, run.folder / "model")
        )
        faults += idle_faults(backbone.policies, backbone.exit) if idle else []
        if faults:
            raise ConfigError.of(faults)


def longest(run: Run, encoder: AdaptiveEncoder) -> int:
    """Tokens of an example, at most."""
    limit = run.config.get("data", {}).get("max_length") or run.task.max_length
    return min(limit, encoder.shape.max_length)


def at_full_depth(encoder: AdaptiveEncoder) -> AdaptiveEncoder:
    """Nobody leaves early, and the answers say `fallback`."""
    return encoder.replacing(exit=Never(), policies=(FullDepth(), *encoder.policies))


def rule_of(choice: ExitChoice, encoder: AdaptiveEncoder) -> Any:
    """The rule that was chosen, on this encoder's heads. ConfigError with every fault."""
    return choice.rule(encoder.head["layers"], encoder.shape.num_layers, encoder.kind)


def fitter_of(
    run: Run, encoder: AdaptiveEncoder, choice: ExitChoice, form: str = PLAIN, **data: Any
) -> Fitter:
    """Fits the chosen rule on this encoder for budgets. data: settings of the run's data that
    differ, such as dir."""
    chosen = encoder.replacing(exit=rule_of(choice, encoder))
    return Fitter(run, chosen, choice.fit_reduction, form, torch.get_num_threads(), data)


def at_choice(fitter: Fitter, choice: ExitChoice) -> AdaptiveEncoder:
    """The encoder with the chosen rule: at its budget, or where its settings say."""
    return fitter.encoder if choice.budget is None else fitter.on(choice.budget)


def open_export(
    export: Export, certificate: str | None = None, policies: Sequence[Policy] | None = None
) -> OnnxBackend:
    """policies: None are the certificate's. ConfigError where the certificate holds for another
    combination, and for what an export cannot do."""
    if certificate is None:
        chosen = tuple(policies or ())
        export.check_policies(chosen)
        rule = export.methods.get("exit") if chosen else None
        if rule and (faults := idle_faults(chosen, rule.build())):
            raise ConfigError.of(faults)
        return OnnxBackend(export, {None: StricterExits(export.layers, policies=chosen)})
    found: dict[Source, StricterExits] = {None: StricterExits(export.layers).deep()}
    for source, valid in Certificate.by_source(export, certificate).items():
        chosen = tuple(valid.policies if policies is None else policies)
        export.check_policies(chosen)
        exits = StricterExits(export.layers, export.stricter(valid.methods["exit"]), chosen)
        here = OnnxBackend(export, {None: exits}).identity()
        valid.check(here | {"exit": valid.holds_for["exit"]})
        found[source] = exits.deep() if valid.fallback else exits
    return OnnxBackend(export, found)
