"""Splits: stratified, whole groups, the same for the same seed."""

import time
import warnings

import numpy as np
import pandas as pd
import pytest

from dfdlib import DfdError
from dfdlib.data.splits import FRACTIONS, assert_disjoint, assign_splits, complete_splits, kfold


def table(n=600, per_group=2, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.choice(["real", "fake"], n)
    return pd.DataFrame(
        {
            "path": [f"{i}.jpg" for i in range(n)],
            "label": label,
            "category": rng.choice(["animals", "vehicles", None], n),
            "split": None,
            "group": [f"g{i // per_group}" for i in range(n)],
            "generator": np.where(label == "fake", rng.choice(["a", "b"], n), None),
        }
    )


def test_groups_stay_whole_and_shares_are_met():
    split = assign_splits(table(), seed=3)
    assert_disjoint(split)
    for keys, part in split.fillna("").groupby(["label", "category", "generator"]):
        for name, share in FRACTIONS.items():
            assert abs((part["split"] == name).sum() - share * len(part)) <= 4, (keys, name)


@pytest.mark.parametrize("n", [600, 6000])  # few groups and many
def test_strata_of_single_images_are_split_to_a_few_images(n):
    split = assign_splits(table(n, per_group=1))
    for _, part in split.fillna("").groupby(["label", "category", "generator"]):
        for name, share in FRACTIONS.items():
            assert abs((part["split"] == name).sum() - share * len(part)) <= 3


@pytest.mark.parametrize("n_strata", [10, 50, 100])
def test_many_tiny_strata_do_not_empty_val_and_test(n_strata):
    manifest = table(100, per_group=1)
    manifest["label"] = ["real", "fake"] * 50
    manifest["generator"] = None
    manifest["category"] = [f"c{i * n_strata // 100}" for i in range(100)]
    split = assign_splits(manifest, seed=2)
    for _, part in split.groupby("label"):
        for name, share in FRACTIONS.items():
            assert abs((part["split"] == name).sum() - share * len(part)) <= 5, name


def test_shares_that_are_none_are_refused():
    with pytest.raises(DfdError, match="add up to 1"):
        assign_splits(table(), {"train": 0.7, "val": 0.7})


def test_a_huge_group_does_not_starve_the_others():
    manifest = table(400, per_group=1)
    manifest.loc[:99, "group"] = "one video"
    counts = assign_splits(manifest)["split"].value_counts()
    assert counts["val"] >= 50
    assert counts["test"] >= 50


@pytest.mark.parametrize("n_real", [3, 5, 20])
def test_a_rare_label_reaches_every_split(n_real):
    manifest = table(300, per_group=1)
    manifest["label"] = np.where(np.arange(300) < n_real, "real", "fake")
    for seed in range(3):
        split = assign_splits(manifest, seed=seed)
        assert set(split.loc[split["label"] == "real", "split"]) == set(FRACTIONS)
        assert (split["split"] == "train").mean() == pytest.approx(FRACTIONS["train"], abs=0.01)


@pytest.mark.parametrize("n_groups", [2, 3, 4, 5, 6, 10, 30])
def test_few_groups_fill_every_split_and_fold(n_groups):
    manifest = table(2 * n_groups)
    manifest["label"] = np.where(np.arange(2 * n_groups) % 4 < 2, "real", "fake")
    fractions = {"train": 0.8, "test": 0.2} if n_groups == 2 else FRACTIONS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split = assign_splits(manifest, fractions)
        folds = kfold(manifest, 2)
    assert_disjoint(split)
    assert set(split["split"]) == set(fractions)
    assert set(folds) == {0, 1}
    if n_groups >= 6:
        assert (split.groupby("split")["label"].nunique() == 2).all()


@pytest.mark.parametrize("n", [600, 6000])  # few groups and many
def test_the_seed_decides_and_the_order_of_rows_does_not(n):
    manifest = table(n)
    first, again, other = (assign_splits(manifest, seed=seed)["split"] for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)
    shuffled = assign_splits(manifest.sample(frac=1, random_state=5), seed=1)["split"].sort_index()
    assert shuffled.equals(first)
    folds = kfold(manifest, seed=1)
    assert kfold(manifest.sample(frac=1, random_state=5), seed=1).sort_index().equals(folds)
    assert not kfold(manifest, seed=2).equals(folds)


def test_one_image_moved_to_another_split_is_noticed_by_the_name_of_its_group():
    split = assign_splits(table())
    row = split.index[split["split"] == "train"][0]
    split.loc[row, "split"] = "test"
    with pytest.raises(DfdError, match=f"`{split.loc[row, 'group']}` is in test and train"):
        assert_disjoint(split)


def test_stated_splits_are_kept_and_val_is_carved_out_of_train():
    manifest = table(200)
    manifest["split"] = np.where(np.arange(200) < 160, "train", "test")
    done = complete_splits(manifest, seed=0)
    assert (done["split"][160:] == "test").all()
    assert set(done["split"][:160]) == {"train", "val"}
    assert abs((done["split"] == "val").sum() - 24) <= 4
    assert_disjoint(done)


def test_complete_data_is_left_alone():
    manifest = assign_splits(table())
    assert complete_splits(manifest)["split"].equals(manifest["split"])


def test_an_unlabelled_test_split_stays_test():
    manifest = table(100)
    manifest.loc[80:, ["label", "generator"]] = None
    manifest.loc[80:, "split"] = "test"
    done = complete_splits(manifest)
    assert (done["split"][80:] == "test").all()
    assert set(done["split"][:80]) == {"train", "val", "test"}


def test_val_without_train_is_refused():
    manifest = table(20)
    manifest["split"] = "val"
    with pytest.raises(DfdError, match="val but no train split"):
        complete_splits(manifest)


def test_half_a_split_is_refused():
    manifest = table(20)
    manifest.loc[:9, "split"] = "train"
    with pytest.raises(DfdError, match=r"10 images belong to no split, e\.g\. 10\.jpg"):
        complete_splits(manifest)


def test_folds_are_balanced_and_groups_whole():
    manifest = table(500)
    manifest["fold"] = kfold(manifest, 5, seed=1)
    assert_disjoint(manifest, by="fold")
    assert set(manifest["fold"]) == set(range(5))
    fakes = manifest[manifest["label"] == "fake"]["fold"].value_counts()
    assert fakes.max() - fakes.min() <= 4


def test_images_without_labels_can_be_split_too():
    manifest = table(100).assign(label=None)
    assert set(assign_splits(manifest)["split"]) == set(FRACTIONS)


def test_too_few_groups_are_refused():
    with pytest.raises(DfdError, match="2 groups cannot be split"):
        assign_splits(table(4))
    with pytest.raises(DfdError, match="2 groups cannot make 5 folds"):
        kfold(table(4))


def test_a_hundred_thousand_images_take_seconds():
    started = time.perf_counter()
    assign_splits(table(100_000))
    assert time.perf_counter() - started < 10
