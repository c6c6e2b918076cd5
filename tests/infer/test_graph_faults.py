"""Graphs of a stranger are refused in one line before onnxruntime sees them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exports import shared_export, small
from finished import refused

from eat_lightning.infer import graph_faults
from eat_lightning.infer.graph_faults import OPERATORS, check_graphs
from eat_lightning.infer.onnx_backend import Export
from eat_lightning.model.heads import ACTIVATIONS

if find_spec("onnxscript") is None:
    pytest.skip("needs onnx and onnxscript, from the extra `onnx`", allow_module_level=True)
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

ROOT = Path(__file__).parents[2]
VECTOR = np.arange(4, dtype=np.float32)


def graph(nodes: list[Any], weights: list[Any] | None = None) -> Any:
    """x -> y, both vectors."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    return helper.make_graph(nodes, "graph", [x], [y], weights or [])


def model(nodes: list[Any], weights: list[Any] | None = None, **more: Any) -> Any:
    opsets = more.pop("opsets", [helper.make_opsetid("", 20)])
    return helper.make_model(graph(nodes, weights), opset_imports=opsets, ir_version=10, **more)


ADD = helper.make_node("Add", ["x", "w"], ["y"])


def outside(location: str, offset: int = 0, length: int = 16) -> Any:
    weight = numpy_helper.from_array(VECTOR, "w")
    set_external_data(weight, location, offset, length)
    weight.ClearField("raw_data")
    return model([ADD], [weight])


def claiming(**changes: Any) -> Any:
    weight = numpy_helper.from_array(VECTOR, "w")
    for key, value in changes.items():
        getattr(weight, key).extend(value) if isinstance(value, list) else setattr(
            weight, key, value
        )
    return model([ADD], [weight])


def nested(depth: int) -> Any:
    inner = graph([helper.make_node("Identity", ["x"], ["y"])])
    for _ in range(depth):
        inner = graph([helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)])
    return helper.make_model(inner, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def deeper(inner: Any) -> Any:
    leaf = graph([helper.make_node("Identity", ["x"], ["y"])])
    return graph([helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=leaf)])


def hidden() -> Any:
    """In a branch of a branch."""
    bad = graph([helper.make_node("Scan", ["x"], ["y"])])
    return helper.make_model(
        deeper(deeper(bad)), opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )


def configured() -> Any:
    made = model([ADD], [numpy_helper.from_array(VECTOR, "w")])
    helper.set_model_props(made, {"ort_config": "{}"})
    return made


def with_function() -> Any:
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    opsets = [helper.make_opsetid("", 20)]
    own = helper.make_function("", "Twice", ["a"], ["b"], body, opsets)
    return model([helper.make_node("Identity", ["x"], ["y"])], functions=[own])


def constant_outside() -> Any:
    value = numpy_helper.from_array(VECTOR, "v")
    set_external_data(value, "/etc/passwd", 0, 16)
    value.ClearField("raw_data")
    return model([helper.make_node("Constant", [], ["y"], value=value)])


HOSTILE: dict[str, tuple[Callable[[], Any], str]] = {
    "operator": (lambda: model([helper.make_node("Loop", ["x"], ["y"])]), "the operator Loop, wh"),
    "hidden": (hidden, "the operator Scan, which is none of ours"),
    "library": (
        lambda: model(
            [helper.make_node("PyOp", ["x"], ["y"], domain="ai.onnx.contrib")],
            opsets=[helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.contrib", 1)],
        ),
        "operators of ai.onnx.contrib 1",
    ),
    "undeclared": (
        lambda: model([helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft")]),
        "the operator com.microsoft.EPContext, which is none of ours",
    ),
    "newer": (
        lambda: model([ADD], opsets=[helper.make_opsetid("", 99)]),
        "operators of ai.onnx 99",
    ),
    "function": (with_function, "functions or training of its own"),
    "configured": (configured, "a configuration for whoever runs it"),
    "absolute": (lambda: outside("/etc/passwd"), "weights in '/etc/passwd', and not in weights.bi"),
    "above": (lambda: outside("../weights.bin"), "weights in '../weights.bin', and not in weight"),
    "beside": (lambda: outside("other.bin"), "weights in 'other.bin', and not in weights.bin"),
    "beyond": (lambda: outside("weights.bin", 8, 16), "weights at 8 to 24, of 16 bytes, in a fil"),
    "far": (lambda: outside("weights.bin", 2**62, 16), "weights at 4611686018427387904 to"),
    "short": (lambda: outside("weights.bin", 0, 8), "weights at 0 to 8, of 16 bytes, in a file of"),
    "constant": (constant_outside, "weights in '/etc/passwd', and not in weights.bin"),
    "huge": (lambda: claiming(dims=[1 << 40]), "a weight of 17592186044416 bytes, of which 16 ar"),
    "negative": (lambda: claiming(dims=[-4]), "a weight of a negative size"),
    "strings": (lambda: claiming(data_type=TensorProto.STRING), "a weight of type 8"),
}


def written(folder: Path, made: Any) -> Path:
    (folder / "weights.bin").write_bytes(VECTOR.tobytes())
    (folder / "graph.onnx").write_bytes(made.SerializeToString())
    return folder


def looked_at(folder: Path) -> str:
    return refused(check_graphs, folder, ["graph.onnx"], error=ValueError)


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused(tmp_path: Path, name: str):
    make, said = HOSTILE[name]
    found = looked_at(written(tmp_path, make()))
    assert found.startswith(f"{tmp_path / 'graph.onnx'}: not a graph that `export` writes (")
    assert said in found


def test_what_is_sound_is_taken(tmp_path: Path):
    for made in (outside("weights.bin"), claiming(), nested(3)):
        check_graphs(written(tmp_path, made), ["graph.onnx"])


def test_too_many_nodes_and_branches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(graph_faults, "MOST_BRANCHES", 2)
        check_graphs(written(tmp_path, nested(2)), ["graph.onnx"])
        assert "more than 2 branches within" in looked_at(written(tmp_path, nested(3)))
    monkeypatch.setattr(graph_faults, "MOST_NODES", 7)
    check_graphs(written(tmp_path, nested(1)), ["graph.onnx"])
    assert "more than 7 nodes" in looked_at(written(tmp_path, nested(3)))


def test_files_are_plain_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = written(tmp_path, outside("weights.bin"))
    for name in ("graph.onnx", "weights.bin"):
        kept = folder / "kept"
        (folder / name).rename(kept)
        (folder / name).symlink_to(kept)
        assert looked_at(folder).endswith("must be a plain file in the export's own folder")
        kept.replace(folder / name)
    for name, most in (("MOST_GRAPH", 10), ("MOST_WEIGHTS", 10)):
        with monkeypatch.context() as patch:
            patch.setattr(graph_faults, name, most)
            assert "bytes, and at most 10 are read" in looked_at(folder)
    (folder / "weights.bin").unlink()
    assert "of 16 bytes, in a file of 0" in looked_at(folder)
    (folder / "graph.onnx").write_bytes(b"\x0a\xff\xff\xff\xff")
    assert "it cannot be read: " in looked_at(folder)


def test_whom_one_trusts_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = written(tmp_path, HOSTILE["operator"][0]())
    monkeypatch.setenv("EAT_TRUST", f"/elsewhere:{folder}")
    check_graphs(folder, ["graph.onnx"])
    monkeypatch.setenv("EAT_TRUST", "/elsewhere")
    assert "the operator Loop" in looked_at(folder)
    monkeypatch.setattr(graph_faults, "find_spec", lambda name: None)
    said = looked_at(folder)
    assert (
        f"onnx, which looks at graphs before they run, is not installed; EAT_TRUST={folder}" in said
    )


def test_nothing_is_loaded_of_a_hostile_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By whichever command: the module refuses it too, and the folder's own runner is its owner's
    to run."""
    import onnxruntime

    export = Path(shutil.copytree(shared_export() / "onnx-fp32", tmp_path / "export"))
    Export.open(export)
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    path = export / "layers-2.onnx"
    sound = path.read_bytes()
    path.write_bytes(HOSTILE["absolute"][0]().SerializeToString())
    assert "weights in '/etc/passwd'" in refused(Export.open, export)
    command = [sys.executable, "-m", "eat_lightning.infer.onnx_runner", str(export)]
    done = subprocess.run(command, cwd=ROOT, input=b"good\n", capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"error: {path}: not a graph that `export` writes (weights in")
    path.write_bytes(sound)
    tokenizer = {"model": {"type": "WordPiece"}, "normalizer": {"type": "Python"}}
    (export / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "normalizer must be made of" in refused(Export.open, export)


def operators(graph: Any) -> set[str]:
    found = {f"{node.domain}{node.op_type}" for node in graph.node}
    branches = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return found.union(*map(operators, branches))


@pytest.mark.slow
def test_every_export_of_ours_stays_within(tmp_path: Path):
    """int8, regression, a relative bias, activations. (Methods: export's test of every
    combination opens what it wrote, and opening looks at the graphs.)"""
    from eat_lightning.export.branch import with_if
    from eat_lightning.export.graph import graphs
    from eat_lightning.export.quantise import for_graphs
    from eat_lightning.export.trace import stretches
    from eat_lightning.export.weights import save

    used: set[str] = set()
    plain = small("dense", "norm_topk", "confidence")
    encoders = [for_graphs(plain), small("dense", "none", "never", num_labels=1)]
    encoders += [small("dense", "none", "patience", relative_buckets=8)]
    encoders += [small("dense", "none", "never", hidden_act=act) for act in ACTIVATIONS]
    with torch.no_grad():
        for encoder in encoders:
            lasts = [part.last for part in stretches(encoder, alone=False)]
            whole = with_if(graphs(encoder, alone=True), lasts)
            models = dict(enumerate([*graphs(encoder, alone=False), whole]))
            named = {f"{i}.onnx": made for i, made in models.items()}
            used = used.union(*(operators(made.graph) for made in named.values()))
            save(named, tmp_path / "weights.bin")
            check_graphs(tmp_path, [*named])
    assert used <= OPERATORS, f"not known: {sorted(used - OPERATORS)}"
    assert onnx.defs.onnx_opset_version() >= graph_faults.OPSET
