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
from dfdlib.data.groups import sources_of, sources_of_images, tie
from dfdlib.data.layouts import LABEL_WORDS, SPLIT_WORDS, Folder, Place, read_places
from dfdlib.data.manifest import LABELS, leaves_root, prepare, read_manifest
from dfdlib.data.sidecars import SIDECARS, Sidecars
from dfdlib.images.decode import IMAGE_SUFFIXES
from dfdlib.images.video import VIDEO_SUFFIXES, natural_order

# Files and folders of the operating system, with thumbnails, deleted files or no permission.
_SYSTEM_NAMES = frozenset(["__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir", "lost+found", "$RECYCLE.BIN"])
_TOLD = ("video", "linked folder", "link out of the folder")
"""What is skipped with a warning."""


def scan_videos(root: str | Path) -> pd.DataFrame:
    """Make a manifest of a folder of videos, one row per video.

    A folder of numbered frames counts as one video, its images in natural order as the frames, unless its name
    is a category or a generator (see `layouts.read_places`). Other images are left out, with a warning.

    Returns:
        The manifest, see `scan.scan_images`; `path` is a file or a folder.

    Raises:
        DfdError: No such folder, or no video in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise DfdError(f"the data folder {root} does not exist; pass the folder that holds the videos.")
    tree = _walk(root, {})
    sidecars, places = _read(tree, {})
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
    found = [
        file for file in Path(root).rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()
    ]
    shown = [file for file in found if not any(part.startswith(".") for part in file.relative_to(root).parts)]
    return sorted(shown, key=natural_order)


def has_videos(root: str | Path) -> bool:
    """Say whether a folder holds videos or folders of frames."""
    if not Path(root).is_dir():
        return False
    tree = _walk(Path(root), {})
    return bool(_video_rows(tree, _read(tree, {})[1]))


def scan_images(
    root: str | Path, labels: Mapping[str, str] | None = None, require_labels: bool = True
) -> pd.DataFrame:
    """Make a manifest of a folder, whatever its layout (see `layouts.read_places`).

    Tables and lists of a data set's authors are read where they lie beside the images (see `sidecars`). Hidden
    files and other files than images are skipped, see `count_skipped`; so are, with a warning, videos and links
    that lead out of the folder. A link to a folder is followed where its name is a label or a split.

    Args:
        root: The folder.
        labels: Names of folders that mean `real` or `fake` beyond those that are known, e.g.
            `{"0_fake_old": "fake"}`.
        require_labels: Whether both labels must be there; False for images to predict or to forge.

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
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise DfdError(f"the data folder {root} {found}; pass the folder that holds the images.")
    tree = _walk(root, labels)
    left_out = " and ".join(f"{n} × {reason}" for reason in _TOLD if (n := tree.skipped[reason]))
    if not any(tree.images.values()):
        also = f" (left out: {left_out})" if left_out else ""
        raise DfdError(f"{root} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}){also}; check the path.")
    if left_out:
        warnings.warn(f"left out of {root}: {left_out}.", stacklevel=2)
    sidecars, places = _read(tree, labels)
    rows = [(_join(folder, name), folder, False) for folder, names in tree.images.items() for name in names]
    manifest = _table(root, rows, places, sidecars)
    if require_labels:
        manifest = _require_labels(manifest, root, tree.folders, labels)
    return manifest


def count_skipped(root: str | Path) -> dict[str, int]:
    """Return how many entries of a folder `scan_images` skips, by reason; none where nothing is skipped."""
    return dict(+_walk(Path(root), {}).skipped)


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


def open_raw(
    data_dir: str | Path, labels: Mapping[str, str] | None = None, require_labels: bool = True
) -> pd.DataFrame:
    """Return the manifest of a folder or a file as it stands, with the splits that it states or none."""
    data_dir = Path(data_dir)
    file = data_dir if data_dir.suffix == ".csv" else data_dir / "manifest.csv"
    return read_manifest(file) if file.is_file() else scan_images(data_dir, labels, require_labels)


def _checked_labels(labels: Mapping[str, str]) -> dict[str, str]:
    for folder, label in labels.items():
        if label not in LABELS:
            raise DfdError(f"labels maps {folder!r} to {label!r}; it must be 'real' or 'fake'.")
    return {folder.lower(): label for folder, label in labels.items()}


@dataclass
class _Tree:
    """What lies below a folder."""

    root: Path
    images: dict[Folder, list[str]] = field(default_factory=dict)
    """The images of each folder that holds images or videos."""
    videos: dict[Folder, list[str]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    """All folders, as posix paths."""
    tables: list[str] = field(default_factory=list)
    """Files that `sidecars` may read."""
    skipped: Counter[str] = field(default_factory=Counter)


def _walk(root: Path, labels: Mapping[str, str]) -> _Tree:
    """List the files below the root; links to folders are followed where their names are labels or splits."""
    tree, home = _Tree(root), os.path.realpath(root)
    words = {*LABEL_WORDS, *SPLIT_WORDS, *labels}
    starts, homes = [str(root)], [home]
    while starts:
        for folder, names, entries in os.walk(starts.pop(), onerror=_refuse_folder):
            tree.skipped["hidden"] += sum(_is_hidden(name) for name in names)
            names[:] = sorted(name for name in names if not _is_hidden(name))
            for link in [name for name in names if Path(folder, name).is_symlink()]:
                target = os.path.realpath(Path(folder, link))
                known = any(_holds(target, other) or _holds(other, target) for other in homes)
                if link.lower() in words and not known:
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
        suffix = os.path.splitext(entry)[1].lower()  # noqa: PTH122 - 100,000 files
        if _is_hidden(entry):
            tree.skipped["hidden"] += 1
        elif suffix not in IMAGE_SUFFIXES and suffix not in VIDEO_SUFFIXES:
            if entry in SIDECARS:
                tree.tables.append(_join(parts, entry))
            else:
                tree.skipped["not an image"] += 1
        elif os.path.islink(path := f"{folder}/{entry}") and not any(  # noqa: PTH114
            _holds(home, os.path.realpath(path)) for home in homes
        ):
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


def _read(tree: _Tree, labels: Mapping[str, str]) -> tuple[Sidecars, dict[Folder, Place]]:
    sidecars = Sidecars(tree.root, tree.tables)
    return sidecars, read_places(tree.images, labels, sidecars.videos)


_Row = tuple[str, Folder, bool]
"""A path, the folder that says what it is, and whether its own name is that of a video."""


def _video_rows(tree: _Tree, places: Mapping[Folder, Place]) -> list[_Row]:
    files = [(_join(folder, name), folder, True) for folder, names in tree.videos.items() for name in names]
    return files + [("/".join(folder), folder, False) for folder in tree.images if places[folder].is_video]


def _table(root: Path, rows: list[_Row], places: Mapping[Folder, Place], sidecars: Sidecars) -> pd.DataFrame:
    """Make a manifest of rows, sorted by path."""
    rows = sorted(rows)
    table: dict[str, list[str | None]] = {
        name: [] for name in ("path", "label", "category", "split", "group", "generator")
    }
    listed: list[str | None] = []
    sources: list[tuple[str, ...]] = []
    for path, folder, is_video in rows:
        place, said = places[folder], sidecars.of(path)
        own = _sources_of_video(place, PurePosixPath(path).stem) if is_video else place.sources
        sources.append(tuple(dict.fromkeys((*own, *said.sources))))
        listed.append(place.split or said.split)
        table["path"].append(path)
        table["label"].append(place.label or said.label)
        table["category"].append(
            said.category or (None if said.label and not place.label else place.category)
        )
        table["split"].append(place.split)
        table["generator"].append(place.generator or said.generator)
    table["group"], told = _groups(table, sources)
    manifest = pd.DataFrame({**table, "root": str(root)}, dtype=object)
    if any(told):
        manifest["sources"] = ["/".join(names) or None for names in told]
    return _with_lists(manifest, pd.Series(listed, dtype=object), root)


def _sources_of_video(place: Place, stem: str) -> tuple[str, ...]:
    """Return the sources of a video file: what its folder and its name tell."""
    named = sources_of(stem)
    own = place.sources + (named if len(named) > 1 or not place.sources else ())
    return own or (() if stem.isdigit() else (stem,))


def _groups(
    table: Mapping[str, list[str | None]], sources: list[tuple[str, ...]]
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the group and the sources of each row; names of single images count too."""
    single = [place for place, names in enumerate(sources) if not names and table["label"][place]]
    stems = [PurePosixPath(table["path"][place]).stem for place in single]
    fake = [table["label"][place] == "fake" for place in single]
    for place, names in zip(single, sources_of_images(stems, fake), strict=True):
        sources[place] = names
    if not any(sources):
        return table["path"], sources
    return tie([names or (path,) for names, path in zip(sources, table["path"], strict=True)]), sources


def _with_lists(manifest: pd.DataFrame, listed: pd.Series, root: Path) -> pd.DataFrame:
    """Return the manifest with the splits of official lists, where these and the folders name every image."""
    lacking = listed.isna() & manifest["label"].notna()
    new = listed.notna() & manifest["split"].isna()
    if not new.any():
        return manifest
    if not lacking.any():
        return manifest.assign(split=listed)
    warnings.warn(
        f"the official lists of splits in {root} name {new.sum()} of {len(manifest)} images, and are left out; e.g. "
        f"{manifest.loc[lacking, 'path'].iloc[0]} is in none.",
        stacklevel=4,
    )
    return manifest


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
