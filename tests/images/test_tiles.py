"""Native squares: where they lie, how many, untouched pixels, one map of many."""

import cv2
import numpy as np
import pytest

from dfdlib import DfdError
from dfdlib.core.native import Native
from dfdlib.images.picture import Picture, fit_views
from dfdlib.images.tiles import judged_shape, parse_fit, stitch, tile_squares


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def picture(image):
    return Picture(cv2.imencode(".png", image[..., ::-1])[1].tobytes(), "x.png")


def test_settings_are_read_and_say_what_they_are():
    assert parse_fit("resize") is None
    assert parse_fit("crop") == Native()
    assert parse_fit("tiles, most=9, top=0.25") == Native(tiles=True, most=9, top=0.25)
    for text in ("crop", "tiles, most=32, top=1"):
        assert str(parse_fit(text)) == text


@pytest.mark.parametrize(
    "text", ["", "tile", "crop, most=3", "tiles, top=2", "tiles, most=x", "tiles, size=3"]
)
def test_unknown_words_are_refused(text):
    with pytest.raises(DfdError, match="unknown word in `fit`"):
        parse_fit(text)


@pytest.mark.parametrize("text", ["tiles, most=0", "tiles, top=.0"])
def test_numbers_out_of_range_are_refused(text):
    with pytest.raises(DfdError, match="`most` must be at least 1"):
        parse_fit(text)


@pytest.mark.parametrize(
    ("height", "width", "most"),
    [(20, 20, 32), (32, 32, 32), (33, 700, 32), (900, 700, 32), (1, 5000, 7), (2000, 3000, 1), (61, 119, 5)],
)
def test_tiles_cover_the_whole_image_and_are_bounded(height, width, most):
    native = Native(tiles=True, most=most)
    shape = judged_shape(height, width, 32, native)
    squares = tile_squares(*shape, 32, native)
    assert len(squares) <= most
    covered = np.zeros(shape, bool)
    for left, top, side in squares:
        covered[max(top, 0) : top + side, max(left, 0) : left + side] = True
    assert covered.all()
    assert shape == (height, width) or max(shape) > 32 / 2, "no more shrunk than needed"


def test_neighbours_share_a_quarter_and_a_few_tiles_suffice():
    squares = tile_squares(32, 200, 32, Native(tiles=True))
    assert max(np.diff([left for left, *_ in squares])) <= 24
    assert len(squares) == 8


def test_pixels_are_never_resampled():
    image = noise(60, 90)
    (middle,) = picture(image).views(32, "bilinear", Native())
    assert np.array_equal(middle, image[14:46, 29:61])
    tiles = picture(image).views(32, "bilinear", Native(tiles=True))
    assert np.array_equal(tiles[0], image[:32, :32])
    assert np.array_equal(tiles[-1], image[-32:, -32:])


def test_a_small_image_is_continued_by_its_mirror_image():
    image = noise(20, 40)
    (seen,) = fit_views(image, 32, "bilinear", Native())
    assert np.array_equal(seen[6:26], image[:, 4:36])
    assert np.array_equal(seen[5], image[1, 4:36])
    assert np.array_equal(seen[26], image[-2, 4:36])


@pytest.mark.parametrize(
    ("shape", "part", "said"),
    [
        ((60, 90), None, "the middle square"),
        ((60, 60), None, "the whole picture"),
        ((60, 90), Native(), "the middle 32 × 32 pixels"),
        ((20, 90), Native(), "the middle 32 × 20 pixels"),
        ((20, 30), Native(), "the whole picture"),
        ((60, 90), Native(tiles=True), "12 overlapping squares, the whole picture"),
        (
            (60, 90),
            Native(tiles=True, most=2),
            "2 overlapping squares, the whole picture, reduced to 48 × 32 pixels",
        ),
    ],
)
def test_what_is_judged_is_said(shape, part, said):
    assert picture(noise(*shape)).judged(32, part) == said


def test_maps_are_put_together():
    maps = np.stack([np.full((4, 4), value, np.float32) for value in (1, 3)])
    whole, square = stitch(maps, [(0, 0, 4), (3, 0, 4)])
    assert square == (0, 0, 7)
    assert whole[0].tolist() == [1, 1, 1, 2, 3, 3, 3]
    assert (whole[4:] == 0).all()
