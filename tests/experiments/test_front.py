"""README is short, and its chart, its table and the numbers in its prose follow from kept rows."""

import re

from docs.site import front, hero
from docs.site.made import SCHEMES
from eat_lightning.report.intervals import Interval
from experiments.study import CODE, NUMBER, TABLE, StudyFolder

TEXT = front.README.read_text("utf-8")
PROSE = CODE.sub("", TABLE.sub("", TEXT))


def times(found: Interval) -> str:
    """ "11.1 times (9.9 to 12.7)"."""
    return found.text(1, unit=" times")


def test_it_can_be_read_in_a_few_minutes():
    without_pictures = re.sub(r"<picture>.*?</picture>", "", TEXT, flags=re.DOTALL)
    assert len(without_pictures.split()) <= 900


def test_chart_and_table_follow_from_the_kept_rows():
    assert front.filled() == TEXT
    for scheme in SCHEMES:
        kept = (front.FIGURES / f"speed-{scheme}.svg").read_text("utf-8")
        assert kept == front.chart().svg(scheme)


def test_the_batch_at_the_head_is_drawn_from_the_kept_one():
    for scheme, svg in zip(SCHEMES, hero.pictures(), strict=True):
        assert (hero.FIGURES / f"hero-{scheme}.svg").read_text("utf-8") == svg
    assert f'alt="{hero.ThinningBatch.read().words}"' in TEXT


def test_the_chart_s_numbers_stand_in_its_words_too():
    row, (slow, static, fast) = front.adapted(), [ms for _, ms in front.bars()]
    assert f"transformers {slow:.1f}, " in TEXT
    assert f"without exits {static:.1f}, with early exits {fast:.1f}" in TEXT
    printed = " ".join(TEXT.split())
    assert f"{times(row['times_original'])} as fast as transformers in fp32" in printed
    assert f"brings {times(front.without_exits(row))}" in printed
    assert f"early exits a further {times(row['times_rival'])}" in printed


def test_what_adapt_is_said_to_print_follows_from_the_row():
    row, (slow, _, fast) = front.adapted(), [ms for _, ms in front.bars()]
    printed = " ".join(TEXT.split())
    assert f"{row['name']}: {times(row['times_original'])} as fast as" in printed
    assert f"({fast:.1f} ms instead of {slow:.1f} ms per text, one text at a time)" in printed
    assert f"{row['tested']} of {row['num']:,} did." in printed
    assert row["threads"] == 1
    assert row["confidence"] == 0.95


def test_ratios_in_the_prose_are_those_of_the_study():
    tables = StudyFolder("adapt").claim.tables
    known = {number for table in tables for number in NUMBER.findall(table.markdown())}
    row = front.adapted()
    found = row["times_original"], row["times_rival"], front.without_exits(row)
    known |= {f"{each.value:.1f}" for each in found}
    assert set(re.findall(r"\d+\.\d+(?= times)", PROSE)) <= known
