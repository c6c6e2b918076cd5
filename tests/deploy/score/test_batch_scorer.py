"""The class that scores batches of a table, alone and in a real Ray that loses a worker."""

import os
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.deploy.score.batch import BatchScorer

TEXTS = ["good film", "not very good", "bad", "dull"]


def test_answers_stand_beside_the_columns(sst2: Path):
    table = pa.table({"review": [*TEXTS[:2], None, "a " * 60], "id": [1, 2, 3, 4]})
    scorer = BatchScorer(sst2, text="review", prefix="eat_", exit={"budget": None})
    scored = scorer(table)
    assert scored.column_names[:4] == ["review", "id", "eat_label", "eat_confidence"]
    assert scored["id"].to_pylist() == [1, 2, 3, 4]
    answers = TorchModel.open(sst2).answer([[text] for text in TEXTS[:2]])
    wanted = [answer["confidence"] for answer in answers]
    assert scored["eat_confidence"].to_pylist() == [*map(pytest.approx, wanted), None, None]
    errors = scored["eat_error"].to_pylist()
    assert errors[:3] == [None, None, "no text, or none that is UTF-8"]
    assert errors[3].startswith("a text must have at most 40 tokens, got 62")
    assert scorer(table.slice(0, 0)).schema == scored.schema


def test_what_is_wrong_is_one_line(sst2: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"^run=.*nowhere.*$"):
        BatchScorer(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"^tokens must be 16 or more"):
        BatchScorer(sst2, tokens=1)
    scorer = BatchScorer(sst2)
    with pytest.raises(ValueError, match=r"^no column sentence, or text \(it has words\)"):
        scorer(pa.table({"words": ["good"]}))
    with pytest.raises(ValueError, match=r"^the table has columns of its own named label"):
        scorer(pa.table({"text": ["good"], "label": [1]}))


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
def test_ray_loses_no_row_with_a_killed_worker(sst2: Path, tmp_path: Path):
    ray: Any = pytest.importorskip("ray", reason="needs ray[data], from the extra `ray`")
    mark, out = tmp_path / "mark", tmp_path / "out"

    class DiesOnce(BatchScorer):  # here, so that it is pickled as it is, not as a name
        """A worker that is killed at its second batch, unless one was before."""

        batches = 0

        def __call__(self, table: pa.Table) -> pa.Table:
            self.batches += 1
            if self.batches == 2 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(table)

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        table = pa.table({"id": list(range(400)), "text": TEXTS * 100})
        scored = (
            ray.data.from_arrow(table)
            .repartition(8)
            .map_batches(
                DiesOnce,
                fn_constructor_args=[str(sst2)],
                batch_format="pyarrow",
                batch_size=10,
                compute=ray.data.ActorPoolStrategy(size=1),
            )
        )
        scored.write_parquet(str(out))
    finally:
        ray.shutdown()
    assert mark.exists()
    rows = ds.dataset(out).to_table().to_pylist()
    assert sorted(row["id"] for row in rows) == list(range(400))
    assert {row["error"] for row in rows} == {None}
