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
_MANY = 5


def sources_of(name: str) -> tuple[str, ...]:
    """Return the sources that the name of a video tells, one or two; none where it tells none."""
    for pattern, prefix in _SOURCES:
        if match := pattern.fullmatch(name):
            return tuple(prefix + part for part in match.groups() if part)
    return ()


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
    stated = manifest["sources"].fillna("").str.split("/")
    names = [(group, *filter(None, more)) for group, more in zip(manifest["group"], stated, strict=True)]
    return pd.Series(tie(names), manifest.index, object)


def crossing(manifest: pd.DataFrame, by: str = "split") -> str:
    """Say which groups cross the values of column `by`; nothing where none does."""
    group = tied(manifest)
    places = manifest.groupby(group, sort=True)[by].nunique()
    places = places[places > 1]
    if places.empty:
        return ""
    values = manifest.loc[group == places.index[0], by].dropna().unique()
    return (
        f"{len(places)} groups cross the {by}s, e.g. `{places.index[0]}` is in "
        f"{' and '.join(map(str, sorted(values)))}: images of one source would be trained and tested on. "
        "Put each group into one, or split again."
    )


def grouping(manifest: pd.DataFrame) -> list[str]:
    """Say in sentences how the groups of a manifest were found, and what may be wrong with them."""
    group, sources = manifest["group"], manifest.get("sources", pd.Series(dtype=object)).dropna()
    alone, largest = group == manifest["path"], group.value_counts()
    pair = next((f", such as {name.replace('/', ' with ')}" for name in sources if "/" in name), "")
    counts = {
        f"tied to the videos and persons that names or tables tell{pair}": len(sources),
        "grouped by the manifest or as duplicates": len(manifest) - len(sources) - alone.sum(),
        "on their own": alone.sum(),
    }
    shares = "; ".join(f"{n:,} {how}" for how, n in counts.items() if n > 0)
    said = [f"{len(largest):,} groups of {len(manifest):,} images: {shares}."]
    if len(manifest) >= _MANY and largest.iloc[0] > len(manifest) / 2:
        said.append(f"Warning: the group `{largest.index[0]}` alone holds {largest.iloc[0]:,} images.")
    stems = (PurePosixPath(path).stem for path in manifest.loc[alone, "path"])
    frames = pd.Series([match[1] for stem in stems if (match := _FRAME.fullmatch(stem))], dtype=object)
    several = frames.value_counts().loc[lambda count: count > 1]
    if len(several) >= _MANY and 2 * several.sum() > alone.sum():
        said.append(
            f"Warning: {several.sum():,} file names look like frames of {len(several):,} sources, e.g. "
            f"`{several.index[0]}`, and nothing ties them together."
        )
    numbers = [name for name in manifest["category"].dropna().unique() if name.isdigit()]
    if numbers:
        said.append(
            f"Warning: {len(numbers)} folders called by a number were taken for categories, not for videos."
        )
    if found := crossing(manifest):
        said.append(f"Warning: {found}")
    if len(said) > 1:
        said.append("Where that is wrong, state the groups in the manifest (`docs/layouts.md`).")
    return said
