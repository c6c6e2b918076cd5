"""A certificate for each source of data."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from test_certify import answers, config_of, make_run, measured, refused

from eat_lightning.certify.__main__ import certify


def write(path: Path, num: int, seed: int) -> None:
    """Texts with a label and where they come from."""
    rng = np.random.default_rng(seed)
    words = np.array(["good", "bad", "film", "not", "fine", "dull"])
    texts = [" ".join([*rng.choice(words, 6), str(i)]) for i in range(num)]
    names = [["mail", "chat", "rare"][0 if i % 2 else 1 if i % 50 else 2] for i in range(num)]
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = rng.integers(0, 2, num).tolist()
    pq.write_table(pa.table({"sentence": texts, "label": labels, "source": names}), path)


def run_of_sources(folder: Path) -> Path:
    """A run on texts of chat and mail, and of a rare source."""
    write(folder / "data/sst2/train.parquet", 1500, 0)
    write(folder / "data/sst2/validation.parquet", 60, 1)
    glue = {"_target_": "eat_lightning.data.glue.GlueData", "dir": str(folder / "data")}
    run = make_run(folder / "run", **glue, calibration=1200, num_validation=None)
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["data"]["num_validation"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run


def test_a_certificate_for_each_source(tmp_path: Path, capsys: pytest.CaptureFixture):
    run = run_of_sources(tmp_path)
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
