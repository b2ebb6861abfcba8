"""Augmentation: random variations of training images.

Each image is varied by random numbers that depend on the seed, the epoch and its position alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import beta
from torch import Tensor

from dfdlib.data.dataset import Batch
from dfdlib.images.degrade import blur, jpeg, resize
from dfdlib.images.forge import STRENGTHS, forge_image
from dfdlib.models.networks import unit_range
from dfdlib.training.settings import TrainConfig

_DRAWS = 18


class Augmented(NamedTuple):
    """A varied batch."""

    images: Tensor
    """uint8 or float in [0, 1], of the batch's shape."""
    targets: tuple[tuple[float, Batch], ...]
    """What the loss is taken against: batches and their weights, of sum 1."""


def augment(batch: Batch, epoch: int, config: TrainConfig) -> Augmented:
    """Vary a batch as the settings, the epoch and the images' positions say.

    Args:
        batch: Images [B, 3, S, S] or clips [B, T, 3, S, S], uint8; a clip's frames are varied alike.
        epoch: Epoch, from 0.
        config: Which variations.
    """
    clips = batch["image"].shape[1:-3]
    uniforms = sample_uniforms(config.seed, epoch, batch["index"], _DRAWS)
    if config.self_blend:
        batch = _self_blend(batch, uniforms[:, 15:17], config.self_blend)
    images = batch["image"].flatten(0, len(clips))
    uniforms = uniforms.repeat_interleave(clips.numel(), 0)
    if config.degrade:
        images = _degrade(images, uniforms[:, 9:15], config.degrade)
    if config.flip:
        images = random_flip(images, uniforms[:, 0])
    if config.turn:
        images = random_quarter_turn(images, uniforms[:, 1])
    if config.shift:
        images = random_shift(images, uniforms[:, 7:9], config.shift)
    if config.colour_jitter:
        images = colour_jitter(images, uniforms[:, 2:7], config.colour_jitter)
    images = images.unflatten(0, (-1, *clips)) if clips else images
    if config.mixup:
        return mixup(images, batch, float(uniforms[0, 17]), config.mixup)
    return Augmented(images, ((1.0, batch),))


def sample_uniforms(seed: int, epoch: int, indices: Tensor, n: int) -> Tensor:
    """Draw `n` numbers for each image, the same ones whatever the batches, workers and processes.

    Args:
        seed: Seed of the run.
        epoch: Epoch, from 0.
        indices: int64 [B], positions of the images in their data set.
        n: Numbers per image.

    Returns:
        float32 [B, n] in [0, 1), on the CPU.
    """
    draws = [np.random.default_rng([seed, epoch, index]).random(n, np.float32) for index in indices.tolist()]
    return torch.from_numpy(np.stack(draws))


def random_flip(images: Tensor, uniforms: Tensor) -> Tensor:
    """Mirror the images [B, C, H, W] whose number in `uniforms` [B] is below one half."""
    mirrored = (uniforms < 0.5).to(images.device).view(-1, 1, 1, 1)
    return torch.where(mirrored, images.flip(-1), images)


def random_quarter_turn(images: Tensor, uniforms: Tensor) -> Tensor:
    """Turn square images [B, C, S, S] by 0, 90, 180 or 270 degrees, as their numbers in `uniforms` [B] say.

    No pixel is resampled, so that traces of manipulation stay.
    """
    turns = (uniforms * 4).long().to(images.device).view(-1, 1, 1, 1)
    half = torch.where(turns >= 2, images.flip(-1, -2), images)
    return torch.where(turns % 2 == 1, half.transpose(-1, -2).flip(-1), half)


def random_shift(images: Tensor, uniforms: Tensor, largest: float) -> Tensor:
    """Move the images [B, C, H, W] by whole pixels, mirrored at the border, as `uniforms` [B, 2] say.

    `largest` is the greatest move as a part of the side, from 0 to below 1. No pixel is resampled.
    """
    height, width = images.shape[-2:]
    sides = torch.tensor([height, width])
    moves = ((2 * uniforms - 1) * largest * sides).round().long().to(images.device)
    rows = _reflected(torch.arange(height, device=images.device) + moves[:, :1], height)
    columns = _reflected(torch.arange(width, device=images.device) + moves[:, 1:], width)
    each = torch.arange(len(images), device=images.device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _reflected(places: Tensor, n: int) -> Tensor:
    """Fold places from -n+1 to 2n-2 into 0 to n-1, without repeating the border."""
    return (n - 1) - ((n - 1) - places.abs()).abs()


def colour_jitter(images: Tensor, uniforms: Tensor, strength: float) -> Tensor:
    """Vary brightness, contrast and colour balance, each image by its own numbers.

    Args:
        images: uint8 [B, 3, H, W].
        uniforms: [B, 5] in [0, 1): contrast, brightness, and the gain of each colour.
        strength: Largest relative change, e.g. 0.2.

    Returns:
        float32 [B, 3, H, W] in [0, 1], never rounded: rounding anew would leave a trace of its own.
    """
    shift = ((2 * uniforms - 1) * strength).to(images.device)[:, :, None, None]
    pixels = images.float() / 255
    middle = pixels.mean((1, 2, 3), keepdim=True)
    pixels = (pixels - middle) * (1 + shift[:, :1]) + middle + 0.5 * shift[:, 1:2]
    return (pixels * (1 + 0.5 * shift[:, 2:])).clamp_(0, 1)


def _degrade(images: Tensor, uniforms: Tensor, chance: float) -> Tensor:
    """Resize, blur and compress uint8 [B, 3, H, W], each with its chance and at a strength of its own."""
    pixels = images.permute(0, 2, 3, 1).cpu().numpy().copy()
    draws = uniforms.numpy()
    for i, (scale, sigma, quality) in enumerate(draws[:, 1::2]):
        resized, blurred, compressed = draws[i, ::2] < chance
        if resized:
            pixels[i] = resize(pixels[i], 0.5 + scale)
        if blurred:
            pixels[i] = blur(pixels[i], 0.1 + 2 * sigma)
        if compressed:
            pixels[i] = jpeg(pixels[i], 40 + 60 * quality)
    return torch.from_numpy(pixels).to(images.device).permute(0, 3, 1, 2)


def _self_blend(batch: Batch, uniforms: Tensor, chance: float) -> Batch:
    """Make fakes out of some of the real images or clips of a batch, by blending each with itself."""
    chosen = ((batch["fake"].cpu() == 0) & (uniforms[:, 0] < chance)).nonzero().flatten().tolist()
    images, fake = batch["image"].clone(), batch["fake"].clone()
    for i in chosen:
        frames = images[i].unsqueeze(0) if images.ndim == 4 else images[i]
        for frame in frames:
            rng = np.random.default_rng(int(uniforms[i, 1] * 2**24))  # the same for all frames
            photo = np.ascontiguousarray(frame.permute(1, 2, 0).cpu().numpy())
            blended, _ = forge_image(photo, "face_swap_blending", rng.uniform(*STRENGTHS), rng, donor=photo)
            frame.copy_(torch.from_numpy(blended).permute(2, 0, 1))
        fake[i] = 1.0
    return Batch(image=images, fake=fake, category=batch["category"], index=batch["index"])


def mixup(images: Tensor, batch: Batch, uniform: float, alpha: float) -> Augmented:
    """Blend a batch with its own reverse (Zhang et al. 2018, arXiv:1710.09412).

    Args:
        images: uint8 or float, the images or features of the batch.
        batch: What is known of them.
        uniform: In [0, 1); says how much of each is taken.
        alpha: Parameter of the beta distribution that the share is drawn from.
    """
    share = float(beta.ppf(uniform, alpha, alpha))
    pixels = unit_range(images)
    others = Batch(**{name: tensor.flip(0) for name, tensor in batch.items()})
    return Augmented(share * pixels + (1 - share) * pixels.flip(0), ((share, batch), (1 - share, others)))
