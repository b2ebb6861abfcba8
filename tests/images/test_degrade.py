"""What happens to images as they are shared."""

import numpy as np
import pytest

from dfdlib.images.degrade import DEGRADATIONS


@pytest.fixture(scope="module")
def photo():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:61, :80]
    wave = 128 + 60 * np.sin(x / 7) + 40 * np.cos(y / 5)
    return np.clip(wave[..., None] * [1.0, 0.8, 0.6] + rng.normal(0, 6, (61, 80, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_levels_run_from_unmodified_to_strong(photo, name):
    degradation = DEGRADATIONS[name]
    before = photo.copy()
    damage = [0.0]
    for level in degradation.levels:
        after = degradation.apply(photo, level)
        assert after.shape == photo.shape
        assert after.dtype == np.uint8
        damage.append(np.abs(after.astype(float) - photo).mean())
    assert np.array_equal(photo, before), "the image given is left alone"
    assert damage[-1] > 3
    assert all(np.diff(damage) > 0)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_the_unmodified_level_leaves_every_pixel(photo, name):
    degradation = DEGRADATIONS[name]
    noise = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    if np.isnan(degradation.unmodified):
        least = degradation.apply(photo, degradation.levels[0])
        assert 0 < np.abs(least.astype(float) - photo).mean() < 4, "JPEG halves the resolution of colour"
    else:
        for image in (photo, noise):
            assert np.array_equal(degradation.apply(image, degradation.unmodified), image)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_colours_keep_their_places(photo, name):
    degradation = DEGRADATIONS[name]
    means = degradation.apply(photo, degradation.levels[-1]).mean((0, 1))
    assert means == pytest.approx(photo.mean((0, 1)), abs=6)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_the_same_image_suffers_the_same(photo, name):
    degradation = DEGRADATIONS[name]
    level = degradation.levels[-1]
    assert np.array_equal(degradation.apply(photo, level), degradation.apply(photo, level))
