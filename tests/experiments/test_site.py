"""Pages of the site that are made from yamls, and what they say of the package."""

import re
import tomllib

from experiments.site import settings
from experiments.site.made import ROOT


def test_placeholders_of_a_command_are_shown():
    for path in settings.CONFIGS.glob("*.yaml"):
        fenced = settings.command(path).content.split("```")
        assert not [text for text in fenced[::2] if "<" in text], path
    train = settings.command(settings.CONFIGS / "train.yaml").content
    assert "/&lt;study>/&lt;task>-&lt;model>-s&lt;seed>[-&lt;overrides>]/." in train


def test_the_start_page_lists_every_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = (ROOT / "experiments/site/pages/index.md").read_text().split("## ")[2]
    first = [line.split(" | ")[0] for line in table.splitlines()]
    reported = re.findall(r"`(\w+)`", "\n".join(first))
    assert sorted(reported) == sorted(project["optional-dependencies"])
