"""Certificates: a point chosen on the recorded calibration part, with its promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from eat_lightning.config import parsed
from eat_lightning.data.calibration import group_ids
from eat_lightning.deploy.certify.passes import Passes
from eat_lightning.deploy.certify.plan import CertifySettings, Prepared, prepare
from eat_lightning.deploy.certify.select import Choice, choose
from eat_lightning.errors import ConfigError
from eat_lightning.infer.backend import Source
from eat_lightning.measure.settings import Setting
from eat_lightning.model.specification import Specification
from eat_lightning.runs.by_class import by_class, unfound
from eat_lightning.runs.certificate import Certificate, calibration_of, cut_of, of_source, short


def certified(config: dict[str, Any]) -> list[Certificate]:
    """One certificate, or one for each source; each is saved and shown."""
    plan = parsed(CertifySettings, config)
    prepared = prepare(plan)
    torch.set_num_threads(plan.threads)
    run = prepared.run
    data = run.data(dir=plan.data.dir)
    split = data.split("certificate")
    wanted = rows_by_source(split, plan.sources)
    passes, group_B = Passes.of(prepared, split), groups(run.task, split)
    looked_at = {"cut": cut_of(run), "calibration": calibration_of(data)}
    made = []
    for source, rows in wanted.items():
        choice = chosen(prepared, passes, group_B, rows)
        holds_for = passes.identity(choice.candidate) | looked_at
        certificate = certificate_of(prepared, choice, source, holds_for)
        show(certificate, certificate.write(prepared.export or run))
        made.append(certificate)
    return made


def rows_by_source(split: Any, by_source: bool) -> dict[Source, np.ndarray]:
    if not by_source:
        return {None: np.arange(len(split))}
    if split.source.origins is None:
        raise ConfigError("sources=true: the calibration part's data has no column source")
    origins = np.array(split.source.origins)
    return {str(name): np.flatnonzero(origins == name) for name in np.unique(origins)}


def groups(task: Any, split: Any) -> np.ndarray:
    """A number for each example, equal where examples were not drawn independently: pairs on one
    premise, or linked by a question."""
    if task.groups in ("random", "root_phrases"):
        return np.arange(len(split))
    return group_ids(task, split.source.texts)


def chosen(prepared: Prepared, passes: Passes, group_B: np.ndarray, rows: np.ndarray) -> Choice:
    """The cheapest certified candidate on these rows, and what they show of it."""
    full, risk, label_B = prepared.chains[0][0], prepared.target.risk, passes.split.labels
    full_B, losses = passes.answers_B(full, full), []
    for chain in prepared.chains:
        early = [passes.answers_B(point, full) for point in chain]
        losses.append(np.stack([risk.losses(full_B, early_B, label_B)[rows] for early_B in early]))

    def cost(candidate: Setting) -> float:
        return float(passes.flops_B(candidate)[rows].mean())

    choice = choose(prepared.chains, losses, cost, prepared.target, group_B[rows])
    if len(rows):
        kind, full_BC = passes.torch_backend.kind, passes.outcome(full).logits_BC[rows]
        right_B = kind.right(full_BC, label_B[rows])[~np.isnan(losses[0][0])]
        outcome = passes.outcome(choice.candidate)
        whole = float(passes.whole_flops_B(choice.candidate)[rows].mean())
        choice.seen |= {
            "full_score": float(np.nan_to_num(right_B).mean()) if len(right_B) else None,
            "depth": float(outcome.depth_B[rows].mean()),
            "flops_ratio": cost(choice.candidate) / whole,
            "full_flops_ratio": cost(full) / whole,
            **{"majority": None, "recall": {}},
            **by_class(kind, prepared.run.task.labels, full_BC, label_B[rows]),
        }
    return choice


def certificate_of(
    prepared: Prepared, choice: Choice, source: Source, holds_for: dict[str, Any]
) -> Certificate:
    target, plan = prepared.target, prepared.plan
    key, wanted = plan.point_setting
    default = target.name if wanted is None else f"{target.name}-{key}-{wanted}"
    return Certificate(
        name=of_source(plan.name or default, source),
        source=source,
        risk=Specification.of("risk", target.risk),
        procedure=Specification.of("procedure", target.procedure),
        level=target.level,
        confidence=target.confidence if target.procedure.uses_confidence else None,
        promise=target.promise(choice),
        fallback=choice.fallback,
        reason=choice.reason,
        seen=choice.seen,
        holds_for=holds_for,
    )


def show(certificate: Certificate, path: Any) -> None:
    seen, made_for = certificate.seen, certificate.holds_for
    where = "" if certificate.source is None else f" of source {certificate.source}"
    if certificate.fallback:
        print(f"fallback to full depth{where}: {certificate.reason}")
    else:
        reduction = made_for["reduction"]
        kept = "" if reduction.kind == "none" else f"; {short(reduction)}"
        print(f"chosen{where}: {short(made_for['exit'])}{kept}")
    if made_for["policy"]:
        print(f"policies: {short(made_for['policy'])}")
    print(f"promise: {certificate.promise}")
    if seen.get("depth") is not None and seen["risk"] is not None:
        better = " (below 0: early answers are right more often)" if seen["risk"] < 0 else ""
        print(
            f"seen on {seen['num_examples']} calibration examples: risk "
            f"{100 * seen['risk']:.2f} %{better}, depth {seen['depth']:.2f}, FLOPs ratio "
            f"{seen['flops_ratio']:.3f} (full depth {seen['full_flops_ratio']:.3f})"
        )
        print_quality(certificate)
    print(f"saved: {path}; use it with certificate={certificate.name}")


def print_quality(certificate: Certificate) -> None:
    """Tell how good what is compared with is, beside always answering the largest class; which
    classes it never finds; and whether anything is chosen by example at all."""
    seen, rule = certificate.seen, certificate.holds_for["exit"]
    if seen["full_score"] is not None:
        right = f"full depth is right on {100 * seen['full_score']:.1f} % of them"
        if seen["majority"] is not None and "label" not in certificate.risk.arguments:
            right += f" (the largest class is {100 * seen['majority']:.1f} %)"
        if "label" not in certificate.risk.arguments:
            right += "; this bounds only the loss against that"
        print(right)
    lost = [name for name, share in seen["recall"].items() if share == 0]
    print("".join(f"{line}\n" for line in unfound(lost, " at full depth")), end="")
    first = min(rule.arguments.get("layers") or [0])
    if not certificate.fallback and seen["depth"] == first:
        print(f"every example leaves at the first exit, layer {first}: nothing runs deeper")
