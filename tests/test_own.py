"""Modules of one's own, which a person lets be imported."""

import pytest

from eat_lightning.own import import_own, own_faults, own_modules


def test_each_that_is_not_there_is_a_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EAT_IMPORT", "json, not_here,json.not_here,,")
    assert own_modules() == ["json", "not_here", "json.not_here"]
    assert own_faults() == [
        f"EAT_IMPORT must name modules, with commas between them: there is no {name!r} here"
        for name in ("not_here", "json.not_here")
    ]


def test_one_that_fails_is_a_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EAT_IMPORT", "not_here")
    import_own("another")
    with pytest.raises(ValueError, match="EAT_IMPORT: not_here cannot be imported"):
        import_own("not_here")
