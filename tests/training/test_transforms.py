"""Augmentation: the same for an image whatever surrounds it."""

import numpy as np
import torch

from dfdlib.training.augment import colour_jitter, random_flip, random_quarter_turn, sample_uniforms


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
