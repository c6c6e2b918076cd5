"""Lines are cut into shards by bytes: each line in one of them, whatever the size."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eat_lightning.deploy.score.inputs import Input, cut
from eat_lightning.deploy.score.rows import lines

CONTENTS = [b"", b"\n", b"one", b"a\nbb\n\nccc\r\ndddd", b"x" * 30 + b"\ny\n" + b"z" * 30 + b"\n"]


@pytest.mark.parametrize("content", CONTENTS)
def test_every_line_is_in_one_shard(content: bytes, tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(content)
    given = Input(tmp_path / "a.txt", "a.txt", "text")
    wanted = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    wanted = wanted if wanted[-1] else wanted[:-1]
    for size in range(1, len(content) + 2):
        found = []
        for shard in cut([given], size):
            with given.path.open("rb") as file:
                found += lines(file, shard.start, shard.end, most=1000)
        assert [line for _, line, _ in found] == wanted
        assert all(content[place:].startswith(line) for place, line, _ in found)
        assert not any(was_cut for *_, was_cut in found)


def test_a_long_line_is_cut_and_the_next_one_is_whole(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"12345\n123456\n1234567890123\nlast")
    for start, wanted in [(0, [(b"12345", False), (b"123456", True)]), (7, [])]:
        with (tmp_path / "a.txt").open("rb") as file:
            found = [(line, was_cut) for _, line, was_cut in lines(file, start, 13, most=5)]
        assert found == wanted
    with (tmp_path / "a.txt").open("rb") as file:
        found = [*lines(file, 7, 100, most=5)]
    assert found == [(13, b"123456", True), (27, b"last", False)]


def test_row_groups_go_together_until_they_make_a_shard(tmp_path: Path):
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"{i:04d}" for i in range(100)]})
    pq.write_table(table, path, row_group_size=10, compression="none", use_dictionary=False)
    given, one = Input(path, "a.parquet", "parquet"), 0
    for size, count in [(1, 10), (1 << 20, 1)]:
        shards = cut([given], size)
        assert len(shards) == count
        assert shards[0].start == 0
        assert [s.start for s in shards[1:]] == [s.end for s in shards[:-1]]
        assert shards[-1].end == 10
        assert [s.first_row for s in shards] == [10 * s.start for s in shards]
        one = one or shards[0].weight
    assert [s.end - s.start for s in cut([given], 3.5 * one)] == [3, 3, 3, 1]
