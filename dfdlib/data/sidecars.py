"""Official tables and lists that lie beside the images: labels, categories, sources and splits."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.data.groups import sources_of
from dfdlib.data.layouts import Place

_CELEB_DF = "List_of_testing_videos.txt"
_SPLITS = [f"{split}.{kind}" for split in ("train", "val", "test") for kind in ("json", "txt")]
SIDECARS = frozenset(["metadata.json", "metadata.csv", _CELEB_DF, *_SPLITS])
"""Names of the files; their content tells whether they are official ones."""
_REST = ""
"""Stands for all that a list does not name."""
_NOTHING = Place()


class Sidecars:
    """The tables and lists of a data set; each says something of what lies below its folder."""

    def __init__(self, root: Path, files: Iterable[str]) -> None:
        """Read files called as in `SIDECARS`; those of other content say nothing. Raises `DfdError` for a broken one."""
        self._said: dict[str, dict[str, Place]] = defaultdict(dict)
        for file in map(PurePosixPath, files):
            depth = 2 if file.parts[-3:-1] == ("lists", "splits") else int(file.parent.name == "splits")
            try:
                self._said[str(file.parents[depth])] |= _read(root / file)
            except (OSError, ValueError) as error:
                raise DfdError(
                    f"{root / file} cannot be read ({error}); mend it, or move it out of the data."
                ) from error
        self.names = {name for said in self._said.values() for name in said}
        """Of the images and videos that they know."""

    def of(self, path: str) -> Place:
        """Return what is said of an image, a video file or a folder of frames, by its path below the root."""
        if not self.names:
            return _NOTHING
        pure = PurePosixPath(path)
        for base in pure.parents:
            said = self._said.get(str(base), {})
            for name in (str(pure.relative_to(base)), pure.stem, pure.parent.name, _REST):
                if name in said:
                    return said[name]
        return _NOTHING


def _read(file: Path) -> dict[str, Place]:
    if file.name == "metadata.csv":
        return _artifact(pd.read_csv(file, dtype=str), file.parent.name)
    text, split = file.read_text(encoding="utf-8"), Place(split=file.stem)
    if file.name == "metadata.json":
        return _dfdc(json.loads(text))
    if file.name == _CELEB_DF:  # a label and a path on each line; the other videos are for training
        names = [PurePosixPath(path).stem for path in text.split()[1::2]]
        return {**dict.fromkeys(names, Place(split="test")), _REST: Place(split="train")}
    if file.suffix == ".json":  # FaceForensics++: pairs of videos that were made into each other
        pairs = json.loads(text)
        if not isinstance(pairs, list) or not all(
            isinstance(pair, list) and len(pair) == 2 for pair in pairs
        ):
            return {}
        return {name: split for a, b in pairs for name in (a, b, f"{a}_{b}", f"{b}_{a}")}
    names = [PurePosixPath(name).stem for name in text.split()] if file.parent.name == "splits" else []
    return dict.fromkeys([*names, *(target for name in names for target in sources_of(name)[:1])], split)


def _artifact(table: pd.DataFrame, folder: str) -> dict[str, Place]:
    """ArtiFact (arXiv:2302.11970): a table in the folder of each generator, and of each source of real images."""
    if not {"image_path", "target", "category"} <= set(table):
        return {}
    table["image_path"] = table["image_path"].str.removeprefix(f"{folder}/")
    table["category"] = table["category"].str.lower()
    said = {}
    for (target, category), rows in table.fillna({"category": ""}).groupby(["target", "category"]):
        real = Place(label="real", category=category or None)
        fake = Place(label="fake", category=category or None, generator=folder)
        said |= dict.fromkeys(rows["image_path"], real if target == "0" else fake)
    return said


def _dfdc(table: Any) -> dict[str, Place]:
    """DFDC (arXiv:2006.07397): of each video its label and, where it is fake, its original."""
    if not isinstance(table, dict) or not all(
        isinstance(row, dict) and "label" in row for row in table.values()
    ):
        return {}
    said = {}
    for name, row in table.items():
        sources = [PurePosixPath(video).stem for video in (name, row.get("original")) if video]
        said[sources[0]] = Place(label=str(row["label"]).lower(), sources=tuple(sources))
    return said
