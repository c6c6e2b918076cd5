"""The container recipe and the Kubernetes manifest: valid, and true of the gateway that is here.

Neither is built or applied by a test: that takes Docker and a cluster.
"""

import json
import re
import shlex
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from finished import config_of
from gateways import FakeModel, plan

from eat_lightning import __version__
from eat_lightning.deploy.serve.app import make_app
from eat_lightning.deploy.serve.gateway import Gateway
from eat_lightning.deploy.serve.metrics import Metrics

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "eat_lightning" / "deploy" / "serve" / "container"
RECIPE = (DEPLOY / "Dockerfile").read_text()
MANIFEST = [*yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())]
OBJECTS: dict[str, Any] = {each["kind"]: each for each in MANIFEST}
POD = OBJECTS["Deployment"]["spec"]["template"]["spec"]
(GATEWAY,) = POD["containers"]


def test_objects_follow_their_schemas():
    schemas = pytest.importorskip("kubernetes_validate", reason="no kubernetes-validate")
    for kind, version in product(OBJECTS, ("1.30", schemas.latest_version())):
        schemas.validate(OBJECTS[kind], version, strict=True)


def routes() -> dict[str, Any]:
    model: Any = FakeModel()
    app = make_app(Gateway(plan(), lambda _: model))
    return {getattr(route, "path", ""): route for route in app.routes}


def test_probes_ask_what_needs_no_token():
    from eat_lightning.deploy.serve.access import OPEN

    probes = [GATEWAY[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]
    paths = {probe["path"] for probe in probes}
    assert paths <= OPEN & routes().keys()
    assert {probe["port"] for probe in probes} == {"http"}
    assert "/healthz'" in instruction("HEALTHCHECK")[-1]


def instruction(name: str) -> list[Any]:
    """The arguments of the recipe's last one of that name, as JSON or words."""
    joined = re.sub(r"\\\n\s*", "", RECIPE)
    found = [line for line in joined.splitlines() if line.startswith(f"{name} ")][-1]
    words = found.removeprefix(f"{name} ")
    return json.loads(words[words.index("[") :]) if "[" in words else shlex.split(words)


def test_the_container_s_command_is_one_that_serve_takes():
    entry = instruction("ENTRYPOINT")
    assert entry[:3] == ["python", "-m", "eat_lightning.serve"]
    given = config_of("serve", *entry[3:], *GATEWAY["args"])
    assert given["run"] == "/model"
    assert given["token_env"] == GATEWAY["env"][0]["name"]
    assert instruction("CMD") == ["run=/model"]
    (port,) = GATEWAY["ports"]
    assert given["port"] == port["containerPort"] == int(instruction("EXPOSE")[0])


def test_the_image_is_of_this_version():
    page = (ROOT / "experiments/beyond/serving.md").read_text()
    told = re.findall(r"eat-lightning:(\S+)", "\n".join([RECIPE, GATEWAY["image"], page]))
    assert {*told} == {__version__}
    assert len(told) == 4


def test_there_is_time_to_drain():
    given = config_of("serve", *GATEWAY["args"])
    waited = GATEWAY["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert POD["terminationGracePeriodSeconds"] > waited + given["stop_s"]


def test_nothing_runs_as_root():
    user, group = instruction("USER")[0].split(":")
    assert int(user) > 0
    assert POD["securityContext"]["runAsUser"] == int(user)
    assert POD["securityContext"]["runAsGroup"] == int(group)
    assert POD["securityContext"]["runAsNonRoot"]


def test_the_image_has_all_that_the_wheel_takes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    copied = re.findall(r"^COPY (.+) \S+$", RECIPE, re.M)
    sources = {source for line in copied for source in line.split()}
    assert {*wheel, "pyproject.toml", project["project"]["readme"]} <= sources
    assert all((ROOT / source).exists() for source in sources if not source.startswith(("-", "/")))


def test_the_reference_lists_the_routes_and_metrics_there_are():
    page = (ROOT / "experiments/site/pages/reference/gateway.md").read_text()
    told = set(re.findall(r"^\| `(?:GET|POST) (\S+)` \|", page, re.M))
    assert told == routes().keys() - {"/openapi.json"}
    families = Metrics(6).registry.collect()
    kept = {(each.name, each.type) for each in families}
    assert set(re.findall(r"^\| `(eat_\w+)` \| (\w+) \|", page, re.M)) == kept


def test_the_alerts_are_on_metrics_there_are():
    page = (ROOT / "experiments/site/pages/how-to/monitor.md").read_text()
    scrape, rules = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", page, re.S))
    assert scrape["scrape_configs"][0]["authorization"]["type"] == "Bearer"
    alerts = rules["groups"][0]["rules"]
    assert len(alerts) == 5
    assert all(f"| `{each['alert']}` |" in page for each in alerts)
    kept = set()
    for family in Metrics(6).registry.collect():
        ends = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        kept |= {family.name + end for end in ["", *ends.get(family.type, [])]}
    assert set(re.findall(r"\beat_[a-z_]+", page)) <= kept
