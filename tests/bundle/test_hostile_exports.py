"""A stranger's export is data: no file outside its folder is read, nothing is loaded that is not
there, and what is refused is said in one line."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.exports import shared_export
from helpers.finished import refused

from eat_lightning.bundle.graph_model import GraphModel

if find_spec("onnxscript") is None:
    pytest.skip("needs onnx and onnxscript, from the extra `onnx`", allow_module_level=True)
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

ROOT = Path(__file__).parents[2]
VECTOR = np.arange(4, dtype=np.float32)
FIRST = "layers-1.onnx"
ENGINES = [name for name in ("onnxruntime", "openvino") if find_spec(name)]


def graph(node: Any, *weights: Any, opset: tuple[str, int] = ("", 20)) -> bytes:
    """x -> y, both vectors."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    made = helper.make_graph([node], "graph", [x], [y], weights)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(*opset)][-1 - bool(opset[0]) :]
    return helper.make_model(made, opset_imports=opsets, ir_version=10).SerializeToString()


def adding(weight: Any) -> bytes:
    return graph(helper.make_node("Add", ["x", "w"], ["y"]), weight)


def outside(location: str, offset: int = 0, length: int = 16) -> bytes:
    weight = numpy_helper.from_array(VECTOR, "w")
    set_external_data(weight, location, offset, length)
    weight.ClearField("raw_data")
    return adding(weight)


def claiming(*sizes: int) -> bytes:
    weight = numpy_helper.from_array(VECTOR, "w")
    weight.ClearField("dims")
    weight.dims.extend(sizes)
    return adding(weight)


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "absolute": lambda secret: outside(str(secret)),
    "above": lambda secret: outside(f"../{secret.name}"),
    "beyond": lambda _: outside("vector.bin", 8, 16),
    "far": lambda _: outside("vector.bin", 2**62, 16),
    "short": lambda _: outside("vector.bin", 0, 8),
    "huge": lambda _: claiming(1 << 40),
    "negative": lambda _: claiming(-4),
    "library": lambda _: graph(
        helper.make_node("PyOp", ["x"], ["y"], domain="ai.onnx.contrib"),
        opset=("ai.onnx.contrib", 1),
    ),
    "compiled": lambda _: graph(
        helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft"),
        opset=("com.microsoft", 1),
    ),
    "no graph": lambda _: b"\x0a\xff\xff\xff\xff",
}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A copy to be spoilt; beside it a file that it must not read."""
    folder = Path(shutil.copytree(shared_export() / "graphs/onnx-fp32", tmp_path / "export"))
    (folder / "vector.bin").write_bytes(VECTOR.tobytes())
    (tmp_path / "secret").write_bytes(VECTOR.tobytes())
    return folder


def answered(folder: Path, engine: str) -> Any:
    return GraphModel(folder, engine=engine).answer([["good film"], ["bad"]])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_graph_that_asks_for_what_is_not_its_own_is_refused(
    export: Path, name: str, engine: str, capfd: pytest.CaptureFixture
):
    (export / FIRST).write_bytes(HOSTILE[name](export.parent / "secret"))
    message = refused(answered, export, {"onnxruntime": "onnx"}.get(engine, engine))
    assert message.startswith(f"{export / FIRST}: not a graph that can be run (")


@pytest.mark.parametrize("name", ["weights.bin", "tokenizer.json", FIRST, "vector.bin"])
def test_links_pipes_and_large_files_are_refused(export: Path, name: str):
    path = export / name
    path.unlink()
    path.symlink_to(export.parent / "secret")
    assert refused(GraphModel, export).endswith(f"{name}: a link, put the file itself there")
    path.unlink()
    os.mkfifo(path)
    assert refused(GraphModel, export).endswith(f"{name}: no file that can be read")
    path.unlink()
    with path.open("wb") as file:
        file.truncate((16 << 30) + 1)  # takes no room on the disk
    assert "bytes, and at most " in refused(GraphModel, export)


def test_a_tokenizer_that_would_grow_a_text_is_refused(export: Path):
    double = '{"pattern": {"String": "a"}, "content": "aa"}'
    model = '{"type": "WordPiece", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]",'
    model += '"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}'
    (export / "tokenizer.json").write_bytes(
        f'{{"model": {model}, "normalizer": {double}}}'.encode()
    )
    assert "Replace must not lengthen a text" in refused(GraphModel, export)
    (export / "tokenizer.json").write_bytes(
        b'{"model": {"type": "WordPiece"}, "normalizer": {"type": 1}}'
    )
    assert "tokenizer.json: not a tokenizer (" in refused(GraphModel, export)


def test_the_command_says_it_in_one_line(export: Path):
    (export / "single.onnx").write_bytes(outside(str(export.parent / "secret")))
    command = [sys.executable, "-m", "eat_lightning.bundle.onnx_runner", str(export)]
    done = subprocess.run(command, cwd=ROOT, input=b"good\n", capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith(f"error: {export / 'single.onnx'}: not a graph that can be run (")
