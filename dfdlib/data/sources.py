"""Which videos and images share a source: a person, an original video. They must never cross splits."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dfdlib.images.decode import IMAGE_SUFFIXES

_PERSONS = re.compile(r"(id\d+)(?:_(id\d+))?(?:_\d+)+")
"""Celeb-DF (Li et al. 2020, arXiv:1909.12962): `id0_0003`; `id1_id5_0003` shows the face of one on the other."""
_PAIRS = (
    re.compile(r"(\d{3})(?:_(\d{3}|[MW]\d{3}))?"),
    re.compile(r"(\d{2})(?:_(\d{2}))?__.+"),
)
"""Videos and the two that a fake is made of: `000`, `000_003` of FaceForensics++ (Rössler et al. 2019,
arXiv:1901.08971) and of sets made from it (DF40, DeeperForensics' `000_M101`); actors `01__…`, `01_02__…` of
DeepFakeDetection."""
_LOOKS_LIKE_FRAME = re.compile(r"(.+?)[ _-]+(?:frame|face|img)?[ _-]?\d+", re.IGNORECASE)


def merged(keys: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """Return one of the keys for each row, the same for all rows that share one, also through others, [N].

    Args:
        keys: At least one for each row; equal keys tie rows together.
    """
    lengths = [len(row) for row in keys]
    codes, names = pd.factorize(np.array([key for row in keys for key in row], object), sort=True)
    first = codes[np.cumsum([0, *lengths[:-1]])]
    rows = np.repeat(first, lengths)
    graph = coo_array((np.ones(len(codes)), (rows, codes)), (len(names), len(names)))
    component = connected_components(graph, directed=False)[1]
    smallest = pd.Series(names).groupby(component).first()
    return smallest.loc[component[first]].to_numpy()


def video_names(manifest: pd.DataFrame) -> list[str]:
    """Return for each row the name of its video: the last folder of its group, or else its file without suffix."""
    return [
        PurePosixPath(path).stem if group == path else group.rpartition("/")[2]
        for group, path in zip(manifest["group"], manifest["path"], strict=True)
    ]


def sources_of(name: str) -> list[str]:
    """Return the persons or videos that a video is made of, as the names of known data sets state them."""
    patterns = (_PERSONS, *_PAIRS)
    match = next((found for pattern in patterns if (found := pattern.fullmatch(name))), None)
    return [part for part in match.groups() if part] if match else []


def tie_sources(manifest: pd.DataFrame, originals: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the manifest with one group for all that share a source, at first or second hand.

    Numbers state a source only where some names are pairs of them, and never of a single image.

    Args:
        manifest: See `manifest`; its groups are folders or, of what stands alone, paths.
        originals: The video that each fake is made of, by names without suffix, as DFDC's `metadata.json` states it.
    """
    originals, names = originals or {}, video_names(manifest)
    sources = {name: sources_of(name) for name in set(names)}
    paired = any(len(found) > 1 for found in sources.values())
    known = set(originals) | set(originals.values())
    keys = []
    for name, group, path in zip(names, manifest["group"], manifest["path"], strict=True):
        single = group == path and PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES
        found = sources[name] if _PERSONS.fullmatch(name) or (paired and not single) else []
        if name in known:
            found = [*found, originals.get(name, name)]
        keys.append([f"source_{source}" for source in found] or [group])
    return manifest.assign(group=merged(keys)) if keys else manifest


def describe_groups(manifest: pd.DataFrame) -> list[str]:
    """Say how images are grouped, and whether names look like sources that nothing ties together."""
    sizes = manifest["group"].value_counts()
    several = sizes[sizes > 1]
    found = [f"{len(manifest):,} images are in {len(sizes):,} groups"]
    if len(several):
        found[0] += (
            f", {len(several):,} of them of several images (videos, persons, an original and its fakes), "
            f"such as {several.index[0]} with {several.iloc[0]:,}"
        )
    alone = manifest.loc[manifest["group"].map(sizes) == 1, "path"]
    stems = [_LOOKS_LIKE_FRAME.fullmatch(PurePosixPath(path).stem) for path in alone]
    prefixes = pd.Series([match.group(1) for match in stems if match], dtype=object).value_counts()
    prefixes = prefixes[prefixes > 1]
    if len(prefixes) >= 5 and prefixes.sum() > len(alone) / 2:
        found.append(
            f"the names of {prefixes.sum():,} images look like frames of {len(prefixes):,} videos or persons, such as "
            f"{prefixes.index[0]}, which nothing ties together: put the images of each into a folder of its own, or "
            "fill in the column `group` of the manifest."
        )
    return [f"{found[0]}.", *found[1:]]
