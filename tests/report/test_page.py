"""The page's HTML without a browser: escaping, structure, and what its policy allows."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from helpers.pages import HOSTILE, make_claims, make_explorer

from eat_lightning.report.page import SCRIPTS, STYLES, asset, render


class Outline(HTMLParser):
    """Tags with their attributes, and the text inside each kind of element."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def html() -> str:
    return render(f"Report {HOSTILE}", make_claims(), make_explorer(), [f"a.jsonl: {HOSTILE}"])


def test_texts_are_escaped(html: str):
    outline = Outline(html)
    kinds = [attributes.get("type") for attributes in outline.all("script")]
    assert kinds == ["application/json", "module"]
    assert not outline.all("b")
    assert not [a for _, attributes in outline.tags for a in attributes if a.startswith("on")]
    shown = "".join(outline.text)
    assert shown.count(HOSTILE) >= 7  # title twice, warning, answer, caption, cell, note


def test_data_survives_its_script_element(html: str):
    pattern = r'<script type="application/json" id="examples">(.*?)</script>'
    (found,) = re.findall(pattern, html, re.DOTALL)
    assert json.loads(found) == make_explorer()
    with pytest.raises(ValueError, match="not JSON compliant"):
        render("r", make_claims(), {"tasks": [float("nan")]})


def test_nothing_is_fetched(html: str):
    outline = Outline(html)
    addresses = [a[name] for _, a in outline.tags for name in ("src", "href") if a.get(name)]
    assert all(str(address).startswith(("#", "data:")) for address in addresses)
    own = "".join(map(asset, STYLES + SCRIPTS))
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|https?://", own)


def test_policy_allows_this_script_and_no_other(html: str):
    policy = next(a["content"] for a in Outline(html).all("meta") if "http-equiv" in a)
    rules = dict(rule.split(" ", 1) for rule in str(policy).split("; "))
    script = html.rpartition('<script type="module">')[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
