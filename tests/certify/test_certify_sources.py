"""A certificate for each source of data."""

import json
from pathlib import Path

import pytest
import yaml
from certificates import answers, config_of, make_run, measured, write
from finished import refused

from eat_lightning.certify.__main__ import certify


def test_a_certificate_for_each_source(tmp_path: Path, capsys: pytest.CaptureFixture):
    write(tmp_path / "data/sst2/train.parquet", 1500, 0)
    write(tmp_path / "data/sst2/validation.parquet", 60, 1)
    glue = {"_target_": "eat_lightning.data.glue.GlueData", "dir": str(tmp_path / "data")}
    node = glue | {"calibration": 1200, "num_validation": None}
    run = make_run(tmp_path / "run", **node)
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["data"]["num_validation"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    made = certify(config_of("certify", run, "risk=harm", "level=0.4", "sources=true"))
    assert [held.source for held in made] == ["chat", "mail", "rare"]
    assert [held.fallback for held in made] == [False, False, True]
    strict = certify(config_of("certify", run, "risk=harm", "level=0.05", "sources=true"))
    assert strict[2].reason.endswith("5 % at 90 % confidence takes 45 if none fails")
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
