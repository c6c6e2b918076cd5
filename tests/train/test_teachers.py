"""Teachers: whose labels are matched by name, who answer what is drawn, who teach heads alone."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.training import TINY, config_of, trained
from safetensors.torch import load_file

from eat_lightning.errors import ConfigError
from eat_lightning.methods.objective.hidden_distillation import HiddenDistillation
from eat_lightning.model.packed import Batch
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.runs.run import Run
from eat_lightning.train.fit import data_of
from eat_lightning.train.plan import planned


def test_a_teacher_is_matched_by_label_name_and_cached(run: Run, tmp_path: Path):
    from eat_lightning.train.teacher import attach_teacher, label_order

    data = data_of(planned(config_of(*TINY, f"data.cache_dir={tmp_path}")))
    data.max_length = 64
    assert attach_teacher(data, str(run.folder))
    first = data.split("train").teacher
    assert first.shape == (160, 2)
    assert len(list(tmp_path.glob("teacher-*.npy"))) == 1
    assert not attach_teacher(data, str(run.folder))  # kept from before
    assert np.array_equal(first, data.split("train").teacher)
    encoder, _ = run.model()
    alone = encoder(data.split("train").batch(np.array([7])), ALL_EXITS).logits_BC
    assert np.allclose(first[7], alone.detach().numpy(), atol=1e-5)
    order = label_order(
        ["Neutral", "entailment", "CONTRADICTION"], ["entailment", "neutral", "contradiction"]
    )
    assert order == [1, 0, 2]
    with pytest.raises(ConfigError, match="teacher's labels LABEL_0, LABEL_1"):
        label_order(["LABEL_0", "LABEL_1"], ["negative", "positive"])


def test_a_teacher_answers_texts_in_its_own_tokens(run: Run, tmp_path: Path):
    """And not the ids of its student, whose tokenizer has the same pieces in another order."""
    from transformers import BertTokenizer

    from eat_lightning.train.teacher import attach_teacher

    data = data_of(planned(config_of(*TINY, f"data.cache_dir={tmp_path}")))
    own: Any = data.tokenizer
    turned = {piece: place for place, piece in enumerate(reversed(own.get_vocab()))}
    data.tokenizer = BertTokenizer(vocab=turned, do_lower_case=True)
    attach_teacher(data, str(run.folder), np.array([3, 50]))
    split, (encoder, _) = data.split("train"), run.model()
    for row in (3, 50):
        tokens = own(split.text(row)[0]).input_ids
        assert tokens != split.batch(np.array([row])).ids_N.tolist()
        said_BC = encoder(Batch.from_lists([tokens]), ALL_EXITS).logits_BC.detach()
        np.testing.assert_allclose(split.teacher[row], said_BC[0], atol=1e-4)


def test_a_teacher_is_asked_for_what_a_run_draws_and_nothing_twice(run: Run, tmp_path: Path):
    """3 steps, then 5 of the same epoch, whose first 3 are known, whatever is kept of them; then 3
    again."""
    from eat_lightning.train import teacher

    data = data_of(planned(config_of(*TINY, f"data.cache_dir={tmp_path}")))
    few, more = (data.rows_drawn(steps, epochs=1) for steps in (3, 5))
    for rows in (few, more, few):
        teacher.attach_teacher(data, str(run.folder), rows)
        said = data.split("train").teacher
        assert np.array_equal(np.flatnonzero(~np.isnan(said[:, 0])), rows)
        (path,) = tmp_path.glob("teacher-*.npy")
        kept = np.load(path)
        kept[few] = 7.0
        np.save(path, kept)
    assert (said[few] == 7.0).all()


def test_a_teacher_of_another_shape_teaches_its_hidden_states(run: Run):
    """Three layers of width 16 learn from six of width 32: layer 1 from 2, 2 from 4, 3 from 6."""
    given = [f"teacher={run.folder}", "objective=hidden_distillation", "head.layers=all"]
    given += [
        "encoder.num_layers=3",
        "encoder.hidden_size=16",
        "reduction=norm_topk",
        "reduction.layers=[1]",
    ]
    found = trained("study=tiny_bert", *given, "trainer.log_every_n_steps=1")
    with (found.folder / "csv" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/hidden"]]
    assert float(rows[-1]["train/hidden"]) < float(rows[0]["train/hidden"])
    assert "train/distill_1" in rows[0]
    config = json.loads((found.folder / "model" / "config.json").read_text())
    assert config["objective"]["kind"] == "hidden_distillation"
    assert config["head"]["layers"] == [1, 2, 3]
    assert found.config["head"]["layers"] == [1, 2]  # as resolved
    names = load_file(found.folder / "model" / "model.safetensors")
    assert not [name for name in names if "projection" in name or "teacher" in name]


def test_a_teacher_with_another_vocabulary_is_refused(run: Run, tmp_path: Path):
    from eat_lightning.data.tokens import toy_tokenizer
    from eat_lightning.train.teacher import teacher_in_step

    data: Any = SimpleNamespace(tokenizer=toy_tokenizer(), task=run.task)
    assert teacher_in_step(str(run.folder), HiddenDistillation(), data).shape.num_layers == 6
    data.tokenizer.add_tokens(["another"])
    with pytest.raises(ConfigError, match="has another vocabulary than the student"):
        teacher_in_step(str(run.folder), HiddenDistillation(), data)
