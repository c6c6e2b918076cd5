"""`verify`: bounds that a person can compute, every kind of model, and one line for bad input."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers import shared
from helpers.classifiers import drawn_texts, save_classifier
from helpers.exports import shared_export
from helpers.finished import config_of
from helpers.gateways import FakeModel, running

import eat_lightning
from eat_lightning.deploy.verify import server
from eat_lightning.deploy.verify.command import main
from eat_lightning.deploy.verify.command import verify as command
from eat_lightning.errors import ConfigError

WORDS = [f"{a}{b} {b}{a} {a}{a}{b} {b}{b}{a}" for a in "abcdefghij" for b in "klmnopqrst"]
ROWS = [{"text": text, "answer": "safe"} for text in WORDS]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def changed(rows: list[dict[str, Any]], num: int, **values: Any) -> list[dict[str, Any]]:
    return [*(row | values for row in rows[:num]), *rows[num:]]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return written(tmp_path / "old.jsonl", changed(ROWS, 40, answer="toxic"))


def against(old: Path, rows: list[dict[str, Any]], **settings: Any) -> Any:
    new = written(old.with_name("new.jsonl"), rows)
    return eat_lightning.verify(old, new, **settings)


def test_the_bound_is_exact(old: Path):
    """0 of n: 1 - error ** (1 / n)."""
    result = against(old, changed(ROWS, 40, answer="toxic"), agree=0.95)
    assert result.bound == pytest.approx(1 - 0.05 ** (1 / 100))
    assert (result.status, result.holds, result.needed) == (0, True, 59)


@pytest.mark.parametrize(("num", "agree", "status"), [(1, 0.95, 0), (3, 0.95, 2), (20, 0.95, 1)])
def test_the_status_tells_apart_no_and_too_few(old: Path, num: int, agree: float, status: int):
    rows = changed(changed(ROWS, 40, answer="toxic"), num, answer="safe")
    assert against(old, rows, agree=agree).status == status


def test_directions_and_classes_are_counted_apart(old: Path):
    rows = changed(ROWS, 45, answer="toxic")
    rows = changed(rows, 2, answer="safe")
    parts = against(old, rows, positive="toxic").parts
    counts = {name: (part.num, part.changed) for name, part in parts.items()}
    assert counts == {
        "toxic in old": (40, 2),
        "safe in old": (60, 5),
        "permissive: toxic in old, not in new": (40, 2),
        "strict: toxic in new, not in old": (60, 5),
    }


def test_a_class_may_have_a_demand_of_its_own(old: Path):
    rows = changed(changed(ROWS, 40, answer="toxic"), 3, answer="safe")
    assert against(old, rows, agree=0.9).status == 0
    result = against(old, rows, agree=0.9, per_class={"toxic": 0.99})
    assert (result.status, result.tallies[1].num) == (1, 40)


def test_near_duplicates_count_once(tmp_path: Path):
    texts = [f"the same long text with the number {i}" for i in range(50)]
    rows = [*ROWS, *({"text": text, "answer": "safe"} for text in texts)]
    result = against(written(tmp_path / "old.jsonl", rows), rows)
    assert result.tallies[0].num == len(ROWS) + 1
    assert "49 near-duplicates" in result.texts.line


def test_a_text_that_one_refuses_has_changed(old: Path):
    rows = changed(ROWS, 40, answer="toxic")
    refused: dict[str, Any] = {"answer": None, "error": "too long"}
    result = against(old, changed(rows, 1, **refused))
    assert result.tallies[0].changed == 1
    written(old, changed(rows, 1, **refused))
    result = against(old, changed(rows, 1, **refused))
    assert (result.tallies[0].num, result.tallies[0].changed) == (99, 0)
    assert "1 refused by both" in result.texts.line


def test_labels_may_have_two_names(old: Path):
    rows = changed(changed(ROWS, 100, answer="LABEL_0"), 40, answer="LABEL_1")
    result = against(old, rows, map={"LABEL_0": "safe", "LABEL_1": "toxic"})
    assert result.tallies[0].changed == 0


def test_sets_scores_and_probabilities(old: Path):
    several = [{"text": text, "answers": ["a", "b"]} for text in WORDS]
    written(old, several)
    assert against(old, changed(several, 3, answers=["b"])).tallies[0].changed == 3
    scores = [{"text": text, "score": 0.5} for text in WORDS]
    written(old, scores)
    moved = changed(scores, 5, score=0.52)
    assert against(old, moved, tolerance=0.1).tallies[0].changed == 0
    assert against(old, moved, cuts=[0.51]).parts["higher in new"].changed == 5
    shares = [{"text": text, "probabilities": {"no": 0.4, "yes": 0.6}} for text in WORDS]
    written(old, shares)
    rows = changed([{"text": text, "answer": "yes"} for text in WORDS], 2, answer="no")
    assert against(old, rows).classes == {("yes", "no"): 2}


def test_lists_compare_the_best_candidates(tmp_path: Path):
    """A list whose second best candidate changes loses half of its best two."""
    lists = [{"query": text, "candidates": [f"{text} {c}" for c in "vwxyz"]} for text in WORDS]
    queries = written(tmp_path / "lists.jsonl", lists)
    rows = [
        {"query": each["query"], "candidate": text, "score": place}
        for each in lists
        for place, text in enumerate(each["candidates"])
    ]
    old = written(tmp_path / "old.jsonl", rows)
    moved = [row | {"score": 9.0} if i % 5 == 0 and i < 30 else row for i, row in enumerate(rows)]
    new = written(tmp_path / "new.jsonl", moved)
    given: Any = {"queries": queries, "keep": 2, "to": tmp_path / "verified"}
    result = eat_lightning.verify(old, new, agree=0.9, **given)
    assert result.tallies[0].share == pytest.approx(6 * 0.5 / 100)
    assert (result.status, len(result.changed)) == (0, 6)
    assert 0.03 < result.bound < 0.1
    best = json.loads((tmp_path / "verified/new.jsonl").read_text().splitlines()[0])
    assert best["query"] == WORDS[0]
    assert best["answers"] == [f"{WORDS[0]} v", f"{WORDS[0]} z"]
    written(new, [row | {"score": -row["score"]} for row in rows])
    assert eat_lightning.verify(old, new, agree=0.9, **given).status == 1


def test_files_of_all_formats(old: Path):
    import pandas as pd

    frame = pd.DataFrame(changed(ROWS, 40, answer="toxic"))
    frame.to_csv(old.with_name("new.csv"))
    frame.to_parquet(old.with_name("new.parquet"))
    for name in ("new.csv", "new.parquet"):
        assert eat_lightning.verify(old, old.with_name(name)).tallies[0].changed == 0


@pytest.fixture
def classifier() -> Path:
    return shared.once("verified", lambda folder: save_classifier(folder / "tiny")) / "tiny"


def test_folders_in_every_engine(classifier: Path, tmp_path: Path):
    """transformers against our kernels; what is written is a file of answers again."""
    texts, to = drawn_texts(60), tmp_path / "verified"
    ours = eat_lightning.Build(model=str(classifier), backend="torch")
    result = eat_lightning.verify(classifier, ours, texts, agree=0.9, to=to)
    assert (result.status, result.tallies[0].changed) == (0, 0)
    again = eat_lightning.verify(to / "old.jsonl", classifier, agree=0.9)
    assert again.tallies[0].changed == 0
    assert {path.name for path in to.iterdir()} == {
        *("old.jsonl", "new.jsonl", "changed.jsonl", "result.json", "page.html")
    }


def test_runs_and_exports(tmp_path: Path):
    run = shared_export()
    texts = drawn_texts(40)
    result = eat_lightning.verify(run, run / "graphs/onnx-fp32", texts, agree=0.9)
    assert result.tallies[0].changed == 0


@pytest.mark.parametrize("api", ["native", "tei", "hf", "vllm"])
def test_servers_of_every_protocol(tmp_path: Path, api: Any):
    texts = [f"{'good' if i % 3 else 'poor'} number {word}" for i, word in enumerate(WORDS)]
    names = ["positive" if i % 3 else "negative" for i in range(len(texts))]
    rows = [{"text": t, "answer": name} for t, name in zip(texts, names, strict=True)]
    old = written(tmp_path / "old.jsonl", rows)
    with running(FakeModel(), api=["native", "tei", "hf", "vllm"]) as gateway:
        url = str(gateway.client.base_url) + ("/classify" if api == "hf" else "")
        new = eat_lightning.Build(model=url, api=api)
        result = eat_lightning.verify(old, new, batch=7)
    assert (result.tallies[0].num, result.tallies[0].changed) == (100, 0)


def test_a_server_s_refusal_is_of_one_text(tmp_path: Path):
    rows = [{"text": f"good {text}", "answer": "positive"} for text in WORDS]
    rows[3] = {"text": "long text", "answer": "negative"}
    old = written(tmp_path / "old.jsonl", rows)
    with running(FakeModel()) as gateway:
        result = eat_lightning.verify(old, str(gateway.client.base_url))
    assert [each.new.refused for each in result.changed if "at most 64" in each.new.refused]
    assert result.tallies[0].changed == 1


@contextmanager
def dying(most: int, midway: bool = False) -> Iterator[tuple[str, list[str]]]:
    """A server that answers so many requests; its URL, and the texts that it was asked.

    Args:
        midway: it dies within an answer, and not before one.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal most
            most -= 1
            if most < 0:
                if midway:
                    self.send_response(200)
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                    self.wfile.write(b'{"answers": [')
                self.connection.close()
                return
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            texts = [example["text"] for example in body["examples"]]
            asked.extend(texts)
            content = json.dumps({"answers": [{"label": "safe"} for _ in texts]}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

    serving = HTTPServer(("127.0.0.1", 0), Handler)
    serving.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{serving.server_port}", asked
    finally:
        serving.shutdown()
        thread.join()
        serving.server_close()


def test_answers_that_cannot_be_kept_are_one_line(tmp_path: Path):
    old = written(tmp_path / "old.jsonl", ROWS)
    with (
        dying(99) as (url, asked),
        pytest.raises(ValueError, match=r"to=.*old.jsonl: cannot be written \(.+\)$"),
    ):
        eat_lightning.verify(old, url, to=old)
    assert asked == []


@pytest.mark.parametrize("midway", [False, True])
def test_a_server_that_dies_is_one_line_and_the_command_goes_on(
    midway: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server, "WAIT_S", 0)
    old, to = written(tmp_path / "old.jsonl", ROWS), tmp_path / "verified"
    with dying(3, midway) as (url, asked):
        with pytest.raises(ValueError, match="30 answers are kept, and the same command resumes"):
            eat_lightning.verify(old, url, batch=10, to=to)
        first = [*asked]
        with pytest.raises(ValueError, match="to=<folder> would keep"):
            eat_lightning.verify(old, url)
    kept = (to / "new.part.jsonl").read_text()
    with dying(99) as (url, asked):  # on another port, which is another server
        about, _, rest = kept.partition("\n")
        about = json.dumps({"about": json.loads(about)["about"] | {"model": url}})
        (to / "new.part.jsonl").write_text(f"{about}\n{rest}" + '{"texts": ["cut')
        result = eat_lightning.verify(old, url, batch=10, to=to)
        assert {*asked} == {*WORDS} - {*first}
    assert result.tallies[0].num == 100
    assert not (to / "new.part.jsonl").exists()


LINES = {
    "labels differ": ({"answer": "LABEL_0"}, {}),
    "gives classes, and new=.* gives scores": ({"answer": None, "score": 1.0}, {}),
    "positive must name among safe, toxic, got poor": ({}, {"positive": "poor"}),
    "agree must be below 1, got 1.5": ({}, {"agree": 1.5}),
    "texts of their own": ({"text": "another"}, {}),
    "has no answer to 1 of 1 texts, such as 'x'": ({}, {"texts": ["x"]}),
    "no text in column body": ({}, {"columns": ["body"]}),
    "needs answer, answers, score or probabilities": ({"answer": None}, {}),
}


@pytest.mark.parametrize("line", LINES)
def test_bad_input_is_one_line(old: Path, line: str):
    values, settings = LINES[line]
    with pytest.raises(ValueError, match=line) as error:
        against(old, changed(ROWS, 100, **values), **settings)
    assert "\n" not in str(error.value)


def test_a_misspelt_column_of_answers_gets_its_neighbour(old: Path):
    rows = [{"text": row["text"], "anser": row["answer"]} for row in ROWS]
    with pytest.raises(ValueError, match=r"only text, anser: did you mean answer\?"):
        against(old, rows)


def test_a_misspelt_column_beside_scores_is_told(old: Path, capsys: pytest.CaptureFixture[str]):
    rows = [{"text": row["text"], "anser": row["answer"], "score": 0.5} for row in ROWS]
    with pytest.raises(ValueError, match="gives"):  # classes there, scores here
        against(old, rows)
    assert "column anser is not read: did you mean answer?" in capsys.readouterr().err
    right = [row | {"answer_ms": 3} for row in ROWS]
    against(old, right)
    assert "not read" not in capsys.readouterr().err


def test_a_row_that_no_text_asks_for_may_hold_no_answer(old: Path, tmp_path: Path):
    more = [*ROWS, {"text": "not asked", "answer": None}]
    new = written(tmp_path / "new.jsonl", more)
    assert eat_lightning.verify(old, new, texts=old, agree=0.5).tallies[0].num == len(ROWS)


def test_a_file_is_read_before_a_model_is_asked(old: Path, tmp_path: Path):
    """A server that answers nothing is named last: it would have been asked for long."""
    broken = written(tmp_path / "new.jsonl", changed(ROWS, 100, answer=None, answers="{"))
    with pytest.raises(ValueError, match=r"new\.jsonl.*row 1: "):
        eat_lightning.verify("http://localhost:9", broken)


def test_answers_of_some_of_the_texts_say_how_to_compare_those(old: Path):
    with pytest.raises(ValueError, match=r"0 and 1 texts of their own: texts=\S+old\.jsonl names"):
        against(old, [*ROWS, {"text": "another", "answer": "safe"}])


def test_scores_need_a_tolerance(old: Path):
    scores = [{"text": text, "score": 0.5} for text in WORDS]
    written(old, scores)
    with pytest.raises(ValueError, match=r"give tolerance=\.\.\."):
        against(old, scores)


def test_what_is_no_model_is_named(old: Path, tmp_path: Path):
    for name in ("nowhere/at/all", str(tmp_path)):
        with pytest.raises(ValueError, match="new=") as error:
            eat_lightning.verify(old, name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("how", ["format=text", "--json", "format=markdown"])
def test_the_command_prints_and_ends_with_the_status(
    old: Path, how: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    new = written(old.with_name("new.jsonl"), changed(ROWS, 20, answer="toxic"))
    monkeypatch.setattr(sys, "argv", ["verify", f"old={old}", f"new={new}", how])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    out = capsys.readouterr().out
    if how == "--json":
        content = json.loads(out)
        assert (content["status"], content["claims"][0]["changed"]) == (1, 20)
        assert len(content["changed"]) == 20
    else:
        assert "It does not hold: 20 of 100 answers change" in out


def test_torch_is_not_imported_for_files(old: Path):
    ended = process(f"old={old}", f"new={old}", "agree=0.9")
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "False"), ended.stderr


@pytest.mark.slow
def test_torch_is_not_imported_for_exports(tmp_path: Path):
    folder = shared_export() / "graphs/onnx-fp32"
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(drawn_texts(40)))
    ended = process(f"old={folder}", f"new={folder}", f"texts={texts}", "agree=0.9")
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "False"), ended.stderr


def process(*words: str) -> Any:
    """The command in a process of its own, which says at last whether torch was imported."""
    code = (
        "import sys\nfrom eat_lightning.deploy.verify.command import main\n"
        "main()\nprint('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_config_error_ends_the_command(old: Path):
    with pytest.raises(ConfigError, match="new must name a model"):
        command(config_of("verify", f"old.model='{old}'"))
