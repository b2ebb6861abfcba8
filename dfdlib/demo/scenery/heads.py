"""Close-up animal heads seen from the front, in head radii, and the fur that all animals share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .draw import hex_rgb, mix, noise, pick, rgb, smoothstep, strands
from .solid import ALBEDO, FLOW, GLOSS, SOFT, Finish, Frame, Solid, moved, rotation, roughen

Rng = np.random.Generator
_NOSE = Finish(hex_rgb("221a1a"), gloss=0.5)


def texture_fur(rng: Rng, body: Solid, texture: str = "fur", fine: float = 1.0) -> None:
    """Add fur, wool, hide or feather relief along the strand directions of a solid."""
    box = body.window()
    attrs = body.attrs[box]
    shape = attrs.shape[:2]
    share = shape[1] / body.size
    furry = np.clip(attrs[..., SOFT] * 4, 0, 1)
    if texture == "fur":
        lines = strands(rng, attrs[..., FLOW], 400 * share * fine)
        tufts = strands(rng, attrs[..., FLOW], 170 * share * fine)
        tone, relief = 0.15 * lines + 0.09 * tufts, 0.0004 * lines + 0.0008 * tufts
    elif texture == "wool":
        curls = noise("blotch", rng, shape, 330 * share) + 0.6 * noise("grain", rng, shape, 256 * share)
        tone, relief = 0.12 * curls, 0.0028 * curls
    else:
        creases = noise("fractal", rng, shape, 380 * share)
        folds = noise("blotch", rng, shape, 200 * share)
        tone, relief = 0.10 * creases + 0.04 * folds, 0.0011 * creases + 0.0007 * folds
    attrs[..., ALBEDO] *= np.exp(tone * furry)[..., None]
    attrs[..., GLOSS] *= np.exp(0.5 * tone)
    roughen(body, relief * furry, box)


@dataclass(frozen=True)
class _Head:
    """Close-up head seen from the front: proportions in head radii, and colours."""

    muzzle: tuple[float, float, float]  # half width, half height, reach
    ears: str
    coats: str
    iris: str
    slit: bool
    cheeks: float
    mask: str


# fmt: off
HEADS: dict[str, _Head] = {
    "cat": _Head((0.36, 0.24, 0.30), "prick", "8c7460 6c6460 b8895c d8d0c4 3a3638 a89880",
                 "a8b048 c89c38 6c9c7c 7ca0b4", True, 0.30, "tabby"),
    "puppy": _Head((0.38, 0.32, 0.62), "flop", "94683c c8a878 2c2624 e4d8c4 6c4428 8c7c6c",
                   "3c2414 5c3818", False, 0.15, "muzzle"),
    "fox": _Head((0.26, 0.22, 0.75), "prick", "b4764c a86c40 b8804c", "8c5c20 a8742c", True, 0.34, "fox"),
    "bear": _Head((0.40, 0.34, 0.60), "round", "4c3828 6c4c34 2c2624 e8e0d0",
                  "241810", False, 0.25, "muzzle"),
    "panda": _Head((0.40, 0.34, 0.52), "round", "e8e4da", "1c1410", False, 0.30, "panda"),
}
# fmt: on


def build_head(rng: Rng, solid: Solid, species: str) -> None:
    """Sculpt the head and chest of one of ``HEADS``."""
    kind = HEADS[species]
    coat = Finish(pick(rng, kind.coats, 0.07), gloss=0.04, soft=0.45)
    white = kind.mask == "fox" or rng.random() < 0.4
    pale = Finish(hex_rgb("e0d8cc") if white else np.minimum(coat.colour * 1.3 + 0.03, 0.8), soft=0.5)
    dark = Finish(hex_rgb("1e1a1a"), soft=0.3)
    chest = solid.layer(Frame(solid.frame.origin, solid.frame.scale, rotation(yaw=rng.normal(0, 0.2))))
    fur = dark if kind.mask == "panda" else coat
    chest.ellipsoid((0, 2.2, -0.75), (1.15, 1.75, 0.75), fur, flow=(0, 1, 0))
    chest.ellipsoid((0, 1.25, -0.45), (0.80, 0.75, 0.55), coat, blend=0.2, flow=(0, 1, 0))
    texture_fur(rng, chest)
    solid.merge(chest)
    head = solid.layer()
    head.ellipsoid((0, 0, 0), (0.98, 0.86, 0.85), coat, flow=(0, -1, 0))
    wide, tall, reach = kind.muzzle
    light = coat if kind.mask in ("panda", "tabby") and rng.random() < 0.5 else pale
    for side in (-1, 1):
        cheek, brow = (0.34 + 0.5 * kind.cheeks, 0.40, 0.42), (0.24, 0.14, 0.16)
        head.ellipsoid((side * 0.62, 0.32, 0.12), cheek, coat, blend=0.18, flow=(side, 0.5, 0))
        head.ellipsoid((side * 0.36, -0.22, 0.60), brow, coat, blend=0.10, flow=(side * 0.5, -1, 0))
        _ear(head, kind, dark if kind.mask == "panda" else coat, side)
    head.capsule((0, -0.05, 0.55), (0, 0.22, 0.62 + reach), (0.32, tall * 0.72), coat, blend=0.10)
    for side in (-1, 1):
        at = (side * wide * 0.48, 0.40, 0.58 + reach * 0.75)
        head.ellipsoid(at, (wide * 0.62, tall * 0.85, 0.30), light, blend=0.06, flow=(side, 0.5, 0))
    head.ellipsoid((0, 0.62, 0.52 + reach * 0.6), (wide * 0.55, 0.17, 0.24), light, blend=0.05)
    _markings(rng, head, kind, coat)
    texture_fur(rng, head)
    head.fuzz = None  # eyes, nose and whiskers have clean edges
    _features(rng, head, kind, 0.80 + reach)
    solid.merge(head, 0.02)


def _ear(head: Solid, kind: _Head, coat: Finish, side: int) -> None:
    inner = Finish(coat.colour * 0.5 + hex_rgb("c49488") * 0.35, soft=0.8)
    if kind.ears == "prick":
        for k, (finish, shrink) in enumerate(((coat, 1.0), (inner, 0.66))):
            front = 0.10 * k
            for t in np.linspace(0, 1, 7):
                at = (side * (0.56 + 0.16 * t), -0.52 - 0.72 * t * (0.75 + 0.25 * shrink), -0.15 + front)
                radii = (0.33 * shrink * (1.03 - t), 0.14, 0.12)
                head.ellipsoid(at, radii, finish, rotation(roll=side * 0.25), blend=0.03, flow=(0, -1, 0))
    elif kind.ears == "flop":
        shade = Finish(coat.colour * 0.6, soft=0.4)
        hang = rotation(roll=-side * 0.22)
        head.ellipsoid((side * 0.92, 0.12, 0.05), (0.26, 0.72, 0.30), shade, hang, blend=0.04)
    else:
        head.ellipsoid((side * 0.76, -0.72, -0.10), (0.32, 0.30, 0.18), coat, blend=0.03)
        inner = Finish(coat.colour * 0.5, soft=0.4)
        head.ellipsoid((side * 0.76, -0.68, 0.03), (0.18, 0.18, 0.10), inner, blend=0.03)


def _markings(rng: Rng, head: Solid, kind: _Head, coat: Finish) -> None:
    box = head.window()
    p = head.local(box)
    x, y = p[..., 0], p[..., 1]
    wave = noise("cloud", rng, x.shape, 160)
    albedo = head.attrs[box][..., ALBEDO]
    if kind.mask == "tabby" and rng.random() < 0.7:
        fan = np.arctan2(x, -(y - 0.3)) * 7.5
        top = smoothstep(0.1, 0.6, np.cos(2 * fan + 0.5 * wave)) * smoothstep(-0.1, -0.35, y)
        cheek = smoothstep(0.2, 0.7, np.sin(13 * y + 3 * np.abs(x) + wave)) * (y > -0.1)
        cheek = cheek * smoothstep(0.5, 0.7, np.abs(x))
        albedo[:] = mix(albedo, coat.colour * 0.3, 0.8 * np.clip(top + cheek, 0, 1))
    elif kind.mask == "panda":
        off = np.hypot((np.abs(x) - 0.45 - 0.2 * y) / 0.25, (y + 0.02) / 0.30)
        patch = smoothstep(1.1, 0.8, off)
        albedo[:] = mix(albedo, hex_rgb("1e1a1a"), patch)
    elif kind.mask == "fox":
        jaw = smoothstep(0.10, 0.24, y + 0.05 * wave + 0.12 * np.cos(5 * x))
        jaw = jaw * smoothstep(0.16, 0.30, np.abs(x))
        albedo[:] = mix(albedo, hex_rgb("e4dccc"), jaw)
    elif kind.mask == "muzzle" and rng.random() < 0.5:
        blaze = smoothstep(0.26, 0.16, np.abs(x + 0.05 * wave)) * smoothstep(0.5, -0.2, y)
        albedo[:] = mix(albedo, pick(rng, "e8e0d4 d0b48c"), 0.8 * blaze)


def _features(rng: Rng, head: Solid, kind: _Head, tip: float) -> None:
    """Eyes, nose, mouth and whiskers of a close-up."""
    rim, iris = Finish(hex_rgb("1c1412"), gloss=0.3), pick(rng, kind.iris)
    big = 0.175 if kind.slit else 0.135
    for side in (-1, 1):
        at = np.array([side * 0.40, -0.06, 0.70])
        head.ellipsoid(at, (big * 1.22, big * 1.05, 0.12), rim, rotation(roll=-side * 0.25))
        eye = head.layer()
        slant = rotation(roll=-side * 0.25)
        eye.ellipsoid(moved(at, 0, 0, 0.035), (big, big * 0.9, 0.12), Finish(iris, gloss=1.0), slant)
        if not eye.alpha.any():
            continue
        box = eye.window()
        p = eye.local(box) - at.astype(np.float32)
        narrow = 0.36 if kind.slit else 0.8
        pupil = smoothstep(1.15, 0.85, np.hypot(p[..., 0] / (big * narrow * 0.8), p[..., 1] / (big * 0.72)))
        glint = smoothstep(0.30, 0.16, np.hypot(p[..., 0] + 0.35 * big, p[..., 1] + 0.35 * big) / big)
        albedo = mix(eye.attrs[box][..., ALBEDO], rgb(0.004, 0.004, 0.004), pupil)
        eye.attrs[box][..., ALBEDO] = mix(albedo, rgb(1.3, 1.3, 1.3), glint)
        head.merge(eye)
    pink = kind.ears == "prick" and kind.slit and kind.mask == "tabby"
    nose = Finish(pick(rng, "c08478 7c4c44 3a2c2a"), gloss=0.3, soft=0.5) if pink else _NOSE
    large = 1.0 if pink else 1.35
    lip = tip + 0.08 - 0.25 * kind.muzzle[2]
    head.ellipsoid((0, 0.17, tip), (0.13 * large, 0.09 * large, 0.12), nose)
    for side in (-1, 1):
        head.capsule((0, 0.26, lip + 0.06), (0, 0.50, lip), (0.016, 0.016), rim)
        head.capsule((0, 0.50, lip), (side * 0.22, 0.58, lip - 0.10), (0.018, 0.014), rim)
        if pink:
            for k in range(4):
                root = (side * 0.25, 0.36 + 0.05 * k, lip - 0.02)
                end = (side * rng.uniform(1.2, 1.5), 0.25 + 0.17 * k + rng.normal(0, 0.05), lip - 0.3)
                head.capsule(root, end, (0.009, 0.004), Finish(hex_rgb("e8e4dc")))
