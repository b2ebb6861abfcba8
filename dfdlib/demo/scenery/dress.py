"""What people wear: garments, hats and glasses, in head units (chin at y = 1, crown at y = -1)."""

from __future__ import annotations

import numpy as np

from .draw import Array, hex_rgb, mix, noise, pick, smoothstep
from .solid import ALBEDO, Finish, Solid, moved, rotation, roughen

Rng = np.random.Generator

CLOTHES = "2c3448 7c2c30 d8d4cc 3a3a3c 486450 b48c3c 586c94 a86c74 8c9498 283c3c 6c4c6c e4dccc 943c2c 3c5c8c"


def sculpt_torso(rng: Rng, skin: Array, extra: float, solid: Solid) -> Solid:
    """Neck, shoulders (``extra`` head units broader) and a garment with folds and a weave."""
    size = solid.size
    broad = rng.uniform(0.95, 1.2) + extra
    cloth = Finish(pick(rng, CLOTHES, 0.1), gloss=0.02, soft=0.15)
    for side in (-1, 1):
        solid.capsule((side * 0.2, 1.42, -0.35), (side * 1.12 * broad, 1.78, -0.4), (0.36, 0.40), cloth, 0.2)
        solid.capsule(
            (side * 1.15 * broad, 1.85, -0.4), (side * 1.3 * broad, 3.4, -0.2), (0.38, 0.36), cloth, 0.15
        )
    solid.ellipsoid((0, 2.9, -0.25), (1.15 * broad, 1.55, 0.62), cloth, blend=0.25)
    box = solid.window()
    shape = solid.alpha[box].shape
    local = solid.local(box)
    crease = noise("cloud", rng, shape, 150 * shape[1] / size)
    folds = crease + 0.4 * noise("fractal", rng, shape)
    weave = np.sin(local[..., 0] * 95) * np.sin(local[..., 1] * 95) + 0.6 * noise("grain", rng, shape)
    if rng.random() < 0.35:
        coordinate = local[..., int(rng.integers(2))] + 0.02 * folds
        stripe = smoothstep(-0.2, 0.2, np.sin(coordinate * rng.uniform(12, 40)))
        solid.attrs[box][..., ALBEDO] = mix(cloth.colour, pick(rng, CLOTHES), stripe)
    solid.attrs[box][..., ALBEDO] *= np.exp(0.07 * weave + 0.05 * folds)[..., None]
    roughen(solid, 0.006 * crease + 0.0004 * weave, box)
    _neckline(rng, skin, solid, cloth)
    return solid


def _neckline(rng: Rng, skin: Array, solid: Solid, cloth: Finish) -> None:
    """Bare neck down to a round or pointed collar."""
    bare = Finish(skin * 0.92, gloss=0.06, soft=1.0)
    depth, power = rng.uniform(0.22, 0.45), rng.choice([1.1, 2.0, 2.0])
    wide, top = 0.52, 1.42

    def above(p: Array) -> Array:
        reach = (np.abs(p[..., 0]) / wide) ** power + (np.maximum(p[..., 1] - top, 0) / depth) ** power
        return (1 - reach) * 0.25

    neck = solid.layer()
    neck.capsule((0, 0.55, -0.28), (0, 1.6, -0.38), (0.42, 0.46), bare)
    neck.ellipsoid((0, 1.55, -0.15), (0.68, 0.62, 0.36), bare, blend=0.15, cut=above)
    solid.merge(neck)
    edge = Finish(cloth.colour * (0.85 if rng.random() < 0.7 else 0.4), soft=0.15)
    angles = np.linspace(-np.pi / 2, np.pi / 2, 13)
    x = wide * np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** (2 / power)
    y = top + depth * np.abs(np.cos(angles)) ** (2 / power)
    z = -0.17 + 0.36 * np.sqrt(np.maximum(1 - (x / 0.68) ** 2 - ((y - 1.55) / 0.62) ** 2, 0))
    line = np.stack([x, y, z], -1)
    line = np.vstack([moved(line[0], 0.02, -0.12, -0.25), line, moved(line[-1], -0.02, -0.12, -0.25)])
    solid.tube(line, 0.05, edge, blend=0.02)


def add_hat(rng: Rng, style: str, top: Solid) -> None:
    """Add a hat to a head in head units if ``style`` is one."""
    if style not in ("cap", "beanie"):
        return
    cloth = Finish(pick(rng, CLOTHES, 0.15), gloss=0.02, soft=0.1)
    low, dome = (-0.42 if style == "cap" else -0.36), (0.86, 0.82, 0.98)
    top.ellipsoid((0, -0.34, -0.16), dome, cloth, cut=lambda p: low + 0.1 * p[..., 2] - p[..., 1])
    if style == "cap":
        top.ellipsoid((0, -0.40, 0.80), (0.62, 0.06, 0.52), cloth, rotation(pitch=-0.22), blend=0.02)
    else:
        for angle in np.linspace(0, np.pi, 13):
            at = np.array([0.84 * np.cos(angle), low + 0.04, -0.16 + 0.95 * np.sin(angle)])
            top.capsule(moved(at, 0, -0.1, 0), moved(at, 0, 0.06, 0), (0.11, 0.11), cloth, blend=0.01)
    box = top.window()
    knit = noise("grain", rng, top.alpha[box].shape) + noise("fractal", rng, top.alpha[box].shape)
    top.attrs[box][..., ALBEDO] *= np.exp(0.08 * knit)[..., None]
    roughen(top, 0.002 * knit, box)


def add_glasses(rng: Rng, style: str, top: Solid) -> None:
    """Add spectacles in the given style, or none."""
    if style == "none":
        return
    wire = 0.026 if style == "thick" else 0.014
    frame = Finish(pick(rng, "1c1a1a 3c2a20 806c50 5c2c2c 9c9ca0"), gloss=0.5)
    wide, tall, power = rng.uniform(0.20, 0.23), rng.uniform(0.15, 0.20), rng.uniform(0.6, 1.0)
    angles = np.linspace(0, 2 * np.pi, 16)
    for side in (-1, 1):
        ring = np.stack([np.cos(angles), np.sin(angles)], -1)
        ring = np.sign(ring) * np.abs(ring) ** power * (wide, tall) + (side * 0.30, 0.03)
        points = np.c_[ring, 0.80 - 0.35 * np.abs(ring[:, 0]) ** 2]
        if style == "sun":
            lens = Finish(hex_rgb("14120f"), gloss=0.8, mirror=0.5)
            top.ellipsoid((side * 0.30, 0.03, 0.74), (wide, tall, 0.05), lens, rotation(yaw=side * 0.2))
        top.tube(points, wire, frame)
        top.capsule((side * 0.51, -0.02, 0.70), (side * 0.78, -0.02, -0.1), (wire, wire), frame)
    top.capsule((-0.11, -0.01, 0.80), (0.11, -0.01, 0.80), (wire, wire), frame)
