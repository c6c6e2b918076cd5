"""`python -m eat_lightning.certify run=<folder> risk=… level=…`: exits with a guarantee.

Only the part of the calibration cut that nothing else uses is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from eat_lightning.certify.select import Choice, Target
    from eat_lightning.infer.record import Recorded
    from eat_lightning.measure.settings import Setting
    from eat_lightning.runs.certificate import Certificate
    from eat_lightning.runs.run import Run


def certify(config: dict[str, Any]) -> list[Certificate]:
    """One certificate, or one for each source; each is saved and told.

    Raises ConfigError, one line per fault, before anything is loaded.
    """
    import torch

    from eat_lightning.certify.export import ExportPasses, of_export
    from eat_lightning.certify.plan import planned

    plan = planned(config)
    torch.set_num_threads(config["threads"])
    data = plan.run.data(**config["data"])
    split = data.split("certificate")
    wanted = parts(split, config["sources"])
    export = plan.export
    passes: Any = (
        Passes(plan.run, split, config)
        if export is None
        else ExportPasses(plan.run, export, split, config)
    )
    made = []
    for source, rows in wanted:
        choice = chosen(plan.chains, passes, plan.target, grouped(plan.run.task, split), rows)
        certificate = certified(plan.run, plan.target, choice, source, data, config)
        if export is not None:
            certificate = of_export(certificate, export)
        tell(certificate, certificate.write(export or plan.run))
        made.append(certificate)
    return made


@dataclass
class Passes:
    """Recorded passes over the calibration part: one for each reduction, when first asked for."""

    run: Run
    split: Any
    config: dict[str, Any]

    def __post_init__(self) -> None:
        from eat_lightning.infer.precision import in_dtype, in_form

        model, self.labels = self.run.model()
        encoder = in_dtype(model, self.config["dtype"]).to(self.config["device"])
        self.encoder = in_form(encoder, form_for(self.config))
        self.made: dict[str, tuple[Any, Recorded]] = {}

    def of(self, setting: Setting) -> tuple[Any, Recorded]:
        """An encoder that reduces like this, and what all its exits said."""
        from eat_lightning.infer.record import record
        from eat_lightning.model.encoder import with_slots
        from eat_lightning.model.policies import policy_faults

        key = str(setting.specs["reduction"])
        if key not in self.made:
            body = with_slots(self.encoder, **setting.methods, policies=setting.policies)
            faults = policy_faults(body.policies, body, self.labels, self.run.folder / "model")
            if faults:
                raise ConfigError.of(faults)
            title = f"{self.run.name}: certificate"
            self.made[key] = body, record(body, self.split, self.config["batch"], title)
        return self.made[key]

    def recorded(self, setting: Setting) -> Recorded:
        return self.of(setting)[1]


def form_for(config: dict[str, Any]) -> str:
    from eat_lightning.infer.precision import form_of

    return form_of(config["prepack"], config["dtype"], config["device"])


def parts(split: Any, by_source: bool) -> list[tuple[str | None, np.ndarray]]:
    """Rows by source, or all."""
    import numpy as np

    if not by_source:
        return [(None, np.arange(len(split)))]
    if split.source.origins is None:
        raise ConfigError("sources=true: the calibration part's data has no column source")
    origins = np.array(split.source.origins)
    return [(str(name), np.flatnonzero(origins == name)) for name in np.unique(origins)]


def grouped(task: Any, split: Any) -> np.ndarray:
    """A number for each example, equal where examples were not drawn independently: pairs on one
    premise, or linked by a question."""
    import numpy as np

    from eat_lightning.data.calibration import group_ids

    if task.groups in ("random", "root_phrases"):
        return np.arange(len(split))
    return group_ids(task, split.source.texts)


def chosen(
    chains: Sequence[Sequence[Setting]],
    passes: Any,
    target: Target,
    group_B: np.ndarray,
    rows: np.ndarray,
) -> Choice:
    from eat_lightning.certify.select import choose, losses_of
    from eat_lightning.model.flops import flops, static_flops

    full = passes.recorded(chains[0][0])
    full_B = full.guesses[len(full.tokens_LB)].argmax(-1)
    losses = [losses_of(chain, passes.recorded, full_B, target.risk)[:, rows] for chain in chains]

    def cost(setting: Setting) -> float:
        body, recorded = passes.of(setting)
        depth_B = recorded.under(setting.exit).depth_B
        return float(flops(body, setting.exit, recorded.tokens_LB, depth_B)[rows].mean())

    choice = choose(chains, losses, remembered(cost), target, group_B[rows])
    if len(rows):
        body, recorded = passes.of(choice.setting)
        depth_B = recorded.under(choice.setting.exit).depth_B[rows]
        whole = float(static_flops(body, recorded.lengths[rows]).mean())
        ratios = {"flops_ratio": cost(choice.setting), "full_flops_ratio": cost(chains[0][0])}
        choice.seen |= {"depth": float(depth_B.mean())}
        choice.seen |= {name: flops / whole for name, flops in ratios.items()}
    return choice


def remembered(cost: Callable[[Setting], float]) -> Callable[[Setting], float]:
    known: dict[str, float] = {}

    def look_up(setting: Setting) -> float:
        key = str(setting.specs)
        if key not in known:
            known[key] = cost(setting)
        return known[key]

    return look_up


def certified(
    run: Run,
    target: Target,
    choice: Choice,
    source: str | None,
    data: Any,
    config: dict[str, Any],
) -> Certificate:
    from eat_lightning.model.contracts import spec
    from eat_lightning.runs.certificate import DTYPES, Certificate, combination, of_source

    name = of_source(config["name"] or default_name(target), source)
    dtype, form = DTYPES[config["dtype"]], form_for(config)
    return Certificate(
        name=name,
        source=source,
        risk=spec("risk", target.risk),
        procedure=spec("procedure", target.procedure),
        level=target.level,
        confidence=target.confidence if target.procedure.uses_confidence else None,
        promise=promised(target, choice),
        fallback=choice.fallback,
        reason=choice.reason,
        seen=choice.seen,
        holds_for=combination(run, choice.setting.specs, dtype, config["device"], data, form),
    )


def default_name(target: Target) -> str:
    from eat_lightning.model.contracts import spec

    what = target.title.replace(" ", "_")
    if target.procedure.uses_confidence:
        return f"{what}-{target.level:g}-{target.confidence:g}"
    return f"{what}-{target.level:g}-{spec('procedure', target.procedure)['kind']}"


def promised(target: Target, choice: Choice) -> str:
    if not choice.fallback or (choice.certified and not target.risk.none_at_full_depth):
        return target.promise()
    if target.risk.none_at_full_depth:
        return f"nothing leaves early, so {target.title} is 0"
    return f"nothing is promised of {target.title}, which full depth has too"


def tell(certificate: Certificate, path: Any) -> None:
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
