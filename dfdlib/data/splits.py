"""Splits and folds: stratified by label, source, category and generator, and never through a group."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from dfdlib.core.errors import DfdError
from dfdlib.data.groups import crossing, tied

FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Shares of the splits when a data set states none."""
_VAL_OF_TRAIN = 0.15
_STRATA = ["label", "source", "category", "generator"]
_PARTS = 20
"""Equal parts that splits are made of; fewer where each could not have a group of every label."""
_MANY_GROUPS = 2000
"""Above it folds hold equal numbers of groups instead of images: `StratifiedGroupKFold` would take too long."""


def assign_splits(
    manifest: pd.DataFrame, fractions: Mapping[str, float] = FRACTIONS, seed: int = 0
) -> pd.DataFrame:
    """Return the manifest with a new `split` column; groups that share a source are joined, see `groups.tied`.

    The images are cut into equal stratified parts, as `kfold` does, and each split takes as many as its share.

    Args:
        manifest: See `manifest`; the order of its rows does not matter.
        fractions: Share of the images of each split; they add up to 1.
        seed: Draws which group goes where.

    Raises:
        DfdError: Fewer groups than splits, or shares that do not add up to 1.
    """
    if min(fractions.values()) <= 0 or abs(sum(fractions.values()) - 1) > 1e-6:
        raise DfdError(f"the fractions {dict(fractions)} must be positive and add up to 1.")
    manifest = manifest.assign(group=tied(manifest))
    if manifest["group"].nunique() < len(fractions):
        raise DfdError(
            f"{manifest['group'].nunique()} groups cannot be split into {', '.join(fractions)}; add more images."
        )
    shares = np.asarray(list(fractions.values()))
    labels = manifest[["group", "label"]].drop_duplicates().groupby("label", dropna=False).size()
    n_parts = min(max(_PARTS, round(1 / shares.min())), labels.sum() // len(labels))
    n_parts = max(n_parts, len(shares))
    part = _folds(manifest, n_parts, seed)
    rare = manifest["label"] == labels.idxmin()
    sizes, n_rare = (np.bincount(rows, minlength=n_parts) for rows in (part, part[rare]))
    place, filled = np.empty(n_parts, int), np.zeros(len(shares))
    for i in np.lexsort((-sizes, -n_rare)):  # the rarer label first, so that no split goes without it
        place[i] = np.lexsort((-shares, filled / shares))[0]
        filled[place[i]] += sizes[i]
    result = manifest.copy()
    result["split"] = np.asarray(list(fractions), object)[place[part]]
    return result


def complete_splits(manifest: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Keep the splits that the data set states and add those that are missing.

    Nothing stated: train, val and test. Train without val: 15 % of its groups become val. An unlabelled
    test split is left alone. Each `source` is split by itself, as it would be alone; then a group of several sources
    goes where one of them states it, or where the first one has it.

    Raises:
        DfdError: There is val but no train, or a part of the labelled images of a source has no split.
    """
    if "source" in manifest:
        parts = [_completed(rows, seed) for _, rows in manifest.groupby("source", sort=False, dropna=False)]
        completed = pd.concat(parts).loc[manifest.index]
        moved = completed["split"].ne(manifest["split"])
        group, first = tied(completed), moved.sort_values(kind="stable").index
        leading = completed["split"][first].groupby(group[first]).first()
        completed["split"] = completed["split"].mask(moved, group.map(leading))
    else:
        completed = _completed(manifest, seed)
    names = set(completed.loc[completed["label"].notna(), "split"])
    if names and "train" not in names:
        raise DfdError(f"the data has {' and '.join(sorted(names))} but no train split; add a train folder.")
    return completed


def kfold(manifest: pd.DataFrame, n_splits: int = 5, seed: int = 0) -> pd.Series:
    """Return the fold, 0 to `n_splits` - 1, of each row: stratified, and a group in one fold alone.

    The order of the rows does not matter.

    Raises:
        DfdError: Fewer groups than folds.
    """
    manifest = manifest.assign(group=tied(manifest))
    if manifest["group"].nunique() < n_splits:
        raise DfdError(f"{manifest['group'].nunique()} groups cannot make {n_splits} folds; ask for fewer.")
    return pd.Series(_folds(manifest, n_splits, seed), manifest.index, name="fold")


def assert_disjoint(manifest: pd.DataFrame, by: str = "split") -> None:
    """Check that no group crosses the values of column `by`.

    Raises:
        DfdError: Some do; the message names them.
    """
    if found := crossing(manifest, by):
        raise DfdError(found)


def _completed(manifest: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Do as `complete_splits` for one source."""
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
    if "val" in names or "train" not in names:
        return manifest
    train = labelled & (manifest["split"] == "train")
    return _with_splits(manifest, train, {"train": 1 - _VAL_OF_TRAIN, "val": _VAL_OF_TRAIN}, seed)


def _with_splits(
    manifest: pd.DataFrame, rows: pd.Series, fractions: Mapping[str, float], seed: int
) -> pd.DataFrame:
    result = manifest.copy()
    result.loc[rows, "split"] = assign_splits(manifest[rows], fractions, seed)["split"]
    result["split"] = result["split"].where(result["split"].notna(), "test")  # unlabelled, unsplit images
    return result


def _folds(manifest: pd.DataFrame, n: int, seed: int) -> np.ndarray:
    """Return a fold, 0 to n - 1, for each row, the same one for all rows of a group."""
    manifest = manifest.reindex(columns=["group", *_STRATA]).astype(object)
    table, splitter = manifest, StratifiedGroupKFold(n)
    if manifest["group"].nunique() > _MANY_GROUPS:
        table = manifest.sort_values(["group", *_STRATA]).drop_duplicates("group")
        splitter = StratifiedKFold(n, shuffle=True, random_state=seed)
    strata, groups = _strata(table, n), table["group"].to_numpy()
    codes = np.unique(groups, return_inverse=True)[1]
    order = np.argsort(np.random.RandomState(seed).permutation(codes.max() + 1))
    fold_of = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label of fewer images than folds
        # Before 1.8 scikit-learn's own shuffling of groups lost their labels.
        folds = splitter.split(strata, strata, order[codes])
        for fold, (_, held_out) in enumerate(folds):
            fold_of |= dict.fromkeys(groups[held_out], fold)
    return manifest["group"].map(fold_of).to_numpy()


def _strata(manifest: pd.DataFrame, n: int) -> np.ndarray:
    """Return the number of each row's stratum: label × source × category × generator.

    Strata of fewer than `n` groups cannot reach all folds, and those of one label share a stratum: without
    the generator, then without the category and the source, and labels as rare as that share one as well.
    """
    key = manifest[_STRATA].fillna("").astype(object).reset_index(drop=True)
    group = manifest["group"].reset_index(drop=True)
    for dropped in reversed(_STRATA):
        n_groups = group.groupby([key[name] for name in _STRATA]).transform("nunique")
        key.loc[n_groups < n, dropped] = "\0rare"
    return pd.factorize(pd.MultiIndex.from_frame(key), sort=True)[0]
