"""Heatmaps judged: exact where the answer is known, at chance where a map knows nothing."""

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dfdlib import DfdError, create_detector
from dfdlib.data.dataset import ImageDataset
from dfdlib.explain.faithfulness import (
    baseline_maps,
    deletion_insertion,
    localisation,
    localisation_table,
    randomised_weights,
    references,
    removal_verdict,
    sanity_verdict,
)
from dfdlib.models.detector import Detector
from dfdlib.models.networks import Logits


@pytest.fixture
def masks():
    masks = np.zeros((3, 40, 40), bool)
    masks[0, 5:15, 20:30] = True
    masks[1, 30:36, 2:12] = True
    return masks  # the third image has none


def test_a_perfect_map_scores_one(masks):
    table = localisation(masks.astype(float), masks)
    assert table["image"].tolist() == [0, 1]
    assert table["pointing"].all()
    assert (table[["iou", "inside"]] == 1).all(axis=None)
    assert table["area"].tolist() == [100 / 1600, 60 / 1600]


def test_a_map_of_the_wrong_place_scores_nothing(masks):
    table = localisation(masks[:, ::-1, ::-1].astype(float), masks)
    assert not table["pointing"].any()
    assert (table[["iou", "inside"]] == 0).all(axis=None)


def test_half_a_region_is_measured_as_such(masks):
    half = masks.astype(float)
    half[0, 5:10, 20:30] = 0.0
    half[0, 0:5, 0:10] = 0.5  # as large as what is missing
    table = localisation(half, masks)
    assert table["iou"][0] == pytest.approx(50 / 150)
    assert table["inside"][0] == pytest.approx(50 / 75)


def test_the_hottest_point_may_lie_just_outside(masks):
    near = np.zeros(masks.shape)
    near[0, 4, 25] = near[1, 20, 20] = 1
    assert localisation(near, masks)["pointing"].tolist() == [True, False]
    assert localisation(near, masks, tolerance=0)["pointing"].tolist() == [False, False]


def test_a_flat_map_hits_nothing(masks):
    table = localisation(np.zeros(masks.shape), masks)
    assert not table["pointing"].any()
    assert (table["inside"] == 0).all()


def test_a_random_map_has_its_share_inside():
    rng = np.random.default_rng(0)
    masks = np.zeros((300, 32, 32), bool)
    for mask in masks:
        top, left = rng.integers(0, 24, 2)
        mask[top : top + 8, left : left + 8] = True
    table = localisation(baseline_maps("random", 300, 32), masks)
    assert table["inside"].mean() == pytest.approx(table["area"].mean(), rel=0.1)


def test_the_table_has_methods_baselines_and_intervals(masks):
    table = localisation_table({"perfect": masks.astype(float)}, masks).set_index("method")
    assert list(table.index) == ["perfect", "random", "centre"]
    assert (table["n"] == 2).all()
    for measure in ("pointing", "iou", "inside"):
        assert (table[f"{measure}_low"] <= table[measure]).all()
        assert (table[measure] <= table[f"{measure}_high"]).all()
    with pytest.raises(DfdError, match="no image has a known region"):
        localisation_table({"any": masks.astype(float)}, np.zeros_like(masks))
    with pytest.raises(DfdError, match="unknown baseline"):
        baseline_maps("corner", 1, 8)


def test_masks_come_from_the_manifest(tmp_path):
    region = np.zeros((20, 20), np.uint8)
    region[2:6, 3:9] = 255
    cv2.imwrite(str(tmp_path / "part.png"), region)
    cv2.imwrite(str(tmp_path / "whole.png"), np.full((20, 20), 255, np.uint8))
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((20, 20, 3), np.uint8))
    manifest = pd.DataFrame({"path": ["a.png", "b.png", "c.png"], "mask": ["part.png", "whole.png", None]})
    manifest = manifest.assign(label="fake", category=None, split="test", group="g", generator="x")
    manifest["root"] = str(tmp_path)
    masks = ImageDataset(manifest, 20).masks()
    assert (masks[0] == (region > 0)).all()
    assert not masks[1].any(), "an image manipulated as a whole has no wrong place"
    assert not masks[2].any()


class Corner(nn.Module):
    """Calls an image fake for how rough its upper left corner is, and for nothing else."""

    def forward(self, images):
        corner = images[:, :, :8, :8].float()
        return Logits((corner.diff(dim=-1).abs().mean((1, 2, 3)) - 100) / 16, None)


def test_taking_away_the_reason_changes_the_verdict_at_once():
    detector = Detector(Corner(), "corner", {}, 32)
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    images[:, :, :8:2, :8:2] = images[:, :, 1:8:2, 1:8:2] = 255
    right, wrong = np.zeros((2, 2, 32, 32))
    right[:, :8, :8] = 1
    wrong[:, 24:, 24:] = 1
    orders = {"right": right, "wrong": wrong}
    table = deletion_insertion(detector, images, orders, torch.zeros_like(images), steps=16)
    areas = table.drop_duplicates(["method", "curve"]).set_index(["method", "curve"])["auc"]
    assert areas["right", "deletion"] < areas["wrong", "deletion"] - 0.1
    assert areas["right", "insertion"] > areas["wrong", "insertion"] + 0.1
    start = table[(table["curve"] == "deletion") & (table["fraction"] == 0)]["p_fake"]
    end = table[(table["curve"] == "insertion") & (table["fraction"] == 1)]["p_fake"]
    assert start.to_numpy() == pytest.approx(end.to_numpy()), "both are the image as it is"
    assert (table["n"] == 2).all()
    assert set(table["method"]) == {"right", "wrong", "random"}
    assert (table["p_fake_low"] <= table["p_fake"]).all()
    assert (table["p_fake"] <= table["p_fake_high"]).all()
    assert removal_verdict(table).splitlines()[1].startswith("right: deletion better (+")
    table[["gain_low", "gain_high"]] = -0.1, 0.1
    assert "wrong: deletion not told apart" in removal_verdict(table)


def test_images_of_one_group_are_resampled_together():
    detector = Detector(Corner(), "corner", {}, 32)
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    maps, black = {"flat": np.zeros((4, 32, 32))}, torch.zeros_like(images)
    alone = deletion_insertion(detector, images, maps, black, steps=2)
    together = deletion_insertion(detector, images, maps, black, ["a"] * 4, steps=2)
    assert (together["p_fake_low"] == together["p_fake_high"]).all(), "one group is always drawn"
    assert (alone["p_fake_low"] < alone["p_fake_high"]).any()


def test_an_original_takes_the_place_of_its_fake(tmp_path):
    rng = np.random.default_rng(0)
    scenes = {name: rng.integers(0, 255, (32, 32, 3), np.uint8) for name in "abc"}
    for name, scene in scenes.items():
        fake = scene.copy()
        fake[8:16, 8:16] = 255 - fake[8:16, 8:16]
        cv2.imwrite(str(tmp_path / f"{name}_fake.png"), fake)
        other = 255 - scene if name == "c" else scene  # an image of the same group that shows something else
        cv2.imwrite(str(tmp_path / f"{name}_real.png"), other)
    rows = [(f"{name}_{label}.png", label, name) for name in "abc" for label in ("real", "fake")]
    manifest = pd.DataFrame(rows, columns=["path", "label", "group"])
    manifest = manifest.assign(category=None, split="test", generator="x", root=str(tmp_path))
    said = manifest.assign(predicted=manifest["label"].where(manifest["path"] != "b_real.png", "fake"))
    images, original = references(ImageDataset(manifest, 32), said, np.array([1, 3, 5]))
    assert original.tolist() == [True, False, False], "b's original is called fake, c's is none"
    assert (images[0].permute(1, 2, 0).numpy() == scenes["a"][..., ::-1]).all()
    assert images[1].float().std() < scenes["b"].std() / 2, "a blurred copy"


@pytest.mark.parametrize("backbone", ["cnn", "resnet10t"])
def test_weights_are_drawn_anew_from_the_top(backbone):
    detector = create_detector(backbone, 32, pretrained="none")
    before = {name: tensor.clone() for name, tensor in detector.network.state_dict().items()}
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    table = randomised_weights(detector, images)
    assert table["randomised"].tolist()[:2] == ["nothing", "heads"]
    assert table["randomised"].iloc[-1] == "stage 1 and above"
    assert table["similarity"].iloc[0] == 1
    assert table["similarity"].abs().max() <= 1 + 1e-9
    assert table["similarity"].iloc[-1] < 0.99, "other weights give other maps"
    for name, tensor in detector.network.state_dict().items():
        assert torch.equal(tensor, before[name]), "the detector itself is not changed"


def test_the_verdict_on_a_method_follows_its_last_step():
    good = pd.DataFrame({"randomised": ["nothing", "all"], "similarity": [1.0, 0.1]})
    assert "depend on what the network learned" in sanity_verdict(good)
    assert "Do not trust" in sanity_verdict(good.assign(similarity=[1.0, 0.9]))
