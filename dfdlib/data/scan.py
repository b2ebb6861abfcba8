"""Manifests of folders: images and videos found, and what their folders say of them."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dfdlib.core.errors import DfdError
from dfdlib.data.layouts import LABEL_WORDS, SPLIT_WORDS, Place, read_places
from dfdlib.data.manifest import LABELS, leaves_root, prepare, read_manifest
from dfdlib.images.decode import IMAGE_SUFFIXES
from dfdlib.images.video import VIDEO_SUFFIXES, is_image_name, natural_order

_IDS = re.compile(r"(\d+)(?:_(\d+))?(?:__.*)?")


def scan_videos(root: str | Path) -> pd.DataFrame:
    """Make a manifest of a folder of videos, one row per video.

    A folder that holds nothing but images counts as one video, its images in natural order as the frames.
    What the folders mean is read as for images (`layouts.read_places`). In FaceForensics++'s tree a
    manipulated video, such as `000_003.mp4`, is in one group with its sources `000` and `003`.

    Returns:
        The manifest, see `scan.scan_images`; `path` is a file or a folder.

    Raises:
        DfdError: No such folder, or no video in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise DfdError(f"the data folder {root} does not exist; pass the folder that holds the videos.")
    paths = _find(root)
    if not paths:
        raise DfdError(
            f"{root} holds no video ({', '.join(sorted(VIDEO_SUFFIXES))}) and no folder of frames."
        )
    places = read_places([PurePosixPath(path).parts[:-1] for path in paths], {})
    manifest = _table(root, paths, places)
    if any("manipulated_sequences" in PurePosixPath(path).parts for path in paths):
        manifest["group"] = _sources(paths)
    return manifest


def video_files(root: str | Path) -> list[Path]:
    """Return the video files below a folder, in natural order; hidden ones are left out."""
    found = [
        file for file in Path(root).rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()
    ]
    shown = [file for file in found if not any(part.startswith(".") for part in file.relative_to(root).parts)]
    return sorted(shown, key=natural_order)


def has_videos(root: str | Path) -> bool:
    """Say whether a folder holds videos or folders of frames."""
    return Path(root).is_dir() and bool(_find(Path(root)))


def _find(root: Path) -> list[str]:
    """Return the videos and the folders of frames below the root, as sorted posix paths."""
    found = []
    for folder, names, entries in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        below = PurePosixPath(os.path.relpath(folder, root).replace(os.sep, "/"))
        shown = [entry for entry in entries if not entry.startswith(".")]
        found += [str(below / entry) for entry in shown if Path(entry).suffix.lower() in VIDEO_SUFFIXES]
        word = below.name.lower()
        is_clip = below.name and word not in LABEL_WORDS and word not in SPLIT_WORDS
        if is_clip and not names and shown and all(map(is_image_name, shown)):
            found.append(str(below))
    return sorted(found)


def _sources(paths: list[str]) -> list[str]:
    """Return a group for each video of FaceForensics++: all that share a source, at first or second hand."""
    ids = []
    for path in paths:
        match = _IDS.fullmatch(PurePosixPath(path).stem)
        ids.append([part for part in match.groups() if part] if match else [path])
    names = sorted({name for pair in ids for name in pair})
    place = {name: i for i, name in enumerate(names)}
    links = [(place[pair[0]], place[pair[-1]]) for pair in ids]
    rows, columns = zip(*links, strict=True)
    graph = coo_array((np.ones(len(links)), (rows, columns)), (len(names), len(names)))
    component = connected_components(graph, directed=False)[1]
    first: dict[int, str] = {}
    for name, number in zip(names, component, strict=True):
        first.setdefault(int(number), name)
    return [f"source_{first[int(component[place[pair[0]]])]}" for pair in ids]


# Folders of the operating system, with thumbnails, deleted files or no permission.
_SYSTEM_NAMES = frozenset(["__MACOSX", "Thumbs.db", "@eaDir", "lost+found", "$RECYCLE.BIN"])


def scan_images(
    root: str | Path, labels: Mapping[str, str] | None = None, require_labels: bool = True
) -> pd.DataFrame:
    """Make a manifest of a folder, whatever its layout (see `layouts.read_places`).

    Hidden files, other files than images, links to folders and links that lead out of the folder are
    skipped, see `count_skipped`.

    Args:
        root: The folder.
        labels: Names of folders that mean `real` or `fake` beyond those that are known, e.g.
            `{"0_fake_old": "fake"}`.
        require_labels: Whether both labels must be there; False for images to predict or to forge.

    Returns:
        The manifest, sorted by path. Columns: `path` below the root, `label` (`real`, `fake` or missing),
        `category`, `split` (`train`, `val`, `test` or missing), `group` (never missing), `generator`, `root`.

    Raises:
        DfdError: No such folder or one that cannot be listed, no image, labels that can't be told, or a
            class that is missing or empty, in all or in the train or val split.
    """
    root = Path(root)
    labels = _checked_labels(labels or {})
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise DfdError(f"the data folder {root} {found}; pass the folder that holds the images.")
    files, folders, _ = _walk(root)
    if not files:
        raise DfdError(f"{root} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); check the path.")
    places = read_places([PurePosixPath(path).parts[:-1] for path in files], labels)
    manifest = _table(root, files, places)
    if require_labels:
        manifest = _require_labels(manifest, root, folders, labels)
    return manifest


def count_skipped(root: str | Path) -> dict[str, int]:
    """Return how many entries of a folder `scan_images` skips, by reason; none where nothing is skipped."""
    return dict(_walk(Path(root))[2])


def open_data(
    data_dir: str | Path, seed: int = 0, max_images: int = 0, labels: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Return the manifest of a data set, with all splits, checked.

    Args:
        data_dir: A folder of images, a folder with a `manifest.csv`, or a manifest file.
        seed: Draws the splits that the data set does not state, and the sample.
        max_images: Use at most so many images, see `subsample`; 0 for all.
        labels: See `scan_images`.

    Raises:
        DfdError: A train or val split without one of the labels; see also `scan`, `read_manifest` and
            `splits.complete_splits`.
    """
    return prepare(open_raw(data_dir, labels), seed, max_images)


def open_raw(data_dir: str | Path, labels: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the manifest of a folder or a file as it stands, with the splits that it states or none."""
    data_dir = Path(data_dir)
    file = data_dir if data_dir.suffix == ".csv" else data_dir / "manifest.csv"
    return read_manifest(file) if file.is_file() else scan_images(data_dir, labels)


def _checked_labels(labels: Mapping[str, str]) -> dict[str, str]:
    for folder, label in labels.items():
        if label not in LABELS:
            raise DfdError(f"labels maps {folder!r} to {label!r}; it must be 'real' or 'fake'.")
    return {folder.lower(): label for folder, label in labels.items()}


def _walk(root: Path) -> tuple[list[str], list[str], Counter[str]]:
    """Return the image files and the folders below the root, as sorted posix paths, and what was skipped."""
    files, folders, skipped = [], [], Counter()
    home = os.path.realpath(root)
    for folder, names, entries in os.walk(root, onerror=_refuse_folder):
        below = os.path.relpath(folder, root).replace(os.sep, "/")
        skipped["hidden"] += sum(_is_hidden(name) for name in names)
        skipped["linked folder"] += sum(Path(folder, name).is_symlink() for name in names)
        names[:] = sorted(name for name in names if not _is_hidden(name))
        folders.append(below)
        for entry in entries:
            if _is_hidden(entry):
                skipped["hidden"] += 1
            elif os.path.splitext(entry)[1].lower() not in IMAGE_SUFFIXES:  # noqa: PTH122 - 100,000 files
                skipped["not an image"] += 1
            elif os.path.islink(path := f"{folder}/{entry}") and not os.path.realpath(path).startswith(  # noqa: PTH114
                home + os.sep
            ):
                skipped["link out of the folder"] += 1
            elif leaves_root(inside := entry if below == "." else f"{below}/{entry}"):
                skipped["name that leaves the folder on Windows"] += 1
            else:
                files.append(inside)
    return sorted(files), folders, +skipped


def _refuse_folder(error: OSError) -> None:
    raise DfdError(
        f"{error.filename} cannot be listed ({error.strerror}); allow reading it, or move it out of the data."
    )


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _SYSTEM_NAMES


def _table(root: Path, files: list[str], places: list[Place]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": files,
            "label": [place.label for place in places],
            "category": [place.category for place in places],
            "split": [place.split for place in places],
            "group": [place.group or path for place, path in zip(places, files, strict=True)],
            "generator": [place.generator for place in places],
            "root": str(root),
        },
        dtype=object,
    )


def _require_labels(
    manifest: pd.DataFrame, root: Path, folders: list[str], labels: Mapping[str, str]
) -> pd.DataFrame:
    """Check that both labels can be told; leave out stray images without one, with a warning."""
    trained = manifest["split"] != "test"
    if not manifest["label"].notna().any():
        raise DfdError(
            f"{root} does not tell real from fake (found: {_shown(folders, '')}). Name the folders 'real' and 'fake', "
            'or pass labels={"<folder>": "real", "<folder>": "fake"}.'
        )
    parts = [rows for _, rows in manifest[trained].groupby("split", dropna=False)] or [manifest]
    for rows in parts:
        present = set(rows["label"].dropna())
        if len(present) == 1:
            _refuse_missing_class(root, rows["path"], folders, present.pop(), labels)
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
    root: Path, paths: pd.Series, folders: list[str], present: str, labels: Mapping[str, str]
) -> None:
    """Raise the error for images, of one split, that have one label alone."""
    words = {**LABEL_WORDS, **labels}
    missing = LABELS[present == "real"]
    shared: list[str] = []
    for part in PurePosixPath(os.path.commonpath([str(PurePosixPath(path).parent) for path in paths])).parts:
        if part.lower() in words:
            break
        shared.append(part)
    where = "/".join(shared)
    inside = [folder for folder in folders if folder.startswith(f"{where}/" if where else "")]
    empty = [folder for folder in inside if words.get(folder.rsplit("/", 1)[-1].lower()) == missing]
    if empty:
        raise DfdError(
            f"{root / empty[0]} is a '{missing}' folder without any image in it; put images there."
        )
    unknown = [name for name in _names(folders, where) if name.lower() not in {**words, **SPLIT_WORDS}]
    folder = unknown[0] if len(unknown) == 1 else "<folder>"
    raise DfdError(
        f"{root / where} has a '{present}' folder but no '{missing}' one (found: {_shown(folders, where)}). "
        f'Rename it, or pass labels={{"{folder}": "{missing}"}}.'
    )


def _names(folders: list[str], where: str) -> list[str]:
    """Return the names of the folders below `where`, sorted."""
    start = f"{where}/" if where else ""
    return sorted({folder.rsplit("/", 1)[-1] for folder in folders if folder.startswith(start)} - {"."})


def _shown(folders: list[str], where: str) -> str:
    found = _names(folders, where)
    return ", ".join(found[:12]) + (", …" if len(found) > 12 else "") or "no folder"
