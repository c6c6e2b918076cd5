"""Pages of the site that are made from the package, from yamls and from the kept run."""

import re
import tomllib
from xml.etree import ElementTree

from docs.site import front, hero, how, rooms, settings, studies
from docs.site.canvas import WIDTH
from docs.site.made import ROOT, SCHEMES
from docs.site.pictures import leaving, of_method

SVG = "{http://www.w3.org/2000/svg}"


def test_placeholders_of_a_command_are_shown():
    for path in settings.CONFIGS.glob("*.yaml"):
        fenced = settings.command(path).content.split("```")
        assert not [text for text in fenced[::2] if "<" in text], path
    train = settings.command(settings.CONFIGS / "train.yaml").content
    assert "/&lt;study>/&lt;task>-&lt;model>-s&lt;seed>[-&lt;overrides>]/." in train


def test_the_start_page_lists_every_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = (ROOT / "docs/pages/index.md").read_text().partition("## Installation")[2]
    first = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ")]
    reported = re.findall(r"`(\w+)`", "\n".join(first))
    assert sorted(reported) == sorted(project["optional-dependencies"])


def test_pictures_are_drawn_and_their_letters_lie_inside():
    found = [*how.pictures(), front.chart()]
    assert [each.name for each in found] == [
        *("packing", "batch", "heads", "dial", "certificate", "beside", "speed"),
    ]
    for svg in (*hero.pictures(), *(each.svg(scheme) for each in found for scheme in SCHEMES)):
        root = ElementTree.fromstring(svg)
        for text in root.iter(f"{SVG}text"):
            wide = 6.7 * len(text.text or "")  # a letter of 12 in a wide font
            start = {"start": 0.0, "middle": wide / 2, "end": wide}[text.attrib["text-anchor"]]
            left = float(text.attrib["x"]) - start
            assert 0 <= left < left + wide <= WIDTH, text.text
            assert 0 < float(text.attrib["y"]) < int(root.attrib["height"])


def test_the_batch_moves_only_where_motion_is_wanted():
    for svg in hero.pictures():
        style = re.search("<style>(.*)</style>", svg)
        assert style is not None
        assert style[1].startswith("@media (prefers-reduced-motion:no-preference){")
        assert "animation" not in svg.replace(style[0], "")


def test_rules_that_read_logits_alone_are_drawn_from_the_record():
    drawn = leaving("confidence")
    assert drawn is not None
    assert "mean 2.2" in drawn.svg("light")  # depth of tau 0.9, as its kept row has it
    assert leaving("berxit") is None
    assert leaving("never") is None


def test_methods_are_drawn_with_their_default_settings():
    assert of_method("reduction", "norm_topk") is not None
    assert of_method("schedule", "two_stage") is not None
    assert of_method("attention", "linformer") is None


def test_every_room_has_a_sentence():
    lines = rooms.table().splitlines()[2:]
    assert lines[0].startswith("| `errors` | The one error")
    assert all(re.fullmatch(r"\| `[\w.]+` \| .+ \|", line) for line in lines)


def test_links_to_studies_become_links_of_the_site():
    page = studies.PAGES / "how-to/adapt.md"
    text = "[one](../../../experiments/README.md#a) in [0, 1), [none](../../../experiments/no.md)"
    wanted = "[one](../studies/index.md#a) in [0, 1), none"
    assert studies.with_studies(text, page) == wanted
    assert studies.with_studies("[other](data.md)", page) == "[other](data.md)"
    back = studies.relinked(
        "[guide](../docs/pages/how-to/adapt.md)", studies.EXPERIMENTS / "README.md"
    )
    assert back == "[guide](../how-to/adapt.md)"
