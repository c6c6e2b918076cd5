"""Settings of `export`, and what of a run and a folder does not go with them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator

from eat_lightning.bounds import whole_faults
from eat_lightning.config import Plan, RunFolder, whole, within
from eat_lightning.infer.onnx_runner import ABOUT
from eat_lightning.predict.plan import DataPlan

if TYPE_CHECKING:
    from eat_lightning.runs.run import Run

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def all_or_some(value: Any) -> Any:
    if value != "all" and whole_faults("", value, 0):
        raise ValueError(f"must be all, or 0 or more, got {value!r}")
    return value


class ExportPlan(Plan):
    """check: examples that are compared with the run. agree: in int8 the least share of equal
    answers."""

    run: RunFolder
    target: Literal["onnx"]
    dtype: Literal["fp32", "int8"]
    to: str | None
    force: bool
    exit: dict[str, Any]
    head: dict[str, Any]
    check: Annotated[Any, BeforeValidator(all_or_some)]
    split: str
    agree: Annotated[float, within("[0, 1]")]
    data: DataPlan
    threads: Annotated[int | None, whole(1)]

    def rules(self) -> Iterator[str]:
        if absent := [name for name in PACKAGES if find_spec(name) is None]:
            yield f"export needs {', '.join(absent)}: pip install 'eat-lightning[onnx]'"

    @property
    def folder(self) -> Path:
        return Path(self.to) if self.to else Path(self.run) / f"{self.target}-{self.dtype}"

    def faults(self, run: Run) -> list[str]:
        """Of the folder to write, and of the data to compare on."""
        to, found = self.folder, []
        if to.exists() and not self.force:
            found.append(f"to={to} is there already: name another folder, or give force=true")
        elif to.exists() and not (to / ABOUT).is_file():
            what = f"no export (no {ABOUT} in it)"
            found.append(f"to={to} is {what}, so force=true does not replace it")
        if not self.check:
            return found
        from eat_lightning.data.calibration import PARTS
        from eat_lightning.runs.validate import data_faults, split_faults

        task, faults = run.task, data_faults(run, self.data.dir)
        faults += split_faults(self.split, [*task.validation, *PARTS, "train"], task.name)
        return found + [f"{fault} (or give check=0)" for fault in faults]
