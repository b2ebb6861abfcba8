"""The demo set: reproducible, varied, with traces where the masks say, and no shortcut to the label."""

import io
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dfdlib import DfdError
from dfdlib.data.manifest import root_of, validate, write_manifest
from dfdlib.data.scan import open_data
from dfdlib.demo.scenery import (
    CATEGORIES,
    JPEG_QUALITIES,
    Camera,
    draw_camera,
    encode_jpeg,
    render_scene,
    take_photo,
)
from dfdlib.demo.sets import DEMO_VERSION, demo_manifest, forge_folder
from dfdlib.evaluation import metrics
from dfdlib.images.decode import read_image
from dfdlib.images.forge import FAMILIES, MOST_HIDDEN, forge_image

PLAIN = Camera(0.01, 0.0, "RGGB", False, 0.0, 0.0, 0.0, 0.0)


def test_it_is_balanced_and_split_by_group(demo):
    validate(demo)
    assert demo["label"].value_counts().tolist() == [120, 120]
    assert demo["category"].value_counts().tolist() == [80, 80, 80]
    assert set(demo["generator"].dropna()) == set(FAMILIES)
    assert (demo.groupby("group")["label"].agg(lambda labels: "+".join(sorted(labels))) == "fake+real").all()
    assert set(demo["split"]) == {"train", "val", "test"}


def test_the_same_seed_draws_the_same_files_and_the_number_of_processes_does_not_matter(
    demo, tmp_path, monkeypatch
):
    monkeypatch.setenv("DFD_DATA_DIR", str(tmp_path))
    again = demo_manifest(n_images=240, size=64, workers=1)
    pd.testing.assert_frame_equal(again.drop(columns="root"), demo.drop(columns="root"))
    for path in demo["path"][::37]:
        assert (root_of(again) / path).read_bytes() == (root_of(demo) / path).read_bytes()
    other = demo_manifest(n_images=20, size=64, seed=1)
    assert (root_of(other) / demo["path"][0]).read_bytes() != (root_of(demo) / demo["path"][0]).read_bytes()


def test_an_interrupted_drawing_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("DFD_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(
        "dfdlib.demo.sets.assign_splits", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        demo_manifest(n_images=20, size=64)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DFD_DATA_DIR", str(tmp_path / "file"))
    with pytest.raises(DfdError, match=r"cannot write the folder .*Set DFD_DATA_DIR"):
        demo_manifest(n_images=20, size=64)


def test_two_processes_may_draw_the_same_set_at_once(tmp_path, monkeypatch):
    def write_last(manifest, path):
        write_manifest(manifest, path)
        shutil.copytree(path.parent, tmp_path / f"demo-v{DEMO_VERSION}-20x64-seed0")

    monkeypatch.setenv("DFD_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("dfdlib.demo.sets.write_manifest", write_last)
    manifest = demo_manifest(n_images=20, size=64)
    assert (root_of(manifest) / manifest["path"][0]).exists()
    assert [path.name for path in tmp_path.iterdir()] == [root_of(manifest).name]


def test_a_forged_region_leaves_enough_of_the_subject_to_know_its_category():
    photo = np.full((64, 64, 3), 120, np.uint8)
    subject = np.zeros((64, 64), bool)
    subject[16:48, 16:48] = True  # smaller than most regions
    rng = np.random.default_rng(0)
    hidden = [forge_image(photo, "splicing", 1.0, rng, photo, subject)[1][subject].mean() for _ in range(40)]
    assert np.quantile(hidden, 0.9) < MOST_HIDDEN + 0.1
    anywhere = [forge_image(photo, "splicing", 1.0, rng, photo)[1][subject].mean() for _ in range(40)]
    assert np.median(anywhere) > MOST_HIDDEN + 0.1, "without a known subject, the middle is taken"


def test_fakes_differ_from_their_originals_inside_the_mask_alone():
    rng = np.random.default_rng(0)
    scenes = [render_scene(category, rng, 128) for category in CATEGORIES]
    photos = [take_photo(scene.radiance, draw_camera(rng), 64, rng) for scene in scenes]
    for name, family in FAMILIES.items():
        fake, mask = forge_image(photos[0], name, 1.0, rng, photos[1])
        change = np.abs(fake.astype(int) - photos[0]).max(2)
        assert fake.dtype == np.uint8
        assert mask.dtype == bool
        assert change[mask].mean() > 1, name
        if family.whole_image:
            assert mask.all()
        else:
            assert 0.05 < mask.mean() < 0.6
            outside = ~cv2.dilate(mask.astype(np.uint8), np.ones((7, 7))).astype(bool)
            assert change[outside].mean() < 0.01, name


@pytest.mark.parametrize("family", FAMILIES)
def test_strength_means_strength_and_every_family_names_its_source(family):
    rng = np.random.default_rng(3)
    photo = take_photo(render_scene("animals", rng, 128).radiance, draw_camera(rng), 64, rng)
    changes = []
    for strength in (0.3, 1.0):
        fakes = [
            forge_image(photo, family, strength, np.random.default_rng(i), photo[::-1].copy())[0]
            for i in range(12)
        ]
        changes.append(np.mean([np.abs(fake.astype(int) - photo).mean() for fake in fakes]))
    assert changes[1] > changes[0] * (0.9 if family in ("inpainting", "splicing") else 1.05)
    assert "20" in FAMILIES[family].source


def test_masks_on_disk_mark_the_fakes(demo):
    fakes = demo[demo["label"] == "fake"]
    assert demo.loc[demo["label"] == "real", "mask"].isna().all()
    for _, fake in fakes.groupby("generator").head(2).iterrows():
        mask = cv2.imread(str(root_of(demo) / fake["mask"]), cv2.IMREAD_GRAYSCALE)
        assert set(np.unique(mask)) <= {0, 255}
        assert (mask > 0).mean() > 0.05
        original = read_image(root_of(demo) / fake["path"].replace("fake/", "real/"))
        change = np.abs(read_image(root_of(demo) / fake["path"]).astype(int) - original).mean(2)
        if (mask == 0).any():
            assert change[mask > 0].mean() > change[mask == 0].mean()


def simple_features(manifest):
    rows = []
    for path in manifest["path"]:
        file = root_of(manifest) / path
        with Image.open(file) as image:
            pixels = np.asarray(image, float)
            quality = sum(image.quantization[0])
            rows.append([file.stat().st_size, *image.size, quality, *pixels.mean((0, 1)), pixels.mean()])
    return np.array(rows)


@pytest.mark.parametrize("kind", ["linear", "forest"])
def test_no_shortcut_tells_real_from_fake(tmp_path_factory, kind, monkeypatch):
    """File size, dimensions, JPEG quality, mean colour and brightness are at chance."""
    folder = tmp_path_factory.getbasetemp() / "shortcut"
    monkeypatch.setenv("DFD_DATA_DIR", str(folder))
    manifest = demo_manifest(n_images=1200, size=64)
    models = {
        "linear": make_pipeline(StandardScaler(), LogisticRegression()),
        "forest": RandomForestClassifier(100, min_samples_leaf=5, random_state=0),
    }
    truth = (manifest["label"] == "fake").to_numpy(int)
    folds = GroupKFold(5)
    score = cross_val_predict(
        models[kind],
        simple_features(manifest),
        truth,
        groups=manifest["group"],
        cv=folds,
        method="predict_proba",
    )
    assert 0.45 <= metrics.auc(truth, score[:, 1]) <= 0.55


def test_the_bayer_pattern_is_read_right():
    for pattern in ("RGGB", "GRBG", "GBRG", "BGGR"):
        flat = np.broadcast_to(np.float32([0.5, 0.2, 0.05]), (32, 32, 3)).copy()
        camera = Camera(**{**PLAIN.__dict__, "pattern": pattern})
        photo = take_photo(flat, camera, 32, np.random.default_rng(0))
        assert photo[16, 16, 0] > photo[16, 16, 1] > photo[16, 16, 2]
        assert np.ptp(photo[4:-4, 4:-4].reshape(-1, 3), axis=0).max() <= 1


def test_noise_grows_with_the_signal():
    camera = Camera(**{**PLAIN.__dict__, "shot_noise": 1e-3, "edge_aware": False})
    spreads = []
    for level in (0.05, 0.5):
        flat = np.full((64, 64, 3), level, np.float32)
        photo = take_photo(flat, camera, 64, np.random.default_rng(0)).astype(float)
        linear = (photo / 255) ** 2.2
        spreads.append(linear.std())
    assert spreads[1] > 2 * spreads[0]


def test_jpeg_qualities_are_drawn_alike(demo):
    sums = {label: [] for label in ("real", "fake")}
    for path, label in zip(demo["path"], demo["label"], strict=True):
        with Image.open(root_of(demo) / path) as image:
            sums[label].append(sum(image.quantization[0]))
    tables = []
    for quality in JPEG_QUALITIES:
        data = encode_jpeg(np.zeros((8, 8, 3), np.uint8), quality)
        with Image.open(io.BytesIO(data)) as image:
            tables.append(sum(image.quantization[0]))
    for values in sums.values():
        assert min(tables) <= min(values)
        assert max(values) <= max(tables)
    assert np.mean(sums["real"]) == pytest.approx(np.mean(sums["fake"]), rel=0.15)


def test_real_photographs_become_a_training_set(write_images, tmp_path):
    root = write_images([f"animals/{i}.jpg" for i in range(11)] + [f"vehicles/{i}.png" for i in range(10)])
    (root / "animals/broken.jpg").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 of 22 photographs cannot be read and are left out"):
        manifest = forge_folder(root, tmp_path / "forged", workers=1)
    assert len(manifest) == 42
    listed = pd.read_csv(tmp_path / "forged" / "unreadable.csv")
    assert list(listed["path"]) == [str(root / "animals/broken.jpg")]
    assert set(manifest["category"]) == {"animals", "vehicles"}
    assert set(manifest["generator"].dropna()) == set(FAMILIES)
    opened = open_data(tmp_path / "forged")
    assert list(opened["split"]) == list(manifest["split"])
    with pytest.raises(DfdError, match="exists already"):
        forge_folder(root, tmp_path / "forged")


def test_a_splice_and_its_donor_share_a_group(write_images, tmp_path):
    root = write_images([f"{i}.jpg" for i in range(9)])
    manifest = forge_folder(root, tmp_path / "forged", families=["splicing"], workers=1)
    groups = manifest[manifest["label"] == "real"]["group"].tolist()
    for i in range(9):
        other = i ^ 1 if i ^ 1 < 9 else i - 1
        assert groups[i] == groups[other], f"photo {i} took material from photo {other}"


def test_too_few_photographs_and_unknown_families_are_refused(write_images, tmp_path):
    root = write_images(["a.jpg"])
    with pytest.raises(DfdError, match="fewer than two photographs"):
        forge_folder(root, tmp_path / "x")
    with pytest.raises(DfdError, match=r"unknown forgery families \['magic'\]"):
        forge_folder(root, tmp_path / "x", families=["magic"])
