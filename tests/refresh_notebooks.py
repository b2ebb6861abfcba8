"""Run every notebook with its defaults and store the outputs in it, without traces of this machine.

`make refresh` calls it; results go to a temporary folder, as in the tests.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
METADATA = ("kernelspec", "language_info")


def refresh(path: Path) -> None:
    """Execute one notebook in its folder, as JupyterLab does, and write it back."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="dfd-") as reports:
        os.environ["DFD_REPORTS_DIR"] = reports
        NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(path.parent)}}).execute()
        text = nbformat.writes(notebook).replace(reports, "reports")
    notebook = nbformat.reads(re.sub(r"/[^\s\"']*/site-packages/", "", text), as_version=4)
    notebook.metadata = {name: notebook.metadata[name] for name in METADATA}
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":  # progress bars are noise in a stored notebook
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
            for out in cell.outputs:
                if "application/vnd.jupyter.widget-view+json" in out.get("data", {}):
                    out["data"].pop("application/vnd.jupyter.widget-view+json")
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for notebook_path in sorted(NOTEBOOKS.glob("*.ipynb")):
        print(f"running {notebook_path.name}", flush=True)
        refresh(notebook_path)
