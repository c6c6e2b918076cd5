"""README is short, and its chart, its table and the numbers in its prose follow from kept rows."""

import re

from docs.site import front, hero
from docs.site.made import SCHEMES
from experiments.study import CODE, NUMBER, TABLE, StudyFolder

TEXT = front.README.read_text("utf-8")
PROSE = CODE.sub("", TABLE.sub("", TEXT))


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
    slow, static, fast = front.milliseconds()
    assert f"transformers {slow:.1f}, " in TEXT
    assert f"without exits {static:.1f}, with early exits {fast:.1f}" in TEXT
    whole, engine, exits = (f"{ratio:.1f} times" for ratio in front.speed_ups())
    by = front.candidates()[1].name.replace(", ", " in ")
    assert f"{whole} as fast as transformers in fp32: {engine} by {by}" in TEXT
    assert f"a further {exits} by early exits" in TEXT


def test_what_adapt_is_said_to_print_follows_from_the_row():
    made, (slow, _, fast) = front.adapted(), front.milliseconds()
    printed = " ".join(TEXT.split())
    assert f"{made.chosen.name}: {slow / fast:.1f} times as fast as transformers" in printed
    assert f"({fast:.1f} instead of {slow:.1f} ms a text)" in printed
    assert f"{made.count.changed} of {made.count.num:,} did." in printed
    assert f"{made.row['minutes']:.0f} minutes on two cores" in printed
    assert made.row["threads"] == 1
    assert made.row["confidence"] == 0.95


def test_ratios_in_the_prose_are_those_of_the_study():
    tables = StudyFolder("adapt").claim.tables
    known = {number for table in tables for number in NUMBER.findall(table.markdown())}
    known |= {f"{ratio:.1f}" for ratio in front.speed_ups()}
    assert set(re.findall(r"\d+\.\d+(?= times)", PROSE)) <= known
