"""Run notebooks with their defaults and store the outputs in them, without traces of this machine.

`make refresh` calls it for all; names as arguments choose some. Results go to a temporary folder, as in
the tests.
"""

from __future__ import annotations

import base64
import io
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
METADATA = ("kernelspec", "language_info")


def is_bar(out: nbformat.NotebookNode) -> bool:
    """Say whether an output is a progress bar."""
    return "application/vnd.jupyter.widget-view+json" in out.get("data", {})


def lighter(out: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Store a picture at most 1,200 pixels wide: a chart as PNG, a figure of photographs as JPEG."""
    png = out.get("data", {}).get("image/png")
    if png and len(png) > 40_000:
        picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
        picture.thumbnail((1200, 2400))
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", optimize=True)
        kind = "image/png"
        if buffer.tell() > 150_000:
            kind, buffer = "image/jpeg", io.BytesIO()
            picture.save(buffer, "JPEG", quality=90, subsampling=0, optimize=True)
        del out["data"]["image/png"]
        out["data"][kind] = base64.b64encode(buffer.getvalue()).decode()
    return out


def refresh(path: Path) -> None:
    """Execute one notebook in its folder, as JupyterLab does, and write it back."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="dfd-") as reports:
        os.environ["DFD_REPORTS_DIR"] = reports
        NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(path.parent)}}).execute()
        text = nbformat.writes(notebook).replace(reports, "reports")
    # Bounded, since the text of a picture is full of slashes: each would be followed to its end.
    notebook = nbformat.reads(re.sub(r"/[^\s\"']{1,200}/site-packages/", "", text), as_version=4)
    notebook.metadata = {name: notebook.metadata[name] for name in METADATA}
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":  # progress bars are noise in a stored notebook
            cell.outputs = [
                lighter(out) for out in cell.outputs if out.get("name") != "stderr" and not is_bar(out)
            ]
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for notebook_path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if sys.argv[1:] and notebook_path.stem not in sys.argv[1:]:
            continue
        print(f"running {notebook_path.name}", flush=True)
        refresh(notebook_path)
