"""Folders of images and videos: every layout that people have, and refusals that say what to do."""

import os
import time

import pandas as pd
import pytest

from dfdlib import DfdError
from dfdlib.data.manifest import read_manifest, root_of, write_manifest
from dfdlib.data.scan import count_skipped, open_data, scan_images

LAYOUTS = {
    "ArtiFact: split/label/category, unlabelled flat test": (
        ["train/real/animals/1.jpg", "train/fake/animals/2.jpg", "validation/real/vehicles/3.jpg"]
        + [
            "validation/fake/vehicles/4.jpg",
            "train/real/vehicles/7.jpg",
            "train/fake/vehicles/8.jpg",
            "test/5.jpg",
        ],
        {
            "train/fake/animals/2.jpg": ("fake", "animals", "train"),
            "validation/real/vehicles/3.jpg": ("real", "vehicles", "val"),
            "test/5.jpg": (None, None, "test"),
        },
    ),
    "data/{train,val}/{real,fake}": (
        ["data/train/real/a.png", "data/train/fake/b.png", "data/val/real/c.png", "data/val/fake/d.png"],
        {"data/train/real/a.png": ("real", None, "train"), "data/val/fake/d.png": ("fake", None, "val")},
    ),
    "Kaggle deepfake-and-real-images, capitals": (
        ["Dataset/Train/Fake/a.jpg", "Dataset/Train/Real/b.jpg", "Dataset/Validation/Fake/c.jpg"]
        + ["Dataset/Validation/Real/d.jpg", "Dataset/Test/Fake/e.jpg", "Dataset/Test/Real/f.jpg"],
        {
            "Dataset/Train/Real/b.jpg": ("real", None, "train"),
            "Dataset/Test/Fake/e.jpg": ("fake", None, "test"),
        },
    ),
    "label before split": (
        ["Fake/train/a.jpg", "Real/train/b.jpg", "Fake/validation/c.jpg", "Real/validation/d.jpg"],
        {"Fake/train/a.jpg": ("fake", None, "train"), "Real/validation/d.jpg": ("real", None, "val")},
    ),
    "unsplit": (
        ["real/1.jpg", "fake/2.jpeg", "REAL/3.JPG"],
        {"REAL/3.JPG": ("real", None, None), "fake/2.jpeg": ("fake", None, None)},
    ),
    "unsplit with categories": (
        ["real/animals/1.jpg", "fake/animals/2.jpg", "real/cars/3.jpg", "fake/cars/4.jpg"],
        {"fake/cars/4.jpg": ("fake", "cars", None)},
    ),
    "140k faces: a folder in a folder": (
        ["real_vs_fake/real-vs-fake/train/real/1.jpg", "real_vs_fake/real-vs-fake/train/fake/2.jpg"],
        {"real_vs_fake/real-vs-fake/train/fake/2.jpg": ("fake", None, "train")},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_are_recognised(name, write_images):
    files, expected = LAYOUTS[name]
    root = write_images(files)
    manifest = scan_images(root).set_index("path")
    assert root_of(manifest) == root
    assert list(manifest.columns) == ["label", "category", "split", "group", "generator", "root"]
    assert sorted(manifest.index) == sorted(files)
    for path, (label, category, split) in expected.items():
        row = manifest.loc[path].astype(object).where(manifest.loc[path].notna(), None)
        assert (row["label"], row["category"], row["split"]) == (label, category, split), path
    assert manifest["generator"].isna().all()


def test_generator_and_category_of_test_sets_like_cnndetection(write_images):
    files = [
        f"{g}/{c}/{label}/1.png"
        for g in ("progan", "biggan")
        for c in ("cat", "car")
        for label in ("0_real", "1_fake")
    ]
    manifest = scan_images(write_images(files)).set_index("path")
    assert tuple(manifest.loc["biggan/car/1_fake/1.png", ["label", "category", "generator"]]) == (
        "fake",
        "car",
        "biggan",
    )
    assert manifest.loc["biggan/car/0_real/1.png", "label"] == "real"
    assert pd.isna(manifest.loc["biggan/car/0_real/1.png", "generator"])


def test_folders_of_frames_are_groups(write_images):
    files = [f"fake/swap_{v:03d}/{i}.jpg" for v in range(4) for i in range(2)] + [
        "real/person_1/1.jpg",
        "real/person_1/2.jpg",
    ]
    manifest = scan_images(write_images(files)).set_index("path")
    assert manifest["category"].isna().all()
    assert (
        manifest.loc["fake/swap_002/0.jpg", "group"]
        == manifest.loc["fake/swap_002/1.jpg", "group"]
        == "swap_002"
    )
    assert manifest["group"].nunique() == 5


def test_numbered_folders_are_groups_even_where_real_and_fake_share_them(write_images):
    files = [
        f"{label}/{name}/{i}.jpg" for label in ("real", "fake") for name in ("id1", "000_003") for i in "ab"
    ]
    manifest = scan_images(write_images(files)).set_index("path")
    assert manifest["category"].isna().all()
    assert manifest.loc["real/id1/a.jpg", "group"] == manifest.loc["fake/id1/b.jpg", "group"] == "id1"


def test_more_than_fifty_names_are_identities(write_images):
    people = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}son" for i in range(51)]
    files = [f"{label}/{name}/1.png" for label in ("real", "fake") for name in people]
    manifest = scan_images(write_images(files))
    assert manifest["category"].isna().all()
    assert manifest["group"].nunique() == 51


def test_sources_below_a_label_are_generators_and_not_one_huge_group(write_images):
    sources = {"real": ("ffhq", "coco"), "fake": ("stylegan2", "sd")}
    files = [f"{label}/{name}/{i}.png" for label in sources for name in sources[label] for i in "ab"]
    manifest = scan_images(write_images(files)).set_index("path")
    assert manifest.loc["fake/stylegan2/a.png", "generator"] == "stylegan2"
    assert manifest.loc["real/ffhq/a.png", ["generator", "category"]].isna().all()
    assert manifest["group"].is_unique


def test_a_well_known_category_needs_no_partner(write_images):
    manifest = scan_images(write_images(["real/vehicles/1.png", "fake/Animals/1.png", "fake/Animals/2.png"]))
    assert list(manifest["category"]) == ["animals", "animals", "vehicles"]
    assert manifest["group"].is_unique


def test_faceforensics_trees_give_method_and_video(write_images):
    files = [
        f"manipulated_sequences/{m}/{c}/videos/000_003/1.png"
        for m in ("Deepfakes", "Face2Face")
        for c in ("c23", "raw")
    ]
    files += [
        "original_sequences/youtube/c23/videos/000/1.png",
        "original_sequences/youtube/raw/videos/000/1.png",
    ]
    manifest = scan_images(write_images(files))
    fakes = manifest[manifest["label"] == "fake"]
    assert list(fakes["generator"]) == ["Deepfakes"] * 2 + ["Face2Face"] * 2
    assert set(manifest["group"]) == {"000"}
    assert set(fakes["sources"]) == {"000/003"}


@pytest.mark.parametrize("top", ["deepfakes", "original", "train", "ai/real"])
def test_a_top_folder_states_no_label(top, write_images):
    manifest = scan_images(write_images([f"{top}/real/1.jpg", f"{top}/fake/2.jpg"]))
    assert list(manifest["label"]) == ["fake", "real"]
    assert set(manifest["split"].fillna("")) == ({"train"} if top == "train" else {""})


def test_one_class_alone_keeps_its_label(write_images):
    manifest = scan_images(write_images(["real/animals/1.jpg", "real/animals/2.jpg"]), require_labels=False)
    assert list(manifest["label"]) == ["real", "real"]


def test_a_tree_with_a_test_split_alone_is_scanned_but_not_trained_on(write_images):
    root = write_images(["test/real/1.jpg", "test/fake/2.jpg"])
    assert list(scan_images(root)["label"]) == ["fake", "real"]
    with pytest.raises(DfdError, match="test but no train split"):
        open_data(root)


def test_reversed_conventions_are_mapped_by_name(write_images):
    root = write_images(["class_1/a.jpg", "class_0/b.jpg"])
    manifest = scan_images(root, labels={"class_1": "real", "class_0": "fake"}).set_index("path")
    assert manifest.loc["class_1/a.jpg", "label"] == "real"


def test_what_is_no_image_is_skipped_and_counted(write_images):
    root = write_images(["real/1.jpg", "fake/2.jpg"])
    for name in (
        "real/._1.jpg",
        "real/Thumbs.db",
        "fake/.DS_Store",
        "fake/readme.txt",
        "__MACOSX/real/1.jpg",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    outside = root.parent / "outside.jpg"
    outside.write_bytes(b"x")
    (root / "fake/link.jpg").symlink_to(outside)
    (root / "fake/loop").symlink_to(root)
    manifest = scan_images(root)
    assert list(manifest["path"]) == ["fake/2.jpg", "real/1.jpg"]
    assert count_skipped(root) == {
        "hidden": 4,
        "not an image": 1,
        "link out of the folder": 1,
        "linked folder": 1,
    }


def test_linked_label_folders_are_followed_and_circles_are_not(write_images, tmp_path):
    store = write_images([f"store/{name}/{i}.jpg" for name in "ab" for i in range(5)]) / "store"
    data = tmp_path / "linked"
    data.mkdir()
    (data / "real").symlink_to(store / "a")
    (data / "fake").symlink_to(store / "b")
    (store / "b" / "real").symlink_to(data)  # in a circle
    (store / "b" / "elsewhere").symlink_to(store / "a")
    assert scan_images(data)["label"].value_counts().to_dict() == {"real": 5, "fake": 5}
    assert count_skipped(data) == {"linked folder": 2}


def test_a_category_is_the_same_in_upper_and_lower_case(write_images):
    folders = [f"real/{name.title()}" for name in ("animals", "boats")] + ["fake/animals", "fake/boats"]
    manifest = scan_images(write_images([f"{folder}/{i}.png" for folder in folders for i in "ab"]))
    assert pd.crosstab(manifest["category"], manifest["label"]).to_dict("list") == {
        "fake": [2, 2],
        "real": [2, 2],
    }


def test_numbers_without_gap_or_zeros_are_categories(write_images):
    files = [f"{label}/{n}/{i}.png" for label in ("real", "fake") for n in range(12) for i in range(2)]
    manifest = scan_images(write_images(files))
    assert sorted(manifest["category"].unique(), key=int) == [str(n) for n in range(12)]
    assert manifest["group"].is_unique


REFUSED = {
    "no image": ([], r"holds no image"),
    "one class": (
        ["real/1.jpg", "0_fake_old/2.jpg"],
        r"has a 'real' folder but no 'fake' one \(found: 0_fake_old, real\)\. Rename it",
    ),
    "no labels": (["good/1.jpg", "bad/2.jpg"], r"does not tell real from fake \(found: bad, good\)"),
    "flat": (["1.jpg"], r"does not tell real from fake \(found: no folder\)"),
}


def test_a_class_that_lacks_in_one_split_is_refused_with_the_remedy(write_images):
    root = write_images(
        ["data/train/real/1.jpg", "data/train/0_fake_old/2.jpg", "data/val/real/3.jpg", "data/val/fake/4.jpg"]
    )
    with pytest.raises(DfdError) as caught:
        scan_images(root)
    assert str(caught.value) == (
        f"{root}/data/train has a 'real' folder but no 'fake' one (found: 0_fake_old, real). "
        'Rename it, or pass labels={"0_fake_old": "fake"}.'
    )
    assert len(scan_images(root, labels={"0_fake_old": "fake"})) == 4


def test_too_few_sources_for_a_split_are_refused(write_images):
    root = write_images([f"real/person_1/{i}.jpg" for i in range(9)] + [f"fake/{i}.jpg" for i in range(9)])
    with pytest.raises(DfdError, match=r"has no real image \(1 groups of real images in all\); add images"):
        open_data(root)


def test_a_folder_that_cannot_be_listed_is_refused(write_images, monkeypatch):
    root = write_images(["real/1.jpg", "fake/2.jpg"])
    listed = os.scandir

    def refuse(folder):
        if str(folder).endswith("fake"):
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DfdError, match=r"fake cannot be listed \(Permission denied\)"):
        scan_images(root)


@pytest.mark.parametrize("name", REFUSED)
def test_folders_that_tell_nothing_are_refused(name, write_images, tmp_path):
    files, message = REFUSED[name]
    root = write_images(files)
    root.mkdir(exist_ok=True)
    with pytest.raises(DfdError, match=message) as caught:
        scan_images(root)
    assert str(tmp_path) in str(caught.value)


def test_an_empty_class_is_refused(write_images):
    root = write_images(["train/real/1.jpg"])
    (root / "train/fake").mkdir()
    with pytest.raises(DfdError, match="'fake' folder without any image"):
        scan_images(root)
    (root / "train/fake/1.jpg").symlink_to(root / "train/real/1.jpg")
    (root / "val/real").mkdir(parents=True)
    (root / "val/fake").mkdir()
    (root / "val/fake/1.jpg").write_bytes(b"x")
    with pytest.raises(DfdError, match="val/real is a 'real' folder without any image"):
        scan_images(root)


def test_a_missing_folder_and_a_file_are_refused(tmp_path):
    with pytest.raises(DfdError, match="no/where does not exist"):
        scan_images("no/where")
    (tmp_path / "x.jpg").write_bytes(b"x")
    with pytest.raises(DfdError, match=r"x\.jpg is a file"):
        scan_images(tmp_path / "x.jpg")


def test_a_label_that_is_neither_is_refused(tmp_path):
    with pytest.raises(DfdError, match="maps 'a' to 'maybe'"):
        scan_images(tmp_path, labels={"a": "maybe"})


def test_stray_images_are_left_out_aloud(write_images):
    root = write_images(["real/1.jpg", "fake/2.jpg", "misc/3.jpg"])
    with pytest.warns(UserWarning, match=r"1 images .*misc/3\.jpg"):
        manifest = scan_images(root)
    assert len(manifest) == 2
    assert count_skipped(root) == {}, "a label that cannot be told is said, not skipped in silence"


def test_without_labels_a_folder_of_photographs_will_do(write_images):
    manifest = scan_images(write_images(["animals/1.jpg", "vehicles/2.jpg"]), require_labels=False)
    assert list(manifest["category"]) == ["animals", "vehicles"]
    assert manifest["label"].isna().all()


def test_a_large_folder_is_scanned_in_seconds(tmp_path):
    for label in ("real", "fake"):
        (tmp_path / label).mkdir()
        for i in range(5000):
            os.close(os.open(tmp_path / label / f"{i}.jpg", os.O_CREAT))
    started = time.perf_counter()
    assert len(scan_images(tmp_path)) == 10_000
    assert time.perf_counter() - started < 10


def test_odd_names_survive_a_round_trip(write_images):
    names = ["10 30.png", 'a,b".png', "ä b.png", " lead.png", "1e5.png", "null.png", "c\nd.png", "10:30.png"]
    root = write_images([f"{label}/{name}" for label in ("real", "fake") for name in names])
    manifest = scan_images(root)
    write_manifest(manifest, root / "manifest.csv")
    again = read_manifest(root / "manifest.csv")
    assert list(again["path"]) == list(manifest["path"])
    assert again["category"].isna().all()
