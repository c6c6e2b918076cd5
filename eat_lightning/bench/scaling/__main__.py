"""`python -m eat_lightning.bench.scaling`: how time and memory grow with a text's length.

Besides it the batch, the layers run, the heads asked and retention vary. Random weights: times and
memory alone.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.errors import ConfigError

if TYPE_CHECKING:
    from eat_lightning.bench.scaling.compaction import CompactionRow
    from eat_lightning.bench.scaling.rows import GrowthRow, OperatorRow


def growth(config: dict[str, Any]) -> list[GrowthRow]:
    """Measure it all, write rows, tables and the figure; returns the rows.

    Raises ConfigError, one line per fault, before anything is timed.
    """
    from eat_lightning.measure.plan import busy_faults

    timing = {"enabled": True, "force": config["force"]}
    if faults := [*faults_of(config), *busy_faults(timing)]:
        raise ConfigError.of(faults)
    found = grown(config)
    if busy_faults(timing):
        raise ConfigError("training began meanwhile: the times are not kept")
    keep(found, Path(config["to"]), config["at"])
    return found.rows


@dataclass
class Grown:
    rows: list[GrowthRow]
    operators: list[OperatorRow]
    compaction: list[CompactionRow]


def grown(config: dict[str, Any]) -> Grown:
    from eat_lightning.bench.scaling.compaction import TOKENS, compaction
    from eat_lightning.bench.scaling.measured import measured
    from eat_lightning.bench.scaling.points import rounds
    from eat_lightning.bench.scaling.subjects import body
    from eat_lightning.infer.latency import undisturbed
    from eat_lightning.runs.run import environment

    where = environment()
    how = {
        **{key: config[key] for key in ("threads", "window", "ratio")},
        **{"width": config["encoder"]["hidden_size"]},
        **{"num_layers": config["encoder"]["num_layers"], "machine": where["machine"]},
        **{"commit": where["commit"] or "", "version": where["eat_lightning"]},
        **{"session": secrets.token_hex(6)},
    }
    longest = max(*config["lengths"], *TOKENS)
    encoder = body(config["encoder"], longest, config["seed"])
    rows, operators = [], []
    with undisturbed(config["threads"]):
        for points in rounds(encoder, config):
            found = measured(points, config["repeats"], config["mask_up_to"], **how)
            rows += found[0]
            operators += found[1]
            said = ", ".join(f"{r.contestant} {r.size:g}: {r.ms:,.1f}" for r in found[0])
            print(f"{points[0].axis}, ms: {said}", flush=True)
        return Grown(rows, operators, compaction(encoder, config["repeats"]))


def keep(found: Grown, folder: Path, at: int) -> None:
    from eat_lightning.bench.scaling import rows as files
    from eat_lightning.bench.scaling.plot import figure_of
    from eat_lightning.bench.scaling.show import tables_of
    from eat_lightning.report import figures, tables

    files.write(folder / "rows.jsonl", found.rows)
    files.write(folder / "operators.jsonl", found.operators)
    files.write(folder / "compaction.jsonl", found.compaction)
    for table in tables_of(found.rows, found.operators, found.compaction, at):
        tables.write(table, folder)
        tables.show(table)
    figures.save(figure_of(found.rows), folder)
    print(f"written: {folder}")


def faults_of(config: dict[str, Any]) -> list[str]:
    from eat_lightning.bounds import number_faults
    from eat_lightning.measure.plan import whole_faults
    from eat_lightning.methods.attention.longformer import Longformer

    encoder = config["encoder"]
    sizes = {f"encoder.{key}": value for key, value in encoder.items()}
    counts = {key: config[key] for key in ("repeats", "threads", "dense_up_to", "at")}
    faults = [*whole_faults(sizes, 1), *whole_faults(counts, 1)]
    faults += whole_faults({"mask_up_to": config["mask_up_to"]}, 0)
    faults += Longformer.faults(None, window=config["window"])
    faults += number_faults("ratio", config["ratio"], "[0, 1)")
    for key, least in (("lengths", 2), ("batches", 1)):
        faults += list_faults(key, config[key], least)
    faults += ratio_faults(config["ratios"])
    if faults:
        return faults
    if encoder["num_layers"] < 3:
        faults.append(f"encoder.num_layers must be 3 or more, got {encoder['num_layers']}")
    if encoder["hidden_size"] % encoder["num_heads"]:
        width, heads = encoder["hidden_size"], encoder["num_heads"]
        faults.append(f"encoder.hidden_size must be a multiple of num_heads={heads}, got {width}")
    known = [length for length in config["lengths"] if length <= config["dense_up_to"]]
    if config["at"] not in known:
        faults.append(f"at must be one of lengths up to dense_up_to, {known}, got {config['at']}")
    return faults


def list_faults(key: str, values: Any, least: int) -> list[str]:
    """Two different whole numbers or more: a slope needs them."""
    from eat_lightning.measure.plan import whole_faults

    if not isinstance(values, list) or len(set(map(str, values))) < 2:
        return [f"{key} must be a list of two numbers or more, got {values!r}"]
    return [*whole_faults({f"{key}[{i}]": value for i, value in enumerate(values)}, least)]


def ratio_faults(values: Any) -> list[str]:
    from eat_lightning.bounds import number_faults

    if not isinstance(values, list) or len(set(map(str, values))) < 2:
        return [f"ratios must be a list of two numbers or more, got {values!r}"]
    return [*number_faults("ratios", values, "[0, 1)")]


main = entry("growth", growth)

if __name__ == "__main__":
    main()
