"""Official tables and lists that lie beside the images: labels, categories, sources and splits."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.data.groups import sources_of

_CELEB_DF = "List_of_testing_videos.txt"
SIDECARS = frozenset(
    ["metadata.json", "metadata.csv", _CELEB_DF]
    + [f"{split}.{kind}" for split in ("train", "val", "test") for kind in ("json", "txt")]
)
"""Names of the files; their content tells whether they are official ones."""
_FRAME_NUMBER = re.compile(r"[ _-]+(frame)?_?\d+$")
_REST = ""
"""Stands for all that a list does not name."""


class Said(NamedTuple):
    """What is said of one image or video; None where nothing is."""

    label: str | None = None
    category: str | None = None
    generator: str | None = None
    sources: tuple[str, ...] = ()
    split: str | None = None


class Sidecars:
    """The tables and lists of a data set; each says something of what lies below its folder."""

    def __init__(self, root: Path, files: Iterable[str]) -> None:
        """Read files that are called as in `SIDECARS`; those of other content say nothing.

        Raises:
            DfdError: A file that cannot be read.
        """
        self._said: dict[str, dict[str, Said]] = defaultdict(dict)
        for file in map(PurePosixPath, files):
            base = file.parent
            for name in ("splits", "lists"):
                base = base.parent if base.name == name else base
            try:
                said = _read(root / file)
            except (OSError, ValueError) as error:
                raise DfdError(
                    f"{root / file} cannot be read ({error}); mend it, or move it out of the data."
                ) from error
            if said:
                self._said[str(base)] |= said
        self.videos = {name for said in self._said.values() for name in said}
        """The names that are known."""

    def of(self, path: str) -> Said:
        """Return what is said of an image, a video file or a folder of frames, by its path below the root."""
        if not self._said:
            return Said()
        pure = PurePosixPath(path)
        for base in pure.parents:
            said = self._said.get(str(base), {})
            for name in (
                str(pure.relative_to(base)),
                pure.stem,
                pure.parent.name,
                _FRAME_NUMBER.sub("", pure.stem),
            ):
                if name in said:
                    return said[name]
            if _REST in said:
                return said[_REST]
        return Said()


def _read(file: Path) -> dict[str, Said]:
    if file.name == "metadata.csv":
        return _artifact(pd.read_csv(file, dtype=str), file.parent.name)
    text = file.read_text(encoding="utf-8")
    if file.name == _CELEB_DF:
        names = [PurePosixPath(line.split()[-1]).stem for line in text.splitlines() if line.strip()]
        return {**dict.fromkeys(names, Said(split="test")), _REST: Said(split="train")}
    if file.name == "metadata.json":
        return _dfdc(json.loads(text))
    if file.suffix == ".json":
        return _pairs(json.loads(text), Said(split=file.stem))
    if file.parent.name != "splits":
        return {}
    names = [PurePosixPath(line).stem for line in text.split()]
    targets = [target for name in names for target in sources_of(name)[:1]]
    return dict.fromkeys([*names, *targets], Said(split=file.stem))


def _artifact(table: pd.DataFrame, folder: str) -> dict[str, Said]:
    """ArtiFact (arXiv:2302.11970): a table in the folder of each generator or source of real images."""
    if not {"image_path", "target"} <= set(table):
        return {}
    category = table["category"] if "category" in table else pd.Series(None, table.index, object)
    known: dict[tuple[bool, str | None], Said] = {}
    said = {}
    for path, target, name in zip(table["image_path"], table["target"], category, strict=True):
        key = (str(target) != "0", name if isinstance(name, str) else None)
        if key not in known:
            known[key] = Said("fake" if key[0] else "real", key[1], folder if key[0] else None)
        said[str(path).removeprefix(f"{folder}/")] = known[key]
    return said


def _dfdc(table: Any) -> dict[str, Said]:
    """DFDC (arXiv:2006.07397): of each video its label and, where it is fake, its original."""
    if not isinstance(table, dict) or not all(
        isinstance(row, dict) and "label" in row for row in table.values()
    ):
        return {}
    said = {}
    for name, row in table.items():
        stem, original = PurePosixPath(name).stem, row.get("original")
        sources = (stem, PurePosixPath(original).stem) if original else (stem,)
        said[stem] = Said(label=str(row["label"]).lower(), sources=sources)
    return said


def _pairs(pairs: Any, split: Said) -> dict[str, Said]:
    """FaceForensics++ (arXiv:1901.08971): pairs of videos that were made into each other."""
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        return {}
    names = [name for one, two in pairs for name in (one, two, f"{one}_{two}", f"{two}_{one}")]
    return dict.fromkeys(names, split)
