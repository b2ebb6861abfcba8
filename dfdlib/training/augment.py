"""Augmentation: random variations of training images.

Each image is varied by random numbers that depend on the seed, the epoch and its position alone. What NumPy and
OpenCV do happens as images are loaded, in worker processes where a GPU would wait; the rest happens on the device.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from scipy.stats import beta
from torch import Tensor
from torch.utils.data import Dataset

from dfdlib.data.dataset import Batch, ImageDataset
from dfdlib.images import degrade
from dfdlib.images.forge import STRENGTHS, forge_image
from dfdlib.models.networks import unit_range
from dfdlib.training.settings import TrainConfig

_DRAWS = 11
_SMALLEST_CROP = 0.64
"""Part of the area that a random crop keeps at least."""


class Operations(NamedTuple):
    """How training images are varied; see `TrainConfig` for what each operation does."""

    flip: bool = False
    turn: float = 0.0
    shift: float = 0.0
    colour_jitter: float = 0.0
    crop: float = 0.0
    degrade: float = 0.0
    grey: float = 0.0
    erase: float = 0.0
    self_blend: float = 0.0

    @property
    def in_loader(self) -> bool:
        """Whether NumPy and OpenCV have work to do."""
        return any((self.crop, self.degrade, self.grey, self.erase, self.self_blend))


_FORENSIC = Operations(flip=True, turn=0.1, colour_jitter=0.1, crop=0.2, degrade=0.2, grey=0.05, erase=0.1)
PRESETS: Mapping[str, Operations] = {
    "none": Operations(),
    "light": Operations(flip=True),
    "forensic": _FORENSIC,
    "faces": _FORENSIC._replace(self_blend=0.2),
}
"""Named augmentations.

`light` is the default: colour jitter of 0.1 beside it gained nothing on the validation images of photographs of faces.
`forensic` follows CNNDetection (Wang et al. 2020, arXiv:1912.11035: blur and JPEG by two encoders) and AI-GenBench
(arXiv:2504.20865: repeated JPEG, noise, resized crops, grey, jitter, cut-out, quarter turns); `faces` adds
self-blended images (Shiohara & Yamasaki 2022, arXiv:2204.08376).
"""


def operations(config: TrainConfig) -> Operations:
    """Return the preset of the settings, with the operations that they override."""
    stated = {name: getattr(config, name) for name in Operations._fields}
    return PRESETS[config.augment]._replace(**{k: v for k, v in stated.items() if v is not None})


class AugmentedBatch(Batch):
    """A loaded batch, with what its further variations need."""

    uniforms: Tensor
    """float32 [B, 11] in [0, 1): the numbers that each image's variations are drawn by."""
    share: Tensor
    """float32 scalar: how much of each image mixup leaves."""


class AugmentedImages(Dataset):
    """Training images as they are loaded: self-blended, cropped, degraded, in whichever process loads them."""

    def __init__(self, images: ImageDataset, config: TrainConfig, epoch: int = 0) -> None:
        """Vary the images of a data set as the settings say; `epoch` is set anew before each one."""
        self.images, self.is_cached = images, images.is_cached
        self._epoch = torch.tensor(epoch).share_memory_()  # workers that live on read the next one here
        self._seed, self._mixup, self._operations = config.seed, config.mixup, operations(config)

    @property
    def epoch(self) -> int:
        """Epoch, from 0; it can be set."""
        return int(self._epoch)

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitems__(self, indices: Sequence[int]) -> AugmentedBatch:
        """Return a batch; PyTorch's loaders call this."""
        batch = self.images.batch(indices)
        uniforms = sample_uniforms(self._seed, self.epoch, batch["index"], _DRAWS)
        share = mixup_share(float(uniforms[0, -1]), self._mixup)
        batch = AugmentedBatch(**batch, uniforms=uniforms, share=torch.tensor(share))
        if not self._operations.in_loader:
            return batch
        pixels = batch["image"].movedim(-3, -1).numpy().copy()
        fake = batch["fake"].clone()
        for i, index in enumerate(batch["index"].tolist()):
            frames = pixels[i] if pixels.ndim == 5 else pixels[i : i + 1]
            for frame in frames:  # all of a clip are varied alike
                rng = np.random.default_rng([self._seed, self.epoch, index, 1])
                frame[:], blended = _vary(frame, bool(fake[i] == 0), self._operations, rng)
            fake[i] = 1.0 if blended else fake[i]
        return AugmentedBatch(**{**batch, "image": torch.from_numpy(pixels).movedim(-1, -3), "fake": fake})


def _vary(
    image: np.ndarray, real: bool, chances: Operations, rng: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """Vary an image, uint8 [S, S, 3]; say whether it was real and is a self-blended fake now."""
    blend, *asked = rng.random(9) < [
        chances.self_blend,
        chances.crop,
        *[chances.degrade] * 5,
        chances.grey,
        chances.erase,
    ]
    crop, resize, blur, noise, jpeg, again, grey, erase = asked
    side, blended = len(image), bool(blend and real)
    if blended:
        image, _ = forge_image(image, "face_swap_blending", rng.uniform(*STRENGTHS), rng, donor=image)
    if crop:
        kept = round(side * np.sqrt(rng.uniform(_SMALLEST_CROP, 1)))
        top, left = rng.integers(0, side - kept + 1, 2)
        method = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA)[rng.integers(3)]
        image = cv2.resize(image[top : top + kept, left : left + kept], (side, side), interpolation=method)
    if resize:
        image = degrade.resize(image, rng.uniform(0.5, 1.5))
    if blur:
        image = degrade.blur(image, rng.uniform(0.1, 2.1))
    if noise:
        image = degrade.noise(image, rng.uniform(1, 8))
    for _ in range(int(jpeg) + int(jpeg and again)):
        image = (degrade.jpeg, _pillow_jpeg)[rng.integers(2)](image, rng.integers(40, 101))
    if grey:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, -1)
    if erase:
        image = _erase(image, rng)
    return image, blended


def _pillow_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Save and read uint8 [S, S, 3] as JPEG by another encoder than OpenCV's, without reduced colour."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=int(quality), subsampling=0)
    return np.asarray(Image.open(stream))


def _erase(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fill a rectangle of 2 to 20 % of the image with its mean colour (Zhong et al. 2020, arXiv:1708.04896)."""
    side = len(image)
    area, ratio = rng.uniform(0.02, 0.2), np.exp(rng.uniform(np.log(0.3), np.log(3.3)))
    height, width = (min(side, max(1, round(side * np.sqrt(part)))) for part in (area * ratio, area / ratio))
    top, left = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
    erased = image.copy()
    erased[top : top + height, left : left + width] = image.mean((0, 1)).round()
    return erased


class Augmented(NamedTuple):
    """A varied batch."""

    images: Tensor
    """uint8 or float in [0, 1], of the batch's shape."""
    targets: tuple[tuple[float | Tensor, Batch], ...]
    """What the loss is taken against: batches and their weights, of sum 1."""


def augment(batch: AugmentedBatch, config: TrainConfig) -> Augmented:
    """Vary a loaded batch on its device, as the numbers that it brings say.

    Args:
        batch: Images [B, 3, S, S] or clips [B, T, 3, S, S], uint8; a clip's frames are varied alike.
        config: Which variations.
    """
    chances, clips = operations(config), batch["image"].shape[1:-3]
    images = batch["image"].flatten(0, len(clips))
    uniforms = batch["uniforms"].repeat_interleave(clips.numel(), 0)
    if chances.flip:
        images = random_flip(images, uniforms[:, 0])
    if chances.turn:
        turned = uniforms[:, 9] < chances.turn
        images = random_quarter_turn(images, uniforms[:, 1] * turned)
    if chances.shift:
        images = random_shift(images, uniforms[:, 7:9], chances.shift)
    if chances.colour_jitter:
        images = colour_jitter(images, uniforms[:, 2:7], chances.colour_jitter)
    images = images.unflatten(0, (-1, *clips)) if clips else images
    if config.mixup:
        return mixup(images, batch, batch["share"])
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
    moves = (2 * uniforms.to(images.device) - 1) * largest
    down, right = ((moves[:, i : i + 1] * side).round().long() for i, side in enumerate((height, width)))
    rows = _reflected(torch.arange(height, device=images.device) + down, height)
    columns = _reflected(torch.arange(width, device=images.device) + right, width)
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


def mixup_share(uniform: float, alpha: float) -> float:
    """Draw from the beta distribution of mixup: the `uniform` quantile; 1 where `alpha` is 0."""
    return float(beta.ppf(uniform, alpha, alpha)) if alpha else 1.0


def mixup(images: Tensor, batch: Batch, share: Tensor) -> Augmented:
    """Blend a batch with its own reverse (Zhang et al. 2018, arXiv:1710.09412).

    Args:
        images: uint8 or float, the images or features of the batch.
        batch: What is known of them.
        share: Scalar in [0, 1]: how much of each image stays.
    """
    pixels = unit_range(images)
    others = Batch(**{name: batch[name].flip(0) for name in Batch.__annotations__})
    return Augmented(share * pixels + (1 - share) * pixels.flip(0), ((share, batch), (1 - share, others)))
