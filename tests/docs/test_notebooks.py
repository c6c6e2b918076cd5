"""The notebooks run from an empty folder, and are kept without what they print."""

import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
LAST = {"engineer": "depth", "researcher": "my_idea"}  # a word of the last output


def test_notebooks_are_kept_without_outputs():
    cells = [cell for path in NOTEBOOKS for cell in json.loads(path.read_text("utf-8"))["cells"]]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 2
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.nightly
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient, from the extra `dev`")
    pytest.importorskip("ipykernel", reason="needs ipykernel, from the extra `dev`")
    import nbformat

    scripts = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", os.pathsep.join([scripts, os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=900, resources=where).execute()
    last = json.dumps([cell.outputs for cell in book.cells if cell.cell_type == "code"][-1])
    assert LAST[path.stem] in last
