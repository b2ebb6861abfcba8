"""Manifests of folders: images and videos found, and what their folders say of them."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.data.groups import sources_of, tie
from dfdlib.data.layouts import LABEL_WORDS, SILENT_WORDS, SPLIT_WORDS, Folder, Place, read_places
from dfdlib.data.manifest import COLUMNS, LABELS, leaves_root, prepare, read_manifest
from dfdlib.data.shards import find_shards, read_shards
from dfdlib.data.sidecars import SIDECARS, Sidecars
from dfdlib.data.sources import DataDir, data_dirs, join
from dfdlib.images.decode import IMAGE_SUFFIXES
from dfdlib.images.video import VIDEO_SUFFIXES, natural_order

# Files and folders of the operating system, with thumbnails, deleted files or no permission.
_SYSTEM_NAMES = frozenset(["__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir", "lost+found", "$RECYCLE.BIN"])

_TOLD = ("linked folder", "link out of the folder", "folder of masks", "video")
"""What is skipped with a warning; videos where there are labels, as to judge they are read by themselves."""


def scan_videos(root: str | Path, labels: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Make a manifest of a folder of videos, one row per video.

    A folder of numbered frames counts as one video, its images in natural order as the frames, unless its name
    is a category or a generator (see `layouts.read_places`). Other images are left out, with a warning.

    Args:
        root: The folder.
        labels: See `scan_images`.

    Returns:
        The manifest, see `scan.scan_images`; `path` is a file or a folder.

    Raises:
        DfdError: No such folder, or no video in it.
    """
    root = Path(root)
    tree, places, sidecars = _read(root, _checked_labels(labels or {}))
    rows = _video_rows(tree, places)
    if not rows:
        raise DfdError(
            f"{root} holds no video ({', '.join(sorted(VIDEO_SUFFIXES))}) and no folder of frames."
        )
    single = sum(len(names) for folder, names in tree.images.items() if not places[folder].is_video)
    if single:
        warnings.warn(f"{single} images in {root} are no frames of a video, and are left out.", stacklevel=2)
    return _table(root, rows, places, sidecars)


def video_files(root: str | Path) -> list[Path]:
    """Return the video files below a folder, in natural order; hidden ones are left out."""
    videos = _walk(Path(root), {}).videos
    return sorted(
        (Path(root, *folder, name) for folder, names in videos.items() for name in names), key=natural_order
    )


def has_videos(root: str | Path) -> bool:
    """Say whether a folder holds videos or folders of frames."""
    return Path(root).is_dir() and bool(_video_rows(*_read(Path(root), {})[:2]))


def scan_images(
    root: str | Path,
    labels: Mapping[str, str] | None = None,
    require_labels: bool = True,
    require_both: bool = True,
) -> pd.DataFrame:
    """Make a manifest of a folder, whatever its layout (see `layouts.read_places`).

    Tables and lists of a data set's authors are read where they lie beside the images (see `sidecars`). Hidden
    files and other files than images are skipped, see `count_skipped`; so are, with a warning, videos and links
    that lead out of the folder. A link to a folder is followed where its name is a label or a split. A folder of Parquet
    files or tars and no image is unpacked, see `shards`.

    Args:
        root: The folder.
        labels: Names of folders that mean `real` or `fake` beyond those that are known, e.g.
            `{"0_fake_old": "fake"}`.
        require_labels: Whether labels must be told; False for images to predict or to forge.
        require_both: Whether both labels must be there then.

    Returns:
        The manifest, sorted by path. Columns: `path` below the root, `label` (`real`, `fake` or missing),
        `category`, `split` (`train`, `val`, `test` or missing), `group` (never missing), `generator`, `root`; where
        names tell what images were made of, `sources` too, separated by `/`.

    Raises:
        DfdError: No such folder or one that cannot be listed, no image, labels that can't be told, or a
            class that is missing or empty, in all or in the train or val split.
    """
    root = Path(root)
    labels = _checked_labels(labels or {})
    if shards := find_shards(root):
        manifest, said = read_shards(root, shards, labels)
        told = manifest["label"].dropna().unique()
        if require_labels and require_both and len(told) == 1:
            raise DfdError(f"{root} holds {told[0]} images alone; pass a data set of others too, as in a,b.")
        return _require_labels(manifest, root, said, labels, both=False) if require_labels else manifest
    tree, places, sidecars = _read(root, labels)
    left_out = " and ".join(
        f"{n} × {reason}" for reason in _TOLD[: 4 if require_labels else 3] if (n := tree.skipped[reason])
    )
    if not any(tree.images.values()):
        also = f" (left out: {left_out})" if left_out else ""
        raise DfdError(f"{root} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}){also}; check the path.")
    if left_out:
        warnings.warn(f"left out of {root}: {left_out}.", stacklevel=2)
    rows = [(_join(folder, name), folder, False) for folder, names in tree.images.items() for name in names]
    manifest = _table(root, rows, places, sidecars)
    if require_labels:
        manifest = _require_labels(manifest, root, tree.folders, labels, require_both)
    return manifest


def count_skipped(root: str | Path) -> dict[str, int]:
    """Return how many entries of a folder `scan_images` skips, by reason; none where nothing is skipped."""
    return dict(+_walk(Path(root), {}).skipped)


def open_data(
    data_dir: DataDir,
    seed: int = 0,
    max_images: int = 0,
    labels: Mapping[str, str] | None = None,
    videos: bool = False,
) -> pd.DataFrame:
    """Return the manifest of a data set, or of several together, with all splits, checked.

    Args:
        data_dir: A folder of images, a folder with a `manifest.csv`, or a manifest file; for several, see
            `sources.join`, a list or `a,b,c`.
        seed: Draws the splits that the data set does not state, and the sample.
        max_images: Use at most so many images, see `subsample`; 0 for all.
        labels: See `scan_images`.
        videos: Where the folder holds videos or folders of frames, one row for each of them.

    Raises:
        DfdError: A train or val split without one of the labels; see also `scan`, `read_manifest` and
            `splits.complete_splits`.
    """
    return prepare(open_raw(data_dir, labels, videos=videos), seed, max_images)


def open_raw(
    data_dir: DataDir,
    labels: Mapping[str, str] | None = None,
    require_labels: bool = True,
    videos: bool = False,
) -> pd.DataFrame:
    """Return the manifest of folders or files as they stand, with the splits that they state or none."""

    def read(place: Path) -> pd.DataFrame:
        file = place if place.suffix == ".csv" else place / "manifest.csv"
        if file.is_file():
            return read_manifest(file)
        if videos and has_videos(place):
            return scan_videos(place, labels)
        return scan_images(place, labels, require_labels, len(places) == 1)

    places = data_dirs(data_dir)
    return join([read(place) for place in places])


def _checked_labels(labels: Mapping[str, str]) -> dict[str, str]:
    for folder, label in labels.items():
        if label not in LABELS:
            raise DfdError(f"labels maps {folder!r} to {label!r}; it must be 'real' or 'fake'.")
    return {folder.lower(): label for folder, label in labels.items()}


@dataclass
class _Tree:
    """What lies below a folder: the images and the videos of each folder that has any."""

    root: Path
    images: dict[Folder, list[str]] = field(default_factory=dict)
    videos: dict[Folder, list[str]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    sidecars: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def _walk(root: Path, labels: Mapping[str, str]) -> _Tree:
    """List the files below the root; links to folders are followed where their names are labels or splits."""
    tree, words = _Tree(root), {*LABEL_WORDS, *SPLIT_WORDS, *labels}
    starts, homes = [str(root)], [os.path.realpath(root)]
    while starts:
        for folder, names, entries in os.walk(starts.pop(), onerror=_refuse_folder):
            tree.skipped["hidden"] += sum(_is_hidden(name) for name in names)
            names[:] = sorted(name for name in names if not _is_hidden(name))
            if "masks" in names and SILENT_WORDS.intersection(
                names
            ):  # FaceForensics++ keeps them beside the videos
                names.remove("masks")
                tree.skipped["folder of masks"] += 1
            for link in [name for name in names if Path(folder, name).is_symlink()]:
                target = os.path.realpath(f"{folder}/{link}")
                if link.lower() in words and not any(
                    _holds(target, at) or _holds(at, target) for at in homes
                ):
                    homes.append(target)
                    starts.append(f"{folder}/{link}")
                else:
                    tree.skipped["linked folder"] += 1
            _list_files(tree, folder, entries, homes)
    return tree


def _list_files(tree: _Tree, folder: str, entries: list[str], homes: list[str]) -> None:
    """Add the files of one folder to the tree."""
    below = os.path.relpath(folder, tree.root).replace(os.sep, "/")
    parts = () if below == "." else tuple(below.split("/"))
    tree.folders.append(below)
    images, videos = [], []
    for entry in entries:
        suffix, path = os.path.splitext(entry)[1].lower(), f"{folder}/{entry}"  # noqa: PTH122 - 100,000 files
        if _is_hidden(entry):
            tree.skipped["hidden"] += 1
        elif entry in SIDECARS:
            tree.sidecars.append(_join(parts, entry))
        elif suffix not in IMAGE_SUFFIXES and suffix not in VIDEO_SUFFIXES:
            tree.skipped["not an image"] += 1
        elif os.path.islink(path) and not any(_holds(at, os.path.realpath(path)) for at in homes):  # noqa: PTH114
            tree.skipped["link out of the folder"] += 1
        elif leaves_root(_join(parts, entry)):
            tree.skipped["name that leaves the folder on Windows"] += 1
        else:
            (images if suffix in IMAGE_SUFFIXES else videos).append(entry)
    tree.skipped["video"] += len(videos)
    if images or videos:
        tree.images[parts], tree.videos[parts] = images, videos


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _join(folder: Folder, name: str) -> str:
    return "/".join((*folder, name))


def _refuse_folder(error: OSError) -> None:
    raise DfdError(
        f"{error.filename} cannot be listed ({error.strerror}); allow reading it, or move it out of the data."
    )


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _SYSTEM_NAMES


_Row = tuple[str, Folder, bool]
"""A path, the folder that says what it is, and whether it is a video file, whose name can tell sources."""


def _read(root: Path, labels: Mapping[str, str]) -> tuple[_Tree, dict[Folder, Place], Sidecars]:
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise DfdError(f"the data folder {root} {found}; pass the folder that holds the images.")
    tree = _walk(root, labels)
    sidecars = Sidecars(root, tree.sidecars)
    return tree, read_places(tree.images, labels, sidecars.names), sidecars


def _video_rows(tree: _Tree, places: Mapping[Folder, Place]) -> list[_Row]:
    files = [(_join(folder, name), folder, True) for folder, names in tree.videos.items() for name in names]
    return files + [("/".join(folder), folder, False) for folder, place in places.items() if place.is_video]


def _table(root: Path, rows: list[_Row], places: Mapping[Folder, Place], sidecars: Sidecars) -> pd.DataFrame:
    """Make a manifest; what official tables and lists say comes after what folders say."""
    columns: dict[str, list[Any]] = {name: [] for name in (*COLUMNS, "sources", "root")}
    named, listed = [], []
    for path, folder, is_file in sorted(rows):
        place, said = places[folder], sidecars.of(path)
        own = _sources_of_file(place, path) if is_file else place.sources
        named.append(tuple(dict.fromkeys((*own, *said.sources))))
        listed.append(place.split or said.split)
        columns["path"].append(path)
        columns["label"].append(place.label or said.label)
        columns["category"].append(said.category if said.label and not place.label else place.category)
        columns["split"].append(place.split)
        columns["generator"].append(place.generator or said.generator)
    columns["group"] = columns["path"]
    columns["sources"] = ["/".join(names) or None for names in named]
    columns["root"] = [str(root)] * len(rows)
    if any(named):
        columns["group"] = tie([names or (path,) for names, path in zip(named, columns["path"], strict=True)])
    else:
        del columns["sources"]
    manifest = pd.DataFrame(columns, dtype=object)
    official = manifest["split"].isna() & pd.notna(listed)
    lacking = manifest["label"].notna() & pd.isna(listed)
    if official.any() and lacking.any():
        warnings.warn(
            f"the official lists of splits in {root} name {official.sum()} of {len(manifest)} images, and are left out; "
            f"e.g. {manifest.loc[lacking, 'path'].iloc[0]} is in none.",
            stacklevel=3,
        )
    elif official.any():
        manifest["split"] = pd.Series(listed, dtype=object)
    return manifest


def _sources_of_file(place: Place, path: str) -> tuple[str, ...]:
    """Return the sources of a video file: what its folder and its name tell."""
    stem = PurePosixPath(path).stem
    named = sources_of(stem)
    own = place.sources + (named if len(named) > 1 or not place.sources else ())
    return own or (() if stem.isdigit() else (stem,))


def _require_labels(
    manifest: pd.DataFrame, root: Path, folders: list[str], labels: Mapping[str, str], both: bool
) -> pd.DataFrame:
    """Check that labels can be told, and `both` are there; leave out stray images without one, with a warning."""
    trained = manifest["split"] != "test"
    if not manifest["label"].notna().any():
        raise DfdError(
            f"{root} does not tell real from fake (found: {_shown(folders, '')}). Name the folders 'real' and 'fake', "
            'or pass labels={"<folder>": "real", "<folder>": "fake"}.'
        )
    parts = [rows for _, rows in manifest[trained].groupby("split", dropna=False)] or [manifest]
    for rows in parts:
        present = set(rows["label"].dropna())
        if both and len(present) == 1:
            _refuse_missing_class(rows, manifest, folders, labels)
    stray = trained & manifest["label"].isna()
    if stray.any():
        example = manifest.loc[stray, "path"].iloc[0]
        warnings.warn(
            f"{stray.sum()} images in {root} stand in no real or fake folder and are left out, e.g. {example}; "
            "pass labels={...} to use them.",
            stacklevel=3,
        )
        manifest = manifest[~stray].reset_index(drop=True)
    return manifest


def _refuse_missing_class(
    rows: pd.DataFrame, manifest: pd.DataFrame, folders: list[str], labels: Mapping[str, str]
) -> None:
    """Raise the error for the images of one split, stated by folders, that have one label alone."""
    root, words, paths = Path(rows["root"].iloc[0]), {**LABEL_WORDS, **labels}, rows["path"]
    present = rows["label"].dropna().iloc[0]
    missing = LABELS[present == "real"]
    shared: list[str] = []
    for part in PurePosixPath(os.path.commonpath([str(PurePosixPath(path).parent) for path in paths])).parts:
        if part.lower() in words:
            break
        shared.append(part)
    where = "/".join(shared)
    start = f"{where}/" if where else ""
    if manifest.loc[manifest["label"] == missing, "path"].str.startswith(start).any():
        return  # the split is that of a list; whether it will do is seen when all splits are made
    inside = [folder for folder in folders if folder.startswith(start)]
    empty = [folder for folder in inside if words.get(folder.rsplit("/", 1)[-1].lower()) == missing]
    if empty:
        raise DfdError(
            f"{root / empty[0]} is a '{missing}' folder without any image in it; put images there."
        )
    parts = [folder.rpartition("/")[::2] for folder in inside]
    beside = {above for above, name in parts if words.get(name.lower()) == present}
    unknown = {
        name for above, name in parts if above in beside and name.lower() not in {**words, **SPLIT_WORDS}
    }
    passed = ", ".join(f'"{name}": "{missing}"' for name in sorted(unknown) or ["<folder>"])
    raise DfdError(
        f"{root / where} has a '{present}' folder but no '{missing}' one (found: {_shown(folders, where)}). "
        f"Rename it, or pass labels={{{passed}}}."
    )


def _names(folders: list[str], where: str) -> list[str]:
    """Return the names of the folders below `where`, sorted."""
    start = f"{where}/" if where else ""
    return sorted({folder.rsplit("/", 1)[-1] for folder in folders if folder.startswith(start)} - {"."})


def _shown(folders: list[str], where: str) -> str:
    found = _names(folders, where)
    return ", ".join(found[:12]) + (", …" if len(found) > 12 else "") or "no folder"
