"""Pages that a user meets first are short, and so are their sentences."""

import re
from pathlib import Path

from experiments.site import bars, how
from experiments.site.made import ROOT

PAGES = ROOT / "experiments/site/pages"
FIRST = [path for path in PAGES.rglob("*.md") if path.name != "python.md"]  # names of classes
FIRST += [*ROOT.glob("*.md"), *(ROOT / "experiments").glob("*.md")]
STUDIES = sorted((ROOT / "experiments").glob("*/*.md"))
ANSWERS = [path for path in STUDIES if path.name == "page.md"]
WRITTEN = {"load.md"}  # by its command
LONGEST = 1_500  # words of a study's page, tables and code left out
WORDS, NUMBERS = 25, 2  # of a sentence


def prose(text: str) -> str:
    """The text without code, tables, headings and tags; a link is its words, code is one word."""
    text = re.sub(r"```.*?```", "\n\n", text, flags=re.DOTALL)
    lines = [line for line in text.splitlines() if not re.match(r"\s*(\||#|!!!|:::)", line)]
    text = re.sub(r"`[^`]*`", "Code", "\n".join(lines))
    text = re.sub(r"<[^>]+>", "\n\n", text)
    return re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)


def sentences(text: str) -> list[str]:
    blocks = re.split(r"\n\s*\n|\n\s*(?:[*-]|\d+\.)\s", prose(text))
    ends = r"(?<=[.!?:;])[)*\"]*\s+(?=[A-Z*(\"\d])"
    return [one for block in blocks for one in re.split(ends, " ".join(block.split())) if one]


def numbers(sentence: str) -> list[str]:
    """A range, a share, or a value with its interval is one; a setting's name is none (layer 3)."""
    joined = re.sub(r"(\d)( %)? (?:to|and|or|of) (?=[-+]?\d)", r"\1~", sentence)
    joined = re.sub(r" \([-+]?[\d,.]+~[-+]?[\d,.]+( %)?\)", "", joined)
    plain = re.sub(r"(?i)(?:layer|tau|batch|budget|level of|version|SST-) ?[\d.]+", "", joined)
    return re.findall(r"(?<![\w.-])[-+]?\d(?:[\d,.]|~[-+]?)*", plain)


def long_ones(text: str) -> list[str]:
    found = sentences(text)
    return [s for s in found if len(s.split()) > WORDS or len(numbers(s)) > NUMBERS]


def answer(page: Path) -> str:
    """The paragraphs before the first figure, command or heading."""
    return re.split(r"\n(?:!\[|```|## )", page.read_text("utf-8"))[0]


def test_sentences_are_short():
    studies = [path for path in STUDIES if path.name not in WRITTEN]
    texts = {str(path): path.read_text("utf-8") for path in [*FIRST, *studies]}
    texts["pictures"] = "\n\n".join(each.words for each in how.pictures())
    found = {name: long_ones(text) for name, text in texts.items()}
    assert {name: some for name, some in found.items() if some} == {}


def test_a_study_answers_first_in_few_words_and_a_figure():
    for path in ANSWERS:
        first = answer(path)
        assert len(prose(first).split()) <= 100, path
        assert path.read_text("utf-8")[len(first) :].startswith("\n!["), path


def test_a_figure_of_bars_is_of_its_page_s_table():
    for each in bars.ALL:
        assert (ROOT / "experiments" / each.study / "answer.svg").read_text("utf-8") == each.svg()
    found = bars.lines("| a | b |\n|---|---|\n| `x` | **1** |\n| | 2 |\n", 0)
    assert found == [{"a": "x", "b": "1"}, {"a": "x", "b": "2"}]


def test_a_study_s_page_is_short():
    lengths = {str(path): len(prose(path.read_text("utf-8")).split()) for path in STUDIES}
    assert {path: words for path, words in lengths.items() if words > LONGEST} == {}
