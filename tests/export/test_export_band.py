"""A window stays a band in an export: no product of length x length, and the encoder's answers."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.exports import small
from helpers.models import method

from eat_lightning.export.branch import with_if
from eat_lightning.export.graph import graphs
from eat_lightning.export.trace import banded_layers
from eat_lightning.export.weights import save
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="needs the extra `onnx`",
)
LONG = 2048


def windowed(max_positions: int = LONG, **changes) -> AdaptiveEncoder:
    encoder = small("longformer", "none", "never", max_positions=max_positions, **changes)
    encoder = encoder.replacing(attention=method("attention", "longformer", window=32))
    return encoder


@pytest.mark.parametrize(
    ("encoder", "layers"),
    [
        (lambda: windowed(), [1, 2, 3]),
        (lambda: windowed(64), []),  # a band does not pay at any length it takes
        (lambda: windowed(relative_buckets=8), []),  # nor does the encoder have one there
        (lambda: small("dense", "none", "never", max_positions=LONG), []),
    ],
)
def test_the_layers_with_a_band(encoder, layers: list[int]):
    assert banded_layers(encoder()) == layers


@pytest.mark.nightly
def test_at_2048_tokens(tmp_path: Path):
    """Of the single graph by its own profile; 2,048 x 2,048 are 4 million places."""
    import onnxruntime

    encoder = windowed()
    whole = with_if(graphs(encoder, alone=True), [3])
    save({"single.onnx": whole}, tmp_path / "weights.bin")
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(str(tmp_path / "single.onnx"), options)
    for length in (LONG, 40, 9):
        batch = Batch.from_lists([[2, *(5 + np.arange(length - 1) * 7 % 40).tolist()]])
        given = {"ids_N": batch.ids_N, "types_N": batch.types_N, "lengths_B": batch.lengths_B}
        found = session.run(None, {name: value.numpy() for name, value in given.items()})
        with torch.inference_mode():
            wanted = encoder(batch).logits_BC.numpy()
        np.testing.assert_allclose(found[0], wanted, atol=1e-4)
    events = json.loads(Path(session.end_profiling()).read_text())
    sizes = [
        int(np.prod(shape))
        for event in events
        for described in event.get("args", {}).get("output_type_shape", ())
        for shape in described.values()
    ]
    assert max(sizes) > LONG  # the profile tells sizes
    assert max(sizes) < LONG * LONG
