"""The model card says what a run is, what its exits are worth, and which dials are kept."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.finished import make_run
from huggingface_hub import ModelCard

from eat_lightning.bundle.hf import EatForSequenceClassification
from eat_lightning.files import write_json
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import Point
from eat_lightning.runs.card import front_matter, write_card
from eat_lightning.runs.run import Run

CALIBRATION = {"6": {"temperature": 1.25, "ece_before": 0.061, "ece_after": 0.018}}
POINTS = [
    Measured(
        Point.of(exit=Confidence(tau, [3, 4])), cost=cost, accuracy=accuracy, agreement=agreement
    ).as_dict()
    for tau, cost, accuracy, agreement in (
        *((1.0, 1.0, 0.905, 1.0), (0.99, 0.902, 0.905, 0.998)),
        *((0.9, 0.487, 0.9, 0.975), (0.8, 0.45, 0.89, 0.96)),
    )
]
DIAL = {"unit": "share", "points": POINTS, "num_examples": 640, "fitted_for": {}, "times": None}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run.open(make_run(tmp_path_factory.mktemp("card") / "run", "sst2"))
    run.done["calibration"] = CALIBRATION
    write_card(run)
    return run


def card(run: Run) -> str:
    return (run.folder / "model" / "README.md").read_text("utf-8")


def test_a_card_names_the_task_its_classes_and_the_methods(run: Run):
    said = card(run)
    front = yaml.safe_load(said.split("---")[1])
    assert front["pipeline_tag"] == "text-classification"
    assert {"base_model", "license"}.isdisjoint(front)  # random weights are of no model
    assert "`sst2` (negative, positive)" in said
    assert f"* exit: `{run.model_config()['exit'].kind}`" in said
    assert "| 6 | 1.25 | 6.1 % | 1.8 % |" in said
    assert "Not fitted yet" in said


@pytest.mark.parametrize("source", ["folder", "hub"])
def test_a_card_names_the_base_model_and_its_license(tmp_path: Path, source: str):
    """As the card of the source has them; of a model from a hub its name is the base model's."""
    text = "---\nlicense: apache-2.0\nbase_model: org/before\n---\nlicense: none of a body\n"
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "README.md").write_text(text)
    readme = str(tmp_path / "base" / "README.md")
    name = str(tmp_path / "base") if source == "folder" else "org/base"
    run = Run.open(make_run(tmp_path / "run", "sst2"))
    run.config["encoder"] = {"pretrained": name}
    for _ in range(2):  # written anew, where a relative path may mean nothing any more
        write_card(run, lambda *_: readme)
        data = ModelCard.load(run.folder / "model" / "README.md").data.to_dict()
        assert data["license"] == "apache-2.0"
        assert data["base_model"] == ("org/before" if source == "folder" else "org/base")
        run.config["encoder"]["pretrained"] = "elsewhere/base"


@pytest.mark.parametrize("odd", ["---\nlicense: [a, b]\n---", "license: mit", "\xff---", "---"])
def test_a_card_takes_nothing_odd_from_another(tmp_path: Path, odd: str):
    (tmp_path / "README.md").write_text(odd, encoding="latin-1")
    front = yaml.safe_load(front_matter(str(tmp_path), tmp_path / "README.md"))
    assert sorted(front) == ["library_name", "pipeline_tag", "tags"]


def test_a_kept_dial_is_in_the_card(run: Run):
    """Points that lie nearer to the last one shown than a tenth of full cost are left out."""
    (run.folder / "dial").mkdir()
    write_json(run.folder / "dial" / "dial-abc.json", DIAL)
    write_card(run)
    assert "| 1.000 | 90.50 | 100.00 |" in card(run)
    assert "| 0.487 | 90.00 | 97.50 |" in card(run)
    assert "| 0.902 |" not in card(run)
    assert "| 0.450 |" not in card(run)
    assert "Fitted on 640 examples" in card(run)


def test_the_hub_is_given_the_card(run: Run, monkeypatch: pytest.MonkeyPatch):
    """push_to_hub against a stub that keeps what it is given."""
    from transformers.utils import hub

    given: dict[str, str] = {}

    class Api:
        def create_repo(self, name: str, **_: Any) -> Any:
            return type("Repo", (), {"repo_id": name})

    class Empty:
        def save(self, path: str) -> None:
            Path(path).write_text("# empty")

    def upload(self: Any, folder: str, *_: Any, **__: Any) -> str:
        given.update(
            {p.name: p.read_text("utf-8", errors="ignore") for p in Path(folder).iterdir()}
        )
        return "done"

    monkeypatch.setattr(hub, "hf_api", Api)
    monkeypatch.setattr(hub, "create_and_tag_model_card", lambda *_, **__: Empty())
    monkeypatch.setattr(hub.PushToHubMixin, "_upload_modified_files", upload)
    model = EatForSequenceClassification.from_pretrained(str(run.folder / "model"))
    assert model.push_to_hub("me/mails") == "done"
    assert {"config.json", "model.safetensors", "README.md"} <= given.keys()
    assert given["README.md"] == card(run)
