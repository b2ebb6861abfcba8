"""Several data sets as one: nothing of one is mixed up with the other, and what they share stays together."""

import shutil

import numpy as np
import pandas as pd
import pytest

from dfdlib import DfdError
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.loader import GroupShuffle
from dfdlib.data.manifest import files_of, read_manifest, root_of, write_manifest
from dfdlib.data.scan import open_data, open_raw
from dfdlib.data.sources import data_dirs, source_names
from dfdlib.data.splits import assert_disjoint, assign_splits, complete_splits
from dfdlib.evaluation.audit import audit_images
from dfdlib.training.memory import remember

PLAIN = [f"{label}/{i}.png" for label in ("real", "fake") for i in range(20)]


def below(name, files=PLAIN):
    return [f"{name}/{file}" for file in files]


@pytest.fixture
def two(write_images):
    """Two data sets of the same file names, `a` and `b`."""
    root = write_images(below("a") + below("b"))
    return [root / "a", root / "b"]


def test_text_and_lists_name_the_same_data(two, tmp_path):
    text = f"{two[0]}, {two[1]}"
    assert data_dirs(text) == data_dirs(two) == two
    (tmp_path / "one,name").mkdir()
    assert data_dirs(tmp_path / "one,name") == [tmp_path / "one,name"]
    pd.testing.assert_frame_equal(open_data(text, seed=1), open_data(list(map(str, two)), seed=1))
    with pytest.raises(DfdError, match="pass a folder of images"):
        data_dirs([])
    with pytest.raises(DfdError, match=r"nowhere does not exist"):
        open_raw([two[0], tmp_path / "nowhere"])


def test_rows_find_their_files_and_know_their_source(two, tmp_path):
    manifest = open_data(two)
    assert manifest["source"].value_counts().to_dict() == {"a": 40, "b": 40}
    assert root_of(manifest) == two[0].parent
    assert all(file.is_file() for file in files_of(manifest))
    assert not manifest["path"].duplicated().any()
    assert not manifest["group"].duplicated().any()
    assert source_names(manifest) == ["a", "b"]
    assert source_names(open_data(two[0])) == ["a"]
    write_manifest(manifest, tmp_path / "both.csv")
    pd.testing.assert_frame_equal(
        read_manifest(tmp_path / "both.csv").drop(columns="root"), manifest.drop(columns="root")
    )


def test_each_is_split_as_it_would_be_alone(two):
    both = open_data(two, seed=3)
    for folder in two:
        alone = open_data(folder, seed=3)
        mine = both[both["source"] == folder.name]
        assert list(mine["split"]) == list(alone["split"])


def test_one_that_states_its_splits_keeps_them_and_may_be_for_testing_alone(write_images):
    test = [f"test/{file}" for file in PLAIN]
    root = write_images(below("a") + below("b", test))
    manifest = open_data([root / "a", root / "b"])
    assert set(manifest.loc[manifest["source"] == "b", "split"]) == {"test"}
    assert set(manifest.loc[manifest["source"] == "a", "split"]) == {"train", "val", "test"}
    with pytest.raises(DfdError, match="no train split"):
        complete_splits(manifest[manifest["source"] == "b"])


def test_copies_in_two_data_sets_go_where_one_of_them_states_it(write_images):
    test = [f"test/{file}" for file in PLAIN]
    root = write_images(below("a") + below("b", test))
    for file in PLAIN[:20:2]:
        shutil.copy(root / "b" / "test" / file, root / "a" / file)
    manifest = open_data([root / "a", root / "b"])
    assert_disjoint(manifest)
    by_path = manifest.set_index("path")
    for file in PLAIN[:20:2]:
        pair = by_path.loc[[f"a/{file}", f"b/test/{file}"]]
        assert pair["group"].nunique() == 1
        assert set(pair["split"]) == {"test"}


def test_near_duplicates_in_two_data_sets_become_one_group(two):
    import cv2

    picture = cv2.GaussianBlur(cv2.imread(str(two[0] / "real" / "0.png")), (0, 0), 3)
    cv2.imwrite(str(two[0] / "real" / "0.png"), picture)
    cv2.imwrite(str(two[1] / "real" / "7.png"), np.clip(picture.astype(int) + 1, 0, 255).astype(np.uint8))
    audit = audit_images(open_raw(two))
    groups = audit.manifest.set_index("path")["group"]
    assert groups["a/real/0.png"] == groups["b/real/7.png"]
    for manifest in (assign_splits(audit.manifest, seed=5), complete_splits(audit.manifest, seed=5)):
        assert_disjoint(manifest)
        assert manifest.set_index("path").loc[["a/real/0.png", "b/real/7.png"], "split"].nunique() == 1


def test_names_that_mean_something_else_stay_apart(write_images):
    people = [f"{label}/person_{i}/{k}.jpg" for label in ("real", "fake") for i in range(8) for k in "xy"]
    numbers = [f"{label}/{i}/{k}.jpg" for label in ("real", "fake") for i in range(3) for k in "xyz"]
    animals = [
        f"{label}/{name}/{k}.jpg" for label in ("real", "fake") for name in ("Horses", "Dogs") for k in "xy"
    ]
    others = [name.replace("Horses", "horses") for name in animals]
    sets = {"a": people, "b": people, "c": numbers, "d": numbers, "e": animals, "f": others}
    root = write_images([file for name, files in sets.items() for file in below(name, files)])
    manifest = open_raw([root / name for name in sets])
    assert manifest.groupby("group")["source"].nunique().max() == 1
    shown = assign_splits(manifest, seed=0).groupby("source")["group"].nunique()
    assert shown["a"] == shown["b"] == 8
    categories = manifest.groupby("source")["category"].unique().map(lambda names: sorted(map(str, names)))
    assert categories["c"] == ["c 0", "c 1", "c 2"]
    assert categories["d"] == ["d 0", "d 1", "d 2"]
    assert categories["e"][-1] == categories["f"][-1] == "horses"


def test_videos_that_fakes_of_two_data_sets_are_made_of_are_one_source(write_images):
    def films(method):
        names = [f"real/{i:03d}" for i in range(8)] + [
            f"fake/{method}/{i:03d}_{i + 1:03d}" for i in range(0, 8, 2)
        ]
        return [f"{name}/{k}.png" for name in names for k in range(2)]

    root = write_images(below("a", films("Deepfakes")) + below("b", films("FaceSwap")))
    manifest = open_data([root / "a", root / "b"], seed=2)
    assert_disjoint(manifest)
    of_pair = manifest["path"].str.contains("/00[01]")
    assert manifest.loc[of_pair, "split"].nunique() == 1
    assert manifest.loc[of_pair, "source"].nunique() == 2


def test_folders_of_one_name_are_told_apart(write_images):
    root = write_images(below("x/archive") + below("y/archive"))
    assert source_names(open_raw([root / "x/archive", root / "y/archive"])) == ["x/archive", "y/archive"]
    with pytest.raises(DfdError, match="more than once"):
        open_data([root / "x/archive", root / "x/archive"])


def test_a_sample_is_drawn_from_every_source(write_images):
    many = [f"{label}/{i}.png" for label in ("real", "fake") for i in range(100)]
    root = write_images(below("a", many) + below("b"))
    counts = open_data([root / "a", root / "b"], max_images=60).value_counts(["source", "label"])
    assert counts.loc["b"].min() >= 12


@pytest.mark.parametrize("balance", ["weights", "oversample", "downsample"])
def test_training_draws_evenly_from_sources_and_their_generators(write_images, balance):
    fakes = [f"fake/gan/{i}.png" for i in range(30)] + [f"fake/diffusion/{i}.png" for i in range(6)]
    root = write_images(
        below("a", [f"real/{i}.png" for i in range(60)] + fakes)
        + below("b", ["real/0.png", "real/1.png", "fake/0.png"])
    )
    manifest = open_raw([root / "a", root / "b"]).assign(split="train")
    images = ImageDataset(manifest, 24)
    sampler = GroupShuffle(images, 0, balance)
    chosen = manifest.iloc[list(sampler)]
    n_real, n_fake = {"weights": (62, 37), "oversample": (62, 62), "downsample": (37, 37)}[balance]
    assert chosen["label"].value_counts().to_dict() == {"real": n_real, "fake": n_fake}
    assert len(chosen) == len(sampler)
    for label, n in (("real", n_real), ("fake", n_fake)):
        of_label = chosen[chosen["label"] == label]
        assert abs(of_label["source"].value_counts() - n / 2).max() <= 1
    generators = chosen.loc[(chosen["label"] == "fake") & (chosen["source"] == "a"), "generator"]
    assert abs(generators.value_counts() - n_fake / 4).max() <= 1
    gan = chosen.loc[chosen["generator"] == "gan", "path"]
    assert gan.is_unique, "none is repeated before all are drawn"
    assert sorted(GroupShuffle(images, 0, "none")) == list(range(len(images)))


def test_a_detector_remembers_the_names_of_its_data_sets(two):
    from dfdlib import create_detector

    images = ImageDataset(open_data(two), 24)
    detector = create_detector("cnn", 24)
    remember(detector, images.split("train"), images.split("val"))
    assert detector.provenance["sources"] == ["a", "b"]
