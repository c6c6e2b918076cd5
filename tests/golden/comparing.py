"""Values beside those of a golden file: words, counts and decisions must be equal, and numbers that
a model computes in float32 must be equal but for rounding."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ANSWERS = Path(__file__).with_name("answers")
WRITE = "EAT_GOLDEN_WRITE"  # in the environment: files are written instead of compared
JITTER = "EAT_GOLDEN_JITTER"  # weights differ slightly, see small_models.py
DIGITS = 7
EXACT = 1e-6  # relative difference of what is counted; a file has seven digits
COMPUTED = {  # and of what a model computes in float32, or what is fitted to that, by its key
    **dict.fromkeys(("confidence", "probabilities", "score", "error", "logits"), 1e-4),
    **dict.fromkeys(("tau", "bound", "point", "margin"), 1e-4),
    "scales": 3e-4,  # it is rounded to four digits
}
NEAR_0 = 3e-5  # absolute difference of such numbers; between AVX-512 and AVX2 it is 5e-6
SHOWN = 12  # differences in a message


@dataclass
class Golden:
    """One golden file. A key stands for one call of a command."""

    name: str
    values: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        there = self.path.is_file()
        self.values = json.loads(self.path.read_text()) if there else {}

    @property
    def path(self) -> Path:
        return ANSWERS / f"{self.name}.json"

    def check(self, key: str, found: Any) -> None:
        """Fail with the first differences from the golden file, or write the file anew."""
        found = plain(found)
        if os.environ.get(WRITE):
            self.values[key] = found
            self.write()
            return
        assert key in self.values, f"{self.path.name} has no {key}: python -m tests.golden.make"
        differences = [*differing(found, self.values[key], key)]
        shown = "\n".join(differences[:SHOWN])
        assert not differences, f"{len(differences)} differences from {self.path.name}:\n{shown}"

    def write(self) -> None:
        """Write a line for each key."""
        lines = [
            f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}"
            for k, v in self.values.items()
        ]
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def plain(value: Any) -> Any:
    """A value as JSON has it, with floats of seven digits."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else str(value)
    return value


def differing(found: Any, golden: Any, path: str, tolerance: float = EXACT) -> Iterator[str]:
    """Yield a line for each difference.

    Args:
        path: of the values, for the message.
        tolerance: relative, of floats that stand under no key of `COMPUTED`.
    """
    if isinstance(found, dict) and isinstance(golden, dict):
        for key in [*golden, *(key for key in found if key not in golden)]:
            if key in found and key in golden:
                inner = COMPUTED.get(key, tolerance)
                yield from differing(found[key], golden[key], f"{path}.{key}", inner)
            else:
                yield f"{path}.{key}: {'is missing' if key in golden else 'is new'}"
    elif isinstance(found, list) and isinstance(golden, list) and len(found) == len(golden):
        for number, pair in enumerate(zip(found, golden, strict=True)):
            yield from differing(*pair, f"{path}[{number}]", tolerance)
    elif not is_same(found, golden, tolerance):
        yield f"{path}: {str(found)[:300]}, golden {str(golden)[:300]}"


def is_same(found: Any, golden: Any, tolerance: float) -> bool:
    if not (isinstance(found, float) and isinstance(golden, float)):
        return found == golden
    if tolerance == EXACT:
        return math.isclose(found, golden, rel_tol=EXACT, abs_tol=EXACT)
    times = 10 if os.environ.get(JITTER) else 1  # decisions are asked for then, not values
    return math.isclose(found, golden, rel_tol=times * tolerance, abs_tol=times * NEAR_0)
