"""Animals: standing quadrupeds, birds, a sitting rabbit and close-up heads, all with fur or feathers.

Whole bodies use body lengths as units: x forwards, y down with the ground at y = 0, z to the side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from .draw import Array, hex_rgb, mix, noise, noise_at, pick, rgb, smoothstep
from .heads import HEADS, build_head, texture_fur
from .solid import ALBEDO, SOFT, Finish, Frame, Model, Solid, moved, rotation

Rng = np.random.Generator

_EYE = Finish(hex_rgb("120c0a"), gloss=1.0)
_NOSE = Finish(hex_rgb("221a1a"), gloss=0.5)
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
    tail: str
    coats: str
    pattern: str
    horns: str = "none"
    texture: str = "fur"


# fmt: off
_BEASTS: dict[str, _Beast] = {
    "dog": _Beast(0.50, 0.20, 0.16, 0.095, (0.20, 0.24), 0.12, 0.135, (0.16, 0.065), "flop", "up",
                  "5c4028 94683c c8a878 2a2422 e0d4c0 8c5430 6c6460", "patch"),
    "horse": _Beast(0.66, 0.23, 0.18, 0.10, (0.30, 0.44), 0.13, 0.115, (0.25, 0.075), "point", "mane",
                    "5c3420 7c4a2c 2c2220 a87c50 d4ccc0 8c8480", "sock"),
    "cow": _Beast(0.48, 0.28, 0.24, 0.10, (0.28, 0.14), 0.16, 0.145, (0.19, 0.10), "side", "rope",
                  "e4dcd0 2a2422 7c4a2c a87848", "patch", horns="short"),
    "zebra": _Beast(0.58, 0.24, 0.19, 0.095, (0.28, 0.36), 0.14, 0.115, (0.22, 0.08), "point", "rope",
                    "e6e0d4 dcd4c4", "stripes"),
    "elephant": _Beast(0.44, 0.32, 0.26, 0.115, (0.32, 0.12), 0.22, 0.25, (0.0, 0.11), "fan", "rope",
                       "8c847c 78726e 9a8c80", "plain", horns="tusks", texture="hide"),
    "sheep": _Beast(0.36, 0.28, 0.24, 0.065, (0.22, 0.16), 0.15, 0.125, (0.13, 0.075), "side", "stub",
                    "e0d8c4 d0c4ac ece6d8", "plain", texture="wool"),
    "giraffe": _Beast(0.86, 0.23, 0.18, 0.095, (0.34, 0.98), 0.10, 0.105, (0.19, 0.065), "side", "rope",
                      "e0c088 d8b478", "net", horns="knobs"),
    "tiger": _Beast(0.44, 0.20, 0.16, 0.105, (0.22, 0.10), 0.14, 0.15, (0.09, 0.085), "round", "long",
                    "c08c54 b8844c", "stripes"),
    "lion": _Beast(0.46, 0.20, 0.16, 0.105, (0.22, 0.14), 0.14, 0.15, (0.11, 0.085), "round", "long",
                   "c89c60 b88c54", "lion"),
}
# fmt: on


def _build_beast(rng: Rng, solid: Solid, kind: str) -> None:
    beast = _BEASTS[kind]
    coat = Finish(pick(rng, beast.coats, 0.08), gloss=0.05, soft=0.35)
    body = solid.layer()
    top = beast.leg + beast.depth
    body.ellipsoid((0.26, -top + 0.01, 0), (0.27, beast.depth * 1.04, beast.width), coat, flow=(-1, 0.3, 0))
    for x, long, deep, wide, flow in (
        (-0.02, 0.44, 0.93, 1.03, (-1, 0.3, 0)),
        (-0.30, 0.26, 1, 1, (-1, 1, 0)),
    ):
        radii = (long, beast.depth * deep, beast.width * wide)
        body.ellipsoid((x, -top, 0), radii, coat, blend=0.08, flow=flow)
    stride = rng.uniform(-0.14, 0.14, 4) * (1.0 if rng.random() < 0.6 else 0.3)
    for k, (x, side) in enumerate(((0.33, -1), (0.33, 1), (-0.40, -1), (-0.40, 1))):
        _leg(body, beast, coat, x, side, stride[k])
    _tail(rng, body, beast, coat)
    _neck_and_head(rng, body, beast, coat)
    _coat(rng, body, beast)
    solid.merge(body)


def _leg(body: Solid, beast: _Beast, coat: Finish, x: float, side: int, stride: float) -> None:
    z, r = side * beast.width * 0.62, beast.limb
    hind = x < 0
    hip = (x, -beast.leg - beast.depth * 0.55, z)
    knee = (x + stride * 0.5 + (0.05 if hind else 0.02), -beast.leg * 0.52, z)
    hock = (x + stride * 0.8 - (0.06 if hind else 0.0), -beast.leg * 0.30, z)
    foot = (x + stride, -r * 0.3, z)
    thick = r * (1.45 if hind else 1.15)
    body.capsule(hip, knee, (thick, r * 0.66), coat, blend=0.05)
    body.capsule(knee, hock, (r * 0.64, r * 0.50), coat, blend=0.03)
    body.capsule(hock, foot, (r * 0.50, r * 0.44), coat, blend=0.02)
    hoofed = beast.tail in ("rope", "mane", "stub") and beast.texture != "hide"
    finish = Finish(hex_rgb("2c2622"), gloss=0.2) if hoofed else coat
    body.ellipsoid((foot[0] + 0.25 * r, -r * 0.28, z), (r * 0.72, r * 0.34, r * 0.55), finish, blend=0.015)


def _tail(rng: Rng, body: Solid, beast: _Beast, coat: Finish) -> None:
    root = np.array([-0.54, -beast.leg - beast.depth * 1.25, 0.0])
    dark = Finish(coat.colour * 0.35, soft=0.3)
    swing = rng.uniform(-0.1, 0.1)
    if beast.tail == "up":
        middle = moved(root, -0.14, -0.10, swing)
        body.capsule(root, middle, (0.055, 0.04), coat, blend=0.03)
        body.capsule(middle, moved(middle, 0.0, -0.16, swing), (0.04, 0.02), coat, blend=0.02)
    elif beast.tail == "mane":
        body.capsule(root, moved(root, -0.10, 0.16, swing), (0.05, 0.08), dark, blend=0.02)
        body.capsule(
            moved(root, -0.10, 0.16, swing), moved(root, -0.12, 0.55, swing), (0.08, 0.03), dark, blend=0.02
        )
    elif beast.tail == "stub":
        body.capsule(root, moved(root, -0.05, 0.12, 0), (0.05, 0.04), coat, blend=0.02)
    else:
        low = moved(root, -0.09, 0.34, swing)
        body.capsule(root, low, (0.035, 0.02), coat, blend=0.02)
        if beast.tail == "long":
            body.capsule(low, moved(low, -0.18, 0.06, swing), (0.026, 0.03), coat, blend=0.02)
        body.ellipsoid(moved(low, -0.01, 0.05, 0), (0.03, 0.08, 0.03), dark, blend=0.01)


def _neck_and_head(rng: Rng, body: Solid, beast: _Beast, coat: Finish) -> None:
    forward, up = np.array(beast.neck) + rng.uniform(-0.05, 0.05, 2)
    shoulder = np.array([0.36, -beast.leg - beast.depth * 1.25, 0.0])
    poll = moved(shoulder, forward, -up, 0)
    body.capsule(shoulder, poll, (beast.neck_width * 1.35, beast.neck_width * 0.85), coat, blend=0.06)
    if beast.pattern == "lion":
        mane = Finish(coat.colour * rgb(0.45, 0.36, 0.28), soft=0.3)
        for angle in np.linspace(0, 2 * np.pi, 11)[:-1]:
            at = moved(poll, -0.06, 0.17 * np.sin(angle) + 0.03, 0.16 * np.cos(angle))
            body.capsule(at, moved(at, -0.12, 0.10, 0), (0.10, 0.08), mane, blend=0.03)
    elif beast.tail == "mane" or (beast.pattern == "stripes" and beast.ears == "point"):
        mane = Finish(coat.colour * 0.3 if beast.tail == "mane" else hex_rgb("2c2826"), soft=0.3)
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
            radii = thick * (1 - 0.22 * k), thick * (0.78 - 0.22 * k)
            head.capsule(trunk[k], trunk[k + 1], radii, coat, blend=0.16)
    else:
        tip = np.array([0.6 + long, 0.42, 0])
        head.capsule((0.35, 0.15, 0), tip, (0.72, thick), coat, blend=0.35)
        _nose(head, beast, coat, tip, thick)
    for side in (-1, 1):
        head.ellipsoid((0.55, -0.25, side * 0.72), (0.16, 0.16, 0.14), _EYE)
        _ear(head, beast, coat, side)
        _horn(head, beast, side)


def _nose(head: Solid, beast: _Beast, coat: Finish, tip: Array, thick: float) -> None:
    across = np.array([0, 0, 1])
    if beast.ears in ("flop", "round"):
        at = tip + thick * np.array([0.75, -0.35, 0])
        head.ellipsoid(at, (thick * 0.4, thick * 0.35, thick * 0.45), _NOSE)
        return
    soft = Finish(coat.colour * 0.5 + 0.03, gloss=0.1, soft=0.3)
    at = tip + thick * np.array([0.35, 0, 0])
    head.ellipsoid(at, (thick * 0.85, thick * 0.9, thick * 0.95), soft, blend=0.2)
    for side in (-1, 1):
        nostril = tip + thick * (np.array([1, -0.2, 0]) + 0.5 * side * across)
        head.ellipsoid(nostril, (thick * 0.2, thick * 0.2, thick * 0.2), _NOSE)


def _ear(head: Solid, beast: _Beast, coat: Finish, side: int) -> None:
    inner = Finish(coat.colour * rgb(0.6, 0.42, 0.38) + 0.03, soft=0.6)
    dark = Finish(coat.colour * 0.62, soft=0.35)
    if beast.ears == "flop":
        hang = rotation(roll=0.25)
        head.ellipsoid((-0.2, 0.05, side * 0.92), (0.42, 0.85, 0.16), dark, hang, blend=0.08)
    elif beast.ears == "point":
        head.ellipsoid((-0.45, -1.2, side * 0.5), (0.22, 0.62, 0.18), coat, rotation(roll=-0.2), blend=0.15)
        head.ellipsoid((-0.34, -1.2, side * 0.58), (0.10, 0.45, 0.12), inner, blend=0.08)
    elif beast.ears == "side":
        head.capsule((-0.35, -0.5, side * 0.7), (-0.45, -0.35, side * 1.75), (0.24, 0.14), dark, blend=0.15)
    elif beast.ears == "round":
        head.ellipsoid((-0.3, -0.9, side * 0.66), (0.18, 0.36, 0.32), coat, blend=0.15)
        head.ellipsoid((-0.18, -0.88, side * 0.70), (0.12, 0.22, 0.2), inner, blend=0.08)
    else:
        flap = Finish(coat.colour * 0.8, soft=0.3)
        flare = rotation(yaw=side * 0.35, roll=0.15)
        head.ellipsoid((-0.96, 0.08, side), (0.76, 1.16, 0.14), flap, flare)


def _horn(head: Solid, beast: _Beast, side: int) -> None:
    if beast.horns == "short":
        bend = (-0.1, -1.0, side * 1.15)
        head.capsule((-0.2, -0.7, side * 0.5), bend, (0.16, 0.12), _HORN)
        head.capsule(bend, (0.1, -1.55, side * 1.2), (0.12, 0.04), _HORN)
    elif beast.horns == "knobs":
        tuft = Finish(hex_rgb("4c3828"))
        head.capsule((-0.2, -0.8, side * 0.35), (-0.4, -1.6, side * 0.4), (0.12, 0.15), tuft)
    elif beast.horns == "tusks":
        head.capsule((0.68, 0.68, side * 0.44), (1.6, 1.44, side * 0.6), (0.14, 0.056), _HORN)


def _coat(rng: Rng, body: Solid, beast: _Beast) -> None:
    """Mark and texture the coat."""
    box = body.window()
    attrs = body.attrs[box]
    p = body.local(box)
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    shift = rng.uniform(0, 512, 2)
    wave = noise_at("cloud", x * 70 + shift[0], y * 70 + 40 * z + shift[1])
    soft = smoothstep(0.1, 0.3, attrs[..., SOFT])
    mark = np.zeros_like(x)
    ink = hex_rgb("1e1814")
    if beast.pattern == "stripes":
        fine = 46 if beast.ears == "point" else 38
        along = x + 0.25 * y * np.where(x < -0.2, 1.6, -0.4) * (y < -beast.leg)
        sparse = 0.0 if beast.ears == "point" else 0.45
        mark = smoothstep(sparse, sparse + 0.35, np.sin(fine * along + 1.6 * wave))
        legs = smoothstep(0.1, 0.4, np.sin(58 * y + wave)) * (y > -beast.leg * 0.9)
        mark = np.where(y > -beast.leg * 0.9, legs * (1.0 if beast.ears == "point" else 0.4), mark)
    elif beast.pattern == "patch":
        blot = noise_at("cloud", x * 150 + shift[0], y * 150 + shift[1]) + 0.15 * wave
        mark = smoothstep(-0.05, 0.08, blot - rng.uniform(0.0, 1.6))
        ink = pick(rng, "2a2220 5c3820 8c5c34 e6e0d4")
    elif beast.pattern == "net":
        cell = noise_at("blotch", x * 125 + shift[0], y * 125 + shift[1])
        mark, ink = smoothstep(-0.35, -0.15, cell) * (y < -0.3), hex_rgb("7c4c28")
    elif beast.pattern == "sock":
        mark = smoothstep(-0.24, -0.16, y) if rng.random() < 0.4 else smoothstep(-0.40, -0.05, y) * 0.6
        ink = pick(rng, "dcd4c8 241c1a")
    attrs[..., ALBEDO] = mix(attrs[..., ALBEDO], ink, 0.92 * mark * soft)
    if beast.pattern != "net" and beast.texture == "fur":
        belly = smoothstep(0.3, 0.9, body.attrs[box][..., 1]) * soft
        attrs[..., ALBEDO] *= (1 + 0.35 * belly)[..., None]
    texture_fur(rng, body, beast.texture)


def _build_bird(rng: Rng, solid: Solid) -> None:
    """A small bird on a branch."""
    back = Finish(pick(rng, "5c6c8c 6c5444 3c3a3c 7c8448 a8842c 4c7ca8 8c3c2c", 0.1), gloss=0.06, soft=0.3)
    breast = Finish(pick(rng, "c87838 e0d4bc d8b448 a83c28 c8bca8", 0.1), gloss=0.03, soft=0.4)
    wing = Finish(back.colour * 0.6, gloss=0.08, soft=0.3)
    bark = Finish(pick(rng, "5c4836 6c5c4c 4a3c34"), soft=0.05)
    branch = solid.layer()
    branch.capsule((-3, 0.20, rng.uniform(-0.3, 0.3)), (3, 0.06, 0), (0.085, 0.06), bark)
    branch.capsule((rng.uniform(0.5, 0.9), 0.1, 0), (1.6, -0.6, 0.3), (0.04, 0.02), bark)
    texture_fur(rng, branch, "hide")
    box = branch.window()
    grain = noise("grain", rng, branch.alpha[box].shape) + noise("fractal", rng, branch.alpha[box].shape)
    branch.attrs[box][..., ALBEDO] *= np.exp(0.2 * grain)[..., None]
    solid.merge(branch)
    body = solid.layer()
    lean = rotation(roll=-0.55)
    body.ellipsoid((0, -0.38, 0), (0.44, 0.30, 0.27), back, lean, flow=(-1, 0.6, 0))
    body.ellipsoid((0.10, -0.33, 0), (0.34, 0.27, 0.25), breast, lean, blend=0.02, flow=(-0.6, 0.8, 0))
    body.ellipsoid((0.30, -0.76, 0), (0.205, 0.195, 0.19), back, blend=0.06, flow=(-1, 0.5, 0))
    body.ellipsoid((0.36, -0.66, 0), (0.15, 0.13, 0.16), breast, blend=0.05, flow=(-1, 0.8, 0))
    body.capsule((-0.30, -0.16, 0), (-0.85, 0.26, 0), (0.09, 0.06), wing, blend=0.02)
    for side in (-1, 1):
        for k in range(5):
            tip = (-0.55 - 0.03 * k, 0.02 - 0.05 * k, side * (0.20 - 0.01 * k))
            shade = Finish(wing.colour * (1.25 - 0.12 * k), gloss=0.08, soft=0.3)
            root = (0.08 - 0.05 * k, -0.48 + 0.02 * k, side * 0.24)
            body.capsule(root, tip, (0.085, 0.03), shade, blend=0.008)
        body.ellipsoid((0.39, -0.80, side * 0.155), (0.038, 0.040, 0.03), _EYE)
        body.capsule((0.03, -0.10, side * 0.09), (0.06, 0.10, side * 0.09), (0.02, 0.016), _HORN)
    texture_fur(rng, body, "fur", 1.3)
    beak = Finish(pick(rng, "3a3430 d89c38 6c6058"), gloss=0.4)
    body.capsule((0.46, -0.76, 0), (0.66, -0.72, 0), (0.062, 0.008), beak)
    solid.merge(body)


def _build_rabbit(rng: Rng, solid: Solid) -> None:
    coat = Finish(pick(rng, "8c7054 a89880 e4dccf 5c5048 b88c60 3a3432", 0.08), gloss=0.03, soft=0.5)
    pale = Finish(np.minimum(coat.colour * 1.7 + 0.05, 0.85), soft=0.5)
    pink = Finish(coat.colour * 0.5 + hex_rgb("c88c80") * 0.4, soft=0.8)
    body = solid.layer()
    body.ellipsoid((-0.15, -0.34, 0), (0.46, 0.35, 0.30), coat, flow=(-1, 0.3, 0))
    body.ellipsoid((0.16, -0.30, 0), (0.26, 0.28, 0.23), coat, blend=0.06, flow=(-0.5, 1, 0))
    body.ellipsoid((-0.60, -0.20, 0), (0.13, 0.12, 0.12), pale, blend=0.02)
    for side in (-1, 1):
        body.ellipsoid((-0.26, -0.22, side * 0.22), (0.25, 0.22, 0.12), coat, blend=0.03, flow=(-0.7, 0.8, 0))
        body.capsule((-0.25, -0.05, side * 0.24), (0.05, -0.05, side * 0.25), (0.06, 0.055), coat, blend=0.03)
        body.capsule((0.24, -0.25, side * 0.11), (0.33, -0.05, side * 0.11), (0.08, 0.055), coat, blend=0.03)
    head = body.layer(body.frame.joint((0.36, -0.66, 0), rotation(yaw=rng.normal(0, 0.4))))
    head.ellipsoid((0, 0, 0), (0.23, 0.20, 0.175), coat, flow=(-1, 0.4, 0))
    head.ellipsoid((0.16, 0.06, 0), (0.12, 0.11, 0.12), pale, blend=0.05, flow=(-1, 0.4, 0))
    head.ellipsoid((0.275, 0.03, 0), (0.025, 0.022, 0.035), pink)
    spread = rng.uniform(0.02, 0.12)
    for side in (-1, 1):
        head.ellipsoid((0.09, -0.05, side * 0.145), (0.052, 0.055, 0.045), _EYE)
        lean = rotation(roll=rng.uniform(-0.45, 0.1), pitch=-side * spread)
        head.ellipsoid((-0.14, -0.40, side * (0.07 + spread)), (0.075, 0.29, 0.055), coat, lean, blend=0.02)
        head.ellipsoid((-0.105, -0.40, side * (0.09 + spread)), (0.04, 0.23, 0.04), pink, lean, blend=0.01)
    body.merge(head, 0.02)
    texture_fur(rng, body)
    solid.merge(body)


_Builder = Callable[[Rng, Solid], None]
_WHOLE: dict[str, _Builder] = {name: partial(_build_beast, kind=name) for name in _BEASTS}
_WHOLE |= {"rabbit": _build_rabbit, "bird": _build_bird}
SPECIES = (*_WHOLE, *HEADS)


def sculpt_animal(rng: Rng, size: int, species: str | None = None) -> Model:
    """Sculpt an animal of the given or a random species in a random pose."""
    species = species or str(rng.choice(SPECIES))
    fuzz = 0.0040 * noise("grain", rng, (size, size), 400)
    if species in HEADS:
        scale = rng.uniform(0.22, 0.30)
        turn = rotation(np.clip(rng.normal(0, 0.3), -0.6, 0.6), rng.normal(0.02, 0.1), rng.normal(0, 0.09))
        origin = np.array([rng.uniform(0.42, 0.58), rng.uniform(0.42, 0.50), 0])
        solid = Solid(size, Frame(origin, scale, turn), fuzz)
        build_head(rng, solid, species)
        return Model(solid, "portrait")
    yaw = rng.choice([0, np.pi]) + rng.uniform(-0.6, 0.6)
    feet, middle = rng.uniform(0.80, 0.90), rng.uniform(0.46, 0.54)
    if species in _BEASTS:
        beast = _BEASTS[species]
        height = beast.leg + 2 * beast.depth + beast.neck[1] + beast.head
        length = 1.15 + beast.neck[0] + beast.muzzle[0]
        scale = float(min(rng.uniform(0.80, 0.92) / (length * max(abs(np.cos(yaw)), 0.8)), 0.80 / height))
        middle -= scale * np.cos(yaw) * (length / 2 - 0.62)
    else:
        scale = rng.uniform(0.50, 0.62)
    place = "portrait" if species == "bird" else "ground"
    height = 0.68 if species == "bird" else feet
    frame = Frame(np.array([middle, height - 0.02, 0]), scale, rotation(yaw, rng.uniform(0.0, 0.2)))
    if species in _BEASTS:
        fuzz = fuzz * {"wool": 0.9, "hide": 0.12}.get(_BEASTS[species].texture, 0.45)
    solid = Solid(size, frame, fuzz)
    _WHOLE[species](rng, solid)
    return Model(solid, place, feet)
