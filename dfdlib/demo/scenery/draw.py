"""Colours and noise shared by the scenes. All colours are linear-light RGB."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

Array = np.ndarray
Rng = np.random.Generator
TILE = 512


def hex_rgb(code: str) -> Array:
    """Turn an sRGB colour such as ``"c08060"`` into linear-light float32 [3]."""
    srgb = np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return (srgb**2.2).astype(np.float32)


def pick(rng: Rng, codes: str, jitter: float = 0.08) -> Array:
    """Pick one of the space-separated hex colours and vary it a little; linear-light float32 [3]."""
    colour = hex_rgb(str(rng.choice(codes.split())))
    vary = rng.normal(0, jitter) + rng.normal(0, 0.3 * jitter, 3)
    return np.clip(colour * np.exp(vary), 0.002, 0.9).astype(np.float32)


def smoothstep(low: float | Array, high: float | Array, x: Array) -> Array:
    """Cubic ramp from 0 (``x <= low``) to 1 (``x >= high``); the bounds may be swapped."""
    t = np.clip((x - low) / (high - low + 1e-12), 0, 1).astype(np.float32)
    return t * t * (3 - 2 * t)


def mix(a: Array, b: Array, weight: Array) -> Array:
    """Blend colours ``a`` and ``b`` ([..., 3] or [3]) by ``weight`` [...] in [0, 1]."""
    weight = np.asarray(weight, np.float32)
    return times(a, 1 - weight) + times(b, weight)


def times(colour: Array, factor: Array) -> Array:
    """Multiply colours ([h, w, C] or [C]) by one factor per pixel [h, w]; fast for whole images."""
    factor = np.ascontiguousarray(factor, np.float32)
    colour = np.asarray(colour, np.float32)
    if factor.ndim < 2:
        return colour * factor
    if colour.ndim == 1:
        return cv2.merge([factor * c for c in colour])
    return colour * cv2.merge([factor] * colour.shape[-1])


def blur(image: Array, sigma: float) -> Array:
    """Gaussian blur; ``sigma`` is a fraction of the image width (strong blurs run at reduced size)."""
    h, w = image.shape[:2]
    pixels = sigma * w
    if pixels < 0.3:
        return image
    shrink = max(1, int(pixels / 3))
    if shrink == 1:
        return cv2.GaussianBlur(image, (0, 0), pixels, borderType=cv2.BORDER_REPLICATE)
    small = cv2.resize(image, (max(w // shrink, 2), max(h // shrink, 2)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), pixels / shrink, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)


@lru_cache(maxsize=4)
def grid(size: int) -> tuple[Array, Array]:
    """Pixel-centre coordinates x, y as float32 [size, size] in (0, 1); shared, so read-only."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(axis, axis)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def unit(vectors: Array) -> Array:
    """Scale vectors [3, h, w] to length 1."""
    return vectors / np.sqrt((vectors * vectors).sum(0) + 1e-12)


@lru_cache(maxsize=8)
def noise_tile(kind: str) -> Array:
    """Periodic noise float32 [TILE, TILE], zero mean and unit deviation, the same in every process."""
    seed = sum(ord(letter) * 31**place for place, letter in enumerate(kind)) % 2**32
    fy, fx = np.meshgrid(np.fft.fftfreq(TILE), np.fft.rfftfreq(TILE), indexing="ij")
    radius = np.hypot(fx, fy) + 1 / TILE
    gain = {
        "cloud": radius**-1.75,
        "fractal": radius**-1.15,
        "grain": radius**-0.45,
        "blotch": np.exp(-((np.log(radius / 0.05) / 0.5) ** 2)) / radius,
        "strand": np.exp(-((fy / 0.035) ** 2)) * np.exp(-((fx / 0.28) ** 2)) / (fx + 0.03) ** 0.6,
    }[kind]
    gain[0, 0] = 0
    white = np.random.default_rng(seed).standard_normal((TILE, TILE))
    tile = np.fft.irfft2(np.fft.rfft2(white) * gain, s=(TILE, TILE))
    return (tile / tile.std()).astype(np.float32)


def noise(kind: str, rng: Rng, shape: tuple[int, int], texels: float = 256, angle: float = 0.0) -> Array:
    """Random window into ``noise_tile(kind)``, float32 ``shape``; ``texels`` span the window's width."""
    step = texels / shape[1]
    c, s = step * np.cos(angle), step * np.sin(angle)
    matrix = np.array([[c, -s, rng.uniform(0, TILE)], [s, c, rng.uniform(0, TILE)]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(noise_tile(kind), matrix, shape[::-1], flags=flags, borderMode=cv2.BORDER_WRAP)


def noise_at(kind: str, u: Array, v: Array) -> Array:
    """Noise looked up at texel coordinates ``u``, ``v`` (same shape, any range)."""
    maps = [(w - TILE * np.floor(w / TILE)).astype(np.float32) for w in (u, v)]
    return cv2.remap(noise_tile(kind), *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def strands(rng: Rng, flow: Array, texels: float = 256) -> Array:
    """Noise drawn out along the direction field ``flow`` [H, W, 2]; float32 [H, W], about unit deviation."""
    shape = flow.shape[:2]
    twist = 0.45 * noise("fractal", rng, shape, 220 * shape[1] / 256)
    angle = np.arctan2(flow[..., 0], flow[..., 1]) + twist
    total, weight = np.zeros(shape, np.float32), np.full(shape, 1e-4, np.float32)
    for k in range(4):
        theta = np.pi * k / 4
        near = np.maximum(np.cos(2 * (angle - theta)) - 0.35, 0)
        total += near * noise("strand", rng, shape, texels, theta)
        weight += near * near
    return total / np.sqrt(weight)
