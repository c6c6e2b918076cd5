"""What `serve` refuses before it opens a port, and where a token comes from."""

from pathlib import Path
from typing import Any

import pytest
from helpers.gateways import defaults, plan

from eat_lightning.deploy.serve.plan import token_of
from eat_lightning.errors import ConfigError


def drift(**changes: Any) -> dict[str, Any]:
    return {"drift": defaults()["drift"] | changes}


FAULTS = [
    ({"run": None}, "run must name the folder of a finished run"),
    ({"mode": "fast"}, "mode must be one of inline, triage, got 'fast'"),
    ({"mode": "triage", "batch": 8}, "batch must be 16 or more, got 8"),
    ({"batch": 2}, "batch must be 1 with mode=inline, got 2"),
    ({"queue": 10}, "max_texts must be at most queue=10, got 64"),
    ({"dtype": "fp8"}, "dtype must be one of fp32, bf16, int8, got 'fp8'"),
    (drift(window=3), "drift.window must be 50 or more, got 3"),
    (drift(state="nowhere"), "drift.state=nowhere must be an existing folder"),
    ({"backend": "onnx", "dtype": "bf16"}, "dtype=bf16: onnxruntime has no such products"),
]


@pytest.mark.parametrize(("changes", "said"), FAULTS, ids=range(len(FAULTS)))
def test_wrong_settings(changes: dict, said: str):
    with pytest.raises(ConfigError) as refused:
        plan(**changes)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(said)


def test_every_fault_is_told_at_once():
    with pytest.raises(ConfigError) as refused:
        plan(queue=0, mode="fast", stop_s=-1, colour=3)
    assert len(str(refused.value).splitlines()) == 4


def test_a_token_comes_from_a_variable_or_a_file(tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "token").write_text(" abc\n")
    assert token_of(plan(token_file=str(tmp_path / "token"))) == "abc"
    monkeypatch.setenv("EAT_TEST_TOKEN", "xyz")
    assert token_of(plan(token_env="EAT_TEST_TOKEN")) == "xyz"
    assert token_of(plan()) is None
    (tmp_path / "empty").write_text("\n")
    wrong = [{"token_env": "EAT_NO_SUCH"}, {"token_file": str(tmp_path / "empty")}]
    wrong += [{"token_file": str(tmp_path / "no")}, {"token_env": "A", "token_file": "b"}]
    for changes in wrong:
        with pytest.raises(ConfigError, match="token_"):
            token_of(plan(**changes))


def test_the_state_lies_elsewhere_than_the_reference(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"drift\.state must be another folder than run"):
        plan(run=str(tmp_path), **drift(monitor=True, state=str(tmp_path)))
