"""The Helm chart: sound, and the Kubernetes manifest where nothing is set."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.finished import config_of

from eat_lightning import __version__

# Helm's library is a Go runtime in this process: beside others' threads it has ended a worker once.
pytestmark = pytest.mark.nightly

CONTAINER = Path(__file__).parents[3] / "eat_lightning/deploy/serve/container"
CHART = CONTAINER / "chart"
NAME = "eat-gateway"
Objects = dict[str, dict[str, Any]]
CHANGED = {
    "image": {"repository": "registry.example/eat", "pullPolicy": "Always"},
    "model": {"claim": "", "path": "/baked"},
    "settings": ["api=tei", "port=8000"],
    "token": {"secret": ""},
    "drift": {"claim": "eat-state"},
    "env": [{"name": "HF_HOME", "value": "/tmp"}],
    "service": {"type": "LoadBalancer", "port": 8080},
    "autoscaling": {"enabled": False},
    "networkPolicy": {"enabled": False},
}


def by_kind(manifest: str) -> Objects:
    return {each["kind"]: each for each in yaml.safe_load_all(manifest) if each}


def rendered(values: dict[str, Any]) -> Objects:
    """By Helm's library, as a package brings it."""
    helm = pytest.importorskip("helm_python", reason="no helm-python-sdk: from the extra `dev`")
    files = helm.Chart.load(str(CHART)).render(values, name=NAME)
    return by_kind("\n---\n".join(text for name, text in files.items() if name.endswith(".yaml")))


def test_the_chart_is_the_manifest():
    assert rendered({}) == by_kind((CONTAINER / "kubernetes.yaml").read_text())


def test_helm_s_lint_finds_nothing():
    helm = pytest.importorskip("helm_python", reason="no helm-python-sdk: from the extra `dev`")
    report = helm.lint(str(CHART), strict=True, kube_version="v1.30.0")
    assert report["errors"] == []
    assert {each["error"] for each in report["messages"]} <= {"icon is recommended"}


def test_values_change_the_objects():
    found = rendered(CHANGED)
    assert found.keys() == {"Deployment", "Service", "PodDisruptionBudget"}
    assert found["Service"]["spec"]["type"] == "LoadBalancer"
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == f"registry.example/eat:{__version__}"
    assert container["args"] == ["run=/baked", "api=tei", "port=8000", "drift.state=/state"]
    assert config_of("serve", *container["args"][:-1])["run"] == "/baked"
    assert container["env"] == [{"name": "HF_HOME", "value": "/tmp"}]
    assert {each["name"] for each in pod["volumes"]} == {"tmp", "state"}


def test_objects_follow_their_schemas():
    schemas = pytest.importorskip("kubernetes_validate", reason="no kubernetes-validate")
    for each, version in product(rendered(CHANGED).values(), ("1.30", schemas.latest_version())):
        schemas.validate(each, version, strict=True)


@pytest.mark.parametrize(
    "values", [{"replicas": 0}, {"colour": 1}, {"settings": ["threads"]}, {"service": {"port": 0}}]
)
def test_wrong_values_are_refused(values: dict[str, Any]):
    helm = pytest.importorskip("helm_python", reason="no helm-python-sdk: from the extra `dev`")
    with pytest.raises(helm.HelmError):
        helm.Chart.load(str(CHART)).validate_schema(values)


def test_the_chart_is_of_this_version():
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["version"] == about["appVersion"] == __version__
