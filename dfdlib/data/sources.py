"""Several data sets as one: where each lies, a column `source`, and names that do not collide."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.data.duplicates import regroup
from dfdlib.data.fetch import fetch, is_address
from dfdlib.data.manifest import content_digests, root_of

DataDir = str | Path | Sequence[str | Path]
"""Where data is: a folder, a manifest or the address of a data set (see `fetch`), or several, as a list or as text
such as `a,b,c`."""


def data_dirs(data_dir: DataDir) -> list[Path]:
    """Return each folder or manifest that is named; what has an address is fetched first.

    A name with a comma that exists is one. Raises `DfdError` where none is named.
    """
    names = [data_dir] if isinstance(data_dir, (str, Path)) else data_dir
    parts = [[name] if os.path.lexists(name) else str(name).split(",") for name in names]
    found = [text for several in parts for part in several if (text := str(part).strip())]
    if not found:
        raise DfdError(f"data_dir is {data_dir!r}; pass a folder of images, a manifest, or several.")
    return [fetch(text) if is_address(text) else Path(text) for text in found]


def join(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the manifests of several data sets as one; a single one as it is.

    - `source` is the name of each one's folder (with as many folders above as tell them apart), unless it states its own.
    - `path`, `mask` and `group` start from the folder above all of them, so that no two are the same by chance. Files
      of the same bytes in two data sets share a group; near-duplicates do after `audit.audit_images`.
    - `sources` stay as they are where a data set names pairs (`000_003`, a fake and its original): such names mean the
      same in every data set that is made from it, and tie the two. Others are those of the data set alone.
    - Categories called by a number mean something else in each data set, and carry its name; of others the case does
      not matter.
    """
    if len(tables) == 1:
        return tables[0]
    roots = [root_of(table).absolute() for table in tables]
    home = os.path.commonpath(roots)
    own = [Path(os.path.relpath(root, home)).as_posix() for root in roots]
    names = Counter(root.name for root in roots)
    joined = pd.concat(
        [
            _placed(table, home, place, root.name if names[root.name] == 1 else place)
            for table, root, place in zip(tables, roots, own, strict=True)
        ],
        ignore_index=True,
    )
    joined = joined.assign(root=home).astype(object)
    word = joined["category"].str.lower()
    respelled = joined["category"].groupby(word).transform("nunique") > 1
    joined["category"] = joined["category"].mask(respelled, word)
    return regroup(joined, _copies(joined))


def source_names(manifest: pd.DataFrame) -> list[str]:
    """Return the names of the data sets of a manifest, sorted: its `source`s, or the folders of its images."""
    folders = manifest["root"].map(lambda root: Path(root).name)
    return sorted(set(manifest["source"].fillna(folders) if "source" in manifest else folders))


def _placed(table: pd.DataFrame, home: str, place: str, name: str) -> pd.DataFrame:
    """Return a manifest as part of a larger one: below `home` at `place`, called `name`."""
    table = table.assign(source=table["source"].fillna(name) if "source" in table else name)
    for column in table.columns.intersection(["path", "mask"]):
        table[column] = [
            Path(os.path.relpath(Path(root, path).absolute(), home)).as_posix()
            if isinstance(path, str)
            else None
            for root, path in zip(table["root"], table[column], strict=True)
        ]
    table["group"] = ("" if place == "." else f"{place}/") + table["group"]
    if "sources" in table and not table["sources"].str.contains("/", na=False).any():
        table["sources"] = f"{name}:" + table["sources"]
    number = table["category"].str.fullmatch(r"\d+").eq(True)
    table["category"] = table["category"].mask(number, f"{name} " + table["category"])
    return table


def _copies(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return pairs of files of the same bytes, `first` and `second`, of which there are some in two data sets."""
    digest = pd.Series(content_digests(manifest), manifest.index)
    several = manifest["source"].groupby(digest).transform("nunique").gt(1) & digest.ne(0)
    first = manifest["path"].groupby(digest).transform("first")
    return pd.DataFrame({"first": first, "second": manifest["path"]})[several & first.ne(manifest["path"])]
