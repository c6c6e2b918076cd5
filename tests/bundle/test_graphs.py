"""Exported graphs: each weight lies in the file once, and a window stays a band."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.exports import shared_export, small
from helpers.models import method

from eat_lightning.bundle.graphs.branch import with_if
from eat_lightning.bundle.graphs.graph import graphs
from eat_lightning.bundle.graphs.trace import banded_layers
from eat_lightning.bundle.graphs.weights import save
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch

ABSENT = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(ABSENT), reason=f"needs {', '.join(ABSENT)}, from the extra `onnx`"
)
W = np.arange(32 * 16, dtype=np.float32).reshape(32, 16)  # 2,048 bytes


def matmul(x: str, weight: str, out: str, **kept: np.ndarray):
    from onnx import TensorProto, helper, numpy_helper

    y = helper.make_tensor_value_info(out, TensorProto.FLOAT, [1, 16])
    node = helper.make_node("MatMul", [x, weight], [out])
    kept_here = [numpy_helper.from_array(value, name) for name, value in kept.items()]
    return helper.make_graph([node], out, [], [y], kept_here)


def model(graph, *inputs):
    from onnx import helper

    graph.input.extend(inputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture
def models() -> dict:
    """x W, and by an If x W or x V, of which V is W doubled and the constants are small."""
    from onnx import TensorProto, helper, numpy_helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 32])
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16])
    branches = {
        "then_branch": matmul("x", "other_name", "then", other_name=W),
        "else_branch": matmul("x", "V", "else", V=2 * W),
    }
    nodes = [
        helper.make_node("If", ["flag"], ["either"], **branches),
        helper.make_node("Add", ["either", "small"], ["y"]),
    ]
    small = numpy_helper.from_array(np.ones(16, np.float32), "small")
    chosen = helper.make_graph(nodes, "chosen", [], [y], [small])
    return {
        "one.onnx": model(matmul("x", "W", "y", W=W), x),
        "two.onnx": model(chosen, x, flag),
    }


def test_a_weight_is_kept_once(models: dict, tmp_path: Path):
    import onnxruntime

    from eat_lightning.bundle.graphs.weights import PAGE, save

    save(models, tmp_path / "weights.bin")
    assert (tmp_path / "weights.bin").stat().st_size == PAGE + W.nbytes  # W, and V on the next page
    assert all((tmp_path / name).stat().st_size < 800 for name in models)
    x = np.random.default_rng(0).normal(size=(1, 32)).astype(np.float32)
    one, two = (onnxruntime.InferenceSession(str(tmp_path / name)) for name in models)
    np.testing.assert_allclose(one.run(None, {"x": x})[0], x @ W, rtol=1e-5)
    for flag, weight in ((True, W), (False, 2 * W)):
        (y,) = two.run(None, {"x": x, "flag": np.array(flag)})
        np.testing.assert_allclose(y, x @ weight + 1, rtol=1e-5)


def test_weights_that_transformers_has_are_not_kept_again(tmp_path: Path):
    """A product takes query, key and value below each other, and the other way round."""
    import onnxruntime
    from onnx import TensorProto, helper
    from safetensors.numpy import save_file

    from eat_lightning.bundle.graphs.weights import Safetensors, save

    random = np.random.default_rng(0)
    stored = {name: random.normal(size=(32, 16)).astype(np.float32) for name in "qkvo"}
    save_file(stored, tmp_path / "model.safetensors")
    fused_KM = np.concatenate([stored[name] for name in "qkv"]).T.copy()
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16])
    o = helper.make_tensor_value_info("o", TensorProto.FLOAT, [1, 32])
    made = {
        "fused.onnx": model(matmul("x", "W", "y", W=fused_KM), x),
        "plain.onnx": model(matmul("o", "W", "y", W=stored["o"]), o),
        "other.onnx": model(matmul("x", "W", "y", W=fused_KM + 1), x),
    }
    for each in made.values():
        del each.graph.output[0].type.tensor_type.shape.dim[:]
    same = Safetensors([tmp_path / "model.safetensors"])
    assert [same.refer(made[name]) for name in made] == [{"model.safetensors"}] * 2 + [set()]
    save(made, tmp_path / "weights.bin")
    assert (tmp_path / "weights.bin").stat().st_size == fused_KM.nbytes
    for name, weight_KM in zip(made, (fused_KM, stored["o"], fused_KM + 1), strict=True):
        session = onnxruntime.InferenceSession(tmp_path / name)
        row = random.normal(size=(1, len(weight_KM))).astype(np.float32)
        (y,) = session.run(None, {session.get_inputs()[0].name: row})
        np.testing.assert_allclose(y, row @ weight_KM, rtol=1e-4, atol=1e-5)


def test_no_graph_tells_where_the_traced_code_lies(models: dict, tmp_path: Path):
    from eat_lightning.bundle.graphs.weights import save

    inside = models["two.onnx"].graph.node[0].attribute[0].g.node[0]
    for node in (models["one.onnx"].graph.node[0], inside):
        node.doc_string = "/home/somebody/encoder.py"
        node.metadata_props.add(key="stack_trace", value="/home/somebody/encoder.py")
    save(models, tmp_path / "weights.bin")
    written = [path.read_bytes() for path in tmp_path.glob("*.onnx")]
    assert len(written) == 2
    assert not any(b"somebody" in content for content in written)


def operations(graph) -> list[str]:
    """Of a graph and, behind them, of the branches in which it goes on."""
    found = [node.op_type for node in graph.node]
    branches = [a.g for node in graph.node for a in node.attribute if a.name == "then_branch"]
    return found + [name for branch in branches for name in operations(branch)]


@pytest.mark.parametrize(
    ("sizes", "place"),
    [
        ({"relative_buckets": 8}, "GatherND"),
        ({"relative": "disentangled", "relative_buckets": 8}, "GatherND"),
        ({"relative": "rotary", "absolute_positions": False}, "Cos"),
    ],
)
def test_branches_repeat_nothing(sizes: dict, place: str):
    """Relative positions and the weights of pooling are not computed anew behind each exit."""
    import onnxruntime

    head = {"kind": "pair", "texts": 1}
    encoder = small("dense", "none", "confidence", layers=[1, 2], head=head, **sizes)
    whole = with_if(graphs(encoder, alone=True), [1, 2, 3])
    found = operations(whole.graph)
    assert found.count("If") == 2
    assert found.count(place) == 1
    assert found.count("Range") == 2  # from the token ids, and from the positions behind an exit
    session = onnxruntime.InferenceSession(whole.SerializeToString())
    depths = set()
    for length in (2, 3, 5, 9, 12):
        batch = Batch.from_lists([[2, *(5 + np.arange(length - 1) * 7 % 40).tolist()]])
        given = {"ids_N": batch.ids_N, "types_N": batch.types_N, "lengths_B": batch.lengths_B}
        logits_BC, depth_B, *_ = session.run(
            None, {value.name: given[value.name].numpy() for value in session.get_inputs()}
        )
        with torch.inference_mode():
            trace = encoder(batch)
        np.testing.assert_allclose(logits_BC, trace.logits_BC.numpy(), atol=1e-5)
        assert depth_B.tolist() == trace.depth_B.tolist()
        depths |= {*depth_B.tolist()}
    assert len(depths) > 1


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


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_copies_with_branches_answer_where_weights_are_linked(tmp_path: Path, engine: str):
    """onnxruntime refuses a linked file in a branch, so it gets weights of its own."""
    pytest.importorskip(engine)
    from eat_lightning.bundle.graph_model import GraphModel
    from eat_lightning.bundle.graphs.weights import copy_sharing

    run = shared_export()
    (tmp_path / "model.safetensors").write_bytes((run / "model/model.safetensors").read_bytes())
    graphs, to = run / "graphs/onnx-fp32", tmp_path / f"{engine}-fp32"
    copy_sharing(graphs, to, [tmp_path / "model.safetensors"])
    texts = [["a good film"], ["no"]]
    answers = [
        GraphModel(folder, 1, engine).answer([text]) for folder in (graphs, to) for text in texts
    ]
    assert answers[:2] == answers[2:]
    assert (to / "model.safetensors").exists() == (engine == "openvino")
