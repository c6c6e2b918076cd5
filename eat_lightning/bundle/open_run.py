"""A run in torch, with a certificate's exits or with exits fitted for a budget."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from eat_lightning.bundle.certificates import certificate_of
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.policy.full_depth import FullDepth
from eat_lightning.model.contracts import ModelFacts, Policy
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.policies import idle_faults, policy_faults
from eat_lightning.record.certificate import Certificate
from eat_lightning.runs.budgets import Fitter
from eat_lightning.runs.exit_choice import ExitChoice
from eat_lightning.runs.identity import combination
from eat_lightning.runs.run import Run
from eat_lightning.weights.checkpoint import load_second_runs
from eat_lightning.weights.precision import DTYPES, PLAIN, form_of, in_dtype, in_form


def open_in_torch(
    run: Run,
    exit: dict[str, Any] | None = None,
    dtype: str = "fp32",
    certificate: str | None = None,
    policies: Sequence[Policy] | None = None,
    prepack: bool | None = None,
    device: str = "cpu",
) -> TorchModel:
    """Open a run with a certificate's exits, its own, or those fitted for a budget. For the
    arguments see `Model.open`.

    Args:
        exit: settings of the exit rule, with `budget` or `agree` (`runs.exit_choice.ExitChoice`).

    Raises:
        ConfigError: with all errors.
    """
    choice = ExitChoice.of(exit, run.model_config()["exit"])
    if choice.budget is not None and certificate is not None:
        both = "a certificate has exits of its own, so give one of them"
        raise ConfigError(f"exit.{choice.budget.key}: {both}")
    valid = None if certificate is None else certificate_of(run, certificate)
    form = form_of(prepack, dtype, device, certified=valid and valid.form)
    encoder, labels = run.model()
    encoder = in_form(in_dtype(encoder, dtype).to(device), form)
    if policies is not None:
        encoder.policies = policies
    if valid is None:
        fitter = fitter_of(run, encoder, choice, form)
        encoder, dial = fitter.on(choice.budget), fitter.on
    else:
        encoder, dial = certified(encoder, exit, valid, policies), None
    check_policies(run, encoder, labels, idle=valid is None)
    combine = partial(combination, run, dtype=DTYPES[dtype], device=device, form=form)
    given = run.tokenizer(), run.task.columns, labels, longest(run, encoder), combine
    made = TorchModel(run.folder, encoder, *given, dial=dial)
    if valid is not None:
        made.certificate = valid
        valid.check(made.identity())
        if valid.fallback:
            made.encoder = at_full_depth(encoder)
    return made


def chosen_exits(run: Run, exit: dict[str, Any] | None = None) -> tuple[AdaptiveEncoder, list[str]]:
    """Return a run's encoder in fp32 with the exits that are named, and its labels."""
    encoder, labels = run.model()
    choice = ExitChoice.of(exit, run.model_config()["exit"])
    return fitter_of(run, encoder, choice).on(choice.budget), labels


def certified(
    encoder: AdaptiveEncoder,
    exit: dict[str, Any] | None,
    certificate: Certificate,
    policies: Sequence[Policy] | None,
) -> AdaptiveEncoder:
    """Return the encoder with a certificate's methods.

    Args:
        exit: settings that change the certificate's exit rule.
    """
    chosen = certificate.policies if policies is None else policies
    backbone = encoder.replacing(**certificate.methods, policies=chosen)
    choice = ExitChoice.of(exit, certificate.holds_for["exit"])
    return backbone.replacing(exit=choice.rule(backbone))


def check_policies(run: Run, encoder: AdaptiveEncoder, labels: list[str], idle: bool) -> None:
    """Raise ConfigError for policies that do not fit the run.

    Args:
        idle: also reject policies that would never be consulted.
    """
    load_second_runs(encoder.policies)
    facts = ModelFacts.of(encoder, labels, run.folder / "model")
    faults = policy_faults(encoder.policies, facts)
    faults += idle_faults(encoder.policies, encoder.exit) if idle else []
    Faults(faults).check()


def longest(run: Run, encoder: AdaptiveEncoder) -> int:
    """Maximum number of tokens of an example."""
    limit = run.config.get("data", {}).get("max_length") or run.task.max_length
    return min(limit, encoder.shape.max_length)


def at_full_depth(encoder: AdaptiveEncoder) -> AdaptiveEncoder:
    """Return the encoder without early exits; its answers give the reason `fallback`."""
    return encoder.replacing(exit=Never(), policies=(FullDepth(), *encoder.policies))


def fitter_of(
    run: Run, encoder: AdaptiveEncoder, choice: ExitChoice, form: str = PLAIN, **data: Any
) -> Fitter:
    """Return a fitter of the chosen rule on this encoder.

    Args:
        data: settings of the run's data to override, such as dir.
    """
    chosen = encoder.replacing(exit=choice.rule(encoder))
    return Fitter(run, chosen, choice.fit_reduction, form, torch.get_num_threads(), data)
