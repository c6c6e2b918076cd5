"""A certificate for each source of data."""

import json
from pathlib import Path

import pytest
from certificates import answers, config_of, measured, run_of_sources
from finished import refused

from eat_lightning.deploy.certify.__main__ import certify


def test_a_certificate_for_each_source(tmp_path: Path, capsys: pytest.CaptureFixture):
    run = run_of_sources(tmp_path)
    made = certify(config_of("certify", run, "risk=harm", "level=0.4", "sources=true"))
    assert [held.source for held in made] == ["chat", "mail", "rare"]
    assert [held.fallback for held in made] == [False, False, True]
    strict = certify(config_of("certify", run, "risk=harm", "level=0.05", "sources=true"))
    assert "5 % at 90 % confidence takes 45 if none fails" in strict[2].reason
    assert "fallback to full depth of source rare: " in capsys.readouterr().out
    alone = [answers(run, f"harm-0.4-0.9@{name}", "good film")[0] for name in ("chat", "mail")]
    lines = [json.dumps({"text": "good film", "source": name}) for name in ("chat", "mail")]
    unknown = ['{"text": "good film", "source": "fax"}', "good film", '{"text": 3}']
    unknown += ['{"text": "good film", "source": ["chat"]}']
    found = answers(run, "harm-0.4-0.9", *unknown, *lines)
    assert [a.get("depth") for a in found[:4]] == [6, 6, None, 6]
    assert found[2]["line"] == 3
    assert found[4:] == alone
    assert min(a["depth"] for a in alone) < 6
    assert refused(measured, run, "harm-0.4-0.9").startswith("certificate=harm-0.4-0.9: run has on")
