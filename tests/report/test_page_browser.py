"""The page in headless Chromium: no errors, no network, and all of it by pointer, key and tap."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from pages import COMMAND, HOSTILE, RUN, chromium, make_claims, make_explorer

from eat_lightning.report import figures
from eat_lightning.report.page import render

pytestmark = pytest.mark.browser
POINT = "#frontier-points-0"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    claims = make_claims()
    files = {f.name: figures.save(f, folder) for claim in claims for f in claim.figures}
    warnings = ["outputs/a/rows.jsonl: cut short", "outputs/b: rows of another version"]
    path = folder / "index.html"
    html = render(f"Report {HOSTILE}", claims, make_explorer(), warnings, files)
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
    """What the lines of the table show in a column, without intervals and flags."""
    code = "(rows, i) => rows.map(row => row.cells[i].firstChild?.textContent ?? '')"
    return page.locator("#table-frontier-sst2 tbody tr").evaluate_all(code, index)


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
    heading = page.locator("#table-frontier-sst2 th[scope=col]").nth(3)
    came = column(page, 3)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(page, 3) == ["9.5", "38.0", "100.0", ""]
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(page, 3) == ["100.0", "38.0", "9.5", ""]
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") is None
    assert column(page, 3) == came


@pytest.mark.nightly
def test_mark_tells_its_source_to_a_pointer(page: Any):
    tip = page.locator("#tip")
    assert tip.is_hidden()
    page.hover(POINT)
    for text in ("eat tau 0.9", "75.0 (70.0 to 80.0)", RUN, COMMAND, "9a2574e"):
        assert text in tip.text_content()
    page.hover("h1")
    tip.wait_for(state="hidden")


@pytest.mark.nightly
def test_mark_tells_its_source_to_a_keyboard(page: Any):
    tip = page.locator("#tip")
    page.focus(POINT)
    page.keyboard.press("ArrowRight")  # the other mark; and that a key was pressed shows the focus
    assert HOSTILE in tip.text_content()
    page.keyboard.press("ArrowRight")
    assert tip.is_visible()
    assert RUN in tip.text_content()
    assert page.locator(POINT).get_attribute("aria-describedby") == "tip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Copy"
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    assert page.evaluate("document.activeElement.id") == POINT[1:]


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
    assert page.locator("#figure-frontier-points svg").is_visible()
    assert page.locator("#table-frontier-sst2 tbody tr").count() == 4
    csv = page.locator("#table-frontier-sst2 .save a").get_attribute("href")
    assert base64.b64decode(csv.partition(",")[2]).startswith(b"model,")
    assert page.locator("[data-save=svg]").is_hidden()
