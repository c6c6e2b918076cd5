"""The time that is left, on a terminal and without one."""

import pytest

from eat_lightning import progress
from eat_lightning.progress import Lines, shown


def test_without_a_terminal_a_line_comes_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    lines = Lines("tokenizing", total=10)
    for _ in range(10):  # each takes 20 seconds
        now += 20
        lines.advance(1)
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines() == [
        "tokenizing: 10 %, 0:03:00 left",
        "tokenizing: 30 %, 0:02:20 left",
        "tokenizing: 50 %, 0:01:40 left",
        "tokenizing: 70 %, 0:01:00 left",
        "tokenizing: 90 %, 0:00:20 left",
    ]


def test_what_is_soon_done_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(shown([1, 2, 3], "counting", fewest=2)) == [1, 2, 3]
    assert capsys.readouterr() == ("", "")
