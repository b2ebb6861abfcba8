"""Close-up animal heads seen from the front, in head radii, and the fur that all animals share."""

from __future__ import annotations

import numpy as np

from .draw import Rng, hex_rgb, pick, strands
from .solid import ALBEDO, FLOW, SOFT, Finish, Solid, rotation, roughen

_BLACK = Finish(hex_rgb("1c1614"), gloss=0.4)


def texture_fur(rng: Rng, body: Solid) -> None:
    """Add fur or feathers along the strand directions of a solid, where it is soft."""
    box = body.window()
    attrs = body.attrs[box]
    fine, coarse = (strands(rng, attrs[..., FLOW], n * attrs.shape[1] / body.size) for n in (400, 170))
    furry = np.clip(attrs[..., SOFT] * 4, 0, 1)
    attrs[..., ALBEDO] *= np.exp((0.15 * fine + 0.09 * coarse) * furry)[..., None]
    roughen(body, (0.0004 * fine + 0.0008 * coarse) * furry, box)


HEADS = {  # half width, half height and reach of the muzzle in head radii; coats and irises
    "cat": (0.36, 0.24, 0.30, "8c7460 6c6464 b8895c d8d0c4 3a3638", "a8b048 c89c38 7ca0b4"),
    "puppy": (0.38, 0.32, 0.62, "94683c c8a878 2c2624 e4d8c4 6c4428", "3c2414 5c3818"),
    "bear": (0.40, 0.34, 0.60, "4c3828 6c4c34 2c2624 e8e0d0", "241810"),
}


def build_head(rng: Rng, head: Solid, species: str) -> None:
    """Sculpt the head and chest of one of ``HEADS``."""
    wide, tall, reach, coats, irises = HEADS[species]
    coat = Finish(pick(rng, coats, 0.07), gloss=0.04, soft=0.45)
    white = hex_rgb("e0d8cc")
    pale = Finish(white if rng.random() < 0.4 else np.minimum(coat.colour * 1.3 + 0.03, 0.8), soft=0.5)
    head.ellipsoid((0, 2.2, -0.75), (1.15, 1.75, 0.75), coat)
    head.ellipsoid((0, 1.25, -0.45), (0.80, 0.75, 0.55), coat, blend=0.2)
    head.ellipsoid((0, 0, 0), (0.98, 0.86, 0.85), coat, blend=0.02, flow=(0, -1, 0))
    head.capsule((0, -0.05, 0.55), (0, 0.22, 0.62 + reach), (0.32, tall * 0.72), coat, blend=0.10)
    head.ellipsoid((0, 0.62, 0.52 + reach * 0.6), (wide * 0.55, 0.17, 0.24), pale, blend=0.05)
    for side in (-1, 1):
        jowl = (side * wide * 0.48, 0.40, 0.58 + reach * 0.75)
        head.ellipsoid((side * 0.62, 0.32, 0.12), (0.46, 0.40, 0.42), coat, blend=0.18, flow=(side, 0.5, 0))
        head.ellipsoid((side * 0.36, -0.29, 0.58), (0.24, 0.14, 0.16), coat, blend=0.10, flow=(side, -2, 0))
        head.ellipsoid(jowl, (wide * 0.62, tall * 0.85, 0.30), pale, blend=0.06, flow=(side, 0.5, 0))
        _ear(head, species, coat, side)
    texture_fur(rng, head)
    head.fuzz = None  # eyes, nose and whiskers have clean edges
    _features(rng, head, species == "cat", Finish(pick(rng, irises), gloss=1.0), reach)


def _ear(head: Solid, species: str, coat: Finish, side: int) -> None:
    inner = Finish(coat.colour * 0.5 + hex_rgb("c49488") * 0.25, soft=0.8)
    if species == "cat":
        for finish, wide, z in ((coat, 0.34, -0.15), (inner, 0.22, 0.02)):
            head.capsule((side * 0.56, -0.55, z), (side * 0.74, -1.25, z), (wide, 0.04), finish, blend=0.03)
    elif species == "puppy":
        shade = Finish(coat.colour * 0.6, soft=0.4)
        hang = rotation(roll=-side * 0.22)
        head.ellipsoid((side * 0.92, 0.12, 0.05), (0.26, 0.72, 0.30), shade, hang, blend=0.04)
    else:
        head.ellipsoid((side * 0.76, -0.72, -0.10), (0.32, 0.30, 0.18), coat, blend=0.03)
        head.ellipsoid((side * 0.76, -0.68, 0.03), (0.18, 0.18, 0.10), inner, blend=0.03)


def _features(rng: Rng, head: Solid, feline: bool, iris: Finish, reach: float) -> None:
    """Eyes, nose, mouth and, on a cat, whiskers."""
    tip = 0.80 + reach
    lip = 0.88 + 0.75 * reach
    big = 0.175 if feline else 0.135
    nose = Finish(pick(rng, "c08478 7c4c44 3a2c2a"), gloss=0.3, soft=0.5) if feline else _BLACK
    head.ellipsoid((0, 0.17, tip), (0.13, 0.09, 0.12) if feline else (0.18, 0.12, 0.12), nose)
    for side in (-1, 1):
        at = np.array([side * 0.40, -0.05, 0.72])
        slant = rotation(roll=-side * 0.25)
        pupil = (big * (0.35 if feline else 0.7), big * 0.75, 0.12)
        head.ellipsoid(at, (big * 1.22, big * 1.05, 0.12), _BLACK, slant)
        head.ellipsoid(at + (0, 0, 0.035), (big, big * 0.9, 0.12), iris, slant)
        head.ellipsoid(at + (0, 0, 0.05), pupil, Finish(np.full(3, 0.004), gloss=0.8))
        head.ellipsoid(at + (-0.05, -0.055, 0.10), (0.03, 0.03, 0.08), Finish(np.full(3, 1.3)))
        head.capsule((0, 0.26, lip + 0.06), (0, 0.50, lip), (0.016, 0.016), _BLACK)
        head.capsule((0, 0.50, lip), (side * 0.22, 0.58, lip - 0.10), (0.018, 0.014), _BLACK)
        for k in range(4 if feline else 0):
            root = (side * 0.25, 0.36 + 0.05 * k, lip - 0.02)
            end = (side * rng.uniform(1.2, 1.5), 0.25 + 0.17 * k + rng.normal(0, 0.05), lip - 0.3)
            head.capsule(root, end, (0.014, 0.008), Finish(hex_rgb("e8e4dc")))
