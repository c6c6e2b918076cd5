"""Pages on a phone, light and dark, judged by axe-core: no serious finding."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.gateways import FakeModel, running
from helpers.pages import chromium

from experiments.study import studies

pytestmark = [pytest.mark.browser, pytest.mark.nightly]
ROOT = Path(__file__).parents[1]
OF_SITE = [
    *("index.html", "how.html", "methods/exit/confidence.html", "studies/index.html"),
    *("how/dial.html", "how-to/adapt.html"),
    "live/report/index.html",  # a report's page
    *(f"studies/{study.name}/page.html" for study in studies()[:1]),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site without its tutorials' output."""
    pytest.importorskip("mkdocs", reason="needs mkdocs-material, from the extra `docs`")
    to = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "-f", "docs/mkdocs.yml"]
    quick = os.environ | {"EAT_SITE_RUN": "false"}
    subprocess.run([*build, "-d", to], cwd=ROOT, env=quick, check=True, capture_output=True)
    return to


def serious(browser: Any, address: str, scheme: str) -> list[str]:
    """Findings of a page 360 wide, each with the first place where it was found."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe-core, from the extra `dev`"
    )
    page = browser.new_page(viewport={"width": 360, "height": 800}, color_scheme=scheme)
    page.goto(address)
    page.wait_for_timeout(500)  # milliseconds, for what a page draws
    found = axe.Axe().run(page).response["violations"]
    page.close()
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", OF_SITE)
def test_a_page_of_the_site_can_be_used_by_all(browser: Any, site: Path, path: str, scheme: str):
    assert serious(browser, (site / path).as_uri(), scheme) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/demo"])
def test_a_page_of_the_gateway_can_be_used_by_all(browser: Any, path: str, scheme: str):
    with running(FakeModel()) as served:
        served.say({"examples": ["hard", "easy", "good"]})
        assert serious(browser, f"{served.client.base_url}{path}", scheme) == []
