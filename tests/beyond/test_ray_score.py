"""Scoring on a real Ray cluster of one node: the files of `engine=local`, whoever dies."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from finished import make_run
from ray_head import ray_head

from eat_lightning.deploy.score.corpus import ROWS
from eat_lightning.deploy.score.on_ray import connect, scored_on_ray
from eat_lightning.deploy.score.work import ShardEvent, Tally

pytest.importorskip("ray", reason="no Ray: pip install 'eat_lightning[ray]'")
LINES = [f"{'not ' * (i % 5)}good film {i}\n" for i in range(4000)]
PATIENCE = 900  # seconds for a busy machine to do what takes it ten


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    with ray_head() as found:
        yield found


def command(folder: Path, out: str, *more: str) -> list[str]:
    words = [f"input={folder}/lines.txt", f"output={folder}/{out}", f"run={folder}/run"]
    start = [sys.executable, "-m", "eat_lightning.score", *words]
    return [*start, "shard_mb=0.004", "window=64", "workers=2", *more]


def files_of(out: Path) -> dict[str, bytes]:
    paths = [path for path in out.rglob("*") if path.is_file() and path.name != ROWS]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def actors() -> list[int]:
    """Processes that Ray Data has made our actor in."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if re.match(r"ray::MapWorker", title):
            found.append(int(path.parent.name))
    return found


class Job:
    """Dies of one shard, each time."""

    def events(self, place: int, shard: SimpleNamespace) -> Iterator[ShardEvent]:
        if shard.name == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        yield ShardEvent(place, Tally(rows=1), done=True)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")  # of Ray's own code, met on the way
def test_a_shard_that_kills_is_given_up_and_the_others_are_not(
    cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    import ray

    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    connect("auto")
    shards: list[Any] = [SimpleNamespace(name=name) for name in ("a", "deadly", "b")]
    try:
        events = {event.shard: event for event in scored_on_ray(shards, Job, workers=1)}  # type: ignore[arg-type]
    finally:
        ray.shutdown()
    assert [events[place].done for place in range(3)] == [True, False, True]
    assert events[1].fault == "deadly: 2 actors died of it"
    assert events[1].died


@pytest.mark.slow
def test_a_killed_actors_shard_is_done_again(cluster: dict[str, str], tmp_path: Path):
    make_run(tmp_path / "run", "sst2")
    (tmp_path / "lines.txt").write_text("".join(LINES))
    subprocess.run(command(tmp_path, "local", "engine=local"), check=True)
    whole, out = files_of(tmp_path / "local"), tmp_path / "ray"
    words = command(tmp_path, "ray", "engine=ray", "address=auto")
    process = subprocess.Popen(words, env=os.environ | cluster, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + PATIENCE
    while len([*out.glob("*.parquet")]) < 2 and time.monotonic() < end and process.poll() is None:
        time.sleep(0.02)
    (first, *_) = actors()
    os.kill(first, signal.SIGKILL)
    done = len([*out.glob("*.parquet")])
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert done < len([*out.glob("*.parquet")]), "all was done before the actor died"
    assert files_of(out) == whole
