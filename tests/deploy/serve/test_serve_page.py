"""The gateway's pages in a browser: what they show, and that no text of a stranger runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from helpers.gateways import FakeModel, Running, running
from helpers.pages import HOSTILE, chromium

pytestmark = [pytest.mark.browser, pytest.mark.nightly]


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@contextmanager
def opened(browser: Any, served: Running, path: str, **settings: Any) -> Iterator[Any]:
    """A page of the gateway, at whose end nothing failed and nobody else was asked."""
    page = browser.new_page(**settings)
    base, troubles = str(served.client.base_url), []
    page.on("console", lambda m: troubles.append(m.text) if m.type in ("error", "warning") else 0)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda r: r.url.startswith(base) or troubles.append(r.url))
    page.goto(base + path)
    yield page
    assert page.evaluate("window.hacked") is None
    assert [each for each in troubles if "responded with a status of 4" not in each] == []
    page.close()


def text(page: Any, id: str) -> str:
    return page.locator(f"#{id}").inner_text()


def test_the_page_shows_what_runs(browser):
    with running(FakeModel(f"run {HOSTILE}")) as served:
        served.say({"examples": ["hard", "easy", "good"]})
        with opened(browser, served, "/", viewport={"width": 1100, "height": 1000}) as page:
            page.locator("#depth .fill").nth(5).wait_for()
            assert text(page, "run") == f"run {HOSTILE}"
            assert text(page, "t-depth") == "4.00"
            assert "exits at 3, 4, 6" in text(page, "mode")
            assert text(page, "t-drift") == "off"
            assert text(page, "drift") == "no monitor: this model has no drift reference"
            assert "66.7 %" in text(page, "reasons")
            page.click("text=Try a text")
            page.get_by_role("heading", name="See where a text leaves").wait_for()


def test_the_demo_shows_a_text_leave_layer_by_layer(browser):
    """By keyboard alone, and as a screen reader finds it."""
    with running(FakeModel(f"run {HOSTILE}")) as served, opened(browser, served, "/demo") as page:
        box = page.get_by_label("Your text (sentence)")
        box.focus()
        page.keyboard.type(f"hard {HOSTILE}")
        page.keyboard.press("Enter")
        page.get_by_text("It ran every layer (last layer), with 50.0 % of its tokens").wait_for()
        rows = [" ".join(each.split()) for each in page.locator("#layers li").all_inner_texts()]
        assert rows == [
            "Layer 1 no exit",
            "Layer 2 no exit",
            "Layer 3 negative, 60.0 % sure, 90.0 % needed: goes on",
            "Layer 4 negative, 60.0 % sure, 90.0 % needed: goes on",
            "Layer 5 no exit",
            "Layer 6 negative, 95.0 % sure, 90.0 % needed: leaves",
        ]
        box.fill("good")
        page.get_by_role("button", name="Run").press("Enter")
        status = page.get_by_role("status").filter(has_text="It left after 3 of 6 layers")
        status.wait_for()
        assert status.inner_text().startswith("positive, 95.0 % sure.")
        assert page.locator("#layers .left").inner_text().startswith("Layer 3")
        assert page.locator("#layers .rests").all_inner_texts() == [
            f"Layer {layer}\nnot run" for layer in (4, 5, 6)
        ]
        before = page.get_by_role("listitem").filter(has_text=HOSTILE)
        assert before.inner_text().endswith("6 of 6 layers")


def test_the_pages_of_a_model_without_early_exits(browser):
    """A head may guess where its exit is closed: neither page calls that an exit."""
    model = FakeModel("adapted")
    model.about = replace(model.about, exits=[6], watchable=True)
    with running(model) as served:
        with opened(browser, served, "/demo") as page:
            page.get_by_text("Every text runs all of them: no early exit is open.").wait_for()
            page.get_by_label("Your text (sentence)").fill("hard")
            page.get_by_role("button", name="Run").click()
            page.get_by_text("It ran every layer").wait_for()
            assert page.get_by_text("goes on").count() == 0
        with opened(browser, served, "/") as page:
            page.get_by_text("drift.monitor=true compares").wait_for()
            assert "no early exit is open" in text(page, "mode")


def test_the_demo_of_a_pair_and_of_a_score_says_what_is_refused(browser):
    model = FakeModel(columns=("premise", "hypothesis"), labels=())
    with running(model, max_chars=9) as served, opened(browser, served, "/demo") as page:
        page.get_by_label("Your text (premise)").fill("good")
        page.get_by_label("Your text (hypothesis)").fill("good")
        page.get_by_role("button").click()
        page.get_by_text("score 3.000. It left after 3 of 6 layers").wait_for()
        page.get_by_label("Your text (premise)").fill("too long for it")
        with page.expect_response("**/classify"):
            page.get_by_role("button").click()
        page.get_by_text("No answer. 422").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/demo"])
def test_a_page_fits_a_phone_and_asks_for_its_token(browser, path: str, scheme: str):
    phone: dict[str, Any] = {"viewport": {"width": 360, "height": 700}, "color_scheme": scheme}
    with (
        running(FakeModel(), token="s3cret") as served,
        opened(browser, served, path, **phone) as page,
    ):
        page.wait_for_selector("#token", state="visible")
        assert "fake" not in page.content()  # nothing of the model without the token
        page.fill("#token", "s3cret")
        page.press("#token", "Enter")
        page.get_by_text("fake").first.wait_for()
        if path == "/demo":
            page.fill("#text0", "hard" + 50 * "word")
            page.click("button")
            page.get_by_text("It ran every layer").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 22, 21)"
        assert dark == (scheme == "dark")
