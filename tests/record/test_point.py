"""A point: one way to JSON and back, its name, and the encoder that has its methods."""

import json

import pytest
from helpers.models import tiny

from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.specification import STATIC, Specification
from eat_lightning.record.point import Point

EXITS = Specification("exit", "confidence", {"tau": [0.9, 1.0], "layers": [1, 2]})
VETO = Specification.of("policy", Specification("policy", "full_depth").build())
POINTS = [
    Point(),
    Point.whole("transformers"),
    Point("onnx", "bf16", methods={"exit": EXITS}, policies=(VETO,)),
    Point(dtype="int8", layout="plain", counts={0: 6, 2: 3}),
    Point.whole(dtype="bf16", weights="small"),
    Point(dtype="bf16", before=Point(dtype="int8", methods={"exit": EXITS}), margin=0.25),
]


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_json_gives_the_point_back(point: Point):
    assert Point.read(json.loads(json.dumps(point.as_dict()))) == point


def test_json_has_what_differs_from_the_defaults():
    assert Point().as_dict() == {"engine": "torch", "dtype": "fp32"}
    found = Point.whole("onnx", "int8").as_dict()
    assert found == {"engine": "onnx", "dtype": "int8", "methods": {"exit": {"kind": "never"}}}


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"dtype": "fp8"}, "dtype"),
        ({"engines": "onnx"}, "engines"),
        ({"methods": {"head": {"kind": "pooled"}}}, "must be of attention, reduction, exit"),
        ({"methods": {"exit": "never"}}, "exit must be a dict"),
        ({"counts": {"two": 3}}, "two"),
        ({"before": {"dtype": "fp8"}}, "dtype"),
        ({"margin": float("nan")}, "margin"),
        ("onnx", "a point must be a dict"),
    ],
)
def test_a_damaged_file_is_refused(given: object, fault: str):
    with pytest.raises(ValueError, match=fault):
        Point.read(given)


def test_its_name_in_one_line():
    assert [str(point) for point in POINTS] == [
        "our kernels, fp32",
        "transformers, fp32",
        "onnxruntime, bf16, confidence tau 0.9/1.0 layers 1/2",
        "our kernels, int8, 6 behind 0, 3 behind 2",
        "small in our kernels, bf16",
        "our kernels, int8, confidence tau 0.9/1.0 layers 1/2, "
        "then our kernels, bf16 below a margin of 0.25",
    ]


def test_equal_points_have_one_key():
    """Whatever the order of arguments, as a file may have it."""
    turned = Specification("exit", "confidence", {"layers": [1, 2], "tau": [0.9, 1.0]})
    assert Point(methods={"exit": EXITS}).key == Point(methods={"exit": turned}).key
    assert len({point.key for point in POINTS}) == len(POINTS)
    assert Point.whole("openvino", "bf16").key == "openvino bf16"


def test_points_that_differ_in_their_exits_share_a_backbone():
    ratio = Specification("reduction", "norm_topk", {"ratio": 0.2, "layers": [2]})
    one, other = (
        Point(methods={"reduction": ratio}),
        Point(methods={"reduction": ratio}).at(exit=EXITS),
    )
    assert one.backbone == other.backbone != Point().backbone


def test_exits_and_models_before_make_it_dynamic():
    assert [point.is_static for point in POINTS] == [False, True, False, False, True, False]
    assert not Point(before=POINTS[1]).at(exit=STATIC["exit"]).is_static


def test_an_encoder_at_a_point_has_its_methods_and_shares_its_weights():
    encoder = tiny("dense", "norm_topk", "confidence")
    point = Point(methods={"exit": EXITS, "reduction": STATIC["reduction"]}, policies=(VETO,))
    found = point.on(encoder)
    assert (found.exit.tau, found.exit.layers) == ([0.9, 1.0], [1, 2])
    assert [Specification.of("policy", each) for each in found.policies] == [VETO]
    assert found.layers is encoder.layers
    assert Specification.of("reduction", found.reduction) == STATIC["reduction"]
    assert Point().on(encoder).exit is encoder.exit


def test_policies_that_a_model_has_are_kept_as_they_are():
    """They may have loaded a second model."""
    known = [VETO.build()]
    assert Point(policies=(VETO,)).policies_like(known) is known
    assert Point().policies_like(known) is known
    assert Point(policies=()).policies_like(known) == ()


def test_layers_that_an_encoder_lacks_are_refused():
    with pytest.raises(ValueError, match="layers"):
        Point(methods={"exit": EXITS.changed({"layers": [1, 99]})}).on(tiny())


def test_a_method_of_the_kind_keeps_its_parameters():
    rule = Confidence(0.5, [1, 2])
    rule.note = "shared"  # type: ignore[attr-defined]
    assert EXITS.like(rule).note == "shared"
    assert EXITS.like(rule).tau == [0.9, 1.0]
    assert rule.tau == 0.5
    assert not hasattr(EXITS.like(Never()), "note")


def test_certificates_name_how_early_exits_are_computed_in_int8():
    """Only where our kernels do it, as the first of two models too."""
    early = Point(dtype="int8", methods={"exit": EXITS})
    now = {"int8 computation": "0.4.1"}
    assert early.computation == now
    assert Point.whole("onnx", "int8", weights="").computation == {}
    assert Point(engine="onnx", dtype="int8", methods={"exit": EXITS}).computation == {}
    assert Point.whole(dtype="int8").computation == {}
    assert Point(dtype="fp32", methods={"exit": EXITS}).computation == {}
    assert Point(engine="openvino", before=early).computation == now
