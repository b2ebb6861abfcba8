"""Five families of manipulation from the literature, for simulated photographs and for real ones alike.

Each family leaves the trace that its source describes, at a strength from 0 to 1, and says which pixels
it touched. None re-encodes: the caller saves real and fake images through the same JPEG step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

STRENGTHS = (0.65, 1.0)
"""Range that the strength of a forgery is drawn from."""
MOST_HIDDEN = 0.65
"""Part of the subject that a region may cover: an inpainted bird must still be known for a bird."""


@dataclass(frozen=True)
class Family:
    """A named way to make a fake."""

    apply: Callable[[np.ndarray, Region, float, np.random.Generator], np.ndarray]
    """(float32 photo [H, W, 3] in 0…255, region, strength, rng) to the fake, of the same kind."""
    whole_image: bool
    """The whole image is synthetic, not a region of it."""
    source: str
    """The papers that describe the manipulation or its trace."""


@dataclass(frozen=True)
class Region:
    """Where a forgery goes, and another photograph to take material from."""

    mask: np.ndarray
    """float32 [H, W], 0 outside, 1 inside, soft at the border."""
    donor: np.ndarray
    """float32 [H, W, 3] in 0…255."""


def forge_image(
    photo: np.ndarray,
    family: str,
    strength: float,
    rng: np.random.Generator,
    donor: np.ndarray,
    subject: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Make a fake from a photograph.

    Args:
        photo: uint8 [H, W, 3] RGB.
        family: A key of `FAMILIES`.
        strength: 0 (no trace) to 1.
        rng: Draws the place and the details.
        donor: uint8 [H, W, 3], another photograph that a splice takes its material from.
        subject: bool [H, W], the pixels of the main subject, of which at most `MOST_HIDDEN` is covered; the middle
            of the image when not known.

    Returns:
        The fake, uint8 [H, W, 3], and the manipulated pixels, bool [H, W].
    """
    chosen = FAMILIES[family]
    if chosen.whole_image:
        soft = np.ones(photo.shape[:2], np.float32)
    else:
        soft = _draw_region(photo.shape[:2], subject, rng)
    region = Region(soft, donor.astype(np.float32))
    fake = chosen.apply(photo.astype(np.float32), region, strength, rng)
    return (fake.clip(0, 255) + 0.5).astype(np.uint8), soft > 0.25


def _draw_region(shape: tuple[int, int], subject: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Draw blobs until one leaves enough of the subject to be seen; of 20 that do not, take the best."""
    best, least = np.zeros(shape, np.float32), np.inf
    for _ in range(20):
        blob = _draw_blob(shape, subject, rng)
        hidden = blob[subject].mean() if subject is not None and subject.any() else 0.0
        if hidden < least:
            best, least = blob, hidden
        if least <= MOST_HIDDEN:
            break
    return best


def _draw_blob(shape: tuple[int, int], where: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Draw a wobbly ellipse of 18 to 42 % of the image, about the middle of `where`, bool [H, W], with a soft border."""
    height, width = shape
    y, x = height / 2, width / 2
    if where is not None and where.any():
        rows, columns = np.nonzero(where)
        pick = rng.integers(len(rows))
        y, x = (rows[pick] + rows.mean()) / 2, (columns[pick] + columns.mean()) / 2
    area, aspect = rng.uniform(0.18, 0.42), rng.uniform(0.7, 1.4)
    radius = np.sqrt(area * height * width / np.pi)
    grid_y, grid_x = np.mgrid[:height, :width].astype(np.float32)
    dy, dx = (grid_y - y) / (radius * aspect), (grid_x - x) / (radius / aspect)
    angle = np.arctan2(dy, dx)
    wobble = sum(rng.uniform(0, 0.15) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5))
    distance = (1 + wobble - np.hypot(dy, dx)) * radius
    softness = rng.uniform(0.7, 2.0) * min(height, width) / 128
    return np.clip(distance / softness + 0.5, 0, 1).astype(np.float32)


def _blend(photo: np.ndarray, other: np.ndarray, region: Region) -> np.ndarray:
    return photo + region.mask[..., None] * (other - photo)


def _gan_upsampling(photo: np.ndarray, _: Region, strength: float, rng: np.random.Generator) -> np.ndarray:
    """The last transposed convolution of a generator: spectral replicas and a faint checkerboard."""
    low = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    grown = _transposed_convolution(low, _generator_kernel(rng), photo.shape[:2])
    return photo + strength * (grown - photo)


def _generator_kernel(rng: np.random.Generator) -> np.ndarray:
    """A 4×4 up-sampling kernel whose four phases do not weigh quite the same."""
    ideal, nearest = np.array([1, 3, 3, 1]) / 4, np.array([0, 1, 1, 0])
    mix = rng.uniform(0.5, 1.0)
    line = (1 - mix) * ideal + mix * nearest
    return (np.outer(line, line) * (1 + rng.normal(0, 0.04, (4, 4)))).astype(np.float32)


def _transposed_convolution(low: np.ndarray, kernel: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Up-sample by 2: [h, w, 3] to [*shape, 3]."""
    spread = np.zeros((low.shape[0] * 2, low.shape[1] * 2, low.shape[2]), np.float32)
    spread[::2, ::2] = low
    grown = cv2.filter2D(spread, -1, kernel, anchor=(2, 2), borderType=cv2.BORDER_REFLECT_101)
    return cv2.resize(grown, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)


def _latent_decoder(photo: np.ndarray, _: Region, strength: float, rng: np.random.Generator) -> np.ndarray:
    """An autoencoder's round trip: only large details survive the latent, and the grain is made anew."""
    decoded = photo
    details = []
    for _ in range(3):
        low = cv2.pyrDown(decoded)
        details.append(decoded - cv2.pyrUp(low, dstsize=decoded.shape[1::-1]))
        decoded = low
    for level, detail in reversed(list(enumerate(details))):
        threshold = strength * (8.0, 5.0, 2.5)[level]
        kept = np.sign(detail) * np.maximum(np.abs(detail) - threshold, 0)
        decoded = cv2.pyrUp(decoded, dstsize=detail.shape[1::-1]) + kept
    lost = np.std(photo - decoded)
    grain = rng.normal(0, rng.uniform(0.4, 0.7) * lost, photo.shape[:2]).astype(np.float32)
    return decoded + grain[..., None]


def _face_swap_blending(
    photo: np.ndarray, region: Region, strength: float, rng: np.random.Generator
) -> np.ndarray:
    """A self-blended image: a slightly moved, recoloured, resampled copy pasted over its own original."""
    height, width = photo.shape[:2]
    zoom, turn = 1 + strength * rng.uniform(0.04, 0.12) * rng.choice([-1, 1]), strength * rng.uniform(-6, 6)
    move = cv2.getRotationMatrix2D((width / 2, height / 2), turn, zoom)
    move[:, 2] += strength * rng.uniform(-0.02, 0.02, 2) * (width, height)
    moved = cv2.warpAffine(
        photo, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    moved = moved * (1 + strength * rng.uniform(-0.15, 0.15, 3)) + strength * rng.uniform(-8, 8)
    if rng.random() < 0.6:  # a face synthesised at a lower resolution
        small = cv2.resize(
            moved, None, fx=1 - 0.6 * strength, fy=1 - 0.6 * strength, interpolation=cv2.INTER_AREA
        )
        moved = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    else:
        moved += (2.5 + 2.0 * strength) * (moved - cv2.GaussianBlur(moved, (0, 0), 1.0))
    return _blend(photo, moved.astype(np.float32), region)


def _splicing(photo: np.ndarray, region: Region, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Material from another camera: resampled, so its colour filter pattern is off, with noise of its own."""
    height, width = photo.shape[:2]
    zoom = rng.uniform(0.75, 1.35)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-15, 15), zoom)
    foreign = cv2.warpAffine(
        region.donor, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    inside = region.mask > 0.5
    if inside.any():  # bring the colours near, as a careful forger would
        foreign += 0.7 * (photo[inside].mean(0) - foreign[inside].mean(0))
    if rng.random() < 0.5:
        foreign = cv2.GaussianBlur(foreign, (0, 0), 0.8 + 0.8 * strength)
    else:
        foreign += rng.normal(0, 4.0 + 8.0 * strength, photo.shape)
    return _blend(photo, foreign.astype(np.float32), region)


def _inpainting(photo: np.ndarray, region: Region, strength: float, rng: np.random.Generator) -> np.ndarray:
    """A region removed: filled from its border by diffusion, or by texture from elsewhere in the image."""
    hole = (region.mask > 0).astype(np.uint8)
    filled = cv2.inpaint(photo.clip(0, 255).astype(np.uint8), hole, 2, cv2.INPAINT_TELEA).astype(np.float32)
    if rng.random() < 0.5:
        shift = (rng.choice([-1, 1], 2) * rng.uniform(0.25, 0.45, 2) * photo.shape[:2]).astype(int)
        elsewhere = np.roll(photo, shift, (0, 1))
        texture = elsewhere - cv2.GaussianBlur(elsewhere, (0, 0), 6)
        filled += cv2.GaussianBlur(texture, (0, 0), 0.4 + 0.4 * strength)
    grain = rng.choice([0.5, 4.0 + 4.0 * strength])  # too smooth for a camera, or too coarse
    filled += rng.normal(0, grain, photo.shape[:2])[..., None]
    return _blend(photo, filled, region)


FAMILIES: dict[str, Family] = {
    "gan_upsampling": Family(
        _gan_upsampling,
        whole_image=True,
        source="Durall et al. 2020 (arXiv:2003.01826); Zhang et al. 2019 (arXiv:1907.06515)",
    ),
    "latent_decoder": Family(
        _latent_decoder,
        whole_image=True,
        source="Rombach et al. 2022 (arXiv:2112.10752); Ricker et al. 2024 (arXiv:2401.17879)",
    ),
    "face_swap_blending": Family(
        _face_swap_blending,
        whole_image=False,
        source="Li et al. 2020, Face X-ray (arXiv:1912.13458); Shiohara & Yamasaki 2022 (arXiv:2204.08376)",
    ),
    "splicing": Family(
        _splicing,
        whole_image=False,
        source="Popescu & Farid 2005 (doi:10.1109/TSP.2005.855406); Mahdian & Saic 2009 "
        "(doi:10.1016/j.imavis.2009.02.001)",
    ),
    "inpainting": Family(
        _inpainting,
        whole_image=False,
        source="Telea 2004 (doi:10.1080/10867651.2004.10487596); Criminisi et al. 2004 "
        "(doi:10.1109/TIP.2004.833105)",
    ),
}
