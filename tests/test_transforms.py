"""Augmentation: the same for an image whatever surrounds it."""

import numpy as np
import torch

from dfdlib.transforms import random_flip, sample_uniforms


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
