"""Animals: standing quadrupeds, a bird on a branch and close-up heads, all with fur, feathers or hide.

Whole bodies use body lengths as units: x forwards, y down with the ground at y = 0, z to the side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .draw import Rng, hex_rgb, mix, noise, noise_at, pick, smoothstep
from .heads import HEADS, build_head, texture_fur
from .solid import ALBEDO, SOFT, Finish, Frame, Model, Solid, moved, rotation

_DARK = Finish(hex_rgb("1e1816"), gloss=0.4)
_HORN = Finish(hex_rgb("c8bca0"), gloss=0.25)


@dataclass(frozen=True)
class _Beast:
    """Proportions of a quadruped in body lengths, and its coat."""

    leg: float  # height of the belly line
    depth: float  # half height of the trunk
    width: float  # half width of the trunk
    limb: float  # radius of the upper leg
    neck: tuple[float, float]  # reach forwards and upwards
    neck_width: float
    head: float  # radius of the skull
    muzzle: tuple[float, float]  # length and radius
    ears: str
    coats: str
    pattern: str


# fmt: off
_BEASTS: dict[str, _Beast] = {
    "dog": _Beast(0.50, 0.20, 0.16, 0.095, (0.20, 0.24), 0.12, 0.135, (0.16, 0.065), "flop",
                  "5c4028 94683c c8a878 2a2422 e0d4c0 8c5430 6c6460", "patch"),
    "horse": _Beast(0.66, 0.23, 0.18, 0.10, (0.30, 0.44), 0.13, 0.115, (0.25, 0.075), "point",
                    "5c3420 7c4a2c 2c2220 a87c50 d4ccc0 8c8480", "plain"),
    "cow": _Beast(0.48, 0.28, 0.24, 0.10, (0.28, 0.14), 0.16, 0.145, (0.19, 0.10), "side",
                  "e4dcd0 2a2422 7c4a2c a87848", "patch"),
    "zebra": _Beast(0.58, 0.24, 0.19, 0.095, (0.28, 0.36), 0.14, 0.115, (0.22, 0.08), "point",
                    "e6e0d4 dcd4c4", "stripes"),
    "giraffe": _Beast(0.86, 0.23, 0.18, 0.095, (0.34, 0.98), 0.10, 0.105, (0.19, 0.065), "side",
                      "e0c088 d8b478", "net"),
    "elephant": _Beast(0.44, 0.32, 0.26, 0.115, (0.32, 0.12), 0.22, 0.25, (0.0, 0.11), "fan",
                       "8c847c 78726e 9a8c80", "hide"),
}
# fmt: on
SPECIES = (*_BEASTS, "bird", *HEADS)


def sculpt_animal(rng: Rng, size: int, species: str | None = None) -> Model:
    """Sculpt an animal of the given or a random species in a random pose."""
    species = species or str(rng.choice(SPECIES))
    fuzz = 0.0040 * noise("grain", rng, (size, size), 400)
    if species in HEADS:
        turn = rotation(np.clip(rng.normal(0, 0.3), -0.6, 0.6), rng.normal(0.02, 0.1), rng.normal(0, 0.09))
        origin = np.array([rng.uniform(0.42, 0.58), rng.uniform(0.42, 0.50), 0])
        solid = Solid(size, Frame(origin, rng.uniform(0.22, 0.30), turn), fuzz)
        build_head(rng, solid, species)
        return Model(solid)
    yaw, pitch = rng.choice([0, np.pi]) + rng.uniform(-0.6, 0.6), rng.uniform(0.0, 0.2)
    feet, middle, scale = rng.uniform(0.80, 0.90), rng.uniform(0.46, 0.54), rng.uniform(0.50, 0.62)
    if species == "bird":
        solid = Solid(size, Frame(np.array([middle, 0.66, 0]), scale, rotation(yaw, pitch)), fuzz)
        _build_bird(rng, solid)
        return Model(solid)
    beast = _BEASTS[species]
    height = beast.leg + 2 * beast.depth + beast.neck[1] + beast.head
    length = 1.15 + beast.neck[0] + beast.muzzle[0]
    scale = float(min(rng.uniform(0.80, 0.92) / (length * max(abs(np.cos(yaw)), 0.8)), 0.80 / height))
    middle -= scale * np.cos(yaw) * (length / 2 - 0.62)
    frame = Frame(np.array([middle, feet - 0.02, 0]), scale, rotation(yaw, pitch))
    solid = Solid(size, frame, fuzz * (0.12 if beast.pattern == "hide" else 0.45))
    _build_beast(rng, solid, beast)
    return Model(solid, feet)


def _build_beast(rng: Rng, body: Solid, beast: _Beast) -> None:
    coat = Finish(pick(rng, beast.coats, 0.08), gloss=0.05, soft=0.35)
    for x, long, bulk, flow in ((0.26, 0.27, 1.02, 0.3), (-0.02, 0.44, 0.95, 0.3), (-0.30, 0.26, 1.0, 1)):
        radii = (long, beast.depth * bulk, beast.width * bulk)
        body.ellipsoid((x, -beast.leg - beast.depth, 0), radii, coat, blend=0.08, flow=(-1, flow, 0))
    stride = rng.uniform(-0.14, 0.14, 4) * (1.0 if rng.random() < 0.6 else 0.3)
    for k, (x, side) in enumerate(((0.33, -1), (0.33, 1), (-0.40, -1), (-0.40, 1))):
        _leg(body, beast, coat, x, side, stride[k])
    root = np.array([-0.54, -beast.leg - beast.depth * 1.25, 0.0])
    low = moved(root, -0.09, 0.30, rng.uniform(-0.1, 0.1))
    body.capsule(root, low, (0.035, 0.02), coat, blend=0.02)
    body.capsule(
        low, moved(low, -0.02, 0.10, 0), (0.03, 0.04), Finish(coat.colour * 0.35, soft=0.3), blend=0.01
    )
    _neck_and_head(rng, body, beast, coat)
    _coat(rng, body, beast)


def _leg(body: Solid, beast: _Beast, coat: Finish, x: float, side: int, stride: float) -> None:
    z, r, hind = side * beast.width * 0.62, beast.limb, x < 0
    hip, foot = (x, -beast.leg - beast.depth * 0.55, z), (x + stride, -r * 0.3, z)
    knee = (x + stride * 0.5 + (0.05 if hind else 0.02), -beast.leg * 0.52, z)
    hock = (x + stride * 0.8 - (0.06 if hind else 0.0), -beast.leg * 0.30, z)
    body.capsule(hip, knee, (r * (1.45 if hind else 1.15), r * 0.66), coat, blend=0.05)
    body.capsule(knee, hock, (r * 0.64, r * 0.50), coat, blend=0.03)
    body.capsule(hock, foot, (r * 0.50, r * 0.44), coat, blend=0.02)
    hoof = coat if beast.ears in ("flop", "fan") else Finish(hex_rgb("2c2622"), gloss=0.2)
    body.ellipsoid((foot[0] + 0.25 * r, -r * 0.28, z), (r * 0.72, r * 0.34, r * 0.55), hoof, blend=0.015)


def _neck_and_head(rng: Rng, body: Solid, beast: _Beast, coat: Finish) -> None:
    forward, up = np.array(beast.neck) + rng.uniform(-0.05, 0.05, 2)
    shoulder = np.array([0.36, -beast.leg - beast.depth * 1.25, 0.0])
    poll = moved(shoulder, forward, -up, 0)
    body.capsule(shoulder, poll, (beast.neck_width * 1.35, beast.neck_width * 0.85), coat, blend=0.06)
    if beast.ears == "point":
        mane = Finish(coat.colour * 0.3 if beast.pattern == "plain" else hex_rgb("2c2826"), soft=0.3)
        back = np.array([-up, -forward, 0]) / np.hypot(forward, up) * beast.neck_width
        body.capsule(shoulder + 1.25 * back, poll + 0.75 * back, (0.05, 0.045), mane, blend=0.02)
        body.capsule(poll + 0.4 * back, moved(poll, 0.06, -0.06, 0), (0.05, 0.04), mane, blend=0.02)
    turn = rotation(yaw=rng.normal(0, 0.35), roll=rng.uniform(0.0, 0.35))
    head = body.layer(body.frame.joint(poll, turn, beast.head))
    _head(head, beast, coat)
    body.merge(head, 0.02)


def _head(head: Solid, beast: _Beast, coat: Finish) -> None:
    """Head of a quadruped in head radii: skull at the origin, muzzle along +x."""
    long, thick = (length / beast.head for length in beast.muzzle)
    head.ellipsoid((0.1, 0, 0), (1.12, 1, 0.88), coat, flow=(-1, 0.2, 0))
    if beast.ears == "fan":
        trunk = np.array([(0.64, 0.32, 0), (1.08, 1.2, 0), (1.12, 2.08, 0), (1.44, 2.48, 0)])
        for k in range(3):
            head.capsule(trunk[k], trunk[k + 1], (0.44 - 0.1 * k, 0.34 - 0.1 * k), coat, blend=0.16)
    else:
        tip = np.array([0.6 + long, 0.42, 0])
        nose = _DARK if beast.ears == "flop" else Finish(coat.colour * 0.5 + 0.03, gloss=0.1, soft=0.3)
        size = thick * (0.4 if beast.ears == "flop" else 0.85)
        head.capsule((0.35, 0.15, 0), tip, (0.72, thick), coat, blend=0.35)
        head.ellipsoid(
            moved(tip, thick - 0.75 * size, -0.1 * thick, 0), (size, size, size * 1.1), nose, blend=0.1
        )
    for side in (-1, 1):
        head.ellipsoid((0.55, -0.25, side * 0.72), (0.16, 0.16, 0.14), _DARK)
        _ear_and_horn(head, beast, coat, side)


def _ear_and_horn(head: Solid, beast: _Beast, coat: Finish, side: int) -> None:
    dark = Finish(coat.colour * 0.62, soft=0.35)
    if beast.ears == "flop":
        head.ellipsoid((-0.2, 0.05, side * 0.92), (0.42, 0.85, 0.16), dark, rotation(roll=0.25), blend=0.08)
    elif beast.ears == "point":
        head.ellipsoid((-0.45, -1.2, side * 0.5), (0.22, 0.62, 0.18), coat, rotation(roll=-0.2), blend=0.15)
    elif beast.ears == "side":
        head.capsule((-0.35, -0.5, side * 0.7), (-0.45, -0.35, side * 1.75), (0.24, 0.14), dark, blend=0.15)
        head.capsule((-0.2, -0.7, side * 0.4), (-0.3, -1.6, side * 0.8), (0.16, 0.10), _HORN)
    else:
        flare = rotation(yaw=side * 0.35, roll=0.15)
        head.ellipsoid((-0.96, 0.08, side), (0.76, 1.16, 0.14), Finish(coat.colour * 0.8, soft=0.3), flare)
        head.capsule((0.68, 0.68, side * 0.44), (1.6, 1.44, side * 0.6), (0.14, 0.056), _HORN)


def _coat(rng: Rng, body: Solid, beast: _Beast) -> None:
    """Mark and texture the coat."""
    box = body.window()
    attrs, p = body.attrs[box], body.local(box)
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    shift = rng.uniform(0, 512, 2)
    wave = noise_at("cloud", x * 70 + shift[0], y * 70 + 40 * z + shift[1])
    soft = smoothstep(0.1, 0.3, attrs[..., SOFT])
    mark, ink = np.zeros_like(x), hex_rgb("1e1814")
    if beast.pattern == "stripes":
        legs = y > -beast.leg * 0.9
        lean = x + 0.25 * y * np.where(x < -0.2, 1.6, -0.4) * (y < -beast.leg)
        mark = smoothstep(0.05, 0.38, np.sin(np.where(legs, 58 * y + wave, 46 * lean + 1.6 * wave)))
    elif beast.pattern == "patch":
        blot = noise_at("cloud", x * 150 + shift[0], y * 150 + shift[1]) + 0.15 * wave
        mark, ink = (
            smoothstep(-0.05, 0.08, blot - rng.uniform(0, 1.6)),
            pick(rng, "2a2220 5c3820 8c5c34 e6e0d4"),
        )
    elif beast.pattern == "net":
        cell = noise_at("blotch", x * 125 + shift[0], y * 125 + shift[1])
        mark, ink = smoothstep(-0.35, -0.15, cell) * (y < -0.3), hex_rgb("7c4c28")
    attrs[..., ALBEDO] = mix(attrs[..., ALBEDO], ink, 0.92 * mark * soft)
    texture_fur(rng, body, hide=beast.pattern == "hide")


def _build_bird(rng: Rng, solid: Solid) -> None:
    """A small bird on a branch."""
    back = Finish(pick(rng, "5c6c8c 6c5444 3c3a3c 7c8448 a8842c 4c7ca8 8c3c2c", 0.1), gloss=0.06, soft=0.3)
    breast = Finish(pick(rng, "c87838 e0d4bc d8b448 a83c28 c8bca8", 0.1), gloss=0.03, soft=0.4)
    bark, beak = (
        Finish(pick(rng, "5c4836 6c5c4c 4a3c34"), soft=0.25),
        Finish(pick(rng, "3a3430 d89c38"), gloss=0.4),
    )
    branch = solid.layer()
    branch.capsule((-3, 0.20, rng.uniform(-0.3, 0.3)), (3, 0.06, 0), (0.085, 0.06), bark)
    branch.capsule((rng.uniform(0.5, 0.9), 0.1, 0), (1.6, -0.6, 0.3), (0.04, 0.02), bark)
    texture_fur(rng, branch, hide=True)
    solid.merge(branch)
    body, lean = solid.layer(), rotation(roll=-0.55)
    body.ellipsoid((0, -0.38, 0), (0.44, 0.30, 0.27), back, lean, flow=(-1, 0.6, 0))
    body.ellipsoid((0.10, -0.33, 0), (0.34, 0.27, 0.25), breast, lean, blend=0.02, flow=(-0.6, 0.8, 0))
    body.ellipsoid((0.30, -0.76, 0), (0.205, 0.195, 0.19), back, blend=0.06, flow=(-1, 0.5, 0))
    body.ellipsoid((0.36, -0.66, 0), (0.15, 0.13, 0.16), breast, blend=0.05, flow=(-1, 0.8, 0))
    body.capsule((-0.30, -0.16, 0), (-0.85, 0.26, 0), (0.09, 0.06), Finish(back.colour * 0.6, soft=0.3), 0.02)
    for side in (-1, 1):
        for k in range(5):
            tip = (-0.55 - 0.03 * k, 0.02 - 0.05 * k, side * (0.20 - 0.01 * k))
            root = (0.08 - 0.05 * k, -0.48 + 0.02 * k, side * 0.24)
            shade = Finish(back.colour * (0.75 - 0.07 * k), gloss=0.08, soft=0.3)
            body.capsule(root, tip, (0.085, 0.03), shade, blend=0.008)
        body.ellipsoid((0.39, -0.80, side * 0.155), (0.038, 0.040, 0.03), _DARK)
        body.capsule((0.03, -0.10, side * 0.09), (0.06, 0.10, side * 0.09), (0.02, 0.016), _HORN)
    texture_fur(rng, body)
    body.capsule((0.46, -0.76, 0), (0.66, -0.72, 0), (0.062, 0.008), beak)
    solid.merge(body)
