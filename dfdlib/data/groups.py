"""Which images come from one source: the names that tell it, and the groups that shared sources make."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_SOURCES = (
    # FaceForensics++ (arXiv:1901.08971), and DF40 (arXiv:2406.13495), which is made of it: target, source.
    (re.compile(r"(\d{3})(?:_(\d{3}))?"), ""),
    # DeepFakeDetection (Google and Jigsaw 2019), part of FaceForensics++: two actors, the scene, a code.
    (re.compile(r"(\d\d)(?:_(\d\d))?__.+"), "actor_"),
    # DeeperForensics-1.0 (arXiv:2001.03024): a target of FaceForensics++ and an actor.
    (re.compile(r"(\d{3})_([MW]\d{3})"), ""),
    # Celeb-DF (arXiv:1909.12962), and DF40: one person or two, and a number.
    (re.compile(r"(id\d+)(?:_(id\d+))?_\d{4}"), ""),
)
"""Names of videos that tell their sources, and what to put before each source."""
_FRAME = re.compile(r"(.+?)[ _-]+(?:frame|img|f)?[ _-]?\d+")
_MANY = 10


def sources_of(name: str) -> tuple[str, ...]:
    """Return the sources that the name of a video tells, one or two; none where it tells none."""
    for pattern, prefix in _SOURCES:
        if match := pattern.fullmatch(name):
            return tuple(prefix + part for part in match.groups() if part)
    return ()


def sources_of_images(stems: Sequence[str], fake: Sequence[bool]) -> list[tuple[str, ...]]:
    """Return the sources that the names of single images tell, such as `000_003` or `000_003_0012`.

    Numbers alone could mean anything: they count where fakes name two sources and a real image is one of them.
    """
    found = []
    for stem, is_fake in zip(stems, fake, strict=True):
        frame = _FRAME.fullmatch(stem)
        named = sources_of(stem) or (sources_of(frame[1]) if frame else ())
        found.append(named if is_fake else named[:1])
    reals = {named[0] for named, is_fake in zip(found, fake, strict=True) if named and not is_fake}
    if any(
        is_fake and len(named) > 1 and reals & set(named) for named, is_fake in zip(found, fake, strict=True)
    ):
        return found
    return [()] * len(found)


def tie(names: Sequence[Sequence[str]]) -> list[str]:
    """Return a group for each row, from the names of its sources, at least one.

    Rows that share a source are in one group, at first or second hand: the connected components of the graph
    that joins the sources of a row. A group is called by the first of its names.
    """
    counts = [len(row) for row in names]
    codes, known = pd.factorize(np.array([name for row in names for name in row], object), sort=True)
    first = codes[np.cumsum([0, *counts[:-1]])]
    edges = (np.ones(len(codes)), (np.repeat(first, counts), codes))
    component = connected_components(coo_array(edges, (len(known), len(known))), directed=False)[1]
    called = pd.Series(known).groupby(component).first().to_numpy()
    return called[component[first]].tolist()


def tied(manifest: pd.DataFrame) -> pd.Series:
    """Return the groups of a manifest, those joined that share one of the `sources` that it states.

    The groups of one scan are so already; tables of several data sets, put together, need not be.
    """
    if "sources" not in manifest or manifest.empty:
        return manifest["group"]
    names = [
        (group, *(sources.split("/") if isinstance(sources, str) else ()))
        for group, sources in zip(manifest["group"], manifest["sources"], strict=True)
    ]
    return pd.Series(tie(names), manifest.index, object)


def grouping(manifest: pd.DataFrame) -> list[str]:
    """Say in sentences how the groups of a manifest were found, and what may be wrong with them."""
    group = manifest["group"]
    alone, told = group == manifest["path"], pd.Series(dtype=object)
    if "sources" in manifest:
        told = manifest["sources"].dropna()
    said = [
        f"{group.nunique():,} groups of {len(manifest):,} images: {len(told):,} were grouped by the names of videos, "
        f"persons and folders, and {alone.sum():,} are each their own group."
    ]
    for sources in told[told.str.contains("/")].head(1):
        said.append(f"A group holds all that its sources are in: `{sources}` belongs to each of them.")
    largest = group.value_counts()
    if len(manifest) >= _MANY and largest.iloc[0] > len(manifest) / 2:
        said.append(
            f"One group, `{largest.index[0]}`, holds {largest.iloc[0]:,} of {len(manifest):,} images: all of it goes to "
            "one split. Where these are no images of one source, state the groups in a manifest."
        )
    frames = [match[1] for path in manifest.loc[alone, "path"] if (match := _FRAME.fullmatch(_stem(path)))]
    counts = pd.Series(frames, dtype=object).value_counts()
    several = counts[counts > 1]
    if len(several) >= _MANY and 2 * several.sum() > alone.sum():
        said.append(
            f"Warning: {several.sum():,} file names look like frames of {len(several):,} sources, e.g. `{several.index[0]}`, "
            "and nothing ties them together: if they are, put each source into a folder of its own, or state "
            "the groups in a manifest."
        )
    numbers = [name for name in manifest["category"].dropna().unique() if name.isdigit()]
    if numbers:
        said.append(
            f"Warning: {len(numbers)} folders called by a number, e.g. `{numbers[0]}`, were taken for categories: if they "
            "are videos or persons, state the groups in a manifest."
        )
    return said


def _stem(path: str) -> str:
    return PurePosixPath(path).stem
