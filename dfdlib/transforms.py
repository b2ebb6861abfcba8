"""Augmentation that depends on nothing but the seed, the epoch and the image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_STEP = np.uint64(0x9E3779B97F4A7C15)


def sample_uniforms(seed: int, epoch: int, indices: Tensor, n: int) -> Tensor:
    """Draw `n` numbers for each image, the same ones whatever the batches, workers and processes.

    A counter-based generator (SplitMix64, Steele et al. 2014, doi:10.1145/2660193.2660195) keyed by seed,
    epoch, image and draw, so that no state is shared or saved.

    Args:
        seed: Seed of the run.
        epoch: Epoch, from 0.
        indices: int64 [B], positions of the images in their data set.
        n: Draws an image.

    Returns:
        float32 [B, n] in [0, 1), on the CPU.
    """
    keys = indices.cpu().numpy().astype(np.uint64)[:, None]
    with np.errstate(over="ignore"):
        state = _mixed(np.uint64(seed) + _STEP) + np.uint64(epoch)
        state = _mixed(_mixed(state + _STEP) + keys * _STEP)
        state = _mixed(state + (np.arange(n, dtype=np.uint64)[None] + np.uint64(1)) * _STEP)
    return torch.from_numpy((state >> np.uint64(40)).astype(np.float32) / 2**24)


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
    rows = _mirrored(torch.arange(height, device=images.device) + moves[:, :1], height)
    columns = _mirrored(torch.arange(width, device=images.device) + moves[:, 1:], width)
    each = torch.arange(len(images), device=images.device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


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


def _mirrored(places: Tensor, n: int) -> Tensor:
    """Fold places from -n+1 to 2n-2 into 0 to n-1, without repeating the border."""
    return (n - 1) - ((n - 1) - places.abs()).abs()


def _mixed(value: np.ndarray) -> np.ndarray:
    value = (value ^ (value >> np.uint64(30))) * _MIX[0]
    value = (value ^ (value >> np.uint64(27))) * _MIX[1]
    return value ^ (value >> np.uint64(31))
