"""A split as folders: `{train,val,test}/{real,fake}/…`, by hard link or copy; the source stays unchanged."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path, PurePosixPath

import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.core.files import atomic_folder
from dfdlib.data.manifest import files_of, write_manifest

_ODD = re.compile(r"[^\w.()+ -]+")


def materialise(manifest: pd.DataFrame, out_dir: str | Path, link: bool = True) -> pd.DataFrame:
    """Lay the images out as `<split>/<label>/[<category>/]<name>`, with a `manifest.csv` beside.

    Two images of one name get a number; characters that file systems trip over become `_`. The folder
    appears only when it is whole.

    Args:
        manifest: Images with a split; those without a label go to `<split>/unlabelled`.
        out_dir: A new folder, or an empty one.
        link: Hard links where the file system allows, which cost no space; else copies.

    Returns:
        The manifest of the new folder; groups and everything else are kept.

    Raises:
        DfdError: The folder holds something already, an image has no split, or a file cannot be copied.
    """
    out_dir = Path(out_dir)
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise DfdError(f"{out_dir} holds something already; name a new folder for the split.")
    if manifest["split"].isna().any():
        raise DfdError(
            f"{manifest.loc[manifest['split'].isna(), 'path'].iloc[0]} has no split; split the images first."
        )
    with atomic_folder(out_dir) as unfinished:
        result = manifest.assign(path=_new_paths(manifest), root=str(unfinished))
        for old, new in zip(files_of(manifest), result["path"], strict=True):
            target = unfinished / new
            target.parent.mkdir(parents=True, exist_ok=True)
            _place(old, target, link)
        write_manifest(result, unfinished / "manifest.csv")
    return result.assign(root=str(out_dir))


def _new_paths(manifest: pd.DataFrame) -> list[str]:
    taken: set[str] = set()
    paths = []
    for row in manifest.itertuples():
        name = PurePosixPath(row.path)
        folders = [row.split, row.label or "unlabelled", *([row.category] if row.category else [])]
        folder = "/".join(_ODD.sub("_", part).strip(". ") or "_" for part in folders)
        stem, number = _ODD.sub("_", name.stem).lstrip(".- ")[:120] or "image", 1
        path = f"{folder}/{stem}{name.suffix.lower()}"
        while path.lower() in taken:  # some file systems take `A.jpg` for `a.jpg`
            number += 1
            path = f"{folder}/{stem}_{number}{name.suffix.lower()}"
        taken.add(path.lower())
        paths.append(path)
    return paths


def _place(source: Path, target: Path, link: bool) -> None:
    if link:
        try:
            os.link(source.resolve(), target)
            return
        except OSError:
            pass  # another disk, or a file system without links
    shutil.copy2(source, target)
