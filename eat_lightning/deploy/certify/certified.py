"""Issue certificates: choose a point on the recorded calibration part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from eat_lightning.config import parsed
from eat_lightning.data.calibration import group_ids
from eat_lightning.data.source import ORIGIN
from eat_lightning.deploy.certify.plan import CertifySettings, Prepared, prepare
from eat_lightning.deploy.certify.select import Choice, choose
from eat_lightning.deploy.certify.subject import CertifySubject
from eat_lightning.errors import ConfigError
from eat_lightning.monitor.reference import Reference, check_watched
from eat_lightning.record.certificate import Certificate, short
from eat_lightning.record.point import Point
from eat_lightning.runs.by_class import by_class, unfound
from eat_lightning.runs.identity import calibration_of, cut_of


def certified(config: dict[str, Any]) -> Certificate:
    """Issue a certificate, save and print it."""
    plan = parsed(CertifySettings, config)
    prepared = prepare(plan)
    torch.set_num_threads(plan.threads)
    run = prepared.run
    data = run.data(dir=plan.data.dir)
    split = data.split("certificate")
    subject = CertifySubject.of(prepared, split)
    choice = chosen(prepared, subject, groups(run.task, split))
    looked_at = {"cut": cut_of(run), "calibration": calibration_of(data)}
    holds_for = subject.identity(choice.candidate) | looked_at
    certificate = certificate_of(prepared, choice, holds_for)
    folder = (prepared.export or run).folder
    show(certificate, certificate.write(folder))
    write_reference(folder, certificate.name, subject, choice.candidate)
    return certificate


def groups(task: Any, split: Any) -> np.ndarray:
    """Return a group number for each example; examples that were not drawn independently share one,
    such as pairs with one premise, or linked by a question.
    """
    if task.groups in ("random", "root_phrases"):
        return np.arange(len(split))
    return group_ids(task, split.source.texts)


def chosen(prepared: Prepared, subject: CertifySubject, group_B: np.ndarray) -> Choice:
    """Return the cheapest certified candidate, with its results on the calibration part."""
    kind, claim, label_B = subject.torch_model.kind, prepared.target.claim, subject.split.labels
    full = subject.trace(prepared.chains[0][0])
    full_B, losses = kind.numbered(full.logits_BC, full.logits_BC), []
    for chain in prepared.chains:
        logits = [subject.trace(point).logits_BC for point in chain]
        early = [kind.numbered(logits_BC, full.logits_BC) for logits_BC in logits]
        losses.append(np.stack([claim.losses(full_B, early_B, label_B) for early_B in early]))

    def cost(candidate: Point) -> float:
        return float(subject.trace(candidate).flops_B.mean())

    choice = choose(prepared.chains, losses, cost, prepared.target, group_B)
    right_B = kind.right(full.logits_BC, label_B)[~np.isnan(losses[0][0])]
    trace, whole = subject.trace(choice.candidate), subject.whole_flops(choice.candidate)
    choice.seen |= {
        "full_score": float(np.nan_to_num(right_B).mean()) if len(right_B) else None,
        "depth": float(trace.depth_B.mean()),
        "flops_ratio": float(trace.flops_B.mean()) / whole,
        "full_flops_ratio": float(full.flops_B.mean()) / whole,
        **{"majority": None, "recall": {}},
        **by_class(kind, prepared.run.task.labels, full.logits_BC, label_B),
    }
    return choice


def certificate_of(prepared: Prepared, choice: Choice, holds_for: dict[str, Any]) -> Certificate:
    target, plan = prepared.target, prepared.plan
    key, wanted = plan.point_setting
    default = target.name if wanted is None else f"{target.name}-{key}-{wanted}"
    return Certificate(
        name=plan.name or default,
        claims=[target.claim],
        guarantee=target.guarantee(choice),
        holds_for=holds_for,
        fallback=choice.fallback,
        reason=choice.reason,
        seen=choice.seen,
    )


def write_reference(folder: Path, name: str, subject: CertifySubject, candidate: Point) -> None:
    """Write the drift reference of a certificate, or print why there is none."""
    known = {ORIGIN} if subject.split.origins is not None else set()
    windows = subject.long.described(subject.torch_model.max_length)
    try:
        check_watched(subject.torch_model.kind, candidate.policies_like(()), known)
        found = Reference.of(subject.trace(candidate), subject.identity(candidate), windows)
    except ConfigError as error:
        print(f"no drift reference: {error}")
        return
    print(f"drift reference: {found.write(folder, name)}")


def show(certificate: Certificate, path: Any) -> None:
    seen, made_for = certificate.seen, certificate.holds_for
    if certificate.fallback:
        print(f"fallback to full depth: {certificate.reason}")
    else:
        reduction = made_for["reduction"]
        kept = "" if reduction.kind == "none" else f"; {short(reduction)}"
        print(f"chosen: {short(made_for['exit'])}{kept}")
    if made_for["policy"]:
        print(f"policies: {short(made_for['policy'])}")
    print(f"guarantee: {certificate.guarantee}")
    if seen["risk"] is not None:
        better = " (below 0: early answers are right more often)" if seen["risk"] < 0 else ""
        print(
            f"seen on {seen['num_examples']} calibration examples: risk "
            f"{100 * seen['risk']:.2f} %{better}, depth {seen['depth']:.2f}, FLOPs ratio "
            f"{seen['flops_ratio']:.3f} (full depth {seen['full_flops_ratio']:.3f})"
        )
        print_quality(certificate)
    print(f"saved: {path}; use it with certificate={certificate.name}")


def print_quality(certificate: Certificate) -> None:
    """Print how full depth compares with always predicting the largest class, which classes it
    never predicts, and whether anything is decided per example.
    """
    seen, rule = certificate.seen, certificate.holds_for["exit"]
    if seen["full_score"] is not None:
        right = f"full depth has an accuracy of {100 * seen['full_score']:.1f} % on them"
        if seen["majority"] is not None and certificate.claim.label is None:
            right += f" (the largest class is {100 * seen['majority']:.1f} %)"
        if certificate.claim.label is None:
            right += "; this bounds only the loss against that"
        print(right)
    lost = [name for name, share in seen["recall"].items() if share == 0]
    print("".join(f"{line}\n" for line in unfound(lost, " at full depth")), end="")
    first = min(rule.arguments.get("layers") or [0])
    if not certificate.fallback and seen["depth"] == first:
        print(f"every example leaves at the first exit, layer {first}: nothing runs deeper")
