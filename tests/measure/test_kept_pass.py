"""A pass is not run again where an earlier call recorded it."""

from dataclasses import replace
from pathlib import Path

import pytest
from measured import UNTIMED, call, make_run

from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.options import USUAL, PassOptions
from eat_lightning.runs import row as rows
from eat_lightning.runs.run import provenance

COMMIT = "0123456789ab"


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that the encoder runs, in a clean checkout."""
    sizes, forward = [], AdaptiveEncoder.forward

    def counted(self: AdaptiveEncoder, batch, options: PassOptions = USUAL):
        sizes.append(batch.size)
        return forward(self, batch, options)

    here = provenance() | {"commit": COMMIT}
    for module in ("measure.kept_pass", "runs.row"):
        monkeypatch.setattr(f"eat_lightning.{module}.provenance", lambda: here)
    monkeypatch.setattr(AdaptiveEncoder, "forward", counted)
    return sizes


def test_it_is_read_and_says_the_same(tmp_path: Path, passes: list[int]):
    run = make_run(tmp_path / "run")
    first = call(f"run={run}", "exit.tau=0.6", *UNTIMED)
    assert passes
    passes.clear()
    again = call(f"run={run}", "exit.tau=0.6", "taus=[0.55,0.7]", *UNTIMED)
    assert passes == []
    same = next(row for row in again if row.point == first[0].point and not row.baseline)
    assert replace(same, created="") == replace(first[0], created="")


@pytest.mark.parametrize("change", ["commit", "weights"])
def test_it_is_run_again_after_a_change(tmp_path: Path, passes: list[int], change: str):
    run = make_run(tmp_path / "run")
    call(f"run={run}", *UNTIMED)
    if change == "commit":
        kept = [replace(row, commit="fedcba987654") for row in rows.read(run / "rows.jsonl")]
        (run / "rows.jsonl").unlink()
        rows.write(run / "rows.jsonl", kept)
    else:
        next((run / "model").iterdir()).touch()
    passes.clear()
    call(f"run={run}", *UNTIMED)
    assert passes
