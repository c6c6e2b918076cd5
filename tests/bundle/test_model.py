"""`Model.open` and `Model.at`: one way to each operating point."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.exports import shared_export

from eat_lightning.bundle.graph_model import GraphModel
from eat_lightning.bundle.model import Model
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.errors import ConfigError
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.policy.full_depth import FullDepth
from eat_lightning.record.point import Point

pytest.importorskip("onnxscript")
TEXTS = [["a good film"], ["not a good film"], ["bad"], ["the film"]]
STRICT = Point.of(exit=Confidence([0.9, 0.8], [1, 2]))
FREE: dict[str, Any] = {"tau": [0.9, 0.8], "layers": [1, 2]}


@pytest.fixture(scope="module")
def run() -> Path:
    return shared_export()


def test_a_point_and_settings_open_the_same(run: Path):
    by_settings = Model.open(run, exit=FREE)
    wanted = by_settings.answer(TEXTS)
    assert Model.open(run, point=STRICT).answer(TEXTS) == wanted
    assert Model.open(run).at(STRICT).answer(TEXTS) == wanted
    assert by_settings.point.methods["exit"] == STRICT.methods["exit"]
    assert by_settings.at(by_settings.point).answer(TEXTS) == wanted


def test_graphs_take_a_stricter_point(run: Path):
    graphs = Model.open(run / "graphs/onnx-fp32", point=STRICT)
    assert isinstance(graphs, GraphModel)
    depths = [answer["depth"] for answer in graphs.answer(TEXTS)]
    assert depths == [answer["depth"] for answer in Model.open(run, point=STRICT).answer(TEXTS)]


def test_graphs_refuse_a_laxer_point(run: Path):
    lax = Point.of(exit=Confidence([0.51, 0.8], [1, 2]))
    with pytest.raises(ConfigError, match=r"exit\.tau at layer 1 must be as strict as .* got 0.51"):
        Model.open(run / "graphs/onnx-fp32", point=lax)


def test_graphs_run_all_layers_at_a_point_without_exits(run: Path):
    def depths(point: Point | None) -> set[int]:
        model = Model.open(run / "graphs/onnx-fp32", point=point)
        return {answer["depth"] for answer in model.answer(TEXTS)}

    assert len(depths(None)) > 1
    assert depths(Point.whole("onnx")) == {Model.open(run).num_layers}


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_the_policies_of_a_point_hold_in_every_engine(run: Path, engine: Any, tmp_path: Path):
    folder = shutil.copytree(run, tmp_path / "run")  # its graphs are made beside it
    point = replace(STRICT, engine=engine, policies=Point.of(policies=[FullDepth()]).policies)
    model = Model.open(folder, point=point)
    assert {answer["depth"] for answer in model.answer(TEXTS)} == {model.num_layers}


@pytest.mark.parametrize(
    ("folder", "given", "said"),
    [
        ("graphs/onnx-fp32", {"exit": {"tau": 0.9}}, "exit is not an option of .*in its graphs"),
        ("graphs/onnx-fp32", {"budget": 0.5}, "budget is not an option of run="),
        ("graphs/onnx-fp32", {"engine": "torch"}, "backend=torch is for runs"),
        ("graphs/onnx-fp32", {"dtype": "int8"}, "dtype=int8: these graphs are of fp32"),
        ("", {"budget": 0.5, "agree": 0.9}, "exit.budget and exit.agree are one setting"),
        ("", {"point": Point(before=Point())}, "a cascade is opened from the folder"),
        ("", {"point": STRICT, "certificate": "one"}, "certificate=one has a point"),
    ],
)
def test_what_does_not_fit_is_one_line(run: Path, folder: str, given: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said) as error:
        Model.open(run / folder, **given)
    assert "\n" not in str(error.value)


def test_a_subclass_opens_its_own_kind(run: Path):
    assert isinstance(TorchModel.open(run), TorchModel)
    with pytest.raises(ConfigError, match="opens as a GraphModel"):
        TorchModel.open(run / "graphs/onnx-fp32")
