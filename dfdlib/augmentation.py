"""How training images are varied: each by numbers of its own, the same in every run of one seed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import beta
from torch import Tensor

from .config import TrainConfig
from .datasets import Batch
from .degradations import blur, jpeg, resize
from .demo.forgeries import STRENGTHS, forge
from .transforms import colour_jitter, random_flip, random_quarter_turn, random_shift, sample_uniforms

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
        batch = _self_blended(batch, uniforms[:, 15:17], config.self_blend)
    images = batch["image"].flatten(0, len(clips))
    uniforms = uniforms.repeat_interleave(clips.numel(), 0)
    if config.degrade:
        images = _degraded(images, uniforms[:, 9:15], config.degrade)
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
        return _mixed_up(images, batch, float(uniforms[0, 17]), config.mixup)
    return Augmented(images, ((1.0, batch),))


def _degraded(images: Tensor, uniforms: Tensor, chance: float) -> Tensor:
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


def _self_blended(batch: Batch, uniforms: Tensor, chance: float) -> Batch:
    """Make fakes out of some of the real images or clips of a batch, by blending each with itself."""
    chosen = ((batch["fake"].cpu() == 0) & (uniforms[:, 0] < chance)).nonzero().flatten().tolist()
    images, fake = batch["image"].clone(), batch["fake"].clone()
    for i in chosen:
        frames = images[i].unsqueeze(0) if images.ndim == 4 else images[i]
        for frame in frames:
            rng = np.random.default_rng(int(uniforms[i, 1] * 2**24))  # the same for all frames
            photo = np.ascontiguousarray(frame.permute(1, 2, 0).cpu().numpy())
            blended, _ = forge(photo, "face_swap_blending", rng.uniform(*STRENGTHS), rng, donor=photo)
            frame.copy_(torch.from_numpy(blended).permute(2, 0, 1))
        fake[i] = 1.0
    return Batch(image=images, fake=fake, category=batch["category"], index=batch["index"])


def _mixed_up(images: Tensor, batch: Batch, uniform: float, alpha: float) -> Augmented:
    """Blend the batch with its own reverse."""
    share = float(beta.ppf(uniform, alpha, alpha))
    pixels = images.float() / 255 if images.dtype == torch.uint8 else images
    others = Batch(**{name: tensor.flip(0) for name, tensor in batch.items()})
    return Augmented(share * pixels + (1 - share) * pixels.flip(0), ((share, batch), (1 - share, others)))
