"""Natural-looking backgrounds, blurred by the depth of field; any of them goes with any subject."""

from __future__ import annotations

import cv2
import numpy as np

from .drawing import blurred, fractal, jitter, strands

SKIES = ((0.25, 0.45, 0.75), (0.55, 0.62, 0.70), (0.75, 0.50, 0.35), (0.35, 0.40, 0.55))
GROUNDS = ((0.12, 0.22, 0.05), (0.35, 0.27, 0.15), (0.22, 0.22, 0.22), (0.55, 0.45, 0.28), (0.6, 0.65, 0.7))
WALLS = ((0.55, 0.50, 0.42), (0.35, 0.12, 0.08), (0.25, 0.35, 0.42), (0.6, 0.6, 0.58), (0.2, 0.28, 0.2))


def draw_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a background: float32 [size, size, 3], linear RGB around 0.05 to 0.8."""
    draw = (_landscape, _landscape, _foliage, _wall, _street)[rng.integers(5)]
    image = np.ascontiguousarray(draw(rng, size), np.float32)
    blur = rng.uniform(0.001, 0.018) * size
    image = blurred(image, max(blur, 0.4))
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    slope = rng.uniform(-0.25, 0.25, 2)
    return np.clip(image * (rng.uniform(0.7, 1.2) + slope[0] * x + slope[1] * y)[..., None], 0.01, 1.0)


def _textured(
    rng: np.random.Generator, size: int, colour: np.ndarray, contrast: float, coarsest: int = 4
) -> np.ndarray:
    light = 1 + contrast * fractal(rng, size, coarsest, rng.uniform(0.55, 0.75))
    return np.maximum(light, 0.1)[..., None] * colour


def _landscape(rng: np.random.Generator, size: int) -> np.ndarray:
    """Sky with clouds, hills, and a ground of grass, sand, snow or water."""
    rows = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    sky = jitter(rng, SKIES[rng.integers(len(SKIES))]) * (0.7 + 0.5 * rows)
    clouds = np.clip(fractal(rng, size) - rng.uniform(-0.2, 1.0), 0, 1.5)[..., None] / 1.5
    image = sky + clouds * (0.85 - sky) * rng.uniform(0.3, 0.9)
    horizon = rng.uniform(0.35, 0.7)
    for distance in range(rng.integers(0, 3), 0, -1):
        ridge = horizon - 0.06 * distance + 0.04 * fractal(rng, size)[0] * rng.uniform(0.3, 1)
        colour = jitter(rng, (0.18, 0.24, 0.2)) * (1 + 0.5 * distance)
        hill = np.clip((rows[..., 0] - ridge[None, :]) * size, 0, 1)[..., None]
        image = image + hill * (_textured(rng, size, colour, 0.15) - image)
    colour = jitter(rng, GROUNDS[rng.integers(len(GROUNDS))])
    ground = _textured(rng, size, colour, 0.25)
    ground *= np.maximum(1 + 0.25 * strands(rng, size, rng.choice([0.0, np.pi / 2]), 0.03), 0.2)[..., None]
    edge = np.clip((rows - horizon) * size / 2, 0, 1)
    return image + edge * (ground - image)


def _foliage(rng: np.random.Generator, size: int) -> np.ndarray:
    """Leaves and bushes with discs of light between them."""
    leaves = fractal(rng, size, 6, 0.75)[..., None]
    dark, bright = jitter(rng, (0.04, 0.09, 0.03)), jitter(rng, (0.25, 0.4, 0.12), 0.4)
    image = dark + (bright - dark) / (1 + np.exp(-1.5 * leaves))
    for _ in range(rng.integers(0, 14)):
        disc = np.zeros((size, size), np.float32)
        centre = tuple(int(v) for v in rng.uniform(0, size, 2))
        cv2.circle(disc, centre, int(rng.uniform(0.02, 0.06) * size), 1.0, -1, cv2.LINE_AA)
        image = image + disc[..., None] * rng.uniform(0.1, 0.5) * (np.array([0.9, 0.95, 0.7]) - image)
    return image


def _wall(rng: np.random.Generator, size: int) -> np.ndarray:
    """Plaster, bricks or boards, with a floor below now and then."""
    image = _textured(rng, size, jitter(rng, WALLS[rng.integers(len(WALLS))]), 0.12, 2)
    kind = rng.integers(3)
    if kind:
        height = int(rng.uniform(0.05, 0.1) * size)
        width = height * 2 if kind == 1 else size * 4
        joints = np.zeros((size, size), np.float32)
        for row, y in enumerate(range(0, size, height)):
            cv2.line(joints, (0, y), (size, y), 1.0, max(1, size // 128), cv2.LINE_AA)
            for x in range(-(row % 2) * width // 2, size, width):
                cv2.line(joints, (x, y), (x, y + height), 1.0, max(1, size // 128), cv2.LINE_AA)
        if rng.random() < 0.3:
            joints = joints.T
        image = image * (1 - 0.4 * joints[..., None])
    if rng.random() < 0.5:
        floor = int(rng.uniform(0.65, 0.9) * size)
        image[floor:] = _textured(rng, size, jitter(rng, GROUNDS[rng.integers(len(GROUNDS))]), 0.2)[floor:]
    return image


def _street(rng: np.random.Generator, size: int) -> np.ndarray:
    """House fronts with windows above a road."""
    image = _landscape(rng, size)
    ground = int(rng.uniform(0.6, 0.8) * size)
    x = -int(rng.uniform(0, 0.2) * size)
    while x < size:
        width, top = int(rng.uniform(0.15, 0.4) * size), int(rng.uniform(0.0, 0.35) * size)
        left, right = max(x, 0), min(x + width, size)
        front = _textured(rng, size, jitter(rng, WALLS[rng.integers(len(WALLS))]), 0.1)
        image[top:ground, left:right] = front[top:ground, left:right]
        step = int(rng.uniform(0.07, 0.12) * size)
        glass = jitter(rng, (0.08, 0.1, 0.13), 0.3)
        for y in range(top + step // 2, ground - step, step):
            for u in range(x + step // 2, right - step // 2, step):
                image[y : y + step // 2, max(u, 0) : max(u + step // 2, 0)] = glass * rng.uniform(0.6, 3.0)
        x += width
    image[ground:] = _textured(rng, size, jitter(rng, (0.2, 0.2, 0.21)), 0.15)[ground:]
    return image
