"""Pages of the site that are made from yamls, and what they say of the package."""

import re
import tomllib

from studies import make_row

from experiments.site import settings, shelf, studies
from experiments.site.made import ROOT
from experiments.site.tutorial import fenced


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


def test_sentences_are_wrapped_and_tables_are_not():
    assert fenced("promise: it holds").splitlines()[1] == "```{.text .wrapped}"
    assert fenced("model  score\n────────────\neat    91.2").splitlines()[1] == "```text"


def test_a_row_says_whether_tokens_were_dropped_and_its_knob_fitted(monkeypatch):
    rule = {"kind": "norm_topk", "layers": [2, 4]}
    trained, fitted = ({**rule, "ratio": ratio} for ratio in (0.3, 0.1))
    own = make_row(run="a", reduction=trained)
    kept = make_row(run="a", reduction=trained, budget=0.5)
    moved = make_row(run="a", reduction=fitted, budget=0.5, retention=0.85)
    other = make_row(run="b", reduction={"kind": "none"})
    monkeypatch.setattr(shelf, "kept", lambda: [("methods", row) for row in (own, kept, moved)])
    assert shelf.tokens(kept) == "1.000, nothing was dropped; ratio 0.3, as trained"
    assert shelf.tokens(moved) == "0.850; ratio 0.1, fitted"
    assert shelf.tokens(other) == "1.000"


def test_a_method_alone_comes_before_one_beside_another(monkeypatch):
    exits = [{"kind": kind, "layers": [4]} for kind in ("berxit", "confidence")]
    reduction = {"kind": "tome", "ratio": 0.2, "layers": [2]}
    rows = [make_row(run=e["kind"], reduction=reduction, exit=e, budget=0.5) for e in exits]
    found = [("interplay", rows[0]), ("methods", rows[1])]
    monkeypatch.setattr(shelf, "kept", lambda: found)
    lines = shelf.measured("reduction", "tome").splitlines()[4:6]
    assert ["| confidence |" in lines[0], "| berxit |" in lines[1]] == [True, True]
    assert lines[0].startswith("| [methods](../../results/methods/page.md) |")


def test_a_page_whose_commands_need_a_clone_says_so():
    text = "# Title\n\nWords: `python -m experiments budgets`.\n"
    assert studies.with_note(text).startswith(f"# Title\n\n{studies.CLONE}Words")
    assert studies.with_note("# Title\n\nWords.\n") == "# Title\n\nWords.\n"
