"""Data sets: the right pixels and targets, decoded once, and broken files reported."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dfdlib import DfdError
from dfdlib.core.native import Native
from dfdlib.data import cache, dataset
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.loader import GroupShuffle, make_loader
from dfdlib.data.manifest import categories_of, root_of
from dfdlib.data.scan import scan_images
from dfdlib.images.decode import read_image
from dfdlib.images.faces import find_faces
from dfdlib.images.picture import fit_image, read_picture


@pytest.fixture
def images(demo):
    return ImageDataset(demo, 48, categories_of(demo))


def test_pixels_and_targets_belong_together(images, demo):
    batch = images.batch([5, 0, 17])
    for place, row in enumerate((5, 0, 17)):
        expected = fit_image(read_image(root_of(demo) / demo["path"][row]), 48)
        assert np.array_equal(batch["image"][place].permute(1, 2, 0).numpy(), expected)
        assert batch["fake"][place] == (demo["label"][row] == "fake")
        assert images.categories[batch["category"][place]] == demo["category"][row]
    assert batch["index"].tolist() == [5, 0, 17]
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)


def test_subsets_keep_pixels_and_targets_together(images, demo):
    part = images.split("val").subset(np.arange(len(images.split("val"))) % 2 == 1)
    for row in (0, 3):
        expected = fit_image(read_image(root_of(demo) / part.manifest["path"][row]), 48)
        assert np.array_equal(part[row]["image"][0].permute(1, 2, 0).numpy(), expected)
        assert part[row]["fake"] == (part.manifest["label"][row] == "fake")


def test_positions_are_not_taken_for_a_mask(images):
    for wrong in (range(3), [0, 1], np.ones(3, bool), np.ones(len(images), int)):
        with pytest.raises(ValueError, match="booleans"):
            images.subset(wrong)
    assert images.head(3).manifest["path"].tolist() == images.manifest["path"].tolist()[:3]
    assert torch.equal(images.head(3).pixels(), images.batch([0, 1, 2])["image"])
    assert len(images.head(10**6)) == len(images)


def test_missing_labels_and_categories_are_marked(demo):
    manifest = demo.copy()
    manifest.loc[0, ["label", "category"]] = None
    batch = ImageDataset(manifest, 48, ("animals", "vehicles")).batch([0])
    assert batch["fake"].isnan().all()
    assert batch["category"].tolist() == [-1]


def test_a_cache_on_a_read_only_disk_is_read(write_images, monkeypatch):
    root = write_images(["real/0.png", "fake/0.png"])
    first = ImageDataset(scan_images(root), 24)[0]["image"]

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    for change in ("os.utime", "os.unlink", "pathlib.Path.touch"):
        monkeypatch.setattr(change, refuse)
    assert torch.equal(ImageDataset(scan_images(root), 24)[0]["image"], first)
    more = scan_images(write_images(["real/1.png"]))
    monkeypatch.setattr(cache, "CACHE_LIMIT_BYTES", 6000)  # so that older ones should go
    with pytest.raises(DfdError, match=r"cannot write .*Set DFD_CACHE_DIR"):
        ImageDataset(more, 24)


def test_the_cache_is_used_and_rebuilt_when_a_file_changes(write_images, monkeypatch):
    root = write_images([f"{label}/{i}.png" for label in ("real", "fake") for i in range(3)])
    first = ImageDataset(scan_images(root), 24)[0]["image"]
    decoded = []
    monkeypatch.setattr(dataset, "read_picture", lambda path: decoded.append(path) or read_picture(path))
    assert torch.equal(ImageDataset(scan_images(root), 24)[0]["image"], first)
    assert not decoded
    path = root / "fake/0.png"
    path.write_bytes((root / "fake/1.png").read_bytes() + b"\0")
    assert not torch.equal(ImageDataset(scan_images(root), 24)[0]["image"], first)
    assert len(decoded) == 6


def test_without_a_cache_the_batches_are_the_same(demo, images, monkeypatch):
    monkeypatch.setattr(cache, "CACHE_LIMIT_BYTES", 0)
    direct = ImageDataset(demo, 48, images.categories)
    assert not direct.is_cached
    assert torch.equal(direct.batch([3, 7])["image"], images.batch([3, 7])["image"])


def test_old_caches_make_room(demo, monkeypatch):
    one = 48 * 48 * 3 * len(demo)
    monkeypatch.setattr(cache, "CACHE_LIMIT_BYTES", int(1.5 * one))
    ImageDataset(demo, 48)
    ImageDataset(demo, 47)
    sizes = [file.stat().st_size for file in cache.cache_root().glob("images-*.npy")]
    assert sum(sizes) <= 1.6 * one


@pytest.mark.parametrize("limit", [0, 2**30])
def test_broken_files_are_left_out_and_reported(write_images, monkeypatch, limit):
    monkeypatch.setattr(cache, "CACHE_LIMIT_BYTES", limit)
    root = write_images([f"{label}/{i}.png" for label in ("real", "fake") for i in range(3)])
    whole = (root / "real/1.png").read_bytes()
    (root / "real/1.png").write_bytes(whole[: len(whole) // 2])
    for _ in range(2):  # the second time from the cache
        images = ImageDataset(scan_images(root), 24)
        assert list(images.unreadable["path"]) == ["real/1.png"]
        assert "real/1.png is damaged" in images.unreadable["error"][0]
        assert len(images) == 5
        expected = read_image(root / "real/2.png")
        assert np.array_equal(images[4]["image"][0].permute(1, 2, 0).numpy(), expected)


def test_a_folder_of_broken_files_alone_is_refused(tmp_path):
    for label in ("real", "fake"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "x.jpg").write_bytes(b"no image")
    with pytest.raises(DfdError, match=r"none of the 2 images can be read, e\.g\. .*x\.jpg"):
        ImageDataset(scan_images(tmp_path), 24)


def test_shuffling_keeps_groups_together_and_changes_with_the_epoch(images):
    sampler = GroupShuffle(images, seed=1)
    first = list(sampler)
    assert sorted(first) == list(range(len(images)))
    groups = images.manifest["group"].iloc[first].to_numpy()
    changes = int((groups[1:] != groups[:-1]).sum())
    assert changes == images.manifest["group"].nunique() - 1
    assert list(GroupShuffle(images, seed=1)) == first
    sampler.epoch = 1
    assert list(sampler) != first
    whole = GroupShuffle(images, seed=1, batch_size=50)
    assert list(whole) == first[: len(images) // 50 * 50]
    assert len(whole) == len(list(whole))


@pytest.mark.parametrize(("balance", "each"), [("oversample", 60), ("downsample", 20)])
def test_balancing_gives_both_labels_the_same_number(images, balance, each):
    fake = images.manifest["label"] == "fake"
    part = images.subset((fake & (fake.cumsum() <= 20)) | (~fake & ((~fake).cumsum() <= 60)))
    sampler = GroupShuffle(part, 0, balance)
    chosen = part.manifest.iloc[list(sampler)]
    assert len(sampler) == len(chosen) == 2 * each
    assert (chosen["label"].value_counts() == each).all()
    repeats = chosen["path"].value_counts()
    assert repeats[part.manifest.loc[part.manifest["label"] == "fake", "path"]].nunique() == 1, (
        "each once a round"
    )
    first = set(chosen["path"])
    sampler.epoch = 1
    assert balance == "oversample" or set(part.manifest.iloc[list(sampler)]["path"]) != first


def test_workers_change_nothing(demo, monkeypatch):
    monkeypatch.setattr(cache, "CACHE_LIMIT_BYTES", 0)
    images = ImageDataset(demo, 32).split("val")
    batches = [list(make_loader(images, 16, workers=n)) for n in (1, 2)]
    for one, two in zip(*batches, strict=True):
        assert torch.equal(one["image"], two["image"])


def test_a_last_batch_of_one_is_left_out_in_training_alone(images):
    part = images.subset(np.arange(len(images)) < 33)
    assert sum(len(b["index"]) for b in make_loader(part, 16)) == 33
    assert sum(len(b["index"]) for b in make_loader(part, 16, GroupShuffle(part, 0))) == 32


def test_faces_are_found_once_and_kept_by_how_they_are_cropped(crowd, green_faces, monkeypatch):
    searched = []
    monkeypatch.setattr(
        "dfdlib.images.picture.find_faces", lambda *given: searched.append(1) or find_faces(*given)
    )
    fit = 24, "bilinear", green_faces()
    for _ in range(2):
        images = ImageDataset(crowd, fit)
        assert list(images.unreadable["path"]) == ["c none.png"]
        assert len(images) == 2
    assert len(searched) == 3
    assert images.fit == fit
    wider = ImageDataset(crowd, (24, "bilinear", green_faces("margin=0.5")))
    assert len(searched) == 6
    assert not torch.equal(wider.pixels(), images.pixels())
    assert torch.equal(images.pixels()[0, 1, 7:17, 5:19], torch.full((10, 14), 255, dtype=torch.uint8))
    monkeypatch.setattr(cache, "CACHE_LIMIT_BYTES", 0)
    unkept = ImageDataset(crowd, (23, *fit[1:]))
    assert list(unkept.unreadable["path"]) == ["c none.png"], "checked as they will be decoded"


def test_masks_are_cropped_as_the_images(crowd, green_faces):
    root = Path(crowd["root"][0])
    cv2.imwrite(
        str(root / "mask.png"), cv2.inRange(cv2.imread(str(root / "b one.png")), (0, 255, 0), (0, 255, 0))
    )
    table = crowd.iloc[[1]].assign(mask="mask.png")
    (mask,) = ImageDataset(table, (19, "bilinear", green_faces())).masks()
    assert mask[4:15, 4:15].all()
    assert mask.sum() < 14**2


CROP, TILES = (32, "bilinear", Native()), (32, "bilinear", Native(tiles=True, most=52))


def test_native_squares_are_drawn_by_seed_epoch_and_image_alone(wide):
    images = ImageDataset(wide, CROP)
    middle = images.batch([3, 0])["image"]
    assert np.array_equal(
        middle[1].permute(1, 2, 0).numpy(), read_image(root_of(wide) / "real/0.png")[32:64, 144:176]
    )
    drawn = images.batch([3, 0], (7, 0))["image"]
    assert torch.equal(drawn[1], images.batch([0], (7, 0))["image"][0])
    assert not torch.equal(drawn[1], images.batch([0], (7, 1))["image"][0])
    assert not torch.equal(drawn[1], images.batch([0], (8, 0))["image"][0])


def test_a_square_of_a_fake_holds_some_of_its_forged_region(wide):
    images = ImageDataset(wide, CROP)
    fakes = np.flatnonzero(wide["label"] == "fake")
    for epoch in range(4):
        of_fakes, of_reals = (images.batch(rows, (0, epoch))["image"].numpy() for rows in (fakes, fakes - 1))
        grain = [np.abs(np.diff(one.astype(int), axis=-1)).max() for one in of_fakes]
        assert min(grain) > 30
        assert np.abs(np.diff(of_reals.astype(int), axis=-1)).max() < 30


def test_judged_images_show_all_their_tiles(wide):
    images = ImageDataset(wide, TILES)
    assert images.batch([0, 1])["image"].shape == (2, 3, 32, 32)
    assert (images.n_views == 1).all()
    judged = images.judged().split("val")
    assert (judged.n_views == 4 * 13).all()
    batch = judged.batch([1, 0])
    expected = np.concatenate(
        [read_picture(root_of(wide) / judged.manifest["path"][i]).views(*TILES) for i in (1, 0)]
    )
    assert np.array_equal(batch["image"].permute(0, 2, 3, 1).numpy(), expected)
    assert batch["index"].tolist() == [1, 0]
    assert ImageDataset(wide, 32).judged().n_views.tolist() == [1] * len(wide)


def test_whole_images_are_cached_as_long_as_there_is_room(wide, monkeypatch):
    (root_of(wide) / "real/2.png").write_bytes(b"broken")
    decoded, read = [], read_picture
    monkeypatch.setattr(dataset, "read_picture", lambda path: decoded.append(1) or read(path))
    cached = ImageDataset(wide, CROP)
    assert list(cached.unreadable["path"]) == ["real/2.png"]
    assert len(decoded) == len(wide)
    again = ImageDataset(wide, CROP)
    again.batch([0])
    assert len(decoded) == len(wide)
    monkeypatch.setattr(cache, "CACHE_LIMIT_BYTES", 3 * 96 * 320 * 3)
    direct = ImageDataset(wide, (32, "bicubic", Native()))
    assert cached.is_cached
    assert again.is_cached
    assert not direct.is_cached
    rows = range(len(cached))
    assert torch.equal(direct.batch(rows, (0, 0))["image"], cached.batch(rows, (0, 0))["image"])
    assert torch.equal(again.batch(rows)["image"], cached.batch(rows)["image"])
    assert sum(file.stat().st_size for file in cache.cache_root().glob("images-*.[nr]??")) <= 3 * 96 * 320 * 3


def test_masks_are_cut_as_native_squares(wide):
    table = wide.iloc[[1]].assign(path="masks/0.png")
    images = ImageDataset(table, (240, "bilinear", Native()))
    assert np.array_equal(images.masks()[0], images.pixels()[0, 0].numpy() > 127)
    assert images.masks().any()
