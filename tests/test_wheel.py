"""The wheel carries the configs, works in any folder without the repository, and describes itself
with links that an index can follow."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import eat_lightning
from eat_lightning.report.__main__ import found_claims

ROOT = Path(__file__).parents[1]
START = ROOT / "docs/pages/index.md"
ADDRESS = "https://example.org/owner/name"
LINK = re.compile(r'\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel, unpacked as an installer would."""
    for tool in ("build", "hatchling"):
        pytest.importorskip(tool, reason=f"needs {tool}, from the extra `dev`")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    known = os.environ | {"EAT_REPOSITORY": ADDRESS}
    subprocess.run(command, env=known, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_links_of_readme_become_absolute_and_lead_to_files():
    pytest.importorskip("hatchling", reason="needs hatchling, from the extra `dev`")
    from hatch_build import absolute

    readme = (ROOT / "README.md").read_text("utf-8")
    before, after = (targets(text) for text in (readme, absolute(readme, ADDRESS, "v1")))
    ours = [(was, now) for was, now in zip(before, after, strict=True) if ":" not in was]
    assert len(ours) > 10
    for was, now in ours:
        assert (ROOT / was.partition("#")[0]).exists()
        assert now in (f"{ADDRESS}/blob/v1/{was}", f"{ADDRESS}/raw/v1/{was}")
    assert absolute("[a](#b), [c](https://d.org)", ADDRESS, "v1") == "[a](#b), [c](https://d.org)"


def test_the_citation_names_this_version():
    cited = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {eat_lightning.__version__}\n" in cited
    assert f"version = {{{eat_lightning.__version__}}}" in START.read_text("utf-8")


def targets(text: str) -> list[str]:
    return [page or picture for page, picture in LINK.findall(text)]


@pytest.mark.nightly
def test_wheel_names_the_project_s_addresses(site: Path):
    (described,) = site.glob("*.dist-info/METADATA")
    text = described.read_text("utf-8")
    assert f"Project-URL: Changelog, {ADDRESS}/blob/v" in text
    assert [link for link in targets(text) if "://" not in link] == []


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
