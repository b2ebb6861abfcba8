"""Manifests: round trips, samples and fingerprints, and refusals that say what to do."""

import numpy as np
import pandas as pd
import pytest

from dfdlib import DfdError
from dfdlib.data.manifest import (
    categories_of,
    content_digests,
    files_of,
    fingerprint,
    read_manifest,
    root_of,
    subsample,
    summary,
    validate,
    write_manifest,
)
from dfdlib.data.scan import open_data, scan_images


@pytest.fixture
def manifest(write_images):
    names = [
        f"{label}/{category}/{i}.png"
        for label in ("real", "fake")
        for category in ("NA", "b")
        for i in range(10)
    ]
    return open_data(write_images(names))


def test_a_manifest_survives_a_round_trip(manifest, tmp_path):
    root = root_of(manifest)
    write_manifest(manifest, root / "manifest.csv")
    again = read_manifest(root / "manifest.csv")
    pd.testing.assert_frame_equal(again.fillna(""), manifest.fillna(""), check_dtype=False)
    assert set(again["category"]) == {"NA", "b"}
    opened = open_data(root, seed=99)
    assert list(opened["split"]) == list(manifest["split"]), "a saved split must not be drawn anew"
    assert "root" not in pd.read_csv(root / "manifest.csv"), "it lies beside the images"
    write_manifest(manifest, tmp_path / "m.csv")
    assert root_of(read_manifest(tmp_path / "m.csv")) == root
    assert root_of(read_manifest(tmp_path / "m.csv", root=root)) == root


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("label", "maybe", "label 'maybe' for"),
        ("split", "holdout", "split 'holdout' for"),
        ("path", "/etc/passwd", "leaves its root"),
        ("path", "../secret.png", "leaves its root"),
        ("path", "real/NA/gone.png", "which is not in"),
        ("path", "C:/secret.png", "leaves its root"),
        ("path", "..\\secret.png", "leaves its root"),
        ("path", ".", "leaves its root"),
        ("mask", "../../secret.png", "leaves its root"),
        ("group", "", "without a group"),
    ],
)
def test_a_wrong_row_is_refused(manifest, column, value, message):
    manifest[column] = manifest.get(column)
    manifest.loc[0, column] = value
    write_manifest(manifest, root_of(manifest) / "manifest.csv")
    with pytest.raises(DfdError, match=message):
        read_manifest(root_of(manifest) / "manifest.csv")


def test_a_manifest_without_rows_and_none_at_all_are_refused(manifest, tmp_path):
    write_manifest(manifest.head(0), tmp_path / "m.csv")
    with pytest.raises(DfdError, match=r"m\.csv lists no image"):
        read_manifest(tmp_path / "m.csv")
    with pytest.raises(DfdError, match="no manifest at"):
        read_manifest(tmp_path / "n.csv")
    (tmp_path / "e.csv").write_bytes(b"")
    with pytest.raises(DfdError, match=r"e\.csv cannot be read as a manifest"):
        read_manifest(tmp_path / "e.csv")


def test_a_table_that_does_not_know_its_folder_is_refused(manifest):
    for function in (root_of, files_of, fingerprint):
        with pytest.raises(DfdError, match="does not say where its images lie; add the column `root`"):
            function(manifest.drop(columns="root"))


def test_a_row_without_a_file_has_none(manifest):
    folder = root_of(manifest)
    assert files_of(manifest) == [folder / path for path in manifest["path"]]
    masked = manifest.assign(mask=None)
    masked.loc[3, "mask"] = "masks/3.png"
    found = files_of(masked, "mask")
    assert found[3] == folder / "masks/3.png"
    assert found.count(None) == len(manifest) - 1


def test_images_of_several_folders_are_one_manifest(write_images, tmp_path):
    root = write_images([f"{name}/{label}/1.png" for name in ("one", "two") for label in ("real", "fake")])
    parts = [scan_images(root / name).assign(source=name) for name in ("one", "two")]
    both = pd.concat([part.assign(path=part["path"].str[:]) for part in parts], ignore_index=True)
    assert root_of(both) == root
    assert files_of(both) == [file for part in parts for file in files_of(part)]
    apart = both.iloc[[0, 3]].reset_index(drop=True)
    write_manifest(apart, tmp_path / "both.csv")
    again = read_manifest(tmp_path / "both.csv")
    assert [file.samefile(old) for file, old in zip(files_of(again), files_of(apart), strict=True)] == [
        True
    ] * 2
    assert pd.read_csv(tmp_path / "both.csv")["root"].tolist() == ["images/one", "images/two"]


def test_equal_bytes_have_equal_digests(manifest):
    first, second, *_ = files_of(manifest)
    second.write_bytes(first.read_bytes())
    digests = content_digests(manifest)
    assert digests.dtype == np.int64
    assert digests[0] == digests[1] != digests[2]
    first.unlink()
    assert content_digests(manifest)[0] == 0


def test_a_group_across_splits_is_refused_on_load(manifest):
    manifest.loc[manifest["split"] == "train", "group"] = "one person"
    manifest.loc[manifest["split"] == "test", "group"] = "one person"
    with pytest.raises(DfdError, match="`one person` is in test and train"):
        validate(manifest)


def test_a_path_twice_is_refused(manifest):
    with pytest.raises(DfdError, match="more than once"):
        validate(pd.concat([manifest, manifest.head(1)], ignore_index=True))


def test_missing_columns_are_named(manifest):
    with pytest.raises(DfdError, match="lacks the columns group"):
        validate(manifest.drop(columns="group"))


def test_the_fingerprint_is_of_content_and_rows_alone(manifest, tmp_path):
    before = fingerprint(manifest)
    assert fingerprint(manifest.sample(frac=1, random_state=1)) == before
    moved = tmp_path / "moved"
    root_of(manifest).rename(moved)
    manifest = manifest.assign(root=str(moved))
    assert fingerprint(manifest) == before
    file = moved / manifest["path"][0]
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    assert fingerprint(manifest) != before
    assert len(before) == 16


def test_a_sample_is_even_and_keeps_groups_whole(demo):
    part = subsample(demo, 72, seed=1)
    assert 36 <= len(part) <= 72
    assert part["label"].value_counts().nunique() == 1
    assert set(part["category"]) == set(demo["category"])
    splits = subsample(demo, 120)["split"].value_counts(normalize=True)
    assert splits["train"] == pytest.approx(0.7, abs=0.05), "each split keeps its share"
    assert part.groupby("group").size().eq(2).all()
    assert subsample(demo, 0).equals(demo)
    assert part.equals(subsample(demo, 72, seed=1))


def test_a_sample_of_long_videos_keeps_to_its_size_and_to_every_class():
    videos = [
        (label, split, video)
        for label in ("real", "fake")
        for split in ("train", "val")
        for video in range(3)
    ]
    rows = [
        {
            "path": f"{label}{split}{video}/{i}",
            "label": label,
            "category": None,
            "split": split,
            "group": f"{label}{split}{video}",
        }
        for label, split, video in videos
        for i in range(300)
    ]
    part = subsample(pd.DataFrame(rows), 100)
    assert part.groupby(["split", "label"]).size().to_dict() == {
        (split, label): 25 for split in ("train", "val") for label in ("real", "fake")
    }


def test_a_sample_smaller_than_the_number_of_categories_keeps_to_its_size(manifest):
    manifest["category"] = [f"c{i}" for i in range(len(manifest))]
    part = subsample(manifest, 12)
    assert len(part) <= 12
    assert len(part.groupby(["split", "label"])) == 6


def test_the_summary_counts(demo):
    counts = summary(demo)
    assert counts.to_numpy().sum() == len(demo)
    assert list(counts.columns) == ["real", "fake"]
    assert list(counts.index.get_level_values("split").unique()) == ["train", "val", "test"]
    assert categories_of(demo) == ("animals", "human_faces", "vehicles")
