"""The container recipe and the Kubernetes manifest: valid, and true of the gateway that is here.

Neither is built or applied by a test: that takes Docker and a cluster.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.exports import make_run
from helpers.finished import config_of
from helpers.gateways import FakeModel, plan

from eat_lightning import __version__
from eat_lightning.config import parsed
from eat_lightning.deploy.serve.app import make_app
from eat_lightning.deploy.serve.gateway import Gateway
from eat_lightning.deploy.serve.metrics import Metrics
from eat_lightning.deploy.serve.plan import ServeSettings
from eat_lightning.deploy.serve.server import bound_socket
from eat_lightning.errors import ConfigError

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
    assert 'environ["PORT"]' in instruction("HEALTHCHECK")[-1]


def instruction(name: str) -> list[Any]:
    """Arguments of the recipe's last one of that name, as JSON or words."""
    joined = re.sub(r"\\\n\s*", "", RECIPE)
    found = [line for line in joined.splitlines() if line.startswith(f"{name} ")][-1]
    words = found.removeprefix(f"{name} ")
    return json.loads(words[words.index("[") :]) if "[" in words else shlex.split(words)


def test_the_container_s_command_is_one_that_serve_takes(monkeypatch: pytest.MonkeyPatch):
    for pair in instruction("ENV"):
        monkeypatch.setenv(*pair.split("=", 1))
    entry = instruction("ENTRYPOINT")
    assert entry[:3] == ["python", "-m", "eat_lightning.serve"]
    for args in ([], GATEWAY["args"]):
        given = parsed(ServeSettings, config_of("serve", *entry[3:], *args))
        assert given.run == "/model"
        (port,) = GATEWAY["ports"]
        assert given.port == port["containerPort"] == int(instruction("EXPOSE")[0])
    assert given.token_env == GATEWAY["env"][0]["name"]


def test_what_is_given_by_hand_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MODEL_ID", "/from/there")
    monkeypatch.setenv("PORT", "8080")
    given = parsed(ServeSettings, config_of("serve"))
    assert (given.run, given.port) == ("/from/there", 8080)
    given = parsed(ServeSettings, config_of("serve", "run=here", "port=9", "api=tei"))
    assert (given.run, given.port, given.api) == ("here", 9, ["tei"])
    for wrong in ("http", "99999"):
        monkeypatch.setenv("PORT", wrong)
        with pytest.raises(ConfigError, match="port must be"):
            parsed(ServeSettings, config_of("serve", "run=here"))


@pytest.mark.nightly
def test_the_recipe_s_steps_make_a_gateway_that_serves(tmp_path: Path):
    """COPY, `pip install` and ENTRYPOINT in a fresh environment, whose packages are this one's."""
    (tmp_path / "src").mkdir()
    for line in re.findall(r"^COPY ([^-].*) (?=/src/)", RECIPE, re.M):
        for name in line.split():
            copy = tmp_path / "src" / name
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "results")
                shutil.copytree(ROOT / name, copy, ignore=ignored)
            else:
                shutil.copy(ROOT / name, copy)
    run = make_run(tmp_path / "model", "dense", "none", "never")
    python = tmp_path / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    packages = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    (next(python.parents[1].glob("lib/*/site-packages")) / "these.pth").write_text(str(packages))
    install = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([python, *install, str(tmp_path / "src")], check=True)
    entry = [*instruction("ENTRYPOINT")[1:-1], "host=127.0.0.1"]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with bound_socket("127.0.0.1", 0) as free:
        port = str(free.getsockname()[1])
    env |= {"MODEL_ID": str(run), "PORT": port, "HOME": str(tmp_path)}
    given: dict[str, Any] = {"cwd": tmp_path / "venv", "env": env, "text": True}
    with subprocess.Popen([python, *entry], stdout=subprocess.PIPE, **given) as served:
        try:
            assert served.stdout is not None
            assert served.stdout.readline().startswith(f"serving model on http://127.0.0.1:{port}")
            check = instruction("HEALTHCHECK")
            subprocess.run([python, *check[1:]], check=True, **given)
            where = [python, "-c", "import eat_lightning; print(eat_lightning.__file__)"]
            found = subprocess.run(where, check=True, capture_output=True, **given).stdout
            assert Path(found).is_relative_to(tmp_path / "venv")
        finally:
            served.terminate()
            assert served.wait(60) == 0


def test_the_image_is_of_this_version():
    page = (ROOT / "docs/pages/how-to/kubernetes.md").read_text()
    told = re.findall(r"eat-lightning:(\S+)", "\n".join([RECIPE, GATEWAY["image"], page]))
    assert {*told} == {__version__}
    assert len(told) == 5


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
    needed = {*wheel, "pyproject.toml", "hatch_build.py", "README.md", "requirements-serve.txt"}
    assert needed <= sources
    assert all((ROOT / source).exists() for source in sources if not source.startswith(("-", "/")))


def test_the_reference_lists_the_routes_and_metrics_there_are():
    page = (ROOT / "docs/pages/reference/gateway.md").read_text()
    told = set(re.findall(r"^\| `(?:GET|POST) (\S+)` \|", page, re.M))
    assert told == routes().keys() - {"/openapi.json"}
    families = Metrics(6).registry.collect()
    kept = {(each.name, each.type) for each in families}
    assert set(re.findall(r"^\| `(eat_\w+)` \| (\w+) \|", page, re.M)) == kept


def test_the_alerts_are_on_metrics_there_are():
    page = (ROOT / "docs/pages/how-to/monitor.md").read_text()
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
