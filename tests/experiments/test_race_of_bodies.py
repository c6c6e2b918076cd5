"""Bodies at their released sizes, as their yamls and names say."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from eat_lightning.config import CONFIG_DIR
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.model.encoder import AdaptiveEncoder
from experiments.bench.released import RELEASED
from experiments.bench.setup import shape_of


def test_yamls_of_bodies_have_as_many_layers():
    """Each body is chosen by one name, for a race and for training; and the weights of three,
    poolers apart, come to the millions that sums of their matrices give."""
    for body, sizes in RELEASED.items():
        node = yaml.safe_load(Path(CONFIG_DIR, "encoder", f"{body}.yaml").read_text())
        assert node["num_layers"] == sizes["num_hidden_layers"] == shape_of(body).num_layers
    known = {"electra_small": 13.5, "albert_base": 11.09, "roberta_base": 124.1}
    for body, millions in known.items():
        with torch.device("meta"):
            weights = AdaptiveEncoder(shape_of(body), 2, Dense(), Keep(), Never(), {"layers": []})
        names = (n for n, _ in weights.named_parameters() if not n.startswith("heads."))
        count = sum(weights.get_parameter(name).numel() for name in names)
        assert count == pytest.approx(1e6 * millions, rel=0.01), body


BODIES = {
    path.stem: yaml.safe_load(path.read_text())
    for path in sorted(Path(CONFIG_DIR).glob("encoder/*bert_*.yaml"))
}
SIZED = [name for name, node in BODIES.items() if re.search(r"\dL?[-_]", node["pretrained"])]


@pytest.mark.parametrize("name", SIZED)
def test_layers_are_those_of_the_name(name: str):
    named = re.search(r"L-(\d+)_|_(\d+)L_", BODIES[name]["pretrained"])
    assert named is not None
    assert BODIES[name]["num_layers"] == int(named[1] or named[2])
