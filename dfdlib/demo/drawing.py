"""Drawing in linear light: shapes as soft masks, shaded as solids, covered with natural textures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Colour = Sequence[float]
"""Linear RGB, 0 to 1."""
Points = Sequence[tuple[float, float]]

_SUBPIXEL_BITS = 4


def fractal(rng: np.random.Generator, size: int, coarsest: int = 2, gain: float = 0.55) -> np.ndarray:
    """Draw noise with a natural spectrum, float32 [size, size], of mean 0 and deviation 1.

    Args:
        rng: Draws the noise.
        size: Side in pixels.
        coarsest: Cells along a side at the coarsest octave; each next one has twice as many.
        gain: Amplitude of an octave relative to the one before; 0.5 to 0.7 looks natural.
    """
    noise, amplitude, cells = np.zeros((size, size), np.float32), 1.0, coarsest
    while cells <= size:
        octave = rng.standard_normal((cells + 2, cells + 2), dtype=np.float32)
        noise += amplitude * cv2.resize(octave, (size, size), interpolation=cv2.INTER_CUBIC)
        amplitude, cells = amplitude * gain, cells * 2
    return (noise - noise.mean()) / noise.std()


def strands(rng: np.random.Generator, size: int, angle: float, length: float = 0.06) -> np.ndarray:
    """Draw noise combed along an angle (radians), as hair, fur and grass are; like `fractal` otherwise."""
    fine = rng.standard_normal((size, size), dtype=np.float32)
    n = max(3, int(length * size) | 1)
    kernel = np.zeros((n, n), np.float32)
    middle = n // 2
    tip = (round(middle + middle * np.cos(angle)), round(middle + middle * np.sin(angle)))
    tail = (round(middle - middle * np.cos(angle)), round(middle - middle * np.sin(angle)))
    cv2.line(kernel, tail, tip, 1.0, 1, cv2.LINE_AA)
    combed = cv2.filter2D(fine, -1, kernel / kernel.sum())
    return combed / combed.std()


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by a Gaussian of `sigma` pixels; wide ones at a lower resolution, where nothing is lost."""
    step = int(sigma / 4)
    if step < 2 or min(image.shape[:2]) < 8 * step:
        return cv2.GaussianBlur(image, (0, 0), max(sigma, 0.3))
    small = cv2.resize(image, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), np.sqrt(sigma**2 - step**2) / step)
    large = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(large, (0, 0), step)  # or the grid of the small image would show in the light


@dataclass(frozen=True)
class Light:
    """Where the light comes from and what colour it has."""

    direction: np.ndarray
    """float [3], unit vector towards the light; x right, y down, z to the camera."""
    colour: np.ndarray
    """float [3], linear RGB of the key light."""
    ambient: np.ndarray
    """float [3], linear RGB of the light from all around."""


def draw_light(rng: np.random.Generator) -> Light:
    """Draw a light: sun, shade, lamp or flash."""
    angle, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.85)
    direction = np.array([np.cos(angle), -abs(np.sin(angle)), 0.0]) * np.sqrt(1 - height**2)
    direction[2] = height
    warmth = rng.uniform(-0.12, 0.2)
    tint = np.array([1 + warmth, 1.0, 1 - 1.2 * warmth])
    fill = rng.uniform(0.18, 0.6)
    exposure = rng.uniform(0.7, 1.25)
    ambient = fill * exposure * np.array([1 - 0.4 * warmth, 1.0, 1 + 0.4 * warmth])
    return Light(direction, tint * exposure * (1.3 - fill), ambient)


@dataclass(frozen=True)
class Frame:
    """A place for a subject: its own coordinates, x right and y down, to pixels."""

    centre: tuple[float, float]
    """In parts of the image."""
    scale: float
    """Size of the subject's unit, in parts of the image."""
    angle: float
    """Rotation in radians."""
    mirrored: bool
    size: int
    """Side of the image in pixels."""

    def pixels(self, points: Points) -> np.ndarray:
        """Map points to pixels, float [N, 2]."""
        xy = np.asarray(points, float) * ((-1, 1) if self.mirrored else (1, 1))
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        turned = xy @ np.array([[cos, sin], [-sin, cos]])
        return (turned * self.scale + self.centre) * self.size

    def polygon(self, points: Points, smooth: bool = False) -> np.ndarray:
        """Fill a polygon, or the smooth closed curve through its points: float32 [S, S], 0 to 1."""
        xy = self.pixels(_rounded(points) if smooth else points)
        mask = np.zeros((self.size, self.size), np.uint8)
        fixed = np.round(xy * 2**_SUBPIXEL_BITS).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        return mask.astype(np.float32) / 255

    def ellipse(self, x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> np.ndarray:
        """Fill an ellipse: float32 [S, S], 0 to 1."""
        turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        cos, sin = np.cos(angle), np.sin(angle)
        px, py = rx * np.cos(turn), ry * np.sin(turn)
        return self.polygon(np.stack([x + px * cos - py * sin, y + px * sin + py * cos], 1))

    def curve(self, points: Points, width: float) -> np.ndarray:
        """Draw a smooth open curve of a width: float32 [S, S], 0 to 1."""
        xy = self.pixels(_rounded(points, closed=False))
        mask = np.zeros((self.size, self.size), np.uint8)
        fixed = np.round(xy * 2**_SUBPIXEL_BITS).astype(np.int32)
        pixels = max(1, round(width * self.scale * self.size))
        cv2.polylines(mask, [fixed], False, 255, pixels, cv2.LINE_AA, _SUBPIXEL_BITS)
        return mask.astype(np.float32) / 255


def draw_frame(rng: np.random.Generator, size: int, scale: tuple[float, float], tilt: float) -> Frame:
    """Draw where a subject stands: near the middle, of a scale, tilted by up to `tilt` radians."""
    return Frame(
        centre=(rng.uniform(0.42, 0.58), rng.uniform(0.44, 0.56)),
        scale=rng.uniform(*scale),
        angle=rng.uniform(-tilt, tilt),
        mirrored=bool(rng.random() < 0.5),
        size=size,
    )


class Canvas:
    """An image in linear light, painted back to front."""

    def __init__(self, background: np.ndarray, light: Light, rng: np.random.Generator) -> None:
        """Start from a background, float32 [S, S, 3]."""
        self.image, self.light, self.rng = background, light, rng
        self.size = background.shape[0]
        self.subject = np.zeros(background.shape[:2], np.float32)

    def flat(self, mask: np.ndarray, colour: Colour | np.ndarray, opacity: float = 1.0) -> None:
        """Cover a mask with a colour, or with an image [S, S, 3], without shading."""
        box = _box(mask)
        colour = np.asarray(colour, np.float32)
        colour = colour[box] if colour.ndim == 3 else colour
        self.image[box] += (opacity * mask[box])[..., None] * (colour - self.image[box])
        self.subject[box] = np.maximum(self.subject[box], mask[box])

    def solid(
        self,
        mask: np.ndarray,
        colour: Colour | np.ndarray,
        round_off: float = 0.05,
        texture: np.ndarray | None = None,
        gloss: float = 0.0,
    ) -> None:
        """Cover a mask with a solid body under the light.

        Args:
            mask: float32 [S, S].
            colour: Linear RGB, or an image of it [S, S, 3].
            round_off: Width of the rounding towards the edge, in parts of the image.
            texture: Variation of the brightness, [S, S], around 0.
            gloss: Strength of the highlight.
        """
        box = _box(mask, margin=int(2.5 * round_off * self.size) + 2)
        colour = np.asarray(colour, np.float32)
        body = colour[box] if colour.ndim == 3 else colour
        if texture is not None:
            body = body * np.maximum(1 + texture[box], 0.05)[..., None]
        shading, shine = self._lit(mask[box], round_off * self.size, gloss)
        body = body * shading + shine
        self.image[box] += mask[box][..., None] * (body - self.image[box])
        self.subject[box] = np.maximum(self.subject[box], mask[box])

    def shadow(self, mask: np.ndarray, blur: float, strength: float) -> None:
        """Darken below a mask, blurred by a part of the image; not part of the subject."""
        box = _box(mask, margin=int(3 * blur * self.size) + 2)
        soft = blurred(mask[box], max(blur * self.size, 0.5))
        self.image[box] *= np.clip(1 - strength * soft, 0, 1)[..., None]

    def _lit(self, mask: np.ndarray, width: float, gloss: float) -> tuple[np.ndarray, np.ndarray]:
        """Shade a body that rounds off over `width` pixels: light [H, W, 3] and highlight [H, W, 1]."""
        height = blurred(mask, max(width, 0.8))
        slope = 3.0 * width
        normal_x = -slope * cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8)
        normal_y = -slope * cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8)
        length = np.sqrt(normal_x**2 + normal_y**2 + 1)
        x, y, z = self.light.direction.astype(np.float32)
        facing = np.maximum((normal_x * x + normal_y * y + z) / length, 0)[..., None]
        light = facing * self.light.colour.astype(np.float32) + self.light.ambient.astype(np.float32)
        return light, gloss * facing**24


def jitter(rng: np.random.Generator, colour: Colour, amount: float = 0.15) -> np.ndarray:
    """Vary a colour: each channel by a factor, all by another."""
    return np.clip(np.asarray(colour) * (1 + rng.uniform(-amount, amount, 3)) * rng.uniform(0.8, 1.2), 0, 1)


def _rounded(points: Points, closed: bool = True, steps: int = 8) -> np.ndarray:
    """Interpolate points by a Catmull-Rom spline, float [N, 2]."""
    p = np.asarray(points, float)
    before, after = (p[-1:], p[:2]) if closed else (p[:1], p[[-1, -1]])
    p = np.concatenate([before, p, after])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - 3 * c + d - a) * t**3)
    return curve.reshape(-1, 2) if closed else np.concatenate([curve.reshape(-1, 2), p[-2:-1]])


def _box(mask: np.ndarray, margin: int = 0) -> tuple[slice, slice]:
    """Return the rows and columns that a mask touches, with a margin."""
    x, y, width, height = cv2.boundingRect((mask > 0).view(np.uint8))
    top, left = max(y - margin, 0), max(x - margin, 0)
    return slice(top, y + height + margin), slice(left, x + width + margin)
