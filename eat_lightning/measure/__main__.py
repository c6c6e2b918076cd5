"""`python -m eat_lightning.measure run=<folder>`: accuracy, depth, retention, FLOPs and time.

tau and the exit rule never need training: one pass records every exit, and the rest follows.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.errors import ConfigError

if TYPE_CHECKING:
    from eat_lightning.infer.latency import Candidate
    from eat_lightning.measure.settings import Setting
    from eat_lightning.runs.row import Row
    from eat_lightning.runs.run import Run


GRAPHS = "ours_graphs"  # kernels of a row: ours, single examples from CUDA graphs


def measure(config: dict[str, Any]) -> list[Row]:
    """Measure all settings of all runs, write their rows, print a table.

    Raises ConfigError, one line per fault, before anything is loaded.
    """
    from eat_lightning.measure.plan import planned
    from eat_lightning.measure.summary import show
    from eat_lightning.runs.certificate import Certificate
    from eat_lightning.runs.row import write
    from eat_lightning.track.log import log_rows

    plan = planned(config)
    results = [result for run, settings in plan for result in recorded(run, settings, config)]
    rows = timed(results, config) if config["timing"]["enabled"] else [r.row for r in results]
    for run, _ in plan:
        own = [row for row, r in zip(rows, results, strict=True) if r.run is run]
        write(run.folder / "rows.jsonl", [row for row in own if not row.policy])
        if asked := [row for row in own if row.policy]:
            # Apart: a report finds who leaves from the records alone, and policies ask for more.
            write(run.folder / "rows-policy.jsonl", asked)
    runs = [run for run, _ in plan]
    log_rows(config["logger"], rows, runs)
    show(rows, runs)
    for run in runs if config["certificate"] is not None else ():
        print(Certificate.read(run, config["certificate"]).said)
    return rows


@dataclass
class Result:
    """A setting's row, not yet timed, and how to time it."""

    run: Run
    row: Row
    candidate: Candidate
    static: bool  # dense / none / never on our kernels: what a speed-up is against


def recorded(run: Run, settings: list[Setting], config: dict[str, Any]) -> Iterator[Result]:
    """One pass for each attention and reduction; every exit rule follows from its records."""
    from eat_lightning.infer.latency import undisturbed
    from eat_lightning.infer.precision import PLAIN, in_form
    from eat_lightning.infer.record import record
    from eat_lightning.measure.baselines import in_dtype
    from eat_lightning.measure.settings import THEIRS, certificate_of, form_for
    from eat_lightning.model.encoder import with_slots
    from eat_lightning.model.policies import policy_faults
    from eat_lightning.runs.row import row_of

    split = dev_split(run, config)
    form = form_for(certificate_of(run, config), config)
    model, labels = run.model()
    plain_encoder = in_dtype(model, config["dtype"]).to(config["device"])
    with undisturbed(config["threads"]):  # prepacked for as many threads as are timed
        encoder = in_form(plain_encoder, form)
    passes: dict[str, Any] = {}
    for setting in settings:
        body = with_slots(encoder, **setting.methods, policies=setting.policies)
        if faults := policy_faults(body.policies, body, labels, run.folder / "model"):
            raise ConfigError.of(faults)
        key = str(
            [setting.specs[s] for s in ("attention", "reduction", "policy") if s in setting.specs]
        )
        if key not in passes:
            passes[key] = record(body, split, config["batch"], f"{run.name}: all exits")
            path = run.folder / examples_name(key, form, config)
            passes[key].under(setting.exit).to_parquet(path)
        how = {"split": config["split"], "dtype": config["dtype"], "device": device_name(config)}
        how |= {"form": form, "examples": examples_name(key, form, config)}
        row = row_of(run, body, passes[key], setting.exit, baseline=setting.baseline, **how)
        if setting.baseline == THEIRS:
            # Theirs runs as people call it; what it says is what these weights say in our hands.
            row, body = replace(row, kernels="hf_eager", form=PLAIN), plain_encoder
        elif config["timing"]["enabled"] and config["timing"]["graphs"]:
            row = replace(row, kernels=GRAPHS)
        static = setting.is_static and setting.baseline != THEIRS
        yield Result(run, row, candidate_for(body, split, row.kernels, config["device"]), static)


def examples_name(key: str, form: str, config: dict[str, Any]) -> str:
    """One file for each way of attending and reducing, and form of the weights, since those differ
    in a logit's last bits; exit rules share it."""
    from eat_lightning.infer.precision import PLAIN

    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    dtype = config["dtype"] + (f"-{form}" if form != PLAIN else "")
    return f"examples-{config['split']}-{dtype}-{digest}.parquet"


def dev_split(run: Run, config: dict[str, Any]) -> Any:
    from eat_lightning.measure.plan import split_faults

    data = run.data(**config["data"])
    if faults := split_faults(config["split"], data.names, run.name):
        raise ConfigError.of(faults)
    return data.split(config["split"])


def device_name(config: dict[str, Any]) -> str:
    import torch

    return torch.cuda.get_device_name() if config["device"] == "cuda" else "cpu"


def candidate_for(encoder: Any, split: Any, kernels: str, device: str) -> Candidate:
    import torch

    from eat_lightning.infer.latency import Candidate
    from eat_lightning.measure.baselines import HuggingFaceTwin

    if kernels == "hf_eager":
        twin = HuggingFaceTwin(encoder)
        run, ready = twin, twin.ready
    else:
        run, ready = encoder.eval(), lambda batch: batch
    if kernels == GRAPHS:
        run = recorded_for(encoder, split)
    if device == "cpu":
        return Candidate(run, split, ready)

    def on_device(given: Any) -> None:
        run(given.to(device) if kernels != "hf_eager" else given)
        torch.cuda.synchronize()

    return Candidate(on_device, split, ready)


def recorded_for(encoder: Any, split: Any) -> Any:
    """All lengths of the split are recorded, so that no recording is timed."""
    from eat_lightning.infer.cuda_graphs import Graphed

    graphed = Graphed(encoder, most=encoder.shape.max_length)
    graphed.prepare(sorted({*split.lengths.tolist()}))
    return graphed


def timed(results: list[Result], config: dict[str, Any]) -> list[Row]:
    """All settings of all runs by turns; speed-ups against the run's own static body."""
    from eat_lightning.infer.latency import time_all
    from eat_lightning.measure.plan import busy_faults

    how = {k: v for k, v in config["timing"].items() if k not in ("enabled", "force", "graphs")}
    candidates = {i: result.candidate for i, result in enumerate(results)}
    times = time_all(candidates, **how, threads=config["threads"])
    if busy_faults(config["timing"]):
        print("training began meanwhile: the times are not kept")
        return [result.row for result in results]
    rows, session = [], secrets.token_hex(6)
    for i, result in enumerate(results):
        static = [times[k] for k, r in enumerate(results) if r.run is result.run and r.static]
        against = speed_ups(times[i], static[0], result.row.flops_ratio) if static else {}
        fields = {key: value for key, value in times[i].items() if not key.endswith("_R")}
        rows.append(replace(result.row, **fields, **against, session=session))
    return rows


def speed_ups(
    times: dict[str, Any], static: dict[str, Any], flops_ratio: float
) -> dict[str, float]:
    """Of mean latencies and of throughputs; low and high are over repeats, whose turns were taken
    together."""
    factor = static["latency_ms"] / times["latency_ms"]
    factor_R = static["latency_R"] / times["latency_R"]
    batch_factor = times["throughput"] / static["throughput"]
    batch_factor_R = times["rate_R"] / static["rate_R"]
    return {
        "speed_up": factor,
        "speed_up_low": float(factor_R.min()),
        "speed_up_high": float(factor_R.max()),
        "conversion": factor * flops_ratio,
        "batch_speed_up": batch_factor,
        "batch_speed_up_low": float(batch_factor_R.min()),
        "batch_speed_up_high": float(batch_factor_R.max()),
        "batch_conversion": batch_factor * flops_ratio,
    }


main = entry("measure", measure, many="run")

if __name__ == "__main__":
    main()
