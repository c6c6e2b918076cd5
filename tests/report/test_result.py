"""`Result`: the lines of studies that measure something other than a run's setting."""

from pathlib import Path

import pytest

from eat_lightning.errors import ConfigError
from eat_lightning.report import result
from eat_lightning.report.intervals import Interval
from eat_lightning.report.result import Result


def test_a_line_is_read_as_it_was_written_and_replaces_its_like(tmp_path: Path):
    ms = Interval(2.0, 1.5, 2.5)
    first = Result({"task": "sst2"}, {"ms": 1.0}, {"threads": 1})
    again = Result({"task": "sst2"}, {"ms": ms}, {"threads": 1})
    other = Result({"task": "qqp"}, {"ms": 3.0})
    result.update(tmp_path / "rows.jsonl", [first, other])
    result.update(tmp_path / "rows.jsonl", [again])
    assert result.read(tmp_path / "rows.jsonl") == [other, again]
    assert (again["task"], again["ms"]) == ("sst2", ms)
    assert again["threads"] == 1
    assert again["absent"] is None


@pytest.mark.parametrize("ms", [float("nan"), {"value": 3.0, "low": 1.0, "high": 2.0}])
def test_impossible_values_are_refused(ms):
    with pytest.raises(ConfigError, match="ms must"):
        Result({"task": "sst2"}, {"ms": ms})
