"""Which images a detector has learned from: it keeps their digests, so that a test on them is noticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from .manifest import file_sample, root_of
from .models import Detector

_SAMPLE_BYTES = 65_536


def content_digests(manifest: pd.DataFrame) -> np.ndarray:
    """Return a digest of each file, int64 [N]: of its size and its first and last 64 KB; 0 where it is not there.

    The same bytes under another name have the same digest; a file that was saved anew has another one
    (`audit.duplicates` finds those).
    """
    root = root_of(manifest)
    return np.array([_digest(root / path) for path in manifest["path"]], np.int64)


def count_seen(detector: Detector, manifest: pd.DataFrame) -> int:
    """Return how many images of a manifest the detector was trained on, or chosen by in validation."""
    if detector.seen is None:
        return 0
    digests = content_digests(manifest)
    return int((np.isin(digests, detector.seen) & (digests != 0)).sum())


def remember(detector: Detector, *manifests: pd.DataFrame) -> None:
    """Add the images of manifests to those that the detector has seen."""
    digests = [content_digests(manifest) for manifest in manifests]
    before = [] if detector.seen is None else [detector.seen]
    known = np.unique(np.concatenate([*before, *digests]))
    detector.seen = known[known != 0]


def _digest(path: Path) -> int:
    content = file_sample(path, _SAMPLE_BYTES)
    if content is None:  # a frame of a video, or a folder of frames
        return 0
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)
