"""A study of one static model and one that adapts, with numbers that one can compute by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers.studies import EAT, keep, make_recorded, make_row

from eat_lightning.runs.row import write

SPEED_UP = {"speed_up": 2.0, "speed_up_low": 1.9, "speed_up_high": 2.1, "conversion": 1.2}
BATCH = {f"batch_{key}": value for key, value in SPEED_UP.items()}
STATIC_RIGHT, OWN_RIGHT = [1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 0]
EAT_RIGHT = {4: [1, 1, 1, 1, 1, 1, 0, 0], 6: [1] * 8}  # six leave at 4: depth 4.5


def times(ms: float, rate: float, in_order: float, **more: Any) -> dict[str, Any]:
    """Milliseconds ± 2 %, examples/s as they come and sorted ± 1 %."""
    return {
        **{"latency_ms": ms, "latency_low_ms": 0.98 * ms, "latency_high_ms": 1.02 * ms},
        **{"latency_p50_ms": ms, "latency_p90_ms": ms, "latency_p99_ms": ms},
        **{"throughput": rate, "throughput_low": 0.99 * rate, "throughput_high": 1.01 * rate},
        **{"throughput_sorted": in_order, "throughput_sorted_low": in_order},
        **{"throughput_sorted_high": in_order, "padding_factor": 1.5, "throughput_batch": 32},
        **{"threads": 1, "session": "one", "repeats": 3, "timed_examples": 8},
        **more,
    }


def static_run(folder: Path, seed: int = 1, **more: Any) -> None:
    """Right on 4 of 8, 8 ms at batch 1."""
    fields = {"run": f"static{seed}", "seed": seed, "examples": "s.parquet"} | more
    row = make_row(**{**fields, "accuracy": 0.5, **times(8.0, 100.0, 110.0, **more)})
    keep(folder / f"static{seed}", [row], make_recorded([STATIC_RIGHT], [6]))


def eat_run(folder: Path, seed: int = 1, right: dict[int, list[int]] | None = None, **more: Any):
    """Right on all 8, 5 ms at batch 1; its own static on 7, 10 ms; Hugging Face's 12 ms."""
    right = EAT_RIGHT if right is None else right
    path = folder / f"eat{seed}"
    same = {"run": path.name, "seed": seed, "model": "eat"}
    left = sum(right[4]) / 8
    eat = {
        **same | EAT | SPEED_UP | BATCH | times(5.0, 200.0, 210.0),
        **{"flops_ratio": 0.6, "flops": 60.0, "depth": 6 - 2 * left, "examples": "e.parquet"},
        **{"accuracy": sum(max(pair) for pair in zip(*right.values(), strict=True)) / 8},
        **{"exit_shares": {"4": left, "6": 1 - left} if left < 1 else {"4": 1.0}},
    }
    rows = [make_row(**{**eat, **more})]
    keep(path, rows, make_recorded([*right.values()], [*right]))
    own = same | {"baseline": "own static", "accuracy": 0.875, "examples": "o.parquet"}
    theirs = own | {"baseline": "hugging face", "kernels": "hf_eager"}
    baselines = [
        make_row(**{**own, **times(10.0, 100.0, 110.0), **more}),
        make_row(**{**theirs, **times(12.0, 50.0, 100.0), **more}),
    ]
    keep(path, baselines, make_recorded([OWN_RIGHT, OWN_RIGHT], [4, 6]))
    (path / "model").mkdir(exist_ok=True)
    shape = {"hidden_size": 4, "intermediate_size": 16, "num_heads": 1, "vocab_size": 10}
    off = {"attention": {"kind": "dense"}, "reduction": {"kind": "none"}, "exit": {"kind": "never"}}
    config = {"model_type": "eat", "num_layers": 6, "head": {"layers": [6]}, **shape, **off}
    config["id2label"] = {"0": "negative", "1": "positive"}
    (path / "model" / "config.json").write_text(json.dumps(config))


def fixed_rows(folder: Path) -> None:
    """What `eat_run` gets where everybody leaves at layer 2, 4 or 6; nobody times these."""
    rows = [
        make_row(
            **{"run": "eat1", "model": "eat", "baseline": "fixed depth"},
            **{"reduction": EAT["reduction"], "exit": {"kind": "fixed", "layer": layer}},
            **{"depth": float(layer), "exit_shares": {str(layer): 1.0}, "flops": flops},
            accuracy=accuracy,
        )
        for layer, flops, accuracy in ((2, 30.0, 0.5), (4, 50.0, 0.75), (6, 80.0, 0.875))
    ]
    write(folder / "eat1" / "rows.jsonl", rows)
