"""Heatmaps: at the right place, like the reference, and unmixed under many threads."""

import threading
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dfdlib import DfdError, create_detector, predict
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import files_of, root_of
from dfdlib.evaluation.files import judge_files
from dfdlib.explain.heatmaps import (
    METHODS,
    confident_explanation,
    explain_images,
    explain_picture,
    pick_samples,
    save_samples,
)
from dfdlib.images.decode import read_image
from dfdlib.images.picture import Picture, overlay, read_picture
from dfdlib.images.tiles import parse_fit
from dfdlib.models.decision import Decision
from dfdlib.models.detector import Detector
from dfdlib.models.networks import HighPassResidual, Logits, unit_range
from dfdlib.plots.explain import heatmap_grid


class Spot(nn.Module):
    """Calls an image fake for how red it is: the heatmap must lie where the red is."""

    target_layer = "maps"

    def __init__(self):
        super().__init__()
        self.maps = nn.Conv2d(3, 2, 1, bias=False)
        self.maps.weight.data = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])[..., None, None]

    def forward(self, images):
        maps = self.maps(images.float() / 255 if images.dtype == torch.uint8 else images)
        red, blue = maps.mean((2, 3)).T
        return Logits(red - blue, torch.stack([red, blue], 1))


class Grain(nn.Module):
    """Calls an image fake for its grain, which a splice may have and a clear sky has not."""

    target_layer = "maps"

    def __init__(self):
        super().__init__()
        self.residual, self.maps = HighPassResidual(), nn.Conv2d(3, 1, 1, bias=False)
        self.maps.weight.data.fill_(1.0)

    def forward(self, images):
        maps = self.maps(self.residual(unit_range(images)).abs())
        return Logits(20 * maps.mean((1, 2, 3)) - 10, None)


@pytest.fixture
def spot():
    return Detector(Spot(), "spot", {}, 32, ("red", "blue"))


@pytest.fixture
def picture():
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[0, 4:10, 20:28, 0] = 255
    image[0, 22:28, 3:9, 2] = 255
    return image


def peak(heatmap):
    return np.unravel_index(heatmap.argmax(), heatmap.shape)


@pytest.mark.parametrize(
    ("target", "rows", "columns"),
    [
        ("fake", (4, 10), (20, 28)),
        ("real", (22, 28), (3, 9)),
        ("red", (4, 10), (20, 28)),
        ("blue", (22, 28), (3, 9)),
        ("predicted", (4, 10), (20, 28)),
    ],
)
def test_the_map_lies_where_the_evidence_is(spot, picture, target, rows, columns):
    found = explain_images(spot, picture, target).heatmap[0]
    y, x = peak(found)
    assert rows[0] <= y < rows[1]
    assert columns[0] <= x < columns[1]
    assert found.max() == pytest.approx(1, abs=1e-5)
    inside = found[rows[0] : rows[1], columns[0] : columns[1]].sum()
    assert inside > 0.99 * found.sum()


BACKBONES = {
    "resnet18": {},
    "efficientnet_b0": {},
    "mobilenetv3_small_050": {"residual": True},
    "resnet10t": {"stem_stride": 1},
    "vit_tiny_patch16_224": {},
}


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("target", ["fake", "b"])
def test_ours_agrees_with_pytorch_grad_cam(backbone, target, monkeypatch):
    detector = create_detector(backbone, 64, ("a", "b"), pretrained="none", **BACKBONES[backbone])
    images = torch.randint(
        0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    monkeypatch.setitem(METHODS, "reference", "GradCAM")
    layer = "backbone.blocks.10" if "vit" in backbone else ""
    ours, theirs = (
        explain_images(detector, images, target, method, layer) for method in ("gradcam", "reference")
    )
    assert np.abs(ours.heatmap - theirs.heatmap).max() < 2e-3
    assert torch.allclose(ours.logits.fake, theirs.logits.fake, atol=1e-5)


@pytest.mark.parametrize(
    "backbone",
    [
        "vit_tiny_patch16_224",
        "deit_tiny_distilled_patch16_224",
        "xcit_nano_12_p16_224",
        "crossvit_tiny_240",
    ],
)
def test_heatmaps_of_class_tokens_are_not_empty(backbone):
    images = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()
    heatmap = explain_images(create_detector(backbone, 64, pretrained="none"), images).heatmap
    assert (heatmap.std((1, 2)) > 0.05).all()


@pytest.mark.parametrize("backbone", ["coat_lite_tiny", "coat_tiny", "pit_ti_224"])
def test_heatmaps_of_one_label_are_empty_at_most(backbone):
    images = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()
    detector = create_detector(backbone, 64, pretrained="none")
    # With random weights a map of one label may be empty; what speaks against it is then evidence of the other.
    heatmaps = [explain_images(detector, images, label).heatmap for label in ("fake", "real")]
    assert (np.max(heatmaps, axis=0).std((1, 2)) > 0.05).all()


def test_a_layer_that_the_verdict_does_not_hang_on_is_told():
    detector = create_detector("vit_tiny_patch16_224", 64, pretrained="none")
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    for method in ("gradcam", "layercam"):
        with pytest.warns(
            UserWarning, match=r"heatmaps are empty: at `backbone\.blocks\.11` no place speaks for"
        ):
            explain_images(detector, images, "fake", method, "backbone.blocks.11")


def test_what_gives_no_map_is_refused():
    detector = create_detector("crossvit_tiny_240", 64, pretrained="none")
    with pytest.raises(DfdError, match="gives no feature map"):
        explain_images(detector, torch.zeros(1, 3, 64, 64, dtype=torch.uint8), layer="backbone.blocks.2")


@pytest.mark.parametrize("method", [name for name in METHODS if name != "gradcam"])
def test_other_methods_find_the_place_too(spot, picture, method):
    y, x = peak(explain_images(spot, picture, "red", method).heatmap[0])
    if method != "eigencam":  # it knows no class
        assert (4 <= y < 10, 20 <= x < 28) == (True, True)
    assert explain_images(spot, picture, "red", method).heatmap.shape == (1, 32, 32)


def test_nothing_is_left_behind():
    detector = create_detector("resnet10t", 32, pretrained="none")
    detector.network.backbone.conv1[0].weight.requires_grad_(False)
    flags = [p.requires_grad for p in detector.network.parameters()]
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    for method in ("gradcam", "layercam"):
        explain_images(detector, images, method=method)
        assert torch.is_grad_enabled()
        assert [p.requires_grad for p in detector.network.parameters()] == flags
        assert all(p.grad is None for p in detector.network.parameters())
        assert not any(m._forward_hooks or m._backward_hooks for m in detector.network.modules())


def test_threads_that_share_a_detector_get_their_own_maps():
    detector = create_detector("resnet10t", 64, pretrained="none")
    images = torch.randint(
        0, 256, (24, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    alone = [explain_images(detector, image[None]).heatmap for image in images]
    found = [None] * 24

    def work(places):
        for i in places:
            found[i] = explain_images(detector, images[i][None]).heatmap

    def disturb():
        with torch.no_grad():
            for _ in range(20):
                detector.network(images[:2])

    threads = [threading.Thread(target=work, args=(range(i, 24, 8),)) for i in range(8)]
    threads.append(threading.Thread(target=disturb))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(np.abs(a - b).max() for a, b in zip(alone, found, strict=True)) < 1e-4


def test_an_overlay_is_red_where_it_matters_and_blue_elsewhere():
    image = np.full((40, 60, 3), 128, np.uint8)
    heatmap = np.zeros((4, 4))
    heatmap[0, 0] = 1
    shown = overlay(image, heatmap)
    assert shown.shape == image.shape
    assert shown[0, 10, 0] > shown[0, 10, 2] + 40
    assert shown[39, 49, 2] > shown[39, 49, 0] + 40
    assert (shown[:, :10] == 128).all(), "beside the square that the detector saw"
    assert (image == 128).all()


def test_samples_are_the_surest_of_each_kind():
    rows = [
        ("real", "real", 0.1),
        ("real", "real", 0.3),
        ("real", "fake", 0.9),
        ("fake", "fake", 0.8),
        ("fake", "real", 0.4),
    ]
    table = pd.DataFrame(rows, columns=["label", "predicted", "p_fake"])
    assert list(pick_samples(table, 4)) == [True, False, True, True, True]


def test_samples_are_written_and_drawn(demo, tmp_path):
    images = ImageDataset(demo, 32).split("test")
    detector = create_detector("resnet10t", 32, pretrained="none")
    table = predict(detector, images)
    few = images.subset(pick_samples(table, 4))
    written = save_samples(detector, few, tmp_path)
    files = sorted((tmp_path / "gradcam_outputs").iterdir())
    assert sorted(written["file"]) == [file.name for file in files]
    assert cv2.imread(str(files[0])).shape == (32, 32, 3)
    found = explain_images(detector, few.batch(range(4))["image"])
    shown = table[pick_samples(table, 4)]
    figure = heatmap_grid(few, found.heatmap, shown, "fake")
    assert len(figure.axes) == 9
    assert figure.axes[4].get_title().startswith(shown["predicted"].iloc[0])


def test_the_surest_detector_explains(spot, picture):
    shy = Detector(Spot(), "spot", {}, 32, ("red", "blue"), decision=Decision(temperature=10.0))
    image = picture[0].copy()
    image[..., 0] = 255
    read = Picture(cv2.imencode(".png", image[..., ::-1])[1].tobytes(), "x")
    assert confident_explanation([shy, spot], read)[0] == 1
    assert confident_explanation([spot, shy], read)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "fak"}, "unknown target `fak`; did you mean `fake`"),
        ({"method": "gradcan"}, "unknown method `gradcan`; did you mean `gradcam`"),
        ({"layer": "map"}, "no layer `map`; did you mean `maps`"),
    ],
)
def test_unknown_names_are_refused(spot, picture, arguments, message):
    with pytest.raises(DfdError, match=message):
        explain_images(spot, picture, **arguments)


def test_the_most_suspicious_face_is_explained_where_it_is(spot, crowd, green_faces):
    spot.faces = green_faces("all")
    for row, squares in enumerate([[(44, 12, 32), (1, 2, 16)], [(26, 16, 19)]]):
        picture = read_picture(files_of(crowd)[row])
        red = [float(one[..., 0].mean() - one[..., 2].mean()) for one in picture.views(*spot.fit)]
        found, square = explain_picture(spot, picture)
        assert square == squares[int(np.argmax(red))]
        shown = overlay(picture.pixels, found.heatmap[0], 1.0, square)
        changed = (shown != picture.pixels).any(2)
        left, top, side = square
        assert changed[top : top + side, left : left + side].mean() > 0.9
        assert changed.sum() <= side**2


def test_an_overlay_ends_where_the_image_does():
    image, hot = np.zeros((20, 30, 3), np.uint8), np.ones((8, 8))
    shown = overlay(image, hot, 1.0, (-4, 14, 10))
    changed = shown.any(2)
    assert changed[14:, :6].all()
    assert changed.sum() == 6 * 6


def test_a_splice_at_the_edge_of_a_wide_photograph_is_found_by_tiles_alone(wide):
    detector = Detector(Grain(), "grain", {}, 32)
    fakes, said = (wide["label"] == "fake").to_numpy(), {}
    for fit in ("resize", "crop", "tiles, most=52, top=0.1"):
        table = pd.concat(judge_files([replace(detector, native=parse_fit(fit))], wide))
        said[fit[:5]] = table["predicted"].to_numpy() == "fake"
    assert not said["resiz"].any()
    assert not said["crop"].any()
    assert np.array_equal(said["tiles"], fakes)
    tiles = replace(detector, native=parse_fit("tiles, most=52, top=0.1"))
    for path, mask in wide.loc[fakes, ["path", "mask"]].to_numpy():
        picture = read_picture(root_of(wide) / path)
        found, (left, top, side) = explain_picture(tiles, picture)
        row, column = peak(found.heatmap[0])
        assert (left, top, side) == (0, 0, 320) == (0, 0, len(found.heatmap[0]))
        near = (
            slice(max(row - 1, 0), row + 2),
            slice(column - 1, column + 2),
        )  # the filter reaches a pixel further
        assert (read_image(root_of(wide) / mask)[near] > 127).any()
        assert float(found.logits.fake[0]) > 0
        shown = overlay(picture.pixels, found.heatmap[0], 1.0, (left, top, side))
        assert shown.shape == picture.pixels.shape
        assert (shown != picture.pixels).any(2).mean() > 0.9, "all of it was judged"


def test_a_native_square_is_explained_where_it_is(spot, wide):
    picture = read_picture(root_of(wide) / "real/0.png")
    spot.native = parse_fit("crop")
    for method in ("gradcam", "layercam"):
        found, square = explain_picture(spot, picture, method=method)
        assert square == (144, 32, 32)
        assert found.heatmap.shape == (1, 32, 32)
    spot.native = parse_fit("tiles, most=3")
    assert explain_picture(spot, picture, "blue")[1] == (0, -16, 320), "24 rows of 32 are the image's own"
    with pytest.raises(DfdError, match="have no common scale; take gradcam"):
        explain_picture(spot, picture, method="layercam")
