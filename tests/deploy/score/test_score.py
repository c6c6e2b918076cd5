"""A corpus in, parquet out: every row once, in its place, whatever dies on the way."""

import errno
import json
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from helpers.commands import Command
from helpers.finished import config_of, refused
from helpers.scores import rejects_of, rows_of, scored, settings

from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.deploy.score import workers
from eat_lightning.deploy.score.command import score
from eat_lightning.deploy.score.corpus import portable
from eat_lightning.deploy.score.inputs import Input
from eat_lightning.deploy.score.output import Output
from eat_lightning.deploy.score.scorer import Scorer
from eat_lightning.deploy.score.windows import Source
from eat_lightning.machine import MACHINE

WORDS = ["good", "bad", "film", "not", "very", "fine", "dull"]
TEXTS = [" ".join(WORDS[(i + k) % 7] for k in range(1 + i % 9)) for i in range(60)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """60 lines, which are four shards of 16 rows."""
    (tmp_path / "lines.txt").write_text("\n".join(TEXTS) + "\n")
    return tmp_path / "lines.txt"


def files_of(output: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(output.rglob("*")) if path.is_file()]
    return {str(p.relative_to(output)): p.read_bytes() for p in paths}


@pytest.mark.parametrize("pool", [None, False])
def test_answers_are_those_of_predict(corpus: Path, sst2: Path, tmp_path: Path, pool: Any):
    rows = scored(corpus, tmp_path / "out", sst2, pool=pool, tokens=64, batch=6, workers=2)
    assert [row["sentence"] for row in rows] == TEXTS
    answers = TorchModel.open(sst2).answer([[text] for text in TEXTS])
    for row, answer in zip(rows, answers, strict=True):
        for key in ("label", "depth", "retention", "exit_reason"):
            assert row[key] == answer[key]
        assert row["confidence"] == pytest.approx(answer["confidence"], abs=1e-5)
    assert len({*(row["depth"] for row in rows)}) > 1


@pytest.mark.parametrize("pool", [None, False])
def test_long_rows_are_rejected_cut_or_read_in_windows(tmp_path: Path, sst2: Path, pool: Any):
    given = tmp_path / "lines.txt"  # with [CLS] and [SEP] 40 are read
    given.write_text("".join("a " * size + "\n" for size in (38, 39, 1, 80)))

    def sizes(name: str, **settings: Any) -> list[tuple[Any, ...]]:
        rows = scored(given, tmp_path / name, sst2, pool=pool, **settings)
        return [(row["windows"], row["tokens"], row["truncated"]) for row in rows]

    whole, short = (1, 40, False), (1, 3, False)
    assert sizes("refused") == [whole, short]
    reasons = [reject["reason"] for reject in rejects_of(tmp_path / "refused")]
    bound = "a text must have at most 40 tokens, got"
    assert reasons == [
        f"{bound} {count} (long=cut takes the first, long=windows all)" for count in (41, 82)
    ]
    assert sizes("cut", long="cut") == [whole, (1, 41, True), short, (1, 82, True)]
    windows = {"size": None, "overlap": 8, "join": "max", "label": "positive"}
    there = sizes("read", long="windows", windows=windows)
    assert there == [whole, (2, 41, False), short, (3, 82, False)]


def test_a_start_says_what_it_did(corpus: Path, sst2: Path, tmp_path: Path, capsys):
    depths = [row["depth"] for row in scored(corpus, tmp_path / "out", sst2)]
    out, err = capsys.readouterr()
    assert out.startswith("60 rows in")
    assert f"1 workers, mean depth {sum(depths) / 60:.2f}" in out
    assert err.startswith("note: no certificate is in force, ")


def test_json_passes_its_lines_through(sst2: Path, tmp_path: Path):
    contents = [{"id": 1, "text": "good", "tags": ["a"]}, {"id": "three", "text": "dull"}]
    contents += [{"text": "fine", "url": "\ud83d"}, {"id": 4, "text": None}, {"id": 5}]
    lines = [json.dumps(content) for content in contents]
    lines[3:3] = ["{broken", "", "[1]"]
    given = tmp_path / "a.jsonl"
    given.write_text("\n".join(lines))
    rows = scored(given, tmp_path / "out", sst2)
    assert [json.loads(row["json"]) for row in rows] == contents[:3]
    rejects = rejects_of(tmp_path / "out")
    assert [(reject["row"], reject["reason"].partition(":")[0]) for reject in rejects] == [
        (3, "not JSON, as a line that starts with { must be"),
        (4, "must be a JSON object"),
        (5, "must be a JSON object"),
        (6, "text must be a text, got None"),
        (7, "no key text"),
    ]
    assert [reject["texts"] for reject in rejects] == [[line] for line in lines[3:]]
    assert [*scored(given, tmp_path / "texts", sst2, keep=["sentence"])[0]] == ["sentence", *ANSWER]


def test_parquet_passes_its_columns_through(sst2: Path, tmp_path: Path):
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    texts = pa.array([*TEXTS[:10], None]).dictionary_encode()
    whole = pa.table({"sentence": texts, "label": [*range(11)], "l": [[i] for i in range(11)]})
    pq.write_table(whole, folder / "a.parquet", row_group_size=5)
    (folder / "notes.md").write_text("no input")
    given = {"prefix": "eat_", "shard_rows": 4, "window": 3}
    rows = scored(tmp_path / "in", tmp_path / "out", sst2, **given)
    assert [row["label"] for row in rows] == [*range(10)]
    assert [row["l"] for row in rows] == [[i] for i in range(10)]
    assert {row["eat_label"] for row in rows} <= {"negative", "positive"}
    [reject] = rejects_of(tmp_path / "out")
    assert (reject["row"], reject["input"]) == (10, "deep/a.parquet")
    assert reject["reason"] == "no text, or none that is UTF-8"
    shards = sorted((tmp_path / "out" / "deep").glob("a.parquet-*.parquet"))
    assert [pq.read_metadata(path).num_rows for path in shards] == [4, 4, 2]
    rows = scored(tmp_path / "in", tmp_path / "some", sst2, keep=["l"], **given)
    assert [*rows[0]] == ["l", *(f"eat_{k}" for k in ANSWER)]


HOW = ["depth", "retention", "exit_reason", "windows", "tokens", "truncated"]
ANSWER = ["label", "confidence", *HOW]


def test_pairs_and_bad_lines(mnli: Path, tmp_path: Path):
    lines = [b"a film\tno film", b"one", b"\xff\tx", b"good\tbad"]
    (tmp_path / "pairs.txt").write_bytes(b"\r\n".join(lines))
    rows = scored(tmp_path / "pairs.txt", tmp_path / "out", mnli)
    assert [(r["premise"], r["hypothesis"]) for r in rows] == [
        ("a film", "no film"),
        ("good", "bad"),
    ]
    assert [(r["row"], r["reason"], r["texts"]) for r in rejects_of(tmp_path / "out")] == [
        (1, "expected 2 texts with a tab between, got 1", ["one", None]),
        (2, "not UTF-8 at byte 0 of the line", ["\\xff\tx", None]),
    ]


def test_a_second_start_goes_on_with_what_is_missing(
    corpus: Path, sst2: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    out = tmp_path / "out"
    rows = scored(corpus, out, sst2)
    assert f"written: {out}" in capsys.readouterr().out
    before = files_of(out)
    shards = sorted(out.glob("*.parquet"))
    assert len(shards) > 3
    kept = shards[0].stat().st_mtime_ns
    shards[1].unlink()
    (out / "lines.txt-00002.parquet.1.part").write_text("half")
    assert scored(corpus, out, sst2, workers=2) == rows
    assert capsys.readouterr().out.startswith("16 rows in")  # those of this start
    assert files_of(out) == before
    scored(corpus, out, sst2)
    assert f"written: {out}" in capsys.readouterr().out
    assert shards[0].stat().st_mtime_ns == kept
    (tmp_path / "more.txt").write_text("good\n")
    more = [str(corpus), str(tmp_path / "more.txt")]
    assert len(scored(more, out, sst2)) == 61


def test_a_folder_of_other_scores_is_refused(corpus: Path, sst2: Path, tmp_path: Path):
    out = tmp_path / "out"
    scored(corpus, out, sst2)
    before = files_of(out)
    never = config_of("score", "exit=never")["exit"]
    message = refused(score, settings(corpus, out, sst2, exit=never, prefix="x_"))
    assert message.startswith(
        f"output={out} holds scores of another run or other settings (model.exit"
    )
    assert "settings.prefix" in message
    corpus.write_text("other\n")
    message = refused(score, settings(corpus, out, sst2))
    assert message == f"input: lines.txt has changed since {out} was started"
    assert files_of(out) == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("")
    message = refused(score, settings(corpus, tmp_path / "full", sst2))
    assert message.endswith("holds other files (mine.txt): name another one")


def test_faults_of_inputs_are_named_before_a_model_is_loaded(tmp_path: Path, sst2: Path):
    def said(given: Any, **changes: Any) -> str:
        return refused(score, settings(given, tmp_path / "out", sst2, **changes))

    assert said(tmp_path / "nowhere").endswith("there is no such file or folder")
    (tmp_path / "a.tsv").write_text("text\n")
    known = "of no known format (parquet, csv, text, jsonl): give format="
    assert said(tmp_path / "a.tsv").endswith(f"a.tsv: {known}")
    (tmp_path / "a.csv").write_text("text,id,id\n")
    assert said(tmp_path / "a.csv").endswith("a.csv: must name its columns, each once")
    (tmp_path / "a.csv").write_text("")
    assert "a.csv: cannot be read (" in said(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("words,id\n")
    assert said(tmp_path / "a.csv").endswith("(it has words, id): give text=")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 not really")
    assert "b.parquet: cannot be read (" in said(tmp_path / "b.parquet")
    pq.write_table(pa.table({"words": ["a"], "n": [1]}), tmp_path / "c.parquet")
    wanted = "c.parquet: no column sentence, or text (it has words, n): give text="
    assert said(tmp_path / "c.parquet").endswith(wanted)
    assert said(tmp_path / "c.parquet", text="n").endswith("n must hold text, got int64")
    assert "text must name 1 (sentence)" in said(tmp_path / "c.parquet", text=["words", "n"])
    absent = "no column x to keep (it has words, n)"
    assert said(tmp_path / "c.parquet", text="words", keep=["x"]).endswith(absent)
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "e.parquet")
    named = "has columns of its own named label: give prefix="
    assert named in said(tmp_path / "e.parquet")
    inside = settings(tmp_path, tmp_path / "out", sst2)
    assert refused(score, inside) == f"output={tmp_path}/out must not lie within input={tmp_path}"
    assert not (tmp_path / "out").exists()


def test_a_full_disk_ends_in_one_line_and_loses_nothing(
    corpus: Path, sst2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = scored(corpus, tmp_path / "whole", sst2)
    with monkeypatch.context() as patch:
        write = Output.write_shard

        def fails(self: Output, path: Path) -> None:
            if path.name == "lines.txt-00002.parquet":
                raise OSError(errno.ENOSPC, "No space left on device")
            write(self, path)

        patch.setattr(Output, "write_shard", fails)
        message = refused(score, settings(corpus, tmp_path / "out", sst2))
    assert message.endswith(
        "No space left on device: finished shards are kept; the same command resumes"
    )
    names = [path.name for path in sorted((tmp_path / "out").glob("lines*"))]
    assert names == ["lines.txt-00000.parquet", "lines.txt-00001.parquet"]
    assert scored(corpus, tmp_path / "out", sst2) == whole


def test_a_worker_that_dies_is_replaced(
    corpus: Path, sst2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    whole = scored(corpus, tmp_path / "whole", sst2)
    answers, mark = Scorer.answers, tmp_path / "mark"

    def dies(self: Scorer, texts: Any, about: Any) -> Any:
        if [TEXTS[30]] in texts and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return answers(self, texts, about)

    monkeypatch.setattr(Scorer, "answers", dies)
    assert scored(corpus, tmp_path / "out", sst2, workers=2) == whole
    assert capsys.readouterr().err.count("a worker died") == 1
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_rows_that_kill_or_fail_are_rejected_alone(
    corpus: Path, sst2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    answers = Scorer.answers

    def dies(self: Scorer, texts: Any, about: Any) -> Any:
        if [TEXTS[30]] in texts:
            os._exit(9)
        if [TEXTS[1]] in texts:
            raise RuntimeError("no such memory")
        return answers(self, texts, about)

    monkeypatch.setattr(Scorer, "answers", dies)
    scored(corpus, tmp_path / "out", sst2, workers=2)
    rejects = rejects_of(tmp_path / "out")
    assert [(reject["row"], reject["reason"]) for reject in rejects] == [
        *((row, "the model failed on this row (no such memory)") for row in same_text(1)),
        *((row, "a worker died on this row") for row in same_text(30)),
    ]
    found = [row["sentence"] for row in rows_of(tmp_path / "out")]
    assert sorted(found + [reject["texts"][0] for reject in rejects]) == sorted(TEXTS)


def same_text(row: int) -> list[int]:
    return [i for i, text in enumerate(TEXTS) if text == TEXTS[row]]


def fails(*_: Any) -> Any:
    raise RuntimeError("no such kernel")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (lambda *_: os._exit(9), "4 workers died one after the other"),
        (fails, "the model fails (no such kernel)"),
    ],
)
def test_a_model_that_always_fails_ends_the_start(
    answers: Any, said: str, corpus: Path, sst2: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(Scorer, "answers", answers)
    monkeypatch.setattr(workers, "MOST_DEATHS", 3)
    message = refused(score, settings(corpus, tmp_path / "out", sst2))
    assert message == f"{said}: finished shards are kept; the same command resumes"
    assert not [*(tmp_path / "out").glob("*.parquet*")]


@pytest.mark.slow
def test_killed_and_started_again_it_is_as_if_it_had_not_been(sst2: Path, tmp_path: Path):
    """Twice, each time in the midst of shards: the command alone, then with its workers."""
    given, whole, out = tmp_path / "lines.txt", tmp_path / "whole", tmp_path / "out"
    given.write_text("".join(f"{text} {text} {i}\n" for i in range(70) for text in TEXTS))
    how = {"workers": 2, "long": "cut", "shard_rows": 256, "window": 64}
    rows = scored(given, whole, sst2, **how)
    words = [f"input={given}", f"output={out}", f"run={sst2}"]
    words += [f"{key}={value}" for key, value in how.items()]
    for count, kill in ((1, os.kill), (3, os.killpg)):
        with Command("eat_lightning.score", *words, forks=False) as child:
            end = time.monotonic() + 120
            while len([*out.glob("*.parquet")]) < count and time.monotonic() < end:
                time.sleep(0.01)
            kill(child.pid, signal.SIGKILL)
            child.wait()
        assert count <= len([*out.glob("*.parquet")]) < len([*whole.glob("*.parquet")])
    assert scored(given, out, sst2, **how) == rows
    assert files_of(out) == files_of(whole)
    assert len(rows) == 4200


class EchoWorker:
    """Answers with the rows themselves."""

    def answers(self, rows: Any) -> Any:
        return rows

    def close(self) -> None: ...


@pytest.mark.parametrize("kind", ["parquet", "csv", "text"])
def test_the_reader_is_never_far_ahead_of_the_writer(kind: str, tmp_path: Path):
    """So memory does not grow with the file: three workers, two windows for each."""
    table, path = pa.table({"text": [f"{i} good" for i in range(5000)]}), tmp_path / f"a.{kind}"
    write = {"parquet": partial(pq.write_table, row_group_size=1500), "csv": csv.write_csv}
    write.get(kind, lambda table, path: path.write_text("\n".join(table["text"].to_pylist())))(
        table, path
    )
    source = Source(Input(path, path.name, kind), ["text"])
    read = written = most = 0

    def counted() -> Any:
        nonlocal read, most
        for window in source.windows(64, shard_rows=1000):
            read += len(window.table)
            most = max(most, read - written)
            yield window

    for window, rows in workers.answer_windows(counted(), [EchoWorker() for _ in range(3)]):
        assert [row.texts for row in rows] == [
            [f"{window.first + i} good"] for i in range(len(rows))
        ]
        written += len(rows)
    assert (read, written) == (5000, 5000)
    assert 64 < most <= 3 * 2 * 64


def test_parquet_is_decoded_as_it_is_read(tmp_path: Path):
    """Of a file of 8 MB, Arrow holds less than 2 MB at any time."""
    table = pa.table({"text": [f"{i:0200d}" for i in range(40_000)]})
    path, size = tmp_path / "a.parquet", table.nbytes
    pq.write_table(table, path, row_group_size=20_000, use_dictionary=False)
    del table
    source, before = Source(Input(path, path.name, "parquet"), ["text"]), pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in source.windows(64, shard_rows=1000)]
    assert size > 8_000_000
    assert max(held) < 2_000_000


def test_another_machine_goes_on_with_the_scores_of_a_cascade():
    parts = {name: {"weights": name, MACHINE: {"processor": name}} for name in ("small", "large")}
    assert portable({**parts, "least": 0.5, MACHINE: {}}) == {
        "small": {"weights": "small"},
        "large": {"weights": "large"},
        "least": 0.5,
    }
