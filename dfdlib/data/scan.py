"""Manifests of folders: images and videos found, and what their folders say of them."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.data import metadata
from dfdlib.data.layouts import CATEGORY_WORDS, LABEL_WORDS, SPLIT_WORDS, read_places
from dfdlib.data.manifest import LABELS, leaves_root, prepare, read_manifest
from dfdlib.data.sources import tie_sources
from dfdlib.images.decode import IMAGE_SUFFIXES
from dfdlib.images.video import VIDEO_SUFFIXES, natural_order


def scan_videos(root: str | Path) -> pd.DataFrame:
    """Make a manifest of a folder of videos, one row per video.

    A folder below a label that holds images and no further folders counts as one video, its images in natural order
    as the frames. What the folders mean is read as for images (`layouts.read_places`).

    Returns:
        The manifest, see `scan.scan_images`; `path` is a file or a folder.

    Raises:
        DfdError: No such folder, or no video in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise DfdError(f"the data folder {root} does not exist; pass the folder that holds the videos.")
    tree = _walk(root)
    if not tree.all_videos:
        raise DfdError(
            f"{root} holds no video ({', '.join(sorted(VIDEO_SUFFIXES))}) and no folder of frames."
        )
    return _table(root, tree.all_videos, tree.notes, {})


def video_files(root: str | Path) -> list[Path]:
    """Return the video files below a folder, in natural order; hidden ones are left out."""
    return sorted((Path(root, path) for path in _walk(Path(root)).videos), key=natural_order)


def has_videos(root: str | Path) -> bool:
    """Say whether a folder holds videos or folders of frames."""
    return Path(root).is_dir() and bool(_walk(Path(root)).all_videos)


# Folders of the operating system, with thumbnails, deleted files or no permission.
_SYSTEM_NAMES = frozenset(["__MACOSX", "Thumbs.db", "@eaDir", "lost+found", "$RECYCLE.BIN"])


def scan_images(
    root: str | Path, labels: Mapping[str, str] | None = None, require_labels: bool = True
) -> pd.DataFrame:
    """Make a manifest of a folder, whatever its layout (see `layouts.read_places`).

    Hidden files, other files than images, links that lead out of the folder, and links to folders that are no
    label, lead out or run in circles are skipped, see `count_skipped`. A link to a folder is followed where its
    name is a label or a split. Images of one video or person share a group, see `sources.tie_sources`; labels,
    originals and splits that known data sets keep in files are read, see `metadata`.

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
    tree = _walk(root)
    if not tree.images:
        raise DfdError(f"{root} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); check the path.")
    manifest = _table(root, tree.images, tree.notes, labels)
    if require_labels:
        manifest = _require_labels(manifest, root, tree.folders, labels)
    return manifest


def count_skipped(root: str | Path) -> dict[str, int]:
    """Return how many entries of a folder `scan_images` skips, by reason; none where nothing is skipped."""
    return dict(+_walk(Path(root)).skipped)


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


@dataclass
class _Tree:
    """What lies below a folder, as posix paths."""

    images: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    clips: list[str] = field(default_factory=list)
    """Folders of frames."""
    folders: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Files that say something of the others, see `metadata.FILES`."""
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def all_videos(self) -> list[str]:
        return sorted([*self.videos, *self.clips])


def _walk(root: Path) -> _Tree:
    """List a folder, sorted, and count what was skipped."""
    tree, home = _Tree(), os.path.realpath(root)
    seen = {home}
    for folder, names, entries in os.walk(root, onerror=_refuse_folder, followlinks=True):
        below = os.path.relpath(folder, root).replace(os.sep, "/")
        start = "" if below == "." else f"{below}/"
        names[:] = [name for name in sorted(names) if _enters(Path(folder, name), seen, tree.skipped)]
        tree.folders.append(below)
        n_images = len(tree.images)
        for entry in entries:
            kind = _kind_of(folder, entry, start, home)
            if kind in _LISTS:
                getattr(tree, kind).append(start + entry)
            else:
                tree.skipped[kind] += 1
        word = below.rsplit("/", 1)[-1].lower()
        means = word in LABEL_WORDS or word in SPLIT_WORDS or word in CATEGORY_WORDS
        if start and not means and not names and len(tree.images) > n_images:
            tree.clips.append(below)
    for found in (tree.images, tree.videos, tree.notes):
        found.sort()
    return tree


_LISTS = ("images", "videos", "notes")


def _enters(folder: Path, seen: set[str], skipped: Counter[str]) -> bool:
    """Whether a sub-folder is listed; a link is followed where its name is a label or a split, and never in circles."""
    if _is_hidden(folder.name):
        skipped["hidden"] += 1
        return False
    if not folder.is_symlink():
        return True
    word, target = folder.name.lower(), os.path.realpath(folder)
    circular = any(f"{one}/".startswith(f"{target}/") or f"{target}/".startswith(f"{one}/") for one in seen)
    if circular or not (word in LABEL_WORDS or word in SPLIT_WORDS):
        skipped["linked folder"] += 1
        return False
    seen.add(target)
    return True


def _kind_of(folder: str, entry: str, start: str, home: str) -> str:
    """Return the list of `_Tree` that a file belongs to, or why it is skipped."""
    suffix = os.path.splitext(entry)[1].lower()  # noqa: PTH122 - 100,000 files
    if _is_hidden(entry):
        return "hidden"
    if entry in metadata.FILES:
        return "notes"
    if suffix not in IMAGE_SUFFIXES and suffix not in VIDEO_SUFFIXES:
        return "not an image"
    if os.path.islink(path := f"{folder}/{entry}") and not os.path.realpath(path).startswith(home + os.sep):  # noqa: PTH114
        return "link out of the folder"
    if leaves_root(start + entry):
        return "name that leaves the folder on Windows"
    return "images" if suffix in IMAGE_SUFFIXES else "videos"


def _refuse_folder(error: OSError) -> None:
    raise DfdError(
        f"{error.filename} cannot be listed ({error.strerror}); allow reading it, or move it out of the data."
    )


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _SYSTEM_NAMES


def _table(root: Path, files: list[str], notes: list[str], labels: Mapping[str, str]) -> pd.DataFrame:
    """Return the manifest of files: what their folders, their names and the files beside them state."""
    places = read_places(files, labels)
    manifest = pd.DataFrame(
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
    manifest, originals = metadata.apply_metadata(manifest, root, notes)
    manifest = tie_sources(manifest, originals)
    return metadata.keep_apart(manifest) if notes else manifest


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
