"""Commands that make and split data sets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfdlib.cli.options import Repeated, UsageError

if TYPE_CHECKING:
    import pandas as pd


def demo_data(*, images: int = 2700, size: int = 128, seed: int = 0, workers: int = 0) -> str:
    """Draw the demo set; print its manifest.

    Args:
        images: Images in all.
        size: Side of an image in pixels.
        seed: Seeds the drawing.
        workers: Processes; 0 for one per core.
    """
    from dfdlib.data.manifest import root_of
    from dfdlib.demo.sets import demo_manifest

    manifest = demo_manifest(images, seed, size, workers)
    return str(root_of(manifest) / "manifest.csv")


def fetch(name: str = "", /, *, to: str = "") -> Any:
    """Download a public data set; print its folder. Without a name: those that are known.

    A download that was broken off goes on. Parquet files and WebDataset tars are unpacked.

    Args:
        name: A known name, or hf:owner/name or kaggle:owner/name.
        to: The folder; by default of that name in the data folder.
    """
    from dataclasses import asdict

    from dfdlib.data.fetch import KNOWN
    from dfdlib.data.fetch import fetch as download
    from dfdlib.data.shards import find_shards, read_shards

    if not name:
        return [{"name": known, **asdict(facts)} for known, facts in KNOWN.items()]
    folder = download(name, to or None)
    if shards := find_shards(folder):
        read_shards(folder, shards, {})
    return str(folder)


def scan(
    path: str,
    /,
    *,
    label: Repeated = (),
    unlabelled: bool = False,
    videos: bool = False,
    out: str = "",
) -> str:
    """Write a manifest of a folder of images or videos; print its path.

    Args:
        path: The folder, or several as a,b.
        label: A folder name that means real or fake, e.g. 0_old=fake.
        unlabelled: The images need no labels.
        videos: One row for each video or folder of frames.
        out: The manifest; by default manifest.csv in the folder. Needed for several.
    """
    from dfdlib.data.scan import count_skipped, scan_images, scan_videos
    from dfdlib.data.sources import data_dirs, join

    for pair in label:
        if "=" not in pair:
            raise UsageError(f"--label is {pair!r}; it must look like FOLDER=real or FOLDER=fake.")
    labels = dict(pair.split("=", 1) for pair in label)
    folders = data_dirs(path)
    _check_out(folders, out)
    scanned = [
        scan_videos(folder, labels) if videos else scan_images(folder, labels, not unlabelled)
        for folder in folders
    ]
    file = _save(join(scanned), out)
    for folder in folders:
        for reason, count in count_skipped(folder).items():
            print(f"skipped: {count} {reason}", file=sys.stderr)
    return file


def split(
    path: str,
    /,
    *,
    val: float = 0.2,
    test: float = 0.0,
    seed: int = 0,
    videos: bool = False,
    out: str = "",
) -> str:
    """Assign the images to train, val and test; print the manifest.

    Args:
        path: A folder of images, or a manifest; several as a,b.
        val: Share of the validation images.
        test: Share of the test images.
        seed: Seeds the split.
        videos: One row for each video or folder of frames.
        out: The manifest; by default manifest.csv beside the images. Needed for several.
    """
    from dfdlib.data.scan import open_raw
    from dfdlib.data.sources import data_dirs
    from dfdlib.data.splits import assert_disjoint, assign_splits

    _check_out(data_dirs(path), out)
    manifest = open_raw(path, videos=videos)
    fractions = {"train": 1 - val - test, "val": val, "test": test}
    kept = {name: share for name, share in fractions.items() if share > 0}
    manifest = assign_splits(manifest, kept, seed)
    assert_disjoint(manifest)
    return _save(manifest, out)


def _check_out(folders: Sequence[Path], out: str) -> None:
    if len(folders) > 1 and not out:
        raise UsageError("--out is required for several data sets: the file of the manifest.")


def _save(manifest: pd.DataFrame, out: str) -> str:
    """Write a manifest, say what is in it, and return its path."""
    from dfdlib.data.groups import grouping
    from dfdlib.data.manifest import root_of, summary, write_manifest

    file = Path(out) if out else root_of(manifest) / "manifest.csv"
    print(summary(manifest).to_string(), *grouping(manifest), sep="\n", file=sys.stderr)
    write_manifest(manifest, file)
    return str(file)
