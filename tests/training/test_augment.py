"""Augmentation: what the settings ask for, and the same for an image whatever batch it is in."""

import cv2
import numpy as np
import pytest
import torch

from dfdlib.data.dataset import Batch
from dfdlib.data.loader import make_loader
from dfdlib.training.augment import (
    AugmentedImages,
    augment,
    colour_jitter,
    random_flip,
    random_quarter_turn,
    sample_uniforms,
)
from dfdlib.training.settings import TrainConfig


class Images:
    """Pixels in memory, served as an `ImageDataset` does."""

    is_cached = True

    def __init__(self, n=32, frames=0, size=24):
        rng = np.random.default_rng(0)
        shape = (n, frames, 3, size, size) if frames else (n, 3, size, size)
        self.pixels = torch.from_numpy(rng.integers(0, 256, shape).astype(np.uint8))
        self.fake = torch.tensor([0.0, 1.0]).repeat(n // 2)

    def __len__(self):
        return len(self.pixels)

    def batch(self, indices, _draw=None):
        positions = torch.as_tensor(indices)
        category = torch.zeros(len(positions), dtype=torch.int64)
        return Batch(
            image=self.pixels[positions], fake=self.fake[positions], category=category, index=positions
        )


def batch(**settings):
    images = Images(**settings)
    return images.batch(range(len(images)))


def varied(images, epoch=0, chosen=None, **settings):
    """Return a batch as training sees it: varied while it is loaded, then on the device."""
    config = TrainConfig(**{"augment": "none", **settings})
    loaded = AugmentedImages(images, config, epoch).__getitems__(chosen or range(len(images)))
    return augment(loaded, config)


EVERYTHING = {
    "turn": 0.9,
    "shift": 0.2,
    "colour_jitter": 0.2,
    "crop": 0.5,
    "degrade": 0.5,
    "grey": 0.5,
    "erase": 0.5,
    "self_blend": 0.5,
}


def test_nothing_asked_nothing_done():
    given = batch()
    images, ((weight, target),) = varied(Images())
    assert torch.equal(images, given["image"])
    assert weight == 1
    assert torch.equal(target["fake"], given["fake"])


@pytest.mark.parametrize("frames", [0, 3])
def test_an_image_is_varied_alike_in_any_company(frames):
    images = Images(frames=frames)
    together = varied(images, 3, **EVERYTHING).images
    apart = torch.cat([varied(images, 3, [i], **EVERYTHING).images for i in range(len(images))])
    assert together.shape == images.pixels.shape
    assert torch.equal(together, apart)
    assert not torch.equal(together, varied(images, 4, **EVERYTHING).images)
    assert not torch.equal(together, varied(images, 3, seed=1, **EVERYTHING).images)


def test_worker_processes_vary_alike():
    images, config = Images(n=8), TrainConfig(augment="forensic", degrade=0.5)
    alone = [part["image"] for part in make_loader(AugmentedImages(images, config, 2), 4)]
    images.is_cached = False
    cv2.setNumThreads(2)
    apart = [part["image"] for part in make_loader(AugmentedImages(images, config, 2), 4, workers=2)]
    assert torch.equal(torch.cat(alone), torch.cat(apart))
    assert cv2.getNumThreads() == 1, "a fork may wait for ever for OpenCV's threads, which it does not copy"


@pytest.mark.parametrize("setting", EVERYTHING)
def test_frames_of_a_clip_are_varied_alike(setting):
    given = Images(frames=2)
    given.pixels[:, 1] = given.pixels[:, 0]
    images = varied(given, **{setting: EVERYTHING[setting]}).images
    assert torch.equal(images[:, 0], images[:, 1])
    assert not torch.equal(images.float(), given.pixels.float())


@pytest.mark.parametrize("setting", ["crop", "grey", "erase"])
def test_an_operation_hits_its_share(setting):
    given = Images(n=300)
    images = varied(given, **{setting: 0.3}).images
    changed = (images != given.pixels).flatten(1).any(1).float().mean()
    assert abs(float(changed) - 0.3) < 0.1


def test_erasing_fills_a_rectangle_with_the_mean_colour():
    given = Images(n=20)
    for before, after in zip(given.pixels, varied(given, erase=1.0).images, strict=True):
        rows, columns = (before != after).any(0).nonzero(as_tuple=True)
        inside = after[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        colour = before.float().mean((1, 2)).round().to(torch.uint8)
        assert (inside == colour[:, None, None]).all()


def test_presets_are_overridden_one_operation_at_a_time():
    given = Images()
    assert torch.equal(varied(given, augment="light").images, varied(given, flip=True).images)
    still = varied(given, augment="light", flip=False).images
    assert torch.equal(still, given.pixels)


def test_a_shift_moves_and_mirrors_whole_pixels():
    given = Images(size=20)
    images = varied(given, shift=0.25).images
    moved = 0
    for before, after in zip(given.pixels, images, strict=True):
        padded = np.pad(before.numpy(), ((0, 0), (5, 5), (5, 5)), mode="reflect")
        places = [(y, x) for y in range(11) for x in range(11)]
        found = [
            place
            for place in places
            if np.array_equal(padded[:, place[0] :][:, :20, place[1] :][..., :20], after)
        ]
        assert len(found) == 1
        moved += found != [(5, 5)]
    assert moved > 20


def test_self_blending_makes_fakes_of_real_images_alone():
    given = batch(n=200)
    images, ((_, targets),) = varied(Images(n=200), self_blend=0.5)
    real = given["fake"] == 0
    new = (targets["fake"] == 1) & real
    assert 0.35 < float(new.sum() / real.sum()) < 0.65
    changed = (images != given["image"]).flatten(1).any(1)
    assert torch.equal(changed, new)
    part_changed = (images != given["image"])[new].float().mean()
    assert 0.05 < float(part_changed) < 0.7, "a region, not the whole image"


def test_degrading_hits_its_share():
    given = Images(n=300)
    images = varied(given, degrade=0.2).images
    untouched = (images == given.pixels).flatten(1).all(1).float().mean()
    assert abs(float(untouched) - 0.8**4) < 0.1, "resizing, blur, noise, JPEG"


def test_mixup_blends_images_and_targets_alike():
    given = batch()
    images, ((share, ours), (rest, others)) = varied(Images(), mixup=0.5)
    assert float(share + rest) == pytest.approx(1)
    assert 0 < share < 1
    assert torch.equal(others["fake"], ours["fake"].flip(0))
    pixels = given["image"].float() / 255
    assert torch.allclose(images, share * pixels + rest * pixels.flip(0), atol=1e-6)


def test_numbers_do_not_depend_on_the_batch():
    together = sample_uniforms(3, 2, torch.arange(100), 4)
    apart = torch.cat([sample_uniforms(3, 2, torch.tensor([i]), 4) for i in range(100)])
    assert torch.equal(together, apart)


def test_seed_epoch_image_and_draw_each_change_the_numbers():
    base = sample_uniforms(0, 0, torch.arange(1000), 2)
    for other in (sample_uniforms(1, 0, torch.arange(1000), 2), sample_uniforms(0, 1, torch.arange(1000), 2)):
        assert abs(np.corrcoef(base[:, 0], other[:, 0])[0, 1]) < 0.1
    assert abs(np.corrcoef(base[:, 0], base[:, 1])[0, 1]) < 0.1
    assert abs(np.corrcoef(base[1:, 0], base[:-1, 0])[0, 1]) < 0.1


def test_numbers_are_uniform():
    numbers = sample_uniforms(0, 0, torch.arange(20_000), 1).flatten()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = torch.histc(numbers, bins=10, min=0, max=1)
    assert (counts - 2000).abs().max() < 250


def test_flip_mirrors_the_chosen_images_alone():
    images = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 3, 4, 5)
    flipped = random_flip(images, torch.tensor([0.1, 0.9]))
    assert torch.equal(flipped[0], images[0].flip(-1))
    assert torch.equal(flipped[1], images[1])


def test_colour_jitter_moves_brightness_and_keeps_shape_and_range():
    images = torch.randint(
        0, 256, (8, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    still = colour_jitter(images, torch.full((8, 5), 0.5), 0.3)
    assert torch.allclose(still, images.float() / 255, atol=1e-6)
    brighter = colour_jitter(images, torch.tensor([[0.5, 0.99, 0.5, 0.5, 0.5]]).expand(8, 5), 0.3)
    assert (brighter.mean((1, 2, 3)) > still.mean((1, 2, 3))).all()
    redder = colour_jitter(images, torch.tensor([[0.5, 0.5, 0.99, 0.5, 0.5]]).expand(8, 5), 0.3)
    assert (redder[:, 0] >= still[:, 0]).all()
    assert torch.allclose(redder[:, 1:], still[:, 1:], atol=1e-6)
    assert brighter.max() <= 1


def test_quarter_turns_move_pixels_and_change_none():
    image = torch.arange(3 * 5 * 5, dtype=torch.uint8).view(1, 3, 5, 5)
    turned = random_quarter_turn(image.expand(4, 3, 5, 5), torch.tensor([0.1, 0.3, 0.6, 0.9]))
    for quarters in range(4):
        assert torch.equal(turned[quarters], torch.rot90(image[0], -quarters, (1, 2)))
