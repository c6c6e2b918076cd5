"""The settings of a small bench, for tests."""

from pathlib import Path
from typing import Any

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_heads": 2,
    "intermediate_size": 32,
    "num_layers": 12,
    "vocab_size": 40,
}


def config(to: Path, **changes: Any) -> dict[str, Any]:
    given = {
        **{
            "what": "speed",
            "run": None,
            "data": {"dir": None},
            "minutes": None,
            "near": [8, 20],
            "body": None,
            "long": None,
        },
        **{"encoder": SIZES, "ratio": 0.3, "leaving": 0.5, "lengths": None, "tasks": ["sst2"]},
        **{"batches": [2], "examples": 4, "repeats": 2, "dtype": "fp32"},
        **{"threads": 1, "seed": 0, "to": str(to / "bench"), "force": True},
        **{"compilers": ["compiled", "frozen"], "only": None, "budget": None},
    }
    return given | changes
