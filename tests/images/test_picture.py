"""Images brought to the size of a detector: the same pixels whichever way, and little work for large files."""

import io

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dfdlib import create_detector, predict
from dfdlib.core.errors import ImageError
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.scan import scan_images
from dfdlib.evaluation.files import predict_files
from dfdlib.evaluation.robustness import predict_degraded
from dfdlib.explain.heatmaps import explain_files
from dfdlib.images import jpeg
from dfdlib.images import picture as pictures
from dfdlib.images.decode import decode_image, decode_reduced
from dfdlib.images.degrade import DEGRADATIONS
from dfdlib.images.picture import Picture, fit_image

RNG = np.random.default_rng(0)
ORIENTATION = 0x0112


def test_an_image_of_the_right_size_stays_untouched():
    image = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(fit_image(image, 32), image)


@pytest.mark.parametrize("shape", [(32, 48), (48, 32), (33, 32)])
def test_a_longer_side_is_cut_in_the_middle(shape):
    image = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    top, left = (shape[0] - 32) // 2, (shape[1] - 32) // 2
    assert np.array_equal(fit_image(image, 32), image[top : top + 32, left : left + 32])


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 2), (500, 200)])
def test_any_shape_fits(shape):
    fitted = fit_image(np.full((*shape, 3), 77, np.uint8), 24)
    assert fitted.shape == (24, 24, 3)
    assert (fitted == 77).all()


@pytest.mark.parametrize("shape", [(33, 40), (64, 64), (101, 77), (400, 300)])
def test_a_reduction_is_antialiased_as_by_pillow(shape):
    image = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    square = Image.fromarray(image[top : top + side, left : left + side])
    fitted, wanted = fit_image(image, 32), np.asarray(square.resize((32, 32), Image.Resampling.BILINEAR))
    assert np.abs(fitted.astype(int) - wanted).max() <= 1
    assert fitted.flags["C_CONTIGUOUS"]
    assert fitted.flags["WRITEABLE"]


def photo(width, height):
    """Smooth shapes and noise of a camera, [height, width, 3]."""
    coarse = RNG.integers(30, 226, (height // 12, width // 12, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + RNG.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def as_jpeg(image, mode="RGB", orientation=1, **options):
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[ORIENTATION] = orientation
    options = {"quality": 90, **options}
    Image.fromarray(image).convert(mode).save(buffer, "JPEG", exif=exif, **options)
    return buffer.getvalue()


def difference(data, size):
    whole = fit_image(decode_image(data, "x"), size)
    return np.abs(Picture(data, "x").fitted(size).astype(int) - whole)


@pytest.mark.parametrize("shape", [(1024, 1024), (1024, 768), (1001, 1000), (2044, 1532), (2046, 1530)])
def test_a_large_jpeg_is_fitted_from_a_part_of_its_size(shape):
    data = as_jpeg(photo(*shape))
    for size in (100, 150):
        assert decode_reduced(data, "x", 225 * size // 100).reduction > 1
        gap = difference(data, size)
        assert 0 < gap.mean() < 0.8, size
        assert gap.max() < 16, size  # a square that lies half a pixel aside differs by more


@pytest.mark.parametrize("shape", [(801, 1000), (1001, 999), (1000, 750), (853, 1280)])
def test_a_jpeg_whose_square_would_cut_through_pixels_is_fitted_whole(shape):
    data = as_jpeg(photo(*shape))
    for size in (100, 150):
        assert not difference(data, size).any()


@pytest.mark.parametrize(
    ("min_side", "reduction"), [(75, 4), (150, 4), (151, 2), (300, 2), (301, 1), (None, 1)]
)
def test_no_more_is_left_out_than_is_asked_for(min_side, reduction):
    part = decode_reduced(as_jpeg(photo(600, 800)), "x", min_side)
    assert (part.reduction, part.possible) == (reduction, (4, 2, 1))
    assert part.pixels.shape == (800 // reduction, 600 // reduction, 3)
    assert [part.reduction_for(n) for n in (150, 300, 301, None)] == [4, 2, 1, 1]


def test_what_is_around_the_square_does_not_leak_into_it():
    for width, height in ((1003, 600), (1001, 600), (1334, 1000), (1600, 1200), (1000, 607)):
        image = np.full((height, width, 3), 255, np.uint8)
        side = min(width, height)
        top, left = (height - side) // 2, (width - side) // 2
        image[top : top + side, left : left + side] = 20
        data = as_jpeg(image, quality=100, subsampling=0)
        assert difference(data, 100).max() <= 8, (width, height)


def test_each_reduction_is_decoded_once(monkeypatch):
    decoded, kept = [], pictures.decode_reduced
    monkeypatch.setattr(pictures, "decode_reduced", lambda *a: decoded.append(a[2]) or kept(*a))
    picture = Picture(as_jpeg(photo(600, 800)), "x")
    for size in (60, 64, 100, 130, 200, 300):
        assert picture.fitted(size).shape == (size, size, 3)
    assert picture.pixels.shape == (800, 600, 3)
    assert decoded == [135, 225, 450]


@pytest.mark.parametrize("factor", ["411", "422", "440"])
def test_colours_that_are_not_as_coarse_across_as_down_are_decoded_whole(factor):
    how = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{factor}")]
    _, data = cv2.imencode(".jpg", photo(640, 480), how)
    assert not difference(data.tobytes(), 100).any()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_every_kind_of_jpeg_is_reduced_alike(mode, options):
    data = as_jpeg(photo(640, 480), mode, **options)
    assert decode_reduced(data, "x", 200).reduction == 2
    assert difference(data, 100).mean() < 0.7


def test_opencv_and_pillow_reduce_to_the_same_pixels(monkeypatch):
    data = as_jpeg(photo(801, 600))
    ours = [decode_reduced(data, "x", min_side) for min_side in (75, 150, 300)]
    monkeypatch.setattr(jpeg, "_IN_RGB", None)
    for min_side, part in zip((75, 150, 300), ours, strict=True):
        theirs = decode_reduced(data, "x", min_side)
        assert np.array_equal(part.pixels, theirs.pixels)
        assert part[1:] == theirs[1:]


@pytest.mark.parametrize("shape", [(640, 480), (641, 480)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_is_fitted_as_if_upright(orientation, shape):
    data = as_jpeg(photo(*shape), orientation=orientation)
    gap = difference(data, 100)
    assert gap.mean() < 0.7
    assert gap.max() < 16
    assert decode_reduced(data, "x", 200).reduction == (1 if orientation > 1 and shape[0] % 2 else 2)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_other_formats_and_small_jpegs_are_fitted_whole(kind):
    buffer = io.BytesIO()
    Image.fromarray(photo(640, 480)).save(buffer, kind)
    assert not difference(buffer.getvalue(), 100).any()
    assert not difference(as_jpeg(photo(399, 399)), 100).any()


@pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_damage_shows_in_a_part_too(options, part):
    data = as_jpeg(photo(640, 480), **options)
    with pytest.raises(ImageError, match="holiday"):
        Picture(data[: int(len(data) * part)], "holiday").fitted(100)


def test_all_that_judge_a_large_jpeg_see_the_same_square(tmp_path):
    pytest.importorskip("flask")
    from dfdlib.serve import Service

    for i in range(4):
        path = tmp_path / "photos" / ("real", "fake")[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(as_jpeg(photo(300, 260)))
    manifest = scan_images(tmp_path / "photos")
    detector = create_detector("resnet10t", 32, pretrained="none")
    wanted = predict(detector, ImageDataset(manifest, 32))["p_fake"].to_numpy()
    predict_files([detector], manifest, tmp_path / "test.csv")
    explained = explain_files([detector], manifest, tmp_path / "out")
    _, _, undamaged = next(predict_degraded({"net": detector}, manifest, {"blur": DEGRADATIONS["blur"]}))
    service = Service({"net": detector})
    served = [
        service.predict(service.read((tmp_path / "photos" / path).read_bytes()))["predictions"][0]["p_fake"]
        for path in manifest["path"]
    ]
    for found in (
        pd.read_csv(tmp_path / "test.csv")["p_fake"],
        explained["p_fake"],
        undamaged["p_fake"],
        served,
    ):
        assert np.allclose(found, wanted, atol=2e-6)
