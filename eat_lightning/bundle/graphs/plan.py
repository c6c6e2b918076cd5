"""Settings of `export`, and conflicts with a run or a folder."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator

from eat_lightning.bundle.bundle import graphs_in
from eat_lightning.bundle.onnx_runner import ABOUT
from eat_lightning.bundle.sessions import engine_faults
from eat_lightning.config import DataSettings, RunFolder, Settings
from eat_lightning.validation import Count, Share, is_whole

if TYPE_CHECKING:
    from eat_lightning.model.encoder import AdaptiveEncoder
    from eat_lightning.runs.run import Run

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
NARROWED = "narrowed.json"  # in a folder of target=encoder: of which run, and how narrow


def all_or_count(value: Any) -> Any:
    if value == "all" or (is_whole(value) and value >= 0):
        return value
    raise ValueError(f"must be all, or 0 or more, got {value!r}")


def package_faults() -> list[str]:
    absent = [name for name in PACKAGES if find_spec(name) is None]
    how = "pip install 'eat-lightning[onnx]'"
    return [f"export needs {', '.join(absent)}: {how}"] if absent else []


def export_slot_faults(encoder: AdaptiveEncoder) -> list[str]:
    """List the parts of an encoder's methods that graphs do not support."""
    from eat_lightning.model.contracts import ExitRule, overrides
    from eat_lightning.model.policies import specs_of
    from eat_lightning.model.specification import kind_of

    last = encoder.heads.at(encoder.shape.num_layers)  # the others are of its kind
    slots = [encoder.attention, encoder.reduction, encoder.exit, last]
    faults = [fault for m in slots for fault in m.export_blockers()]
    if overrides(encoder.exit, ExitRule.observe):
        kind = kind_of("exit", type(encoder.exit))
        faults.append(f"exit={kind} observes a signal, which graphs do not have")
    if encoder.policies:
        named = ", ".join(given.kind for given in specs_of(encoder.policies))
        faults.append(f"policy: exports have none, and this run's model has {named}")
    return faults


class ExportSettings(Settings):
    """Settings of an export.

    Args:
        check: number of examples for the comparison with the run.
        engines: in which they are compared.
        agree: minimum share of equal answers in int8.
        heads, inner, layers: for target=encoder, the heads and inner neurons to keep in each layer,
            and the number of layers (None: all). Without any, parts with zero weights are removed.
        examples: number of examples for ranking heads and neurons.
    """

    run: RunFolder
    target: Literal["onnx", "encoder"]
    dtype: Literal["fp32", "int8"]
    to: str | None
    force: bool
    exit: dict[str, Any]
    head: dict[str, Any]
    heads: Count | None
    inner: Count | None
    layers: Count | None
    examples: Count
    check: Annotated[int | str, BeforeValidator(all_or_count)]
    split: str
    agree: Share
    engines: list[Literal["onnx", "openvino"]]
    data: DataSettings
    threads: Count | None

    def rules(self) -> Iterator[str]:
        if self.target == "encoder":
            if self.dtype != "fp32":
                yield f"dtype must be fp32 with target=encoder, got {self.dtype!r}"
            return
        for key, value in self.numbers.items():
            yield f"{key} must be null except with target=encoder, got {value}"
        yield from package_faults()
        from eat_lightning.runs.plan import time_faults

        yield from time_faults("exit.budget", [self.exit.get("budget")], "an export")
        for engine in self.engines:
            yield from engine_faults(engine, self.dtype)

    @property
    def numbers(self) -> dict[str, int]:
        """Requested sizes of a smaller encoder, by name."""
        given = {"heads": self.heads, "inner": self.inner, "layers": self.layers}
        return {key: value for key, value in given.items() if value is not None}

    @property
    def folder(self) -> Path:
        if self.to:
            return Path(self.to)
        if self.target == "onnx":
            return graphs_in(Path(self.run), "onnx", self.dtype)
        kept = [f"{key}-{n}" for key, n in self.numbers.items()] or ["cut"]
        return Path(self.run).with_name("-".join([Path(self.run).name, *kept]))

    def faults(self, run: Run) -> list[str]:
        """List errors in the output folder, and in the data for the comparison."""
        from eat_lightning.data.calibration import PARTS
        from eat_lightning.runs.validate import data_faults, split_faults

        to, found = self.folder, []
        mark = ABOUT if self.target == "onnx" else NARROWED
        if to.exists() and not self.force:
            found.append(f"to={to} is there already: name another folder, or give force=true")
        elif to.exists() and not (to / mark).is_file():
            what = f"no export (no {mark} in it)"
            found.append(f"to={to} is {what}, so force=true does not replace it")
        if self.target == "encoder":
            return found + data_faults(run, dir=self.data.dir)
        if not self.check:
            return found
        task, faults = run.task, data_faults(run, dir=self.data.dir)
        faults += split_faults(self.split, [*task.validation, *PARTS, "train"], task.name)
        return found + [f"{fault} (or give check=0)" for fault in faults]
