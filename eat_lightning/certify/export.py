"""Certifying an export: the procedures of a run, on what the export's own graphs say.

An exit of an export can come later than its graphs say and never earlier (`later.py`), so the
points to choose from end at the graphs' own rule. Full depth, which every risk compares with, is
that of the graphs too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eat_lightning.bounds import layer_faults
from eat_lightning.certify.candidates import TAUS, chains_of
from eat_lightning.errors import ConfigError
from eat_lightning.infer.exported import Export
from eat_lightning.measure.settings import STATIC, Setting
from eat_lightning.model.contracts import build, spec
from eat_lightning.runs.certificate import Certificate, sha256_of

if TYPE_CHECKING:
    from eat_lightning.infer.record import Recorded
    from eat_lightning.model.contracts import Policy
    from eat_lightning.runs.run import Run

IN_GRAPHS = {"dtype": "fp32", "device": "cpu", "ratios": None}  # and what leaves them as they are


def export_faults(run: Run, export: Export, config: dict[str, Any]) -> list[str]:
    """What of a config cannot be asked of this export, or of this run beside it."""
    faults = [
        f"{key} is not an option of onnx=...: it is in the export's graphs, got {config[key]!r}"
        for key, own in IN_GRAPHS.items()
        if config[key] != own
    ]
    rule, where = export.about.get("exit"), f"onnx={config['onnx']}"
    if not isinstance(rule, dict) or rule.get("kind") != "confidence" or not export.layers:
        kind = rule.get("kind") if isinstance(rule, dict) else rule
        faults.append(f"{where}: certify holds an export to a tau, and its exit rule is {kind}")
    elif config["layers"] is not None:
        faults += layer_faults("layers", config["layers"], export.about["num_layers"], at_least=1)
        if not {*config["layers"]} <= {*export.layers}:
            got = config["layers"]
            faults.append(f"layers must be among {where}'s exits, {export.layers}, got {got}")
    weights = sha256_of([run.folder / "model" / "model.safetensors"])
    if export.about.get("weights") != weights:
        faults.append(f"{where} is not an export of run={run.name}'s weights: export it again")
    return faults


def chains_for_export(
    export: Export, policies: tuple[Policy, ...], config: dict[str, Any]
) -> list[list[Setting]]:
    """From full depth to the graphs' own rule, by taus that are at or above the graphs' own."""
    own = export.about["exit"]
    try:
        methods = {s: build(s, export.about[s]) for s in ("attention", "reduction", "exit")}
    except (ValueError, KeyError) as error:
        raise ConfigError(f"onnx={config['onnx']}: not what `export` writes ({error})") from None
    last = Setting(**methods, policies=policies)
    full = replace(last, exit=build("exit", STATIC["exit"]))
    least = taus_at(own)
    rule = own | {"layers": config["layers"] or [*least]}
    taus = [*(config["taus"] or TAUS), *([max(least.values())] if not config["taus"] else [])]
    chains = [
        [point for point in chain if reachable(spec("exit", point.exit), least)]
        for chain in chains_of(full, rule, taus, config["exits"])
    ]
    if config["layers"] is None and not config["taus"]:
        chains = [[*(p for p in chain if p.specs != last.specs), last] for chain in chains]
    return chains


def taus_at(rule: dict[str, Any]) -> dict[int, float]:
    """By layer."""
    made = build("exit", rule)
    taus = made.tau if isinstance(made.tau, list) else [made.tau] * len(made.layers)
    return dict(zip(made.layers, taus, strict=True))


def reachable(rule: dict[str, Any], least: dict[int, float]) -> bool:
    """Whether graphs with these taus let go whomever the rule lets go."""
    return rule["kind"] == "never" or all(tau >= least[k] for k, tau in taus_at(rule).items())


class ExportPasses:
    """The recorded pass of an export over the calibration part, made when first asked for; one, as
    pruning is in its graphs. The run's encoder tells what a layer costs, and answers nothing."""

    def __init__(self, run: Run, export: Export, split: Any, config: dict[str, Any]):
        self.run, self.export, self.split, self.config = run, export, split, config
        self.encoder, self.labels = run.model()
        self.made: Recorded | None = None

    def of(self, setting: Setting) -> tuple[Any, Recorded]:
        from eat_lightning.model.encoder import with_slots

        return with_slots(self.encoder, **setting.methods), self.recorded(setting)

    def recorded(self, setting: Setting) -> Recorded:
        if self.made is None:
            from eat_lightning.infer.record_export import record_export

            title = f"{self.export.name}: certificate"
            how = self.split, setting.policies, self.config["batch"], title
            self.made = record_export(self.export, *how)
            if self.made.lengths.tolist() != self.split.lengths.tolist():
                raise ConfigError(f"{self.export.name} has another tokenizer than {self.run.name}")
        return self.made


def of_export(certificate: Certificate, export: Export) -> Certificate:
    """The same, of a run, held to the export that it was made with."""
    held = certificate.holds_for
    where_from = {key: held[key] for key in ("cut", "calibration")}
    made = export.combination(held["exit"], certificate.asked())
    return replace(certificate, holds_for=made | where_from)
