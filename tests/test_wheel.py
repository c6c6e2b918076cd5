"""The wheel carries the configs, and works in any folder without the repository."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from eat_lightning.report.__main__ import found_claims

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel, unpacked as an installer would."""
    for tool in ("build", "hatchling"):
        pytest.importorskip(tool, reason=f"needs {tool}, from the extra `dev`")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


@pytest.mark.nightly
def test_wheel_carries_every_config(site: Path):
    def configs(folder: Path) -> dict[str, str]:
        yamls = folder.rglob("*.yaml")
        return {str(p.relative_to(folder)): p.read_text(encoding="utf-8") for p in yamls}

    assert configs(site / "eat_lightning" / "configs") == configs(ROOT / "configs") != {}


@pytest.mark.nightly
def test_wheel_leaves_studies_docs_and_tests_in_the_clone(site: Path):
    assert {path.name.partition("-")[0] for path in site.iterdir()} == {"eat_lightning"}
    assert not (site / "eat_lightning" / "experiments").exists()


@pytest.mark.slow
def test_wheel_composes_in_another_folder(site: Path, tmp_path: Path):
    code = "import eat_lightning, runpy; print(eat_lightning.__file__); "
    code += "runpy.run_module('eat_lightning.train', run_name='__main__', alter_sys=True)"
    options = ["task=sst2", "data=toy", "model=eat", "--cfg", "job"]
    assert python(site, tmp_path, code, *options).startswith(str(site))


@pytest.mark.nightly
def test_wheel_opens_every_claim_in_another_folder(site: Path, tmp_path: Path):
    # An editable install has the repository on the path, and with it a package of this name.
    code = "import sys; sys.modules['experiments'] = None\n"
    code += "from eat_lightning.report.__main__ import claim_of, found_claims\n"
    code += "for name, path in found_claims().items(): claim_of(path), print(name)"
    opened = set(python(site, tmp_path, code).split())
    assert opened == found_claims().keys() > {"frontier", "budgets"}


def python(site: Path, folder: Path, code: str, *options: str) -> str:
    """What the code prints where only the unpacked wheel is on the path."""
    done = subprocess.run(
        [sys.executable, "-c", code, *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
