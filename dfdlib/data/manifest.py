"""The manifest: a table with one row per image, made from any folder layout, checked on every load."""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path, PureWindowsPath

import numpy as np
import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.core.files import file_sample, write_csv
from dfdlib.data.groups import crossing
from dfdlib.data.splits import assert_disjoint, complete_splits

COLUMNS = ("path", "label", "category", "split", "group", "generator")
LABELS = ("real", "fake")
SPLITS = ("train", "val", "test")
_SAMPLE_BYTES = 4096


def prepare(manifest: pd.DataFrame, seed: int = 0, max_images: int = 0) -> pd.DataFrame:
    """Return a manifest with all splits, a sample of it where that is wanted, and checked; see `open_data`.

    Groups that cross the splits which folders or official lists state are warned of; `read_manifest` refuses them.
    """
    manifest = complete_splits(manifest, seed)
    if found := crossing(manifest):
        warnings.warn(f"{root_of(manifest)}: {found}", stacklevel=3)
    for split, label in ((split, label) for split in ("train", "val") for label in LABELS):
        if not ((manifest["split"] == split) & (manifest["label"] == label)).any():
            groups = manifest.loc[manifest["label"] == label, "group"].nunique()
            raise DfdError(
                f"the {split} split of {root_of(manifest)} has no {label} image ({groups} groups of {label} images in "
                "all); add images of more sources, or state the splits in folders or a manifest."
            )
    manifest = subsample(manifest, max_images, seed)
    validate(manifest, disjoint=False)
    return manifest


def validate(manifest: pd.DataFrame, disjoint: bool = True) -> None:
    """Check columns and values, and that no group crosses splits unless `disjoint` is False.

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
    if disjoint:
        assert_disjoint(manifest)


def write_manifest(manifest: pd.DataFrame, csv_path: str | Path) -> None:
    """Write a manifest atomically; what is missing becomes an empty field.

    The column `root` becomes relative to the file, and is left out where the file lies beside all the images.
    """
    folder = Path(csv_path).parent.resolve()
    roots = [os.path.relpath(Path(root).resolve(), folder) for root in manifest["root"]]
    table = manifest.drop(columns="root")
    write_csv(table if set(roots) <= {"."} else table.assign(root=roots), csv_path)


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
    if manifest.empty:
        raise DfdError(f"{csv_path} lists no image; write it again from the images.")
    stated = manifest.pop("root") if "root" in manifest else [None] * len(manifest)
    if root is None:
        roots = [os.path.normpath(csv_path.parent / (name or "")) for name in stated]
    else:
        roots = str(root)
    manifest = manifest.assign(root=roots).astype(object)
    validate(manifest)
    for column in manifest.columns.intersection(["path", "mask"]):
        for path in manifest[column].dropna():
            if leaves_root(path):
                raise DfdError(
                    f"{csv_path} lists {path!r}, which leaves its root; make paths relative to the root."
                )
    for file, path, folder in zip(files_of(manifest[:20]), manifest["path"], manifest["root"], strict=False):
        if not file.exists():
            raise DfdError(
                f"{csv_path} lists {path}, which is not in {folder}; pass root= with the image folder."
            )
    return manifest


def files_of(manifest: pd.DataFrame, column: str = "path") -> list[Path | None]:
    """Return the file of each row, [N]: its `path`, or another column such as `mask`, below its `root`.

    Where a row states none, its file is None. Raises `DfdError` where the table has no column `root`.
    """
    _require_root(manifest)
    return [
        Path(root, name) if isinstance(name, str) else None
        for root, name in zip(manifest["root"], manifest[column], strict=True)
    ]


def root_of(manifest: pd.DataFrame) -> Path:
    """Return the folder that all paths start from, or the one above all of them. Raises `DfdError`, see `files_of`."""
    _require_root(manifest)
    roots = manifest["root"].unique()
    return Path(
        roots[0] if len(roots) == 1 else os.path.commonpath([Path(root).absolute() for root in roots])
    )


def _require_root(manifest: pd.DataFrame) -> None:
    if "root" not in manifest:
        raise DfdError("the manifest does not say where its images lie; add the column `root`.")


def subsample(manifest: pd.DataFrame, max_images: int, seed: int = 0) -> pd.DataFrame:
    """Draw at most `max_images` images, even over label, source and category; 0 takes all.

    Each split keeps its share. Groups are taken whole as long as they fit. Fewer than one image for each split and label
    (and source and category, where the number allows) are never drawn, so that no class vanishes.
    """
    if not max_images or len(manifest) <= max_images:
        return manifest
    names = [name for name in ("split", "label", "source", "category") if name in manifest]
    keys = [manifest[name].fillna("") for name in names]
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
    digest = hashlib.blake2b(digest_size=8)
    ordered = manifest.sort_values("path")
    table = ordered[list(COLUMNS)].fillna("").astype(str)
    for row, file in zip(table.itertuples(index=False), files_of(ordered), strict=True):
        digest.update("\0".join(row).encode(errors="surrogatepass"))
        digest.update(file_sample(file, _SAMPLE_BYTES) or b"missing")
    return digest.hexdigest()


def leaves_root(path: str) -> bool:
    """Whether a path leads out of its folder, on any system."""
    if path[:1] not in ("", "/", ".") and not any(mark in path for mark in ("\\", ":", "..")):
        return False  # at once, for the sake of large folders
    pure = PureWindowsPath(path)  # knows every way to leave a folder, slashes of both kinds
    return bool(pure.drive or pure.root or ".." in pure.parts or not pure.parts)


_DIGEST_BYTES = 65_536


def content_digests(manifest: pd.DataFrame) -> np.ndarray:
    """Return a digest of each file, int64 [N]: of its size and its first and last 64 KB; 0 where it is not there.

    The same bytes under another name have the same digest; a file that was saved anew has another one
    (`duplicates.find_duplicates` finds those).
    """
    return np.array([_digest(file) for file in files_of(manifest)], np.int64)


def _digest(path: Path) -> int:
    content = file_sample(path, _DIGEST_BYTES)
    if content is None:  # a frame of a video, or a folder of frames
        return 0
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)
