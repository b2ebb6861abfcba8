"""Heads trained on frozen features: the same as training them under the backbone, at a fraction of the price."""

import numpy as np
import pytest
import torch

from dfdlib import DfdError, create_detector, load_detector, predict
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import categories_of
from dfdlib.evaluation import metrics
from dfdlib.models.fold_batchnorm import folded
from dfdlib.training import frozen
from dfdlib.training.frozen import fit_frozen
from dfdlib.training.loop import fit
from dfdlib.training.settings import TrainConfig

SETTINGS = TrainConfig(epochs=8, batch_size=16, learning_rate=1e-2, precision="fp32")


@pytest.fixture(scope="module")
def images(demo):
    return ImageDataset(demo, 32, categories_of(demo))


def new_detector(images, **switches):
    return create_detector("resnet10t", 32, images.categories, pretrained="none", **switches)


def test_only_the_heads_change_and_the_file_is_a_whole_detector(images, tmp_path):
    detector, before = new_detector(images), new_detector(images).network.state_dict()
    history = fit_frozen(detector, images.split("train"), images.split("val"), SETTINGS, tmp_path)
    after = detector.network.state_dict()
    assert {name for name in after if not torch.equal(after[name], before[name])} == {
        f"heads.{head}.{kind}" for head in ("fake", "category") for kind in ("weight", "bias")
    }
    loaded = load_detector(tmp_path / "best_model.pt")
    assert loaded.provenance["frozen_views"] == 2
    assert loaded.provenance["settings"]["flip"]
    val = predict(loaded, images.split("val"))
    assert val.equals(predict(detector, images.split("val")))
    best = history.loc[history["best"], "val_auc"].iloc[0]
    assert metrics.binary_metrics(val)["auc"] == pytest.approx(best, abs=0.01)  # features may be bf16
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best_model.pt", "training_log.csv"]


def test_the_features_are_those_of_the_backbone_which_stays_as_it_is(images, tmp_path, monkeypatch):
    folds = []
    monkeypatch.setattr(frozen, "folded", lambda *a: folds.append(a[1]) or folded(a[0]))
    detector = new_detector(images)
    flags = [getattr(module, "inplace", None) for module in detector.network.modules()]
    train, val = images.split("train"), images.split("val")
    seen = []
    kept = frozen._FeatureSet
    monkeypatch.setattr(
        frozen, "_FeatureSet", lambda part, features: seen.append(features) or kept(part, features)
    )
    fit_frozen(detector, train, val, SETTINGS, tmp_path, views=1)
    assert folds == [len(train) + len(val)]
    assert flags == [getattr(module, "inplace", None) for module in detector.network.modules()]
    with torch.inference_mode():
        exact = detector.network.eval().embed(val.batch(range(len(val)))["image"])
    assert (seen[1][:, 0] - exact).norm() < 0.03 * exact.norm()  # they may be bf16


def test_it_learns_what_training_under_the_backbone_learns(images, tmp_path):
    train, val = images.split("train"), images.split("val")
    slow_settings = TrainConfig(**{**SETTINGS.__dict__, "freeze": -1, "flip": False})
    fast = fit_frozen(new_detector(images), train, val, SETTINGS, tmp_path / "fast", views=1)
    slow = fit(new_detector(images), train, val, slow_settings, tmp_path / "slow")
    gained = slow["train_loss"].iloc[0] - slow["train_loss"].iloc[-1]
    assert np.abs(fast["train_loss"] - slow["train_loss"]).max() < 0.3 * gained  # dropout and bf16 differ


def test_views_differ(images, tmp_path):
    weights = []
    for views in (1, 3):
        detector = new_detector(images)
        fit_frozen(detector, images.split("train"), images.split("val"), SETTINGS, tmp_path, views=views)
        weights.append(detector.network.heads.fake.weight)
    assert not torch.allclose(*weights)


def test_what_features_cannot_do_is_refused(images, tmp_path):
    train, val = images.split("train"), images.split("val")
    with pytest.raises(DfdError, match="set stages=0"):
        fit_frozen(new_detector(images, stages=2), train, val, SETTINGS, tmp_path)
    with pytest.raises(DfdError, match="self_blend=0"):
        fit_frozen(new_detector(images), train, val, TrainConfig(self_blend=0.5), tmp_path)
