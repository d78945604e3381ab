"""examples/inspect.ipynb: stored as it was executed, and it still runs, with few steps."""
import json
import os
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parent.parent / "examples" / "inspect.ipynb"


def outputs(cells):
    return [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]


def test_it_is_stored_with_what_it_showed():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    numbers = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
    assert numbers == list(range(1, len(numbers) + 1))  # from the top to the end, once
    found = outputs(cells)
    assert sum("image/png" in output.get("data", {}) for output in found) == 3
    assert not [output for output in found if output["output_type"] == "error"]
    assert NOTEBOOK.stat().st_size < 400_000


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    few = [cell for cell in notebook.cells if "STEPS = 100" in cell.source]
    assert len(few) == 1
    few[0].source = few[0].source.replace("STEPS = 100", "STEPS = 2")
    nbclient.NotebookClient(notebook, timeout=1200, kernel_name="python3",
                            resources={"metadata": {"path": os.path.dirname(NOTEBOOK)}}).execute()  # raises on an error
    trained = [output for output in outputs(notebook.cells) if output.get("data", {}).get("text/plain") == "0"]
    assert len(trained) == 1  # the exit status of `grdnet train`
    assert sum("image/png" in output.get("data", {}) for output in outputs(notebook.cells)) == 3
