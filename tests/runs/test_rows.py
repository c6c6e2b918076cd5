"""Rows refuse what cannot be and supersede by key; the store names damaged lines."""

from dataclasses import dataclass, replace
from threading import Thread

import pytest
from helpers.studies import EAT, make_row
from pydantic import ValidationError

from eat_lightning.errors import ConfigError
from eat_lightning.runs import jsonl
from eat_lightning.runs.row import Row, read, write
from eat_lightning.validation import fault_text


def row(**changes) -> Row:
    """Three of four examples leave after layer 4."""
    leaving = {"depth": 4.5, "exit_shares": {"4": 0.75, "6": 0.25}, "accuracy": 0.91}
    return make_row(**(EAT | leaving | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 6.5}, r"depth must be at most 6, got 6.5"),
        ({"retention": 1.01}, r"retention must be at most 1, got 1.01"),
        ({"accuracy": float("nan")}, r"accuracy must be a finite number, got nan"),
        ({"throughput": float("inf")}, r"throughput must be a finite number, got inf"),
        ({"point": [0.9, float("nan")]}, r"point must be a finite number, got nan"),
        ({"knob": None}, r"point must come with its knob, got None at 0.9"),
        ({"num_examples": 0}, r"num_examples must be 1 or more, got 0"),
        ({"clean": "yes"}, r"clean must be true or false, got 'yes'"),
        ({"seed": True}, r"seed must be a whole number, got True"),
        ({"exit": {"tau": 0.9}}, "exit must be a dict such as"),
        ({"examples": "../other"}, r"examples must name a file beside the rows, got '../other'"),
        ({"exit_shares": {"7": 1.0}}, r"exit_shares must name layers in 0..6, got 7"),
        ({"exit_shares": {"4": 0.5}}, r"exit_shares must add up to 1, got 0.5"),
        ({"metric": "loss"}, r"metric must be one of accuracy, f1, matthews, f1_micro"),
        ({"colour": "red"}, r"colour is not an option"),
    ],
)
def test_impossible_values_are_refused(changes, message):
    with pytest.raises(ValidationError) as error:
        row(**changes)
    assert fault_text(error.value).startswith(message)


def test_written_rows_are_read_back(tmp_path):
    rows = [row(), row(seed=2, point=[0.8, 0.9], clean=True, objective={"kind": "joint"})]
    write(tmp_path / "rows.jsonl", rows)
    assert read(tmp_path / "rows.jsonl") == rows
    assert read(tmp_path / "absent.jsonl") == []
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_row_supersedes_its_key(tmp_path):
    path = tmp_path / "rows.jsonl"
    others = row(commit="older"), row(machine="other"), row(dtype="bf16"), row(data="another")
    write(path, [row(), *others])
    write(path, [row(accuracy=0.5)])
    assert [r.accuracy for r in read(path)] == [0.91, 0.91, 0.91, 0.91, 0.5]


def test_a_timed_row_supersedes_the_untimed_but_not_the_reverse(tmp_path):
    path = tmp_path / "rows.jsonl"
    timed = row(latency_ms=5.0, threads=1, latency_batch=1)
    write(path, [row(), row(seed=2)])
    write(path, [timed, replace(timed, threads=2)])
    assert read(path) == [row(seed=2), timed, replace(timed, threads=2)]
    write(path, [row()])
    assert timed in read(path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"task": "sst2"', "Expecting"),
        ("[]", "argument after"),
        ('{"task": "sst2"}', "model is missing; encoder is missing"),
        ('{"colour": 1}', "colour is not an option"),
        ("\xff", "Expecting value"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, line, reason):
    path = tmp_path / "rows.jsonl"
    write(path, [row()])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ConfigError, match=rf"rows.jsonl, line 2: not a row \(.*{reason}") as error:
        read(path)
    assert "\n" not in str(error.value)
    assert jsonl.read_whole(path, Row)[0] == [row()]


@dataclass(frozen=True)
class Trial:
    seed: int
    delay: int

    @property
    def key(self) -> int:
        return self.seed


def test_any_record_is_stored_by_a_key_of_its_own(tmp_path):
    path = tmp_path / "new" / "trials.jsonl"
    jsonl.update(path, Trial, [Trial(1, 5), Trial(1, 6), Trial(2, 7)])
    kept = jsonl.update(path, Trial, [Trial(1, 8), Trial(1, 9)])
    assert kept == jsonl.read(path, Trial) == [Trial(2, 7), Trial(1, 8), Trial(1, 9)]
    jsonl.write(path, [Trial(3, 1)])
    assert jsonl.read(path, Trial) == [Trial(3, 1)]
    path.write_text('{"seed": 1}\n')
    message = r"trials.jsonl, line 1: not a trial \(missing 1 required positional argument: 'delay'"
    with pytest.raises(ConfigError, match=message):
        jsonl.read(path, Trial, "trial")


def test_who_writes_at_the_same_time_loses_nothing(tmp_path):
    path = tmp_path / "trials.jsonl"

    def add(seed: int) -> None:
        jsonl.update(path, Trial, [Trial(seed, 0)])

    threads = [Thread(target=add, args=(seed,)) for seed in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {trial.seed for trial in jsonl.read(path, Trial)} == {*range(20)}
