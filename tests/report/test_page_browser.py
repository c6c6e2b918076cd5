"""The page in headless Chromium: no errors, no network, and all of it by pointer, key and tap."""

from collections.abc import Iterator
from typing import Any

import pytest
from helpers.pages import HOSTILE, chromium, make_claims, make_explorer

from eat_lightning.report.page import render

pytestmark = pytest.mark.browser
TIMES = "#table-frontier-sst2 .frame:has(caption:text('time'))"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    warnings = ["outputs/a/rows.jsonl: cut short", "outputs/b: rows of another version"]
    path = folder / "index.html"
    html = render(f"Report {HOSTILE}", make_claims(), make_explorer(), warnings)
    path.write_text(html, encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Any]:
    """Opens the page with these settings; at the end nothing may have failed or been asked for."""
    contexts, troubles = [], []

    def open_page(width: int = 1280, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 844}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: troubles.append(m.text) if m.type != "log" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda r: troubles.append(r.url) if r.url.startswith("http") else None)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not troubles


@pytest.fixture
def page(opened: Any) -> Any:
    return opened()


def column(page: Any, index: int) -> list[str]:
    """What the lines of the table of times show in a column, without intervals and flags."""
    code = "(rows, i) => rows.map(row => row.cells[i].firstChild?.textContent ?? '')"
    return page.locator(f"{TIMES} tbody tr").evaluate_all(code, index)


@pytest.mark.slow
def test_hostile_text_does_nothing(page: Any):
    assert page.evaluate("window.hacked") is None
    assert page.title().startswith("Report </script>")


@pytest.mark.nightly
@pytest.mark.parametrize("width", [360, 390, 768, 1920])
def test_page_is_no_wider_than_the_screen(opened: Any, width: int):
    page = opened(width)
    page.select_option("#x-other", "none")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for locator in page.locator("h1, .answer p, .caption, .layer, .controls label").all():
        box = locator.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width + 1


@pytest.mark.nightly
def test_sorts_by_value_with_empty_cells_last(page: Any):
    heading = page.locator(f"{TIMES} th[scope=col]").nth(2)
    came = column(page, 2)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(page, 2) == ["9.5", "38.0", "100.0", ""]
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(page, 2) == ["100.0", "38.0", "9.5", ""]
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") is None
    assert column(page, 2) == came


@pytest.mark.nightly
def test_explorer_shows_what_was_dropped_and_where_it_left(page: Any):
    layers = page.locator(".way .layer")
    assert layers.nth(0).locator(".gone").count() == 0
    assert layers.nth(1).locator(".went").all_text_contents() == ["ing", HOSTILE]
    assert "2 of 4 tokens" in layers.nth(1).text_content()
    assert layers.nth(1).locator(".top").text_content() == "positive70%"
    assert layers.nth(1).locator(".point").get_attribute("style") == "left: 90%;"
    assert page.locator(".left").text_content() == "left here: positive ✓"
    assert page.locator(".unrun").count() == 0
    page.select_option("#x-rule", "tau 0.6")
    assert page.locator(".unrun").count() == 1
    assert "Left after layer 1 (confident)" in page.locator(".verdict").text_content()


@pytest.mark.nightly
def test_reads_without_a_script(opened: Any):
    page = opened(java_script_enabled=False)
    assert page.locator("#figure-frontier-points .light").is_visible()
    assert page.locator("#figure-frontier-points .dark").is_hidden()
    assert page.locator(f"{TIMES} tbody tr").count() == 4


@pytest.mark.nightly
def test_figures_follow_the_page_s_colours(opened: Any):
    page = opened(color_scheme="dark")
    figure = page.locator("#figure-frontier-points")
    assert figure.locator(".dark").is_visible()
    page.click("#theme")
    assert figure.locator(".dark").is_hidden()
    assert figure.locator(".light").is_visible()
