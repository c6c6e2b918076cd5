"""`python -m eat_lightning.certify run=<folder> risk=… level=…`: exits with a guarantee.

Only the part of the calibration cut that nothing else uses is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed
from eat_lightning.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from eat_lightning.certify.passes import Passes
    from eat_lightning.certify.plan import Prepared
    from eat_lightning.certify.select import Choice, Target
    from eat_lightning.infer.backend import Source
    from eat_lightning.runs.certificate import Certificate


def certify(config: dict[str, Any]) -> list[Certificate]:
    """One certificate, or one for each source; each is saved and shown.

    Raises ConfigError, one line per fault, before anything is loaded.
    """
    import torch

    from eat_lightning.certify.passes import Passes
    from eat_lightning.certify.plan import CertifyPlan, prepare
    from eat_lightning.runs.certificate import calibration_of, cut_of

    plan = parsed(CertifyPlan, config)
    prepared = prepare(plan)
    torch.set_num_threads(plan.threads)
    run = prepared.run
    data = run.data(dir=plan.data.dir)
    split = data.split("certificate")
    wanted = rows_by_source(split, plan.sources)
    passes, group_B = Passes.of(prepared, split), groups(run.task, split)
    where = {"cut": cut_of(run), "calibration": calibration_of(data)}
    made = []
    for source, rows in wanted.items():
        choice = chosen(prepared, passes, group_B, rows)
        certificate = certificate_of(prepared, choice, source, passes, where)
        show(certificate, certificate.write(prepared.export or run))
        made.append(certificate)
    return made


def rows_by_source(split: Any, by_source: bool) -> dict[Source, np.ndarray]:
    import numpy as np

    if not by_source:
        return {None: np.arange(len(split))}
    if split.source.origins is None:
        raise ConfigError("sources=true: the calibration part's data has no column source")
    origins = np.array(split.source.origins)
    return {str(name): np.flatnonzero(origins == name) for name in np.unique(origins)}


def groups(task: Any, split: Any) -> np.ndarray:
    """A number for each example, equal where examples were not drawn independently: pairs on one
    premise, or linked by a question."""
    import numpy as np

    from eat_lightning.data.calibration import group_ids

    if task.groups in ("random", "root_phrases"):
        return np.arange(len(split))
    return group_ids(task, split.source.texts)


def chosen(prepared: Prepared, passes: Passes, group_B: np.ndarray, rows: np.ndarray) -> Choice:
    """The cheapest certified candidate on these rows, and what they show of it."""
    import numpy as np

    from eat_lightning.certify.candidates import Candidate
    from eat_lightning.certify.select import choose
    from eat_lightning.model.flops import static_flops

    full, risk = prepared.chains[0][0], prepared.target.risk
    label_B = passes.split.labels
    full_B = passes.outcome(full).logits_BC.argmax(-1)
    losses = []
    for chain in prepared.chains:
        early = [passes.outcome(point).logits_BC.argmax(-1) for point in chain]
        losses.append(np.stack([risk.losses(full_B, early_B, label_B)[rows] for early_B in early]))

    known: dict[str, float] = {}

    def cost(candidate: Candidate) -> float:
        key = str(candidate.specs)
        if key not in known:
            known[key] = float(passes.flops_B(candidate)[rows].mean())
        return known[key]

    choice = choose(prepared.chains, losses, cost, prepared.target, group_B[rows])
    if len(rows):
        body, lengths = passes.body(choice.candidate), passes.recorded(choice.candidate).lengths
        whole = float(static_flops(body, lengths[rows]).mean())
        depth_B = passes.outcome(choice.candidate).depth_B[rows]
        choice.seen |= {
            "depth": float(depth_B.mean()),
            "flops_ratio": cost(choice.candidate) / whole,
            "full_flops_ratio": cost(full) / whole,
        }
    return choice


def certificate_of(
    prepared: Prepared, choice: Choice, source: Source, passes: Passes, where: dict[str, str]
) -> Certificate:
    """where: what was looked at, by hash."""
    from eat_lightning.model.contracts import spec
    from eat_lightning.runs.certificate import Certificate, of_source

    target = prepared.target
    return Certificate(
        name=of_source(prepared.plan.name or default_name(target, prepared.plan.budget), source),
        source=source,
        risk=spec("risk", target.risk),
        procedure=spec("procedure", target.procedure),
        level=target.level,
        confidence=target.confidence if target.procedure.uses_confidence else None,
        promise=promise(target, choice),
        fallback=choice.fallback,
        reason=choice.reason,
        seen=choice.seen,
        holds_for=passes.identity(choice.candidate) | where,
    )


def default_name(target: Target, budget: Any = None) -> str:
    from eat_lightning.model.contracts import spec

    kind = spec("procedure", target.procedure)["kind"]
    how = f"{target.confidence:g}" if target.procedure.uses_confidence else kind
    fitted = "" if budget is None else f"-budget-{budget}"
    return f"{target.title.replace(' ', '_')}-{target.level:g}-{how}{fitted}"


def promise(target: Target, choice: Choice) -> str:
    if not choice.fallback or (choice.certified and not target.risk.none_at_full_depth):
        return target.promise()
    if target.risk.none_at_full_depth:
        return f"nothing leaves early, so {target.title} is 0"
    return f"nothing is promised of {target.title}, which full depth has too"


def show(certificate: Certificate, path: Any) -> None:
    from eat_lightning.runs.certificate import short

    seen, policies = certificate.seen, certificate.policies
    where = "" if certificate.source is None else f" of source {certificate.source}"
    if certificate.fallback:
        print(f"fallback to full depth{where}: {certificate.reason}")
    else:
        print(f"chosen{where}: {short(policies['exit'])}; {short(policies['reduction'])}")
    if certificate.holds_for["policy"]:
        print(f"policies: {short(certificate.holds_for['policy'])}")
    print(f"promise: {certificate.promise}")
    if seen.get("depth") is not None and seen["risk"] is not None:
        print(
            f"seen on {seen['num_examples']} calibration examples: risk "
            f"{100 * seen['risk']:.2f} %, depth {seen['depth']:.2f}, FLOPs ratio "
            f"{seen['flops_ratio']:.3f} (full depth {seen['full_flops_ratio']:.3f})"
        )
    print(f"saved: {path}; use it with certificate={certificate.name}")


main = entry("certify", certify)

if __name__ == "__main__":
    main()
