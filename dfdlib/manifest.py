"""The manifest: a table with a row an image, made from any folder layout, checked on every load."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pandas as pd

from .errors import DfdError
from .files import write_csv
from .imageio import IMAGE_SUFFIXES
from .layouts import LABEL_WORDS, SPLIT_WORDS, Place, read_places
from .splits import assert_disjoint, complete_splits

COLUMNS = ("path", "label", "category", "split", "group", "generator")
LABELS = ("real", "fake")
SPLITS = ("train", "val", "test")

_SAMPLE_BYTES = 4096
# Folders of the operating system, with thumbnails, deleted files or no permission.
_SYSTEM_NAMES = frozenset(["__MACOSX", "Thumbs.db", "@eaDir", "lost+found", "$RECYCLE.BIN"])


def scan(
    root: str | Path, labels: Mapping[str, str] | None = None, require_labels: bool = True
) -> pd.DataFrame:
    """Make a manifest of a folder, whatever its layout (see `layouts.read_places`).

    Hidden files, other files than images, links to folders and links that lead out of the folder are
    skipped; `attrs["skipped"]` counts them by reason.

    Args:
        root: The folder.
        labels: Names of folders that mean `real` or `fake` beyond those that are known, e.g.
            `{"0_fake_old": "fake"}`.
        require_labels: Whether both labels must be there; False for images to predict or to forge.

    Returns:
        The manifest, sorted by path; `attrs["root"]` is the root. Columns: `path` below the root, `label`
        (`real`, `fake` or missing), `category`, `split` (`train`, `val`, `test` or missing), `group`
        (never missing), `generator`.

    Raises:
        DfdError: No such folder or one that cannot be listed, no image, labels that can't be told, or a
            class that is missing or empty, in all or in the train or val split.
    """
    root = Path(root)
    labels = _checked_labels(labels or {})
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise DfdError(f"the data folder {root} {found}; pass the folder that holds the images.")
    files, folders, skipped = _walk(root)
    if not files:
        raise DfdError(f"{root} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); check the path.")
    places = read_places([PurePosixPath(path).parts[:-1] for path in files], labels)
    manifest = _table(files, places)
    manifest.attrs |= {"root": str(root), "skipped": dict(skipped)}
    if require_labels:
        manifest = _require_labels(manifest, root, folders, labels)
    return manifest


def open_data(
    data_dir: str | Path, seed: int = 0, max_images: int = 0, labels: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Return the manifest of a data set, with all splits, checked.

    Args:
        data_dir: A folder of images, a folder with a `manifest.csv`, or a manifest file.
        seed: Draws the splits that the data set does not state, and the sample.
        max_images: Use at most so many images, see `subsample`; 0 for all.
        labels: See `scan`.

    Raises:
        DfdError: A train or val split without one of the labels; see also `scan`, `read_manifest` and
            `splits.complete_splits`.
    """
    return prepare(open_raw(data_dir, labels), seed, max_images)


def open_raw(data_dir: str | Path, labels: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the manifest of a folder or a file as it stands, with the splits that it states or none."""
    data_dir = Path(data_dir)
    file = data_dir if data_dir.suffix == ".csv" else data_dir / "manifest.csv"
    return read_manifest(file) if file.is_file() else scan(data_dir, labels)


def prepare(manifest: pd.DataFrame, seed: int = 0, max_images: int = 0) -> pd.DataFrame:
    """Return a manifest with all splits, a sample of it where that is wanted, and checked; see `open_data`."""
    manifest = complete_splits(manifest, seed)
    for split, label in ((split, label) for split in ("train", "val") for label in LABELS):
        if not ((manifest["split"] == split) & (manifest["label"] == label)).any():
            groups = manifest.loc[manifest["label"] == label, "group"].nunique()
            raise DfdError(
                f"the {split} split of {root_of(manifest)} has no {label} image ({groups} groups of {label} images in "
                "all); add images of more sources, or state the splits in folders or a manifest."
            )
    manifest = subsample(manifest, max_images, seed)
    validate(manifest)
    return manifest


def validate(manifest: pd.DataFrame) -> None:
    """Check columns, values, and that no group crosses splits.

    Raises:
        DfdError: The first thing that is wrong.
    """
    missing = [name for name in COLUMNS if name not in manifest]
    if missing:
        raise DfdError(f"the manifest lacks the columns {', '.join(missing)}; it needs {', '.join(COLUMNS)}.")
    for column, allowed in (("label", LABELS), ("split", SPLITS)):
        strange = manifest[column][manifest[column].notna() & ~manifest[column].isin(allowed)]
        if len(strange):
            raise DfdError(
                f"the manifest has {column} {strange.iloc[0]!r} for {manifest.loc[strange.index[0], 'path']}; "
                f"it must be one of {', '.join(allowed)}, or empty."
            )
    for column in ("path", "group"):
        if manifest[column].isna().any():
            raise DfdError(f"the manifest has a row without a {column}; fill it in.")
    twice = manifest["path"][manifest["path"].duplicated()]
    if len(twice):
        raise DfdError(f"the manifest lists {twice.iloc[0]} more than once; keep one row.")
    assert_disjoint(manifest)


def write_manifest(manifest: pd.DataFrame, csv_path: str | Path) -> None:
    """Write a manifest atomically; what is missing becomes an empty field.

    Where the file does not lie in the folder of the images, a column `root` says where that is from there.
    """
    folder, table = Path(csv_path).parent, manifest
    if "root" in manifest.attrs and root_of(manifest).resolve() != folder.resolve():
        table = manifest.assign(root=os.path.relpath(root_of(manifest).resolve(), folder.resolve()))
    write_csv(table, csv_path)


def read_manifest(csv_path: str | Path, root: str | Path | None = None) -> pd.DataFrame:
    """Read and check a manifest.

    Args:
        csv_path: The file that `write_manifest` wrote.
        root: The folder that its paths start from; when not given, what the file says in a column `root`,
            or the folder of the file.

    Raises:
        DfdError: No such file, no manifest, paths that leave the root, or images that are not there.
    """
    csv_path = Path(csv_path)
    try:
        manifest = pd.read_csv(csv_path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise DfdError(f"no manifest at {csv_path}; check the path.") from None
    except (OSError, ValueError) as error:
        raise DfdError(f"{csv_path} cannot be read as a manifest ({error}).") from error
    manifest = manifest.astype(object).where(manifest != "", None)
    stated = manifest.pop("root").iloc[0] if "root" in manifest and len(manifest) else None
    root = Path(root) if root is not None else csv_path.parent / (stated or "")
    manifest.attrs["root"] = os.path.normpath(root)
    if manifest.empty:
        raise DfdError(f"{csv_path} lists no image; write it again from the images.")
    validate(manifest)
    for column in manifest.columns.intersection(["path", "mask"]):
        for path in manifest[column].dropna():
            if _leaves(path):
                raise DfdError(
                    f"{csv_path} lists {path!r}, which leaves its root; make paths relative to the root."
                )
    missing = [path for path in manifest["path"].iloc[:20] if not (root / path).exists()]
    if missing:
        raise DfdError(
            f"{csv_path} lists {missing[0]}, which is not in {root}; pass root= with the image folder."
        )
    return manifest


def root_of(manifest: pd.DataFrame) -> Path:
    """Return the folder that the paths start from. Raises `DfdError` where the table does not know it."""
    if "root" not in manifest.attrs:
        raise DfdError("the manifest does not know its folder; set manifest.attrs['root'].")
    return Path(manifest.attrs["root"])


def subsample(manifest: pd.DataFrame, max_images: int, seed: int = 0) -> pd.DataFrame:
    """Draw at most `max_images` images, even over label and category; 0 takes all.

    Each split keeps its share. Groups are taken whole as long as they fit. Fewer than one image for each split and label (and category,
    where the number allows) are never drawn, so that no class vanishes.
    """
    if not max_images or len(manifest) <= max_images:
        return manifest
    keys = [manifest[name].fillna("") for name in ("split", "label", "category")]
    strata = pd.MultiIndex.from_arrays(keys).factorize(sort=True)[0]
    if strata.max() >= max_images:
        strata = pd.MultiIndex.from_arrays(keys[:2]).factorize(sort=True)[0]
    split_of = pd.Series(pd.factorize(keys[0])[0]).groupby(strata).first()
    share = split_of.map(pd.Series(pd.factorize(keys[0])[0]).value_counts(normalize=True))
    quota = np.maximum(1, (max_images * share / split_of.map(split_of.value_counts())).to_numpy(int))
    positions: dict[str, list[int]] = {}
    for position, group in enumerate(manifest["group"]):
        positions.setdefault(group, []).append(position)
    names = sorted(positions)
    chosen: list[int] = []
    for i in np.random.default_rng(seed).permutation(len(names)):
        members = positions[names[i]]
        if all(quota[strata[position]] > 0 for position in members):
            for position in members:
                if quota[strata[position]] > 0:
                    chosen.append(position)
                    quota[strata[position]] -= 1
    return manifest.iloc[sorted(chosen)].reset_index(drop=True)


def categories_of(manifest: pd.DataFrame) -> tuple[str, ...]:
    """Return the names of the categories of the training images, sorted."""
    return tuple(sorted(manifest.loc[manifest["split"] == "train", "category"].dropna().unique()))


def summary(manifest: pd.DataFrame) -> pd.DataFrame:
    """Count the images: a row for each split and category, a column for each label."""
    filled = manifest[["split", "category", "label"]].fillna(
        {"category": "–", "label": "unlabelled", "split": "–"}
    )
    order = [name for name in (*SPLITS, "–") if name in set(filled["split"])]
    columns = [name for name in (*LABELS, "unlabelled") if name in set(filled["label"])]
    counts = filled.value_counts().unstack("label", fill_value=0)
    return counts.reindex(order, level="split")[columns].rename_axis(columns=None)


def fingerprint(manifest: pd.DataFrame) -> str:
    """Return 16 hex digits that change with the rows and with the image files.

    Of a file it covers the size and the first and last 4 KB. Where the data lies and the order of the rows
    do not matter.
    """
    root, digest = root_of(manifest), hashlib.blake2b(digest_size=8)
    table = manifest[list(COLUMNS)].fillna("").astype(str).sort_values("path")
    for row in table.itertuples(index=False):
        digest.update("\0".join(row).encode(errors="surrogatepass"))
        digest.update(file_sample(root / row.path, _SAMPLE_BYTES) or b"missing")
    return digest.hexdigest()


def file_sample(path: Path, n_bytes: int) -> bytes | None:
    """Return the size of a file with its first and last `n_bytes`; None where there is no such file."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(n_bytes)
            file.seek(max(0, size - n_bytes))
            return f"{size}".encode() + start + file.read(n_bytes)
    except (OSError, ValueError):  # ValueError: no name that a file can have
        return None


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
            elif _leaves(inside := entry if below == "." else f"{below}/{entry}"):
                skipped["name that leaves the folder on Windows"] += 1
            else:
                files.append(inside)
    return sorted(files), folders, +skipped


def _leaves(path: str) -> bool:
    """Whether a path leads out of its folder, on any system."""
    if path[:1] not in ("", "/", ".") and not any(mark in path for mark in ("\\", ":", "..")):
        return False  # at once, for the sake of large folders
    pure = PureWindowsPath(path)  # knows every way to leave a folder, slashes of both kinds
    return bool(pure.drive or pure.root or ".." in pure.parts or not pure.parts)


def _refuse_folder(error: OSError) -> None:
    raise DfdError(
        f"{error.filename} cannot be listed ({error.strerror}); allow reading it, or move it out of the data."
    )


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _SYSTEM_NAMES


def _table(files: list[str], places: list[Place]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": files,
            "label": [place.label for place in places],
            "category": [place.category for place in places],
            "split": [place.split for place in places],
            "group": [place.group or path for place, path in zip(places, files, strict=True)],
            "generator": [place.generator for place in places],
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
        manifest.attrs["skipped"]["without a label"] = int(stray.sum())
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
