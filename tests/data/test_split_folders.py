"""A split as folders: whole, faithful, and never at the expense of the source."""

import re
from pathlib import Path

import pandas as pd
import pytest

from dfdlib import DfdError
from dfdlib.data.manifest import files_of, read_manifest, root_of, write_manifest
from dfdlib.data.scan import open_data, scan_images
from dfdlib.data.split_folders import materialise
from dfdlib.data.splits import assign_splits


@pytest.fixture
def manifest(write_images):
    names = [
        f"{label}/{source}/{i}.png"
        for label in ("real", "fake")
        for source in ("one", "two")
        for i in range(10)
    ]
    return assign_splits(scan_images(write_images(names)), {"train": 0.7, "val": 0.3})


@pytest.mark.parametrize("link", [True, False])
def test_every_image_is_where_its_split_and_label_say(manifest, tmp_path, link):
    made = materialise(manifest, tmp_path / "out", link)
    assert len(made) == len(manifest)
    rows = zip(manifest.itertuples(), files_of(manifest), made.itertuples(), strict=True)
    for old, source, new in rows:
        target = tmp_path / "out" / new.path
        assert target.read_bytes() == source.read_bytes()
        assert new.path.startswith(f"{old.split}/{old.label}/")
        assert source.samefile(target) == link
    again = open_data(tmp_path / "out").set_index("path")
    assert again["split"].to_dict() == made.set_index("path")["split"].to_dict()


def test_equal_names_get_numbers(manifest, tmp_path):
    made = materialise(manifest.assign(category=None), tmp_path / "out")
    assert made["path"].nunique() == len(manifest)
    assert made["path"].str.contains("_2.png", regex=False).any()


def test_hostile_names_stay_inside(write_images, tmp_path):
    root = write_images(["real/=cmd|x.png", "fake/-rf .png"])
    manifest = scan_images(root).assign(split="train", category="../../up")
    made = materialise(manifest, tmp_path / "deep" / "out")
    for path in made["path"]:
        assert (tmp_path / "deep/out").resolve() in (tmp_path / "deep/out" / path).resolve().parents
        assert not Path(path).name.startswith(("=", "-", "."))
    assert {path.name for path in tmp_path.iterdir()} == {"images", "deep"}


def test_a_folder_with_something_in_it_is_left_alone(manifest, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(DfdError, match="holds something already"):
        materialise(manifest, tmp_path / "out")
    with pytest.raises(DfdError, match="has no split"):
        materialise(manifest.assign(split=None), tmp_path / "other")


def test_a_failure_leaves_nothing_behind(manifest, tmp_path):
    files_of(manifest)[5].unlink()
    with pytest.raises(
        DfdError, match="cannot write the folder .*No such file.*" + re.escape(manifest["path"].iloc[5])
    ):
        materialise(manifest, tmp_path / "new" / "out", link=False)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_manifest_elsewhere_finds_its_images(manifest, tmp_path):
    (tmp_path / "reports").mkdir()
    write_manifest(manifest, tmp_path / "reports" / "manifest.csv")
    again = read_manifest(tmp_path / "reports" / "manifest.csv")
    assert root_of(again) == root_of(manifest)
    pd.testing.assert_frame_equal(again, manifest, check_dtype=False)
