"""`python -m eat_lightning.bench`: how fast the encoders are, against Hugging Face's and against
what the machine can do. Random weights: times alone."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from eat_lightning.config import CONFIG_DIR, compose_or_explain, plain, plain_errors
from eat_lightning.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from eat_lightning.benching.rows import BenchRow

KEPT = Path("experiments") / "results" / "frontier"


@hydra.main(config_path=CONFIG_DIR, config_name="bench", version_base="1.3")
def job(cfg: DictConfig) -> None:
    try:
        with plain_errors():
            bench(plain(cfg))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def main() -> None:
    compose_or_explain("bench", sys.argv[1:])
    job()


def bench(config: dict[str, Any]) -> list[BenchRow]:
    """Run it all, write rows, tables and figures; returns the new rows.

    Raises ConfigError, one line per fault, before anything is timed.
    """
    if faults := faults_of(config):
        raise ConfigError.of(faults)
    lengths = lengths_of(config)
    rows = list(timed(config, lengths))
    from eat_lightning.checks import busy_faults

    if busy_faults({"enabled": True, "force": config["force"]}):
        raise ConfigError("training began meanwhile: the times are not kept")
    keep(rows, Path(config["to"]), config["dtype"])
    return rows


def timed(config: dict[str, Any], lengths: dict[str, np.ndarray]) -> list[BenchRow]:
    import torch

    from eat_lightning.benching.ceilings import ceilings
    from eat_lightning.benching.contestants import contestants
    from eat_lightning.benching.race import heats, race, rows_of
    from eat_lightning.latency import undisturbed
    from eat_lightning.runs import environment

    dtype = torch.bfloat16 if config["dtype"] == "bf16" else torch.float32
    where = environment()
    how = {
        **{key: config[key] for key in ("dtype", "threads")},
        **{"machine": where["machine"], "commit": where["commit"] or ""},
        **{"version": where["eat_lightning"], "session": secrets.token_hex(6)},
    }
    runners = contestants(config["encoder"], config["ratio"], dtype, config["seed"])
    chosen = {key: config[key] for key in ("batches", "examples", "leaving", "seed")}
    rows = []
    with undisturbed(config["threads"]):
        bound = ceilings(runners[0].shape, dtype)
        print(f"ceilings: {bound.gflops:.0f} GFLOP/s, {bound.gbytes:.1f} GB/s", flush=True)
        for heat in heats(lengths, vocab_size=config["encoder"]["vocab_size"], **chosen):
            took = race(runners, heat, config["repeats"])
            rows += rows_of(runners, heat, took, bound, **how)
            said = ", ".join(f"{row.contestant} {row.ms:.2f}" for row in rows[-len(runners) :])
            print(f"{heat.task}, batch {heat.batch} {heat.order}, ms: {said}", flush=True)
    return rows


def keep(rows: list[BenchRow], folder: Path, dtype: str) -> None:
    from eat_lightning.benching import rows as files
    from eat_lightning.benching.show import roofline, table_of
    from eat_lightning.reporting import figures, tables

    known = files.write(folder / "rows.jsonl", rows)
    table = table_of(known, dtype)
    tables.write(table, folder)
    figures.save(roofline(known, dtype), folder)
    tables.show(table)
    print(f"written: {folder}")


def lengths_of(config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Tokens of each example, by task."""
    from eat_lightning.reporting.study import open_study

    path = config["lengths"] or KEPT
    study = open_study([str(path)])
    found = {
        measured.row.task: measured.outcome.recorded.lengths
        for measured in study.measured
        if measured.outcome is not None
    }
    tasks = list(found) if config["tasks"] is None else config["tasks"]
    unknown = [task for task in tasks if task not in found]
    if unknown or not found:
        raise ConfigError(
            f"lengths={path} has no examples of {', '.join(map(str, unknown)) or 'any task'}: "
            "give a folder that eat_lightning.report wrote"
        )
    return {task: found[task] for task in tasks}


def faults_of(config: dict[str, Any]) -> list[str]:
    from eat_lightning.checks import busy_faults, whole_faults
    from eat_lightning.slots import number_faults

    sizes = {f"encoder.{key}": value for key, value in config["encoder"].items()}
    counts = {key: config[key] for key in ("examples", "repeats", "threads")}
    faults = [*whole_faults(sizes, 1), *whole_faults(counts, 1)]
    faults += [*number_faults("ratio", config["ratio"], "[0, 1)")]
    faults += [*number_faults("leaving", config["leaving"], "[0, 1]")]
    batches = config["batches"]
    if not isinstance(batches, list) or not batches:
        faults.append(f"batches must be a list such as [1,32], got {batches!r}")
    else:
        faults += [f"batches must be 1 or more, got {b!r}" for b in batches if not usable(b)]
    if config["dtype"] not in ("fp32", "bf16"):
        faults.append(f"dtype must be fp32 or bf16, got {config['dtype']!r}")
    layers, width, heads = (
        config["encoder"][k] for k in ("num_layers", "hidden_size", "num_heads")
    )
    if not faults and layers % 6:
        faults.append(f"encoder.num_layers must be a multiple of 6, got {layers}")
    if not faults and width % heads:
        faults.append(f"encoder.hidden_size must be a multiple of num_heads={heads}, got {width}")
    return [*faults, *busy_faults({"enabled": True, "force": config["force"]})]


def usable(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


if __name__ == "__main__":
    main()
