"""Marks of the times, on mails that were made up."""

from pathlib import Path

import numpy as np
import pytest

from experiments.phishing import era


def mails(num: int) -> dict[str, np.ndarray]:
    """Recent phishing tells its year; ham and spam of 2002 do not differ."""
    kinds = [("new", 1, "since 2024"), ("sa_spam", 1, "in 2002"), ("sa_ham", 0, "in 2002")]
    chosen = [kinds[i % 3] for i in range(num)]
    return {
        "subject": np.array([f"Re: mail {i}" for i in range(num)]),
        "text": np.array([text for *_, text in chosen]),
        "label": np.array([label for _, label, _ in chosen]),
        "source": np.array([source for source, *_ in chosen]),
    }


def test_marks_tell_eras_apart_and_nothing_else():
    lines = era.table(mails(60), mails(30))
    cells = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in lines}
    assert cells["a year from 2010 on"][1:] == ["1.000", "0.500 |"]
    assert cells["all of them"][1:] == ["1.000", "0.500 |"]
    assert cells["all of them"][0] == "0.750"


@pytest.mark.data
def test_the_real_mails_show_their_era(data_dir: Path):
    files = [data_dir / era.FILE.format(split=split) for split in ("train", "validation")]
    whole = era.table(*map(era.read, files))[-1].split(" | ")
    assert float(whole[2]) > 0.9 > float(whole[3].strip(" |"))
