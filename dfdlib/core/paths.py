"""Where things are: the project, its data, its reports and its caches, from any working directory."""

from __future__ import annotations

import os
from pathlib import Path


def project_root() -> Path:
    """Return the checkout that the working directory lies in, or the working directory itself.

    A checkout is recognised by its `notebooks/` beside its `dfdlib/`. Anywhere else (Colab, an empty
    folder with only the package installed) data and reports land below the working directory.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "dfdlib").is_dir():
            return folder
    return here


def data_root() -> Path:
    """Return the folder of data sets: `$DFD_DATA_DIR`, or `data/` in the project."""
    return Path(os.environ.get("DFD_DATA_DIR") or project_root() / "data")


def reports_root() -> Path:
    """Return the folder of results: `$DFD_REPORTS_DIR`, or `reports/` in the project."""
    return Path(os.environ.get("DFD_REPORTS_DIR") or project_root() / "reports")


def cache_root() -> Path:
    """Return the folder of rebuildable caches: `$DFD_CACHE_DIR`, or `.cache/` among the data."""
    return Path(os.environ.get("DFD_CACHE_DIR") or data_root() / ".cache")


def remedy(path: str | Path) -> str:
    """Return which variable moves a path that cannot be written, as a sentence after a space; or nothing."""
    owners = {"DFD_CACHE_DIR": cache_root(), "DFD_REPORTS_DIR": reports_root(), "DFD_DATA_DIR": data_root()}
    for name, root in owners.items():
        if Path(path).absolute().is_relative_to(root.absolute()):
            return f" Set {name} to a folder with room that can be written."
    return ""
