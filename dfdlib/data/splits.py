"""Splits and folds: stratified by label, category and generator, and never through a group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dfdlib.core.errors import DfdError

FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Shares of the splits when a data set states none."""
_VAL_OF_TRAIN = 0.15


def assign_splits(
    manifest: pd.DataFrame, fractions: Mapping[str, float] = FRACTIONS, seed: int = 0
) -> pd.DataFrame:
    """Return the manifest with a new `split` column.

    Args:
        manifest: See `manifest`; the order of its rows does not matter.
        fractions: Share of the images of each split; they add up to 1.
        seed: Draws which group goes where.

    Raises:
        DfdError: Fewer groups than splits, or shares that do not add up to 1.
    """
    if min(fractions.values()) < 0 or abs(sum(fractions.values()) - 1) > 1e-6:
        raise DfdError(f"the fractions {dict(fractions)} must be positive and add up to 1.")
    if manifest["group"].nunique() < len(fractions):
        raise DfdError(
            f"{manifest['group'].nunique()} groups cannot be split into {', '.join(fractions)}; add more images."
        )
    places = _distribute(manifest, list(fractions.values()), seed)
    result = manifest.copy()
    result["split"] = np.asarray(list(fractions), object)[places]
    return result


def complete_splits(manifest: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Keep the splits that the data set states and add those that are missing.

    Nothing stated: train, val and test. Train without val: 15 % of its groups become val. An unlabelled
    test split stays as it is.

    Raises:
        DfdError: There is val but no train, or a part of the labelled images has no split.
    """
    labelled = manifest["label"].notna()
    stated = manifest["split"].notna()
    if not (labelled & stated).any():
        return _with_splits(manifest, labelled, FRACTIONS, seed)
    if not stated.all():
        example = manifest.loc[~stated, "path"].iloc[0]
        raise DfdError(
            f"{(~stated).sum()} images belong to no split, e.g. {example}; state all splits or none."
        )
    names = set(manifest.loc[labelled, "split"])
    if "train" not in names:
        raise DfdError(f"the data has {' and '.join(sorted(names))} but no train split; add a train folder.")
    if "val" in names:
        return manifest
    train = labelled & (manifest["split"] == "train")
    return _with_splits(manifest, train, {"train": 1 - _VAL_OF_TRAIN, "val": _VAL_OF_TRAIN}, seed)


def kfold(manifest: pd.DataFrame, n_splits: int = 5, seed: int = 0) -> pd.Series:
    """Return the fold, 0 to `n_splits` - 1, of each row: stratified, and a group in one fold alone.

    Raises:
        DfdError: Fewer groups than folds.
    """
    if manifest["group"].nunique() < n_splits:
        raise DfdError(f"{manifest['group'].nunique()} groups cannot make {n_splits} folds; ask for fewer.")
    places = _distribute(manifest, [1 / n_splits] * n_splits, seed)
    return pd.Series(places, manifest.index, name="fold")


def assert_disjoint(manifest: pd.DataFrame, by: str = "split") -> None:
    """Check that no group crosses the values of column `by`.

    Raises:
        DfdError: Some do; the message names them.
    """
    crossing = manifest.groupby("group", sort=True)[by].nunique()
    crossing = crossing[crossing > 1]
    if len(crossing):
        places = manifest.loc[manifest["group"] == crossing.index[0], by].dropna().unique()
        raise DfdError(
            f"{len(crossing)} groups cross the {by}s, e.g. `{crossing.index[0]}` is in "
            f"{' and '.join(map(str, sorted(places)))}: images of one source would be trained and tested on. "
            "Put each group into one, or split again."
        )


def _with_splits(
    manifest: pd.DataFrame, rows: pd.Series, fractions: Mapping[str, float], seed: int
) -> pd.DataFrame:
    result = manifest.copy()
    result.loc[rows, "split"] = assign_splits(manifest[rows], fractions, seed)["split"]
    result["split"] = result["split"].where(result["split"].notna(), "test")  # unlabelled, unsplit images
    return result


def _distribute(manifest: pd.DataFrame, shares: Sequence[float], seed: int) -> np.ndarray:
    """Return a place, 0 to len(shares) - 1, for each row, the same one for all rows of a group.

    Iterative stratification (Sechidis et al. 2011, doi:10.1007/978-3-642-23808-6_10) over groups: the
    largest groups first, each to the place that its strata are furthest from having their share of.
    """
    strata = _strata(manifest, shares)
    groups, names = pd.factorize(manifest["group"], sort=True)
    wanted = np.outer(np.bincount(strata), shares)
    members: list[Counter[int]] = [Counter() for _ in names]
    for group, stratum in zip(groups.tolist(), strata.tolist(), strict=True):
        members[group][stratum] += 1
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort([-sum(members[group].values()) for group in order], kind="stable")]
    overall = np.asarray(shares) * len(manifest)
    places = np.empty(len(names), int)
    for group in order:
        counts = members[group]
        need = sum(wanted[stratum] * n for stratum, n in counts.items())
        place = int(np.lexsort((-overall, -np.round(need, 9)))[0])
        places[group] = place
        for stratum, n in counts.items():
            wanted[stratum, place] -= n
            overall[place] -= n
    return places[groups]


def _strata(manifest: pd.DataFrame, shares: Sequence[float]) -> np.ndarray:
    """Return the number of each row's stratum: label × category × generator, or coarser where that is tiny.

    The largest place would take every group of a stratum of n groups while n × (largest - smallest share)
    exceeds n - 1. Many such strata would leave the other places empty, so they share one: without the
    generator, then without the category.
    """
    columns = ["label", "category", "generator"]
    key = manifest[columns].fillna("").astype(object).reset_index(drop=True)
    group = manifest["group"].reset_index(drop=True)
    for dropped in ("generator", "category"):
        n_groups = group.groupby([key[name] for name in columns]).transform("nunique")
        key.loc[n_groups * (1 - max(shares) + min(shares)) < 1, dropped] = "\0rare"
    return pd.factorize(pd.MultiIndex.from_frame(key), sort=True)[0]
