"""Lines in, JSON lines out: in order, streaming, and never a traceback."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import Command
from helpers.finished import called, config_of, make_run

from eat_lightning import text_io
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.deploy.predict import command as predict
from eat_lightning.deploy.predict.explain import explained
from eat_lightning.errors import reported
from eat_lightning.overrides import with_path_quoted

Call = Callable[..., tuple[int, list[dict[str, Any]], str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Call:
    """The whole command in this process: (status, answers, what standard error says)."""

    def run(text: str | bytes, *arguments: str, action: Callable[[], Any] = predict.main) -> Any:
        (tmp_path / "in").write_bytes(text.encode() if isinstance(text, str) else text)
        monkeypatch.chdir(tmp_path)
        with (tmp_path / "in").open() as lines:
            status = called(action, *arguments, stdin=lines)
        assert [p.name for p in tmp_path.iterdir()] == ["in"]  # no output folders
        out, err = capsys.readouterr()
        return status, [json.loads(line) for line in out.splitlines()], err

    return run


@pytest.fixture
def call(command: Call) -> Call:
    """What the command does with its settings, which are composed once for all."""

    def run(text: str | bytes, *arguments: str) -> Any:
        words = [with_path_quoted(argument) for argument in arguments]

        @reported()
        def action() -> int:
            return predict.predict(config_of("predict", *words))

        return command(text, action=action)

    return run


def test_lines_of_text(sst2: Path, command: Call):
    status, answers, err = command("a fine film\nnot good\n", f"run={sst2}", "threads=1")
    assert (status, err) == (0, "")
    for answer in answers:
        names = ["label", "confidence", "depth", "exit_reason", "retention"]
        assert [*answer] == [*names, "windows", "tokens", "truncated"]
        assert answer["label"] in ("negative", "positive")
        assert 0.5 <= answer["confidence"] <= 1
        assert 1 <= answer["depth"] <= 6
        assert answer["exit_reason"] in ("confident", "last_layer")
        assert 0 < answer["retention"] <= 1


def test_a_long_text_is_refused_cut_or_read_in_windows(sst2: Path, call):
    fits = " ".join("a" * 38)  # and [CLS] and [SEP]: the backbone reads 40 tokens
    lines = f"{fits}\nfine\n{fits} b\nfine\n{fits} c\n"

    def sizes(answers):
        return [(a.get("windows"), a.get("tokens"), a.get("truncated")) for a in answers]

    status, answers, _ = call(lines, f"run={sst2}", "batch=2")
    assert status == 1
    assert answers[2]["line"] == 3
    assert (
        answers[2]["error"]
        == "a text must have at most 40 tokens, got 41 (long=cut takes the first, long=windows all)"
    )
    whole, short, none = (1, 40, False), (1, 6, False), (None, None, None)
    assert sizes(answers) == [whole, short, none, short, none]

    status, cut, _ = call(lines, f"run={sst2}", "batch=2", "long=cut")
    assert (status, sizes(cut)) == (0, [whole, short, (1, 41, True), short, (1, 41, True)])
    given = "long=windows", "windows.label=positive", "windows.overlap=8"
    status, read, _ = call(lines, f"run={sst2}", "batch=2", *given)
    assert (status, sizes(read)) == (0, [whole, short, (2, 41, False), short, (2, 41, False)])
    for i in (0, 1, 3):
        assert answers[i] == cut[i] == read[i]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "windows.label must name the label to look for, one of negative, positive, got None"),
        (["windows.label=spam"], "windows.label must name the label to look for, one of negative"),
        (["windows.join=mean", "windows.size=41"], "windows.size must be in 8..40, the tokens"),
        (["windows.join=mean", "windows.overlap=21"], "windows.overlap must be in 0..20, half"),
    ],
)
def test_windows_that_do_not_go_with_the_model_are_one_line(
    sst2: Path, call, words: list[str], error: str
):
    status, _, err = call("a\n", f"run={sst2}", "long=windows", *words)
    assert (status, len(err.splitlines())) == (1, 1)
    assert error in err


def test_bad_lines_stand_in_their_place(sst2: Path, call):
    lines = ["good", "{broken", '{"text": "bad"}', '{"words": "x"}', '{"sentence": "film"}']
    lines += ['{"text": 3}', '{"text": "a", "text_pair": "b"}', "{" * 5000, "last"]
    status, answers, err = call("\n".join(lines), f"run={sst2}", "batch=2")
    assert (status, err) == (1, "")
    assert [a.get("line") for a in answers] == [None, 2, None, 4, None, 6, 7, 8, None]
    errors = [a["error"] for a in answers if "error" in a]
    assert errors[0].startswith("not JSON, as a line that starts with { must be")
    assert errors[1] == "no key text: give text, or sentence"
    assert errors[2] == "text must be a text, got 3"
    assert errors[3] == "text_pair: this task takes one text"


def test_pairs(mnli: Path, call):
    lines = ["a film\tno film", '{"premise": "a film", "hypothesis": "no film"}']
    lines += ['{"text": "a film", "text_pair": "no film", "label": 1}', "one", "a\tb\tc"]
    lines += ['{"text": "a"}', ""]
    status, answers, _ = call("\n".join(lines) + "\n", f"run={mnli}")
    assert status == 1
    assert answers[0] == answers[1] == answers[2]
    assert [a["error"] for a in answers[3:]] == [
        "expected 2 texts with a tab between, got 1",
        "expected 2 texts with a tab between, got 3",
        "no key text_pair: give text and text_pair, or premise and hypothesis",
        "expected 2 texts with a tab between, got 1",
    ]


STRANGE = [
    b"",
    b"a",
    b"good " * 20_000,
    b"\x00\x01\x1b[31m\x7f\x0b\x0c",
    "emoji \U0001f600\u200d\u2028 \u0301\u202e".encode(),
    b"\xef\xbb\xbfa byte order mark",
    b'{"text": "half a pair \\ud83d"}',
    b'\xef\xbb\xbf{"text": ""}\r',
    b"a\ttab is a space to a task with one text",
]


def test_strange_text_gets_an_answer(sst2: Path, call):
    status, answers, err = call(b"\n".join([*STRANGE, b"good"]), f"run={sst2}", "long=cut")
    assert (status, err) == (0, "")
    assert len(answers) == len(STRANGE) + 1
    assert all("label" in answer for answer in answers)


def test_a_line_that_is_not_utf_8_is_said(sst2: Path, call):
    lines = b'good\ncaf\xe9\n{"text": "\xff"}\nbad\n'
    status, answers, _ = call(lines, f"run={sst2}")
    assert (status, len(answers)) == (1, 4)
    assert answers[1] == {"line": 2, "error": "not UTF-8 at byte 3 of the line"}
    assert answers[2] == {"line": 3, "error": "not UTF-8 at byte 10 of the line"}
    assert "label" in answers[0]
    assert "label" in answers[3]


def test_another_rule(sst2: Path, call):
    def depths(*arguments: str) -> list[int]:
        lines = "good film\nbad\nnot very good at all\n"
        return [answer["depth"] for answer in call(lines, f"run={sst2}", *arguments)[1]]

    assert depths("exit=never") == [6, 6, 6]
    assert depths("exit=confidence", "exit.tau=0.01") == [3, 3, 3]  # the first of its heads
    assert {*depths("exit=patience")} <= {4, 6}
    assert depths("exit.tau=0.01") == [3, 3, 3]
    assert depths("exit.tau=0.01", "exit.layers=[4]") == [4, 4, 4]
    assert depths("exit=confidence", "exit.tau=0.01", "exit.layers=[4]") == [4, 4, 4]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "run must name the folder of a finished run"),
        (["run=nowhere"], "run=nowhere is not a run folder"),
        (["batch=0", "dtype=fp8", "threads=0"], "dtype must be one of fp32, bf16, int8, got 'fp8'"),
        (["exit.tau=0.9", "exit.layers=[9]"], "exit.layers must be in 0..6, got 9"),
        (
            ["policy=veto", "policy.veto.run=nowhere"],
            "policy.veto.run must name a finished run, got",
        ),
        (["+policy.veto.margin=0.3"], "policy.veto sets a policy that is not chosen: give policy="),
        (["exit=nonsense"], "nonsense"),
    ],
)
def test_wrong_settings_end_with_status_1(
    arguments: list[str], said: str, sst2: Path, call: Call, command: Call
):
    composed = said != "nonsense"
    if arguments and not any(a.startswith(("run=", "batch=")) for a in arguments):
        arguments = [f"run={sst2}", *arguments]
    status, answers, err = (call if composed else command)("good\n", *arguments)
    assert (status, answers) == (1, [])
    assert said in err
    assert all(line.startswith("error: ") for line in err.splitlines())
    assert len(err.splitlines()) == (4 if "batch=0" in arguments else 1)


def batches(*chunks: bytes, size: int = 3) -> list[list[bytes]]:
    """Of lines of which each read finds a chunk more."""
    waiting = iter([*chunks, b""])
    return [*text_io.batches(0, size, lambda descriptor, count: next(waiting))]


def test_batches_are_what_is_there():
    assert batches(b"a\nb\nc\nd\n") == [[b"a", b"b", b"c"], [b"d"]]
    assert batches(b"a\nb", b"c\n", b"d") == [[b"a"], [b"bc"], [b"d"]]
    assert batches(b"\n\nx\r\n") == [[b"", b"", b"x\r"]]
    assert batches(b"no end", b" yet", b"") == [[b"no end yet"]]


def test_a_run_name_is_quoted_for_hydra():
    assert with_path_quoted("run=o/task=sst2,seed=1") == "run='o/task=sst2,seed=1'"
    assert with_path_quoted("run=it's") == "run='it\\'s'"
    for argument in ("run='x'", "run=[a,b]", "run=", "batch=3", "--help", "exit.tau=0.9"):
        assert with_path_quoted(argument) == argument


@pytest.mark.slow
def test_answers_while_the_input_is_open_and_ends_quietly(sst2: Path):
    """As another program would use it; then nobody reads any more, as with `| head`."""
    with Command("eat_lightning.predict", f"run={sst2}", "threads=1") as child:
        for text in ("good", "bad"):
            child.stdin.write(f"{text}\n")
            child.stdin.flush()
            assert "label" in json.loads(child.stdout.readline())
        child.stdout.close()
        child.stdin.write("good\n")
        child.stdin.close()
        assert child.stderr.read() == ""
        assert child.wait(timeout=60) == 0


@pytest.mark.parametrize("task", ["moods", "stsb"])
def test_answers_of_other_kinds_have_their_keys_and_show_their_way(task: str, tmp_path: Path):
    """Several labels, and a score of two texts."""
    backend = TorchModel.open(make_run(tmp_path / task, task))
    texts = ["awful story"] * len(backend.columns)
    (answer,) = backend.answer([texts])
    assert [*answer][: len(backend.kind.columns)] == [*backend.kind.columns]
    *layers, last = explained(backend, texts)
    assert [line.split()[0] for line in layers] == ["layer"] * len(layers)
    assert f" after {answer['depth']} of 6 layers: " in last
