"""Runs whose objective shapes the weights: gates, masks and widths, trained, saved and cut."""

from pathlib import Path

import pytest
import torch
from helpers import finished
from helpers.training import TINY, config_of, trained

from eat_lightning.bundle.graphs.command import export
from eat_lightning.methods.objective.movement import matrices_of
from eat_lightning.methods.schedule.gradual import Gradual
from eat_lightning.model.contracts import Stage
from eat_lightning.record.passes import record
from eat_lightning.runs.run import Run, folder_for
from eat_lightning.train.__main__ import train

STATIC = ["exit=never", "reduction=none", "head.layers=[]", "schedule=gradual"]


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAT_OUTPUTS", str(tmp_path))


def smaller(run: Run, *overrides: str) -> Run:
    to = run.folder.with_name("smaller")
    given = [f"run='{run.folder}'", f"to='{to}'", "target=encoder", *overrides]
    return Run.open(export(finished.config_of("export", *given)))


def further(before: Run, *overrides: str) -> Run:
    """A stage of DynaBERT from, and with as its teacher, the run before."""
    own = [override for override in TINY if not override.startswith("encoder")]
    body = ["encoder=minilm", f"encoder.pretrained={before.folder}/model"]
    given = [*own, *body, *STATIC, "schedule=constant", f"teacher={before.folder}"]
    given += ["objective=dynabert", "objective.widths=[1.0,0.5]", "trainer.max_steps=2", *overrides]
    config = config_of(*given)
    train(config, given)
    return Run.open(folder_for(config, given))


def test_gates_are_learned_and_cut_out(capsys: pytest.CaptureFixture[str]):
    run = trained(*STATIC, "objective=cofi", "objective.lr=2.0", "schedule.shape=linear")
    assert "inner neurons left" in capsys.readouterr().out
    small = smaller(run)
    shape, whole = small.model()[0].shape, run.model()[0].shape
    kept = [shape.at(k + 1).intermediate_size for k in range(shape.num_layers)]
    assert sum(kept) < 0.9 * whole.num_layers * whole.intermediate_size
    split = run.data().split("validation")
    before, after = (record(one.model()[0], split).guesses for one in (run, small))
    for layer, guess_BC in before.items():
        torch.testing.assert_close(
            torch.as_tensor(after[layer]), torch.as_tensor(guess_BC), atol=1e-4, rtol=1e-4
        )


def test_masks_are_learned_and_written(capsys: pytest.CaptureFixture[str]):
    run = trained(*STATIC, "objective=movement", "objective.keep=0.2")
    assert "no time" in capsys.readouterr().out
    for weight in matrices_of(run.model()[0]).values():
        assert (weight == 0).float().mean().item() == pytest.approx(0.8, abs=0.01)


@pytest.mark.slow
def test_widths_and_depths_in_two_stages():
    static = trained(*STATIC, "trainer.max_steps=2", "study=static")
    wide = further(static, "study=wide", "objective.examples=16")
    deep = further(wide, "study=deep", "objective.depths=[1.0,0.5]", "objective.hidden=1.0")
    made, whole = smaller(deep, "heads=2", "inner=32", "layers=3").model()[0], deep.model()[0]
    shape = made.shape
    assert (shape.num_layers, shape.num_heads, shape.intermediate_size) == (3, 2, 32)
    assert torch.equal(made.layers[1].up.weight, whole.layers[2].up.weight[:32])


def test_the_schedule_rises_by_a_cubic():
    (stage,) = Gradual(warm=0.2, cool=0.3, embedding=False).stages(3, [6])
    assert stage == Stage(ramp=(0.2, 0.7), shape="cubic", frozen=("embedding.*",))
    # Half way through the ramp 1 - 0.5^3 of what shall go is gone (Zhu and Gupta, equation 1).
    assert stage.strength(0.45) == pytest.approx(1 - 0.5**3)
    assert [stage.strength(p) for p in (0.1, 0.7, 0.9)] == [0.0, 1.0, 1.0]
    with pytest.raises(ValueError, match=r"schedule\.cool must leave steps to prune: warm=0.5"):
        Gradual(warm=0.5, cool=0.5)
