"""Detectors that are broken on purpose, each the way it happens: the report's own checks must see it."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dfdlib import create_detector, fit, load_detector, predict, save_detector
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import content_digests
from dfdlib.evaluation.predictions import in_training
from dfdlib.reports.checks import check_run
from dfdlib.reports.report import Report
from dfdlib.training.settings import TrainConfig


def settings(**changed):
    return TrainConfig(
        **{"epochs": 4, "batch_size": 16, "learning_rate": 3e-3, "precision": "fp32"} | changed
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A good detector of a strong trace, its images and its folder."""
    import cv2

    folder = tmp_path_factory.mktemp("broken")
    rng, rows = np.random.default_rng(0), []
    for i in range(240):
        image = cv2.resize(rng.integers(40, 216, (5, 5, 3), dtype=np.uint8), (32, 32)).astype(int)
        if i % 2:
            image[::2, ::2] += 30
        cv2.imwrite(str(folder / f"{i}.png"), image.clip(0, 255).astype(np.uint8))
        split = "train" if i < 120 else "val" if i < 180 else "test"
        rows.append({"path": f"{i}.png", "label": ("real", "fake")[i % 2], "split": split, "group": str(i)})
    manifest = pd.DataFrame(rows).assign(category=None, generator=None, root=str(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DFD_CACHE_DIR", str(folder / "cache"))
        images = ImageDataset(manifest, 32)
        detector = create_detector("resnet10t", 32, pretrained="none")
        fit(detector, images.split("train"), images.split("val"), settings(), folder / "run")
    return images, folder / "run"


def findings(detector, images, run, folder):
    judged = {split: predict(detector, images.split(split)) for split in ("val", "test")}
    Report("broken", settings(), folder).save_metrics(images.manifest, judged)
    report = json.loads((folder / "metrics.json").read_text())
    return check_run(report, pd.read_csv(run / "training_log.csv"))


def test_a_good_detector_passes(trained, tmp_path):
    images, run = trained
    assert findings(load_detector(run / "best_model.pt"), images, run, tmp_path) == []


def test_flipped_labels_are_seen(trained, tmp_path):
    images, run = trained
    flipped = copy.copy(images)
    flipped.manifest = images.manifest.assign(
        label=images.manifest["label"].map({"real": "fake", "fake": "real"})
    )
    found = findings(load_detector(run / "best_model.pt"), flipped, run, tmp_path)
    assert any(one.level == "error" and "labels reversed" in one.text for one in found)


def test_shuffled_weights_are_seen(trained, tmp_path):
    images, run = trained
    detector = load_detector(run / "best_model.pt")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in detector.network.parameters():
            flat = weight.view(-1)
            flat.copy_(flat[torch.randperm(len(flat), generator=generator)])
    found = findings(detector, images, run, tmp_path)
    assert any(one.level == "error" and "not those that were trained" in one.text for one in found)


def test_a_dropped_normalisation_is_seen(trained, tmp_path):
    images, run = trained

    class Raw(nn.Module):
        def forward(self, pixels):
            return pixels.float()

    detector = load_detector(run / "best_model.pt")
    detector.network.normalize = Raw()
    found = findings(detector, images, run, tmp_path)
    assert any(one.level == "error" and "preprocessing" in one.text for one in found)


def test_test_images_in_training_are_seen(trained, tmp_path):
    images, _ = trained
    leaky = images.subset(images.manifest["split"] != "val")
    detector = create_detector("resnet10t", 32, pretrained="none")
    fit(detector, leaky, images.split("val"), settings(epochs=1), tmp_path / "leaky")
    loaded = load_detector(tmp_path / "leaky" / "best_model.pt")
    found = findings(loaded, images, tmp_path / "leaky", tmp_path)
    assert any(one.level == "error" and "has seen 60 of 60 images" in one.text for one in found)


def test_a_copy_under_another_name_is_known(trained, tmp_path):
    images, run = trained
    detector = load_detector(run / "best_model.pt")
    assert not in_training(detector, images.split("test").manifest).any()
    assert in_training(detector, images.split("val").manifest).all()
    source = images.split("train").manifest
    data = (run.parent / source["path"].iloc[0]).read_bytes()
    (tmp_path / "renamed.png").write_bytes(data)
    (tmp_path / "changed.png").write_bytes(data + b"\n")
    manifest = pd.DataFrame({"path": ["renamed.png", "changed.png", "missing.png"], "root": str(tmp_path)})
    assert in_training(detector, manifest).tolist() == [True, False, False]
    assert content_digests(manifest)[2] == 0
    detector.training_digests = None
    save_detector(detector, tmp_path / "old.pt")
    assert not in_training(load_detector(tmp_path / "old.pt"), manifest).any()


def test_chance_poor_calibration_and_lost_images_are_warnings():
    scores = {"n": 50, "auc": 0.55, "auc_95": [0.45, 0.65], "ece": 0.3, "ece_95": [0.2, 0.4]}
    found = check_run({"metrics": {"test": scores}, "data": {"images": 90, "unreadable": 10}})
    assert [one.level for one in found] == ["warning"] * 3
    text = " ".join(one.text for one in found)
    assert "no better than guessing" in text
    assert "off by 0.30" in text
    assert "10 of 100 images could not be read" in text
    assert check_run({"metrics": {}}) == []
    assert check_run({"metrics": {"test": {"n": 1, "auc": None, "auc_95": None}}}) == []
