"""The time that is left, on a terminal and without one."""

import io
from contextlib import redirect_stderr

import pytest

from eat_lightning.progress import Lines, bar, shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_a_line_comes_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    lines = Lines("tokenizing", total=10, clock=lambda: now)
    for seconds in [90] + 9 * [20]:  # the first builds what the others use
        now += seconds
        lines.advance(1)
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines() == [
        "tokenizing: 20 %, 0:02:40 left",
        "tokenizing: 40 %, 0:02:00 left",
        "tokenizing: 60 %, 0:01:20 left",
        "tokenizing: 80 %, 0:00:40 left",
    ]


def test_what_is_soon_done_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(shown([1, 2, 3], "counting", fewest=2)) == [1, 2, 3]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_has_a_bar_whose_colours_can_be_off(
    no_color: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    with redirect_stderr(terminal), bar("counting", total=4) as advance:
        advance(1)
    drawn = terminal.getvalue()
    assert "counting" in drawn
    assert "25%" in drawn
    assert ("\x1b[38;" in drawn or "\x1b[3" in drawn) == (not no_color)
    assert not capsys.readouterr().out
