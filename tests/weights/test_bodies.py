"""Encoder yamls of public bodies say what the names of these say."""

import re
from pathlib import Path

import pytest
import yaml
from models import method

from eat_lightning.config import CONFIG_DIR
from eat_lightning.weights.checkpoint import load_pretrained

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


@pytest.mark.parametrize(("width", "heads", "inner"), [(128, 2, 512), (312, 12, 1200)])
def test_a_body_of_such_a_shape_loads(width: int, heads: int, inner: int, tmp_path: Path):
    """BERT-Tiny's sizes and TinyBERT's, whose heads are 26 wide."""
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": inner}
    config = BertConfig(vocab_size=40, num_hidden_layers=2, max_position_embeddings=16, **sizes)
    BertModel(config).save_pretrained(tmp_path)
    off = {"attention": "dense", "reduction": "none", "exit": "never"}
    slots = {slot: method(slot, kind) for slot, kind in off.items()}
    encoder = load_pretrained(str(tmp_path), 2, **slots, head={})
    assert (encoder.shape.hidden_size, encoder.shape.num_heads) == (width, heads)
    assert encoder.shape.intermediate_size == inner
