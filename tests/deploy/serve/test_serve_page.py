"""The live page in a browser: what it shows, and that nothing of a stranger's runs in it."""

from typing import Any

import pytest
from gateways import FakeModel, running
from pages import HOSTILE, chromium

pytestmark = [pytest.mark.browser, pytest.mark.nightly]


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


def text(page: Any, id: str) -> str:
    return page.locator(f"#{id}").inner_text()


def test_the_page_shows_what_runs_and_where_a_text_leaves(browser):
    with running(FakeModel(f"run {HOSTILE}")) as served:
        served.say({"examples": ["hard", "easy", "good"]})
        page = browser.new_page(viewport={"width": 1100, "height": 1000})
        said: list[str] = []
        page.on(
            "console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(str(served.client.base_url))
        page.locator("#depth .fill").nth(5).wait_for()
        assert text(page, "run") == f"run {HOSTILE}"
        assert text(page, "t-depth") == "4.00"
        assert "exits at 3, 4, 6" in text(page, "mode")
        assert text(page, "t-drift") == "off"
        assert "66.7 %" in text(page, "reasons")
        page.fill("#text0", f"hard {HOSTILE}")
        page.click("#try button")
        page.wait_for_selector("#way .left")
        assert text(page, "way").split() == ["1", "2", "3", "⇥", "4", "⇥", "5", "6", "⇥"]
        assert page.locator("#way .left").inner_text().startswith("6")
        assert "left at layer 6 (last layer), 50 % of its tokens kept" in text(page, "said")
        assert page.evaluate("window.hacked") is None
        assert said == []
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_asks_for_its_token(browser, scheme: str):
    with running(FakeModel(), token="s3cret") as served:
        page = browser.new_page(viewport={"width": 360, "height": 700}, color_scheme=scheme)
        page.goto(str(served.client.base_url))
        page.wait_for_selector("#token", state="visible")
        page.fill("#token", "s3cret")
        page.get_by_role("heading", name="fake").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 22, 21)"
        assert dark == (scheme == "dark")
        page.close()
