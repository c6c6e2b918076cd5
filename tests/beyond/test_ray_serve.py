"""The gateway on a real Ray cluster of one node: under load, with replicas killed and replaced."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from exports import make_run
from gateways import eventually
from prometheus_client.parser import text_string_to_metric_families
from ray_head import ray_head

from eat_lightning.deploy.drift.observation import Observation
from eat_lightning.deploy.drift.reference import Reference, made_with
from eat_lightning.runs.open import open_run
from eat_lightning.runs.run import Run

ray = pytest.importorskip("ray", reason="no Ray: pip install 'eat_lightning[ray]'")
pytestmark = pytest.mark.nightly
TEXTS = [" ".join(["good", "bad", "film", "not"][i % 4 : 1 + i % 5]) for i in range(60)]
MINUTES = 900  # seconds for a cluster on a busy machine to do what takes it ten
Served = tuple[subprocess.Popen[str], str]
PATIENT = ["deadline_ms=200000", "queue=512", "drift.monitor=true"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    with ray_head(8) as found:
        yield found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs of one task, each with what is normal for it."""
    folder = tmp_path_factory.mktemp("runs")
    made = [make_run(folder / name, "dense", "norm_topk", "confidence") for name in ("one", "two")]
    for each in made:
        opened = Run.open(each)
        known = [Observation(0.5 + i / 200, 3 + i % 2, 0.8, 5 + i % 9, i % 2) for i in range(60)]
        Reference(known, made_with(open_run(opened), None)).write(opened)
    return made[0], made[1]


@contextmanager
def command(
    cluster: dict[str, str], *overrides: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`serve engine=ray`, and where it serves."""
    given = [sys.executable, "-m", "eat_lightning.serve", "engine=ray", *overrides]
    env = os.environ | cluster
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(given, env=env, text=True, **pipes) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            assert line.startswith("serving "), child.stderr and child.stderr.read()
            yield child, line.split(" on ")[1].split(" ")[0]
        finally:
            child.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                child.wait(60)
            child.kill()


class Load:
    """Askers that ask again when they are answered; what they were told, by status and depth."""

    def __init__(self, url: str, num_askers: int = 6):
        self.url, self.ended = url, threading.Event()
        self.statuses: Counter[int] = Counter()
        self.threads = [threading.Thread(target=self.ask) for _ in range(num_askers)]

    def ask(self) -> None:
        with httpx.Client(base_url=self.url, timeout=MINUTES, trust_env=False) as client:
            number = 0
            while not self.ended.is_set():
                number += 1
                try:
                    status = client.post(
                        "/classify", json={"text": TEXTS[number % len(TEXTS)]}
                    ).status_code
                except httpx.TransportError:
                    status = 0
                self.statuses[status] += 1

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def more(self, count: int) -> None:
        """Wait for so many answers more."""
        wanted = self.statuses.total() + count
        eventually(lambda: self.statuses.total() >= wanted, MINUTES)

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(MINUTES)


def get(url: str, path: str) -> httpx.Response:
    return httpx.get(url + path, timeout=MINUTES, trust_env=False)


def named(url: str) -> set[str]:
    """The runs that a few requests meet."""
    return {get(url, "/healthz").json()["run"] for _ in range(4)}


def replicas(url: str) -> set[str]:
    families = text_string_to_metric_families(get(url, "/metrics").text)
    return {sample.labels["replica"] for family in families for sample in family.samples}


def kill(cluster: dict[str, str], replica: str) -> None:
    """As a machine does that is gone: at once, by its process."""
    code = f"""
import ray
ray.init("auto", namespace="serve", log_to_driver=False, logging_level="ERROR")
ray.kill(ray.get_actor("SERVE_REPLICA::eat_lightning#replica#{replica}"), no_restart=True)
"""
    subprocess.run([sys.executable, "-c", code], env=os.environ | cluster, check=True)


@pytest.fixture(scope="module")
def served(
    cluster: dict[str, str], runs, tmp_path_factory
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    state = tmp_path_factory.mktemp("state")
    given = [f"run={runs[0]}", "replicas=2", "port=0", f"drift.state={state}", *PATIENT]
    with command(cluster, *given) as found:
        (Path(runs[0]).parent / "state").symlink_to(state)
        yield found


def test_the_endpoints_are_those_of_one_gateway(served, runs):
    url = served[1]
    with httpx.Client(base_url=url, timeout=MINUTES, trust_env=False) as client:
        assert client.get("/healthz").json()["run"] == "one"
        one = client.post("/classify", json={"text": TEXTS[3]}).json()
        answers = open_run(Run.open(runs[0])).answer([[TEXTS[3]]])
        assert (one["label"], one["depth"]) == (answers[0]["label"], answers[0]["depth"])
        listed = client.post("/classify", json={"examples": TEXTS[:5]}).json()["answers"]
        assert len(listed) == 5
        lines = client.post(
            "/classify", json={"examples": TEXTS[:5]}, headers={"Accept": "application/x-ndjson"}
        )
        assert lines.headers["content-type"] == "application/x-ndjson"
        found = {each["index"] for each in map(json.loads, lines.text.splitlines())}
        assert found == {*range(5)}
        assert client.post("/classify", json={"text": 3}).status_code == 422
        late = client.post("/classify", json={"text": "a"}, headers={"X-Deadline-Ms": "soon"})
        assert late.status_code == 422
        assert client.post("/reload", json={"run": "two"}).status_code == 409
        assert client.post("/reload", json={}).json() == {"run": "one"}
        assert "classify" in client.get("/openapi.json").text
        assert client.get("/").text.startswith("<!doctype html>")
        assert client.get("/nowhere").status_code == 404
    assert len(replicas(url)) == 2


def test_a_replica_killed_under_load_loses_no_request(served, cluster):
    url = served[1]
    before = replicas(url)
    with Load(url) as load:
        for victim in sorted(before):
            load.more(30)
            kill(cluster, victim)
        load.more(100)
        eventually(lambda: len(replicas(url) - before) == 2, MINUTES)
        load.more(30)
    assert {*load.statuses} == {200}


def test_another_run_is_rolled_out_without_a_dropped_request(served, cluster, runs):
    child, url = served
    port = url.rpartition(":")[2]
    state = (Path(runs[0]).parent / "state").resolve()
    given = [f"run={runs[1]}", "replicas=2", f"port={port}", f"drift.state={state}", *PATIENT]
    with Load(url) as load:
        load.more(30)
        with command(cluster, *given) as (_, again):
            assert again == url
            eventually(
                lambda: {get(url, "/healthz").json()["run"] for _ in range(4)} == {"two"}, 60
            )
            load.more(30)
            assert child.wait(MINUTES) == 0
            assert child.stdout.read() == "another command serves in this one's place\n"
            load.ended.set()
            for thread in load.threads:
                thread.join(MINUTES)
    assert {*load.statuses} == {200}
    with pytest.raises(httpx.TransportError):  # taken down with its command
        get(url, "/healthz")


def test_what_cannot_be_served_is_refused_before_anything_runs(cluster, runs, tmp_path):
    given = [sys.executable, "-m", "eat_lightning.serve", "engine=ray", f"run={tmp_path}"]
    env = os.environ | cluster
    done = subprocess.run(given, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    given[-1] = f"run={runs[0]}"
    done = subprocess.run(
        given, env=env | {"RAY_ADDRESS": "127.0.0.1:1"}, capture_output=True, text=True
    )
    assert done.stderr.startswith("error: address=auto: no Ray cluster at 127.0.0.1:1 (")
