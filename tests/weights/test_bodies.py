"""Encoder yamls of public bodies say what the names of these say."""

import re
from pathlib import Path

import pytest
import yaml

from eat_lightning.config import CONFIG_DIR

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
