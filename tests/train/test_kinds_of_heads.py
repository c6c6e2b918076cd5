"""Heads on kept vectors for several labels and for a score: they learn full depth's answers."""

import pytest
import torch
from helpers.training import TINY, config_of, shared_run
from safetensors.torch import load_file

from eat_lightning.errors import ConfigError
from eat_lightning.record.passes import record
from eat_lightning.runs.row import read
from eat_lightning.runs.run import Run, folder_for
from eat_lightning.train.__main__ import train
from eat_lightning.train.plan import planned

# Nine steps make scores that hardly vary, of which torchmetrics warns.
pytestmark = pytest.mark.filterwarnings("ignore")
RULES = {"moods": "every_label", "stsb": "predicted_error"}


@pytest.mark.parametrize("task", ["moods", pytest.param("stsb", marks=pytest.mark.slow)])
def test_heads_learn_what_full_depth_answers(task: str, monkeypatch, tmp_path):
    """The backbone and the last head stay bit-equal; no label is read, so none must be known."""
    static = shared_run(f"task={task}", "model=bert", "measure.enabled=false")
    monkeypatch.setenv("EAT_OUTPUTS", str(tmp_path))
    given = [override for override in TINY if not override.startswith("encoder")]
    given += [f"encoder.pretrained={static.folder / 'model'}", "encoder=bert_6", f"task={task}"]
    given += ["model=eat_heads", f"exit={RULES[task]}", "one_pass.batch_size=32"]
    given += ["one_pass.lr=[3.0e-3]", "one_pass.weight_decay=[0.05]", "one_pass.epochs=[12]"]
    given += ["measure.enabled=false", f"data.cache_dir={tmp_path}"]
    config = config_of(*given)
    assert planned(config).kind.problem_type == static.kind.problem_type
    train(config, given)
    run = Run.open(folder_for(config, given))
    before, after = (load_file(r.folder / "model" / "model.safetensors") for r in (static, run))
    assert all(torch.equal(after[name], weight) for name, weight in before.items() if name in after)
    recorded = record(run.model()[0], run.data().split("train"))
    full_BC = recorded.guesses[max(recorded.guesses)]
    closer = run.kind.divergence(*map(torch.tensor, (recorded.guesses[0], full_BC)), 1.0)
    assert closer < run.kind.divergence(torch.zeros(full_BC.shape), torch.tensor(full_BC), 1.0)
    [row, *_] = read(run.folder / "rows.jsonl")
    assert row.metric == run.task.metrics[0]
    if task == "stsb":  # the error that is said is nearer to the true one than none is
        score_B, error_B = torch.tensor(recorded.guesses[2]).unbind(1)
        apart_B = (score_B - torch.tensor(full_BC[:, 0])).abs()
        assert (error_B - apart_B).square().sum() < apart_B.square().sum()


def test_a_classifier_of_another_kind_is_refused(tmp_path):
    static = shared_run("task=moods", "model=bert", "measure.enabled=false")
    given = [override for override in TINY if not override.startswith("encoder")]
    given += [f"encoder.pretrained={static.folder / 'model'}", "encoder=bert_6", "task=sst2"]
    given += ["model=eat_heads", "task.labels=[a,b,c,d,e]", "data.num_train=20"]
    with pytest.raises(ConfigError, match="problem_type is 'multi_label_classification', the"):
        planned(config_of(*given))
