"""Commands that make and split data sets."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def demo_data(options: argparse.Namespace) -> str:
    """Draw the demo set; return its manifest file."""
    from dfdlib.data.manifest import root_of
    from dfdlib.demo.sets import demo_manifest

    manifest = demo_manifest(options.images, options.seed, options.size, options.workers)
    return str(root_of(manifest) / "manifest.csv")


def scan(options: argparse.Namespace) -> str:
    """Write the manifest of a folder into it; return the file."""
    from dfdlib.data.manifest import summary, write_manifest
    from dfdlib.data.scan import count_skipped, scan_images

    labels = dict(pair.split("=", 1) for pair in options.label)
    manifest = scan_images(options.path, labels, require_labels=not options.unlabelled)
    print(summary(manifest).to_string(), file=sys.stderr)
    for reason, count in count_skipped(options.path).items():
        print(f"skipped: {count} {reason}", file=sys.stderr)
    file = Path(options.path) / "manifest.csv"
    write_manifest(manifest, file)
    return str(file)


def split(options: argparse.Namespace) -> str:
    """Share images out to the splits; return the manifest file."""
    from dfdlib.data.manifest import root_of, summary, write_manifest
    from dfdlib.data.scan import open_raw
    from dfdlib.data.splits import assert_disjoint, assign_splits

    manifest = open_raw(options.path)
    fractions = {"train": 1 - options.val - options.test, "val": options.val, "test": options.test}
    kept = {name: share for name, share in fractions.items() if share > 0}
    manifest = assign_splits(manifest, kept, options.seed)
    assert_disjoint(manifest)
    print(summary(manifest).to_string(), file=sys.stderr)
    file = root_of(manifest) / "manifest.csv"
    write_manifest(manifest, file)
    return str(file)
