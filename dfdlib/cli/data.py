"""Commands that make and split data sets."""

from __future__ import annotations

import sys
from pathlib import Path

from dfdlib.cli.options import Repeated, UsageError


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


def scan(path: str, /, *, label: Repeated = (), unlabelled: bool = False, videos: bool = False) -> str:
    """Write a manifest.csv into a folder of images or videos; print its path.

    Args:
        path: The folder.
        label: A folder name that means real or fake, e.g. 0_old=fake.
        unlabelled: The images need no labels.
        videos: One row for each video or folder of frames.
    """
    from dfdlib.data.groups import grouping
    from dfdlib.data.manifest import summary, write_manifest
    from dfdlib.data.scan import count_skipped, scan_images, scan_videos

    for pair in label:
        if "=" not in pair:
            raise UsageError(f"--label is {pair!r}; it must look like FOLDER=real or FOLDER=fake.")
    labels = dict(pair.split("=", 1) for pair in label)
    manifest = scan_videos(path, labels) if videos else scan_images(path, labels, not unlabelled)
    print(summary(manifest).to_string(), *grouping(manifest), sep="\n", file=sys.stderr)
    for reason, count in count_skipped(path).items():
        print(f"skipped: {count} {reason}", file=sys.stderr)
    file = Path(path) / "manifest.csv"
    write_manifest(manifest, file)
    return str(file)


def split(path: str, /, *, val: float = 0.2, test: float = 0.0, seed: int = 0, videos: bool = False) -> str:
    """Assign the images to train, val and test; print the manifest.

    Args:
        path: A folder of images, or a manifest.
        val: Share of the validation images.
        test: Share of the test images.
        seed: Seeds the split.
        videos: One row for each video or folder of frames.
    """
    from dfdlib.data.groups import grouping
    from dfdlib.data.manifest import root_of, summary, write_manifest
    from dfdlib.data.scan import open_raw
    from dfdlib.data.splits import assert_disjoint, assign_splits

    manifest = open_raw(path, videos=videos)
    fractions = {"train": 1 - val - test, "val": val, "test": test}
    kept = {name: share for name, share in fractions.items() if share > 0}
    manifest = assign_splits(manifest, kept, seed)
    assert_disjoint(manifest)
    print(summary(manifest).to_string(), *grouping(manifest), sep="\n", file=sys.stderr)
    file = root_of(manifest) / "manifest.csv"
    write_manifest(manifest, file)
    return str(file)
