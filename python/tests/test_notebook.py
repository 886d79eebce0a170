"""The notebook runs from top to bottom: its own assertions hold, and it is kept with its outputs."""

import os
import pathlib

import nbformat
from nbclient import NotebookClient

NOTEBOOK = pathlib.Path(__file__).resolve().parents[2] / "docs" / "demo.ipynb"


def test_the_notebook_runs_and_says_what_it_said(binary, tmp_path, monkeypatch):
    monkeypatch.setenv("CAIRN_BIN", str(binary))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1] / "python" / "src"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    kept = [exit_codes(cell) for cell in notebook.cells]
    assert any(kept), "the notebook is kept without outputs"
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    assert [exit_codes(cell) for cell in notebook.cells] == kept


def exit_codes(cell):
    """The lines of a cell's output that say how `cairn` ended."""
    texts = (output.get("text", "") for output in cell.get("outputs", []))
    return [line for text in texts for line in text.splitlines() if line.startswith("[exit code")]
