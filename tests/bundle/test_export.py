"""An export answers as its run does, without torch, or is refused in one line."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.exports import make_run, shared_export, small
from helpers.finished import config_of, refused
from helpers.models import each_once, kinds, method, portable

from eat_lightning.answer_kind import SINGLE
from eat_lightning.bundle.graphs.command import export
from eat_lightning.bundle.graphs.graph import graphs
from eat_lightning.bundle.graphs.trace import stretches, with_open_exits
from eat_lightning.bundle.onnx_runner import Runner
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.data.split import Split
from eat_lightning.errors import ConfigError
from eat_lightning.model.contracts import ExitRule, Reduction
from eat_lightning.runs.run import Run

ABSENT = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(ABSENT), reason=f"needs {', '.join(ABSENT)}, from the extra `onnx`"
)
ROOT = Path(__file__).parents[2]
UNCHANGED = {"tau": None, "layers": None, "patience": None}
LINES = "good film\nbad\nnot very good at all\nthe film is not bad but the plot is dull\n"
OF_CLASSES = [kind for kind in portable("exit") if SINGLE in method("exit", kind).kinds]
COMBINATIONS = each_once(*map(portable, ("attention", "reduction")), OF_CLASSES)


def settings(*overrides: str) -> dict:
    return config_of("export", *overrides)


def exported(run: Path, *overrides: str) -> dict:
    """What export.json says, of all of the toy dev examples."""
    to = export(settings(f"run='{run}'", "check=all", *overrides))
    return json.loads((to / "export.json").read_text())


@pytest.fixture(scope="module")
def run() -> Path:
    """With its export in it; tests only read both."""
    return shared_export()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The run without its export, to be written into."""
    return make_run(tmp_path / "run", "dense", "norm_topk", "confidence")


def assert_equal(about: dict, examples: int = 70) -> None:
    for batch in ("batch_1", "batch_32"):
        found = about["agreement"][batch]
        assert found["examples"] == examples
        assert found["largest_gap"] < 1e-4
        lost = examples - len(found["thin_and_different"])
        for what in ("answers", "depth", "retention"):
            assert found[f"{what}_equal"] >= lost


def test_the_toy_run_is_exported_whole(run: Path):
    folder = run / "graphs/onnx-fp32"
    about = json.loads((folder / "export.json").read_text())
    assert_equal(about)
    files = ["layers-1.onnx", "layers-2.onnx", "layers-3.onnx", "single.onnx", "weights.bin"]
    code = [
        "answer_kind.py",
        "eat_trace.py",
        "long_texts.py",
        "runner.py",
        "sessions.py",
        "text_io.py",
    ]
    assert sorted(p.name for p in folder.iterdir() if p.is_file()) == sorted(
        [*files, *code, "export.json", "tokenizer.json"]
    )
    assert about["exit"] == {"kind": "confidence", "tau": [0.75, 0.7], "layers": [1, 2]}
    assert about["temperatures"] == {"1": 1.0, "2": 1.0, "3": 1.25}
    assert [part["layers"] for part in about["stretches"]] == [[1, 1], [2, 2], [3, 3]]
    assert [p.name for p in run.iterdir() if ".part" in p.name or ".old" in p.name] == []


@pytest.mark.parametrize(
    ("tau", "exits", "stretches_of_layers"),
    [
        ([1.0, 0.7], [2], [(1, 2), (3, 3)]),  # nobody leaves at a tau of 1
        ([0.75, 1.0], [1], [(1, 1), (2, 3)]),
        ([1.0, 1.0], [], [(1, 3)]),
    ],
)
def test_graphs_end_where_somebody_may_leave(
    tau: list[float], exits: list[int], stretches_of_layers: list[tuple[int, int]]
):
    """Answers with a closed exit: tests/bundle/test_engines."""
    encoder = small("dense", "norm_topk", "confidence")
    encoder.exit = method("exit", "confidence", tau=tau, layers=[1, 2])
    to_export = with_open_exits(encoder)
    assert list(getattr(to_export.exit, "layers", [])) == exits
    parts = stretches(to_export, alone=False)
    assert [(part.first, part.last) for part in parts] == stretches_of_layers


def test_answers_are_those_of_predict(run: Path):
    answerer = TorchModel.open(run, exit=UNCHANGED)
    runner = Runner(run / "graphs/onnx-fp32", threads=1)
    lines = [*LINES.encode().splitlines(), b"", b"good " * 200, b"{", b'{"text": "bad"}']
    batch = answerer(lines), runner(lines)
    ones = [answerer([line])[0] for line in lines], [runner([line])[0] for line in lines]
    for ours, theirs in (batch, ones):
        for our, their in zip(ours, theirs, strict=True):
            assert list(our) == list(their)
            assert our.pop("confidence", 0) == pytest.approx(their.pop("confidence", 0), abs=2e-6)
            assert our == their
    depths = {answer.get("depth") for answer in runner(LINES.encode().splitlines())}
    assert len(depths) > 1  # some leave, some go on


def test_layers_behind_an_exit_are_in_a_branch(run: Path):
    """At batch 1 by If in If; nothing of layer 2 or 3 stands in the outer graph."""
    import onnx

    graph = onnx.load(run / "graphs/onnx-fp32" / "single.onnx").graph
    for stretch in (1, 2):
        branches = [node for node in graph.node if node.op_type == "If"]
        assert len(branches) == 1
        named = [node for node in graph.node if node.name.startswith("stretch")]
        assert {node.name.partition(".")[0] for node in named} == {f"stretch{stretch}"}
        graph = next(a.g for a in branches[0].attribute if a.name == "then_branch")
    assert all(node.op_type != "If" for node in graph.node)


def test_runner_needs_no_torch(run: Path):
    """As a module, and as the copy beside the graphs, in a process of its own."""
    folder = run / "graphs/onnx-fp32"
    heavy = ("torch", "transformers", "hydra", "lightning", "eat_lightning.model.encoder")
    code = "import sys; from eat_lightning.bundle.onnx_runner import Runner; "
    code += f"print(Runner({str(folder)!r}, 1)([b'good film', b'bad'])); "
    code += f"print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]"), done.stderr
    alone = [sys.executable, "-I", str(folder / "runner.py"), "--batch", "2", "--threads", "1"]
    given = f"{LINES}{{\n".encode() + b"caf\xe9\n"
    done = subprocess.run(alone, input=given, capture_output=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1  # the last lines cannot be read
    assert [answer.get("line") for answer in answers] == [None] * 4 + [5, 6]
    assert answers[5]["error"] == "not UTF-8 at byte 3 of the line"
    assert answers[:4] == Runner(folder, 1)(LINES.encode().splitlines())


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["run=null"], "run must name the folder of a finished run: run=outputs/..."),
        (["target=torchscript"], "target must be one of onnx, encoder, got 'torchscript'"),
        (["check=-1"], "check must be all, or 0 or more, got -1"),
        (
            ["split=other", "to=elsewhere"],
            "split must be one of validation, select, temperature, certificate",
        ),
        ([], "is there already: name another folder, or give force=true"),
        (["to='{run}'", "force=true"], "is no export (no export.json in it)"),
    ],
)
def test_a_fault_is_named_and_nothing_is_written(overrides: list[str], said: str, run: Path):
    overrides = [override.format(run=run) for override in overrides]
    before = sorted(run.rglob("*"))
    with pytest.raises(ConfigError) as error:
        export(settings(f"run='{run}'", *overrides))
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert sorted(run.rglob("*")) == before


class Counting(Reduction):
    """A reduction whose number of rows is found outside of any graph."""

    place, needs, layers = "after_layer", frozenset(), (1,)

    def __call__(self, packed, evidence, layer):
        rows = [i for i, norm in enumerate(packed.x_ND.norm(dim=-1).tolist()) if norm > 1]
        return packed.take(torch.tensor(rows), packed.layout.lengths_B)


class Merging(Reduction):
    """A reduction that says how many tokens a vector stands for."""

    place, needs, layers = "after_attention", frozenset(), (1,)

    def __call__(self, packed, evidence, layer):
        packed.size_N = torch.ones(packed.x_ND.shape[0])
        return packed


class Moody(ExitRule):
    """An exit rule that no graph can hold."""

    layers, kinds = (1, 2), (SINGLE,)

    def decides(self, logits_EBC, signals_EBS=None):
        return torch.from_numpy(logits_EBC.argmax(-1).numpy())


@pytest.mark.parametrize(
    ("slot", "own", "said"),
    [
        ("reduction", Counting, "reduction=test_export.Counting cannot be exported to ONNX: "),
        ("exit", Moody, "exit=test_export.Moody cannot be exported to ONNX: "),
        (
            "reduction",
            Merging,
            "reduction=test_export.Merging cannot be exported to ONNX: it merges",
        ),
    ],
)
def test_what_would_be_lost_is_refused(slot: str, own: type, said: str):
    encoder = small("dense", "none", "confidence")
    encoder = encoder.replacing(**{slot: own()})
    with pytest.raises(ConfigError) as error:
        graphs(encoder, alone=False)
    assert str(error.value).startswith(said)
    assert len(str(error.value).splitlines()) == 1


def test_a_budget_in_milliseconds_is_refused(run: Path, tmp_path: Path):
    message = refused(export, settings(f"run='{run}'", "exit.budget=12ms", f"to={tmp_path / 'to'}"))
    assert message.startswith("exit.budget=12ms: the dial's times are PyTorch's")
    assert list(tmp_path.iterdir()) == []


class Reworded:
    """A split whose example 3 has another text than tokens."""

    def __init__(self, split: Split):
        self.split = split

    def text(self, i: int) -> tuple[str, ...]:
        return ("good good",) if i == 3 else self.split.text(i)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.split, name)

    def __len__(self) -> int:
        return len(self.split)


def test_another_answer_is_a_fault(run: Path, tmp_path: Path):
    """The graphs read another example 3 than the run does: nothing is put in place."""
    from eat_lightning.bundle.graphs.graph_folder import GraphFolder
    from eat_lightning.files import folder_swap

    opened = Run.open(run)
    encoder, labels = opened.model()
    bundle = GraphFolder(opened, encoder, labels, "fp32")
    split = opened.data().split("validation")
    plan: Any = SimpleNamespace(
        check="all", split="validation", agree=0.0, threads=None, engines=["onnx"]
    )

    def put_in_place():
        with folder_swap(tmp_path / "other"):
            bundle.agreement(run / "graphs/onnx-fp32", plan, Reworded(split))  # type: ignore[arg-type]

    message = refused(put_in_place)
    assert "batch 32: " in message
    assert "examples differ from the run with no margin below 1e-05 (validation: 3" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attention", "reduction", "exit"),
    [
        *COMBINATIONS[:2],
        *(pytest.param(*rest, marks=pytest.mark.nightly) for rest in COMBINATIONS[2:]),
    ],
)
def test_every_combination(attention: str, reduction: str, exit: str, tmp_path: Path):
    assert {kind for _, kind, _ in COMBINATIONS} == {*portable("reduction")}
    about = exported(make_run(tmp_path / "run", attention, reduction, exit))
    assert_equal(about)
    assert len(about["stretches"]) == {"never": 1, "fixed": 2}.get(exit, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "exit"),
    [
        ("mnli", "patience"),
        ("stsb", "never"),
        ("stsb", "predicted_error"),
        ("moods", "every_label"),
        ("moods", "fpabee_labels"),
    ],
)
def test_pairs_and_other_kinds_of_answers(task: str, exit: str, tmp_path: Path):
    """What is printed of them has the same keys and values, too."""
    run = make_run(tmp_path / "run", "dense", "cls_topk", exit, task=task)
    assert_equal(exported(run))
    backend, runner = TorchModel.open(run), Runner(run / "graphs/onnx-fp32")
    lines = [json.dumps(dict.fromkeys(backend.columns, text)).encode() for text in LINES.split()]
    for theirs, ours in zip(runner(lines), backend(lines), strict=True):
        numbers = {key: x for key, x in ours.items() if isinstance(x, float)}
        assert {key: theirs[key] for key in numbers} == pytest.approx(numbers, abs=1e-4)
        assert theirs.keys() == ours.keys()
        assert (theirs["depth"], theirs.get("labels")) == (ours["depth"], ours.get("labels"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pair", "aligned"])
def test_heads_of_two_texts_from_the_embedding_on(kind: str, tmp_path: Path):
    """The first graph is a look-up and a head; a token knows its text in all of them."""
    head = {"kind": kind, "last": {"kind": "pooled", "pool": "mean"}}
    slots = "dense", "norm_topk", "confidence"
    run = make_run(tmp_path / "run", *slots, task="mnli", head=head, layers=[0, 2])
    about = exported(run)
    assert_equal(about)
    assert [part["layers"] for part in about["stretches"]] == [[0, 0], [1, 2], [3, 3]]
    encoder, _ = Run.open(run).model()
    split = Run.open(run).data().split("validation")
    assert (encoder(split.batch(np.arange(70))).depth_B == 0).any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted({*kinds("head")} - {"pooled", "pair", "aligned"}))
def test_heads_are_exported_or_named(kind: str, tmp_path: Path):
    """Other tests export the others."""
    run = make_run(tmp_path / "run", "dense", "norm_topk", "confidence", head={"kind": kind})
    if blockers := method("head", kind).export_blockers():
        with pytest.raises(ConfigError, match=f"^{blockers[0]}$"):
            exported(run)
    else:
        assert_equal(exported(run))


@pytest.mark.slow
def test_int8_agrees_mostly(bare: Path):
    import onnx

    about = exported(bare, "dtype=int8", "agree=0.8")
    for batch in ("batch_1", "batch_32"):
        assert about["agreement"][batch]["answers_equal"] >= 56
        assert about["agreement"][batch]["largest_gap"] > 1e-4  # or nothing was quantised
        twin = about["agreement"][f"{batch}_int8"]  # the same whole numbers, but for a rounding
        assert min(twin[f"{what}_equal"] for what in ("answers", "depth", "retention")) >= 66
    nodes = onnx.load(bare / "graphs/onnx-int8" / "layers-1.onnx").graph.node
    products = ("qkv", "out", "up", "down", "dense of the early head")
    assert sum(node.op_type == "MatMulInteger" for node in nodes) == len(products)
