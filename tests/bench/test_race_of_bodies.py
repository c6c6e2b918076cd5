"""The race of a body at its released size: the sizes are those, and each candidate answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from eat_lightning.bench.speed.bodies import BODIES, long_texts, of_body, shape_of
from eat_lightning.bench.speed.workload import words
from eat_lightning.model.layer import Shape
from eat_lightning.weights.families import FAMILIES


def test_sizes_are_the_released_ones():
    modern, small = shape_of("modernbert_base"), shape_of("deberta_v3_small")
    assert (modern.num_layers, len(modern.local_layers), modern.max_length) == (22, 14, 8192)
    assert (modern.rotary_base, modern.local_rotary_base) == (160_000.0, 10_000.0)
    assert (small.num_layers, small.relative, small.relative_buckets) == (6, "disentangled", 256)


@pytest.mark.parametrize("body", BODIES)
def test_all_answer_and_hugging_face_answers_as_static(body: str):
    family = FAMILIES[BODIES[body]["model_type"]]
    shape = replace(Shape(**family.shape_of(family.small, 3)), num_layers=6)
    field = of_body(shape, 0.3, "fp32", seed=0)
    given = words(np.array([9, 30, 4]), np.array([True, False, True]), shape.vocab_size)
    with torch.inference_mode():
        answers = {c.name: c.run(c.ready(given)) for c in field.candidates}
    theirs, ours = answers["HF fp32"], answers["static fp32"]
    torch.testing.assert_close(theirs, ours.logits_BC, atol=1e-4, rtol=1e-4)
    assert answers["EAT fp32"].depth_B.tolist() == [4, 6, 4]


def test_long_texts_only_where_the_body_takes_them(capsys):
    made = list(long_texts(shape_of("modernbert_base"), 2048))
    assert [batch.batch.lengths_B.tolist() for batch in made[0].batches] == [[2048], [2048]]
    assert not list(long_texts(shape_of("deberta_v3_small"), 2048))
    assert "2,048 tokens: left out, this body takes 512" in capsys.readouterr().out
