"""Heads trained on frozen features: the same as training them under the backbone, at a fraction of the price."""

import numpy as np
import pytest
import torch

from dfdlib import DfdError, create_detector, load_detector, predict
from dfdlib.core.files import alone_in
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import categories_of
from dfdlib.evaluation import metrics
from dfdlib.evaluation.predictions import in_training
from dfdlib.images.tiles import parse_fit
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
    after = detector.network.cpu().state_dict()
    assert {name for name in after if not torch.equal(after[name], before[name])} == {
        f"heads.{head}.{kind}" for head in ("fake", "category") for kind in ("weight", "bias")
    }
    loaded = load_detector(tmp_path / "best_model.pt")
    assert loaded.provenance["frozen_views"] == 2
    assert loaded.provenance["settings"]["augment"] == SETTINGS.augment
    val = predict(loaded, images.split("val"))
    assert val.equals(predict(detector, images.split("val")))
    best = history.loc[history["best"], "val_auc"].iloc[0]
    assert metrics.binary_metrics(val)["auc"] == pytest.approx(best, abs=1e-3)
    assert history.columns[0] == "epoch"
    assert {
        "train_loss",
        "learning_rate",
        "val_loss",
        "val_category_accuracy",
        "seconds",
        "precision",
    } <= set(history.columns)
    known = images.manifest["split"].isin(["train", "val"])
    assert (in_training(loaded, images.manifest) == known).all()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best_model.pt", "training_log.csv"]


def test_the_head_of_a_frozen_vision_transformer_learns(images, tmp_path):
    detector = create_detector(
        "vit_tiny_patch16_224", 32, images.categories, pretrained="none", drop_rate=0.0
    )
    before = detector.network.backbone.blocks[0].attn.qkv.weight.clone()
    history = fit_frozen(detector, images.split("train"), images.split("val"), SETTINGS, tmp_path)
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    loaded = load_detector(tmp_path / "best_model.pt")
    assert torch.equal(loaded.network.backbone.blocks[0].attn.qkv.weight, before)
    assert predict(loaded, images.split("val")).equals(predict(detector, images.split("val")))


def test_the_features_are_those_of_the_backbone_which_stays_as_it_is(images, tmp_path, monkeypatch):
    folds = []
    monkeypatch.setattr(frozen, "folded", lambda *a: folds.append(a[1]) or folded(a[0]))
    detector = new_detector(images)
    flags = [getattr(module, "inplace", None) for module in detector.network.modules()]
    train, val = images.split("train"), images.split("val")
    given = []
    kept = frozen._fit_heads
    monkeypatch.setattr(frozen, "_fit_heads", lambda *a: given.extend((a[2], a[4])) or kept(*a))
    fit_frozen(detector, train, val, SETTINGS, tmp_path, views=2)
    assert folds == [2 * len(train) + len(val)]
    assert flags == [getattr(module, "inplace", None) for module in detector.network.modules()]
    for features, images_seen in ((given[0][:, 0], train), (given[1], val)):
        with torch.inference_mode():
            exact = detector.network.eval().cpu().embed(images_seen.pixels())
        assert (features - exact).norm() < 1e-4 * exact.norm()
    assert not torch.allclose(given[0][:, 1], given[0][:, 0])


def test_it_learns_what_training_under_the_backbone_learns(images, tmp_path):
    train, val = images.split("train"), images.split("val")
    slow_settings = TrainConfig(**{**SETTINGS.__dict__, "freeze": -1, "flip": False})
    fast = fit_frozen(new_detector(images), train, val, SETTINGS, tmp_path / "fast", views=1)
    slow = fit(new_detector(images), train, val, slow_settings, tmp_path / "slow")
    gained = slow["train_loss"].iloc[0] - slow["train_loss"].iloc[-1]
    assert np.abs(fast["train_loss"] - slow["train_loss"]).max() < 0.3 * gained  # dropout differs


def test_views_differ(images, tmp_path):
    weights = []
    for views in (1, 3):
        detector = new_detector(images)
        fit_frozen(detector, images.split("train"), images.split("val"), SETTINGS, tmp_path, views=views)
        weights.append(detector.network.heads.fake.weight)
    assert not torch.allclose(*weights)


def test_a_seed_makes_a_run_repeatable_and_the_best_epoch_stays(images, tmp_path):
    config = TrainConfig(
        **{**SETTINGS.__dict__, "mixup": 0.3, "balance": "oversample", "patience": 2, "epochs": 30}
    )
    runs = []
    for name in ("first", "again"):
        detector = new_detector(images)
        history = fit_frozen(detector, images.split("train"), images.split("val"), config, tmp_path / name)
        runs.append((history.drop(columns=["seconds", "images_per_second"]), detector))
    assert runs[0][0].equals(runs[1][0])
    assert torch.equal(*(detector.network.heads.fake.weight for _, detector in runs))
    history, detector = runs[0]
    best = int(history["best"].argmax())
    assert history["best"].sum() == 1
    assert len(history) == min(best + 1 + config.patience, config.epochs)
    assert detector.provenance["epoch"] == best + 1
    val = metrics.binary_metrics(predict(detector, images.split("val")))
    assert val["accuracy"] == pytest.approx(history["val_accuracy"][best], abs=0.02)


def test_a_detector_without_categories_trains_too(images, tmp_path):
    detector = create_detector("resnet10t", 32, pretrained="none")
    history = fit_frozen(detector, images.split("train"), images.split("val"), SETTINGS, tmp_path)
    assert (history["train_category_loss"] == 0).all()
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]


def test_a_loss_that_is_not_finite_is_refused_and_leaves_the_detector_alone(images, tmp_path, monkeypatch):
    detector, before = new_detector(images), new_detector(images).network.state_dict()
    broken = frozen._features
    monkeypatch.setattr(frozen, "_features", lambda *a: broken(*a) * float("nan"))
    with pytest.raises(DfdError, match=r"not finite at epoch 1, step 1: the learning rate 0\.01"):
        fit_frozen(detector, images.split("train"), images.split("val"), SETTINGS, tmp_path)
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in detector.network.cpu().state_dict().items()
    )
    assert not list(tmp_path.iterdir())


def test_two_runs_do_not_share_a_folder(images, tmp_path):
    with alone_in(tmp_path), pytest.raises(DfdError, match="another run is writing"):
        fit_frozen(new_detector(images), images.split("train"), images.split("val"), SETTINGS, tmp_path)


def test_what_features_cannot_do_is_refused(images, tmp_path):
    train, val = images.split("train"), images.split("val")
    with pytest.raises(DfdError, match="need a timm backbone"):
        fit_frozen(create_detector("cnn", 32, images.categories), train, val, SETTINGS, tmp_path)
    with pytest.raises(DfdError, match="self_blend=0"):
        fit_frozen(new_detector(images), train, val, TrainConfig(self_blend=0.5), tmp_path)
    fakes = train.subset((train.manifest["label"] == "fake").to_numpy())
    with pytest.raises(DfdError, match="training split has no real image"):
        fit_frozen(new_detector(images), fakes, val, SETTINGS, tmp_path)


def test_frozen_features_are_validated_on_all_tiles(wide, tmp_path):
    detector = create_detector("resnet10t", 32, pretrained="none", native=parse_fit("tiles, most=12"))
    images = ImageDataset(wide, detector.fit)
    config = TrainConfig(epochs=2, batch_size=4, precision="fp32", monitor="loss")
    history = fit_frozen(detector, images.split("train"), images.split("val"), config, tmp_path)
    scores = metrics.binary_metrics(predict(detector, images.split("val")))
    assert scores["auc"] == pytest.approx(history["val_auc"][history["val_loss"].idxmin()])
