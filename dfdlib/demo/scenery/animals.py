"""Animals: standing hoofed ones, a bird on a branch and close-up heads, all with fur or feathers.

Whole bodies use body lengths as units: x forwards, y down with the ground at y = 0, z to the side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .draw import Rng, hex_rgb, mix, noise, noise_at, pick, smoothstep
from .heads import HEADS, build_head, texture_fur
from .solid import ALBEDO, SOFT, Finish, Frame, Sculpture, Solid, rotation

_DARK = Finish(hex_rgb("1e1816"), gloss=0.4)
_HORN = Finish(hex_rgb("c8bca0"), gloss=0.25)


@dataclass(frozen=True)
class _Beast:
    """Proportions of a hoofed animal in body lengths, and its coat."""

    leg: float  # height of the belly line
    depth: float  # half height of the trunk
    width: float  # half width of the trunk
    neck: tuple[float, float, float]  # reach forwards and upwards, radius
    head: tuple[float, float, float]  # radius of the skull, length and radius of the muzzle
    maned: bool  # a mane and upright ears; else horns and ears to the sides
    coats: str


_HORSE = "5c3420 7c4a2c 2c2220 a87c50 d4ccc0 8c8480"
_BEASTS = {
    "horse": _Beast(0.66, 0.23, 0.18, (0.30, 0.44, 0.13), (0.115, 0.25, 0.075), True, _HORSE),
    "zebra": _Beast(0.58, 0.24, 0.19, (0.28, 0.36, 0.14), (0.115, 0.22, 0.08), True, "e6e0d4 dcd4c4"),
    "cow": _Beast(0.48, 0.28, 0.24, (0.28, 0.14, 0.16), (0.145, 0.19, 0.10), False, "e4dcd0 2a2422 7c4a2c"),
    "giraffe": _Beast(0.86, 0.23, 0.18, (0.34, 0.98, 0.10), (0.105, 0.19, 0.065), False, "e0c088 d8b478"),
}
SPECIES = (*_BEASTS, "bird", *HEADS)


def sculpt_animal(rng: Rng, size: int, species: str | None = None) -> Sculpture:
    """Sculpt an animal of the given or a random species in a random pose."""
    species = species or str(rng.choice(SPECIES))
    fuzz = 0.0040 * noise("grain", rng, (size, size), 400)
    if species in HEADS:
        turn = rotation(np.clip(rng.normal(0, 0.3), -0.6, 0.6), rng.normal(0.02, 0.1), rng.normal(0, 0.09))
        origin = np.array([rng.uniform(0.42, 0.58), rng.uniform(0.42, 0.50), 0])
        solid = Solid(size, Frame(origin, rng.uniform(0.22, 0.30), turn), fuzz)
        build_head(rng, solid, species)
        return solid, None
    yaw, pitch = rng.choice([0, np.pi]) + rng.uniform(-0.6, 0.6), rng.uniform(0.0, 0.2)
    feet, middle, scale = rng.uniform(0.80, 0.90), rng.uniform(0.46, 0.54), rng.uniform(0.50, 0.62)
    if species == "bird":
        solid = Solid(size, Frame(np.array([middle, 0.66, 0]), scale, rotation(yaw, pitch)), fuzz)
        _build_bird(rng, solid)
        return solid, None
    beast = _BEASTS[species]
    height = beast.leg + 2 * beast.depth + beast.neck[1] + beast.head[0]
    length = 1.15 + beast.neck[0] + beast.head[1]
    scale = float(min(rng.uniform(0.80, 0.92) / (length * max(abs(np.cos(yaw)), 0.8)), 0.80 / height))
    middle -= scale * np.cos(yaw) * (length / 2 - 0.62)
    frame = Frame(np.array([middle, feet - 0.02, 0]), scale, rotation(yaw, pitch))
    solid = Solid(size, frame, 0.45 * fuzz)
    _build_beast(rng, solid, beast)
    _coat(rng, solid, species)
    return solid, feet


def _build_beast(rng: Rng, body: Solid, beast: _Beast) -> None:
    coat = Finish(pick(rng, beast.coats, 0.08), gloss=0.05, soft=0.35)
    dark = Finish(coat.colour * 0.3, soft=0.3)
    for x, long, bulk, flow in ((0.26, 0.27, 1.02, 0.3), (-0.02, 0.44, 0.95, 0.3), (-0.30, 0.26, 1.0, 1)):
        radii = (long, beast.depth * bulk, beast.width * bulk)
        body.ellipsoid((x, -beast.leg - beast.depth, 0), radii, coat, blend=0.08, flow=(-1, flow, 0))
    pace = rng.uniform(0.04, 0.14)
    for x, thick, bend in ((0.33, 0.115, 0.0), (-0.40, 0.145, 0.05)):
        for side in (-1, 1):
            z, step = side * beast.width * 0.62, rng.uniform(-pace, pace)
            hip, foot = (x, -beast.leg - beast.depth * 0.55, z), (x + step, -0.03, z)
            knee = (x + step * 0.5 + bend, -beast.leg * 0.52, z)
            hock = (x + step * 0.8 - bend, -beast.leg * 0.30, z)
            body.capsule(hip, knee, (thick, 0.065), coat, blend=0.05)
            body.capsule(knee, hock, (0.063, 0.05), coat, blend=0.03)
            body.capsule(hock, foot, (0.05, 0.043), coat, blend=0.02)
            body.ellipsoid(np.add(foot, (0.025, 0, 0)), (0.07, 0.035, 0.054), _DARK, blend=0.015)
    root = np.array([-0.54, -beast.leg - beast.depth * 1.25, 0.0])
    low = root + (-0.09, 0.30, rng.uniform(-0.1, 0.1))
    body.capsule(root, low, (0.035, 0.02), coat, blend=0.02)
    body.capsule(low, low + (-0.02, 0.10, 0), (0.03, 0.04), dark, blend=0.01)
    forward, up = beast.neck[:2] + rng.uniform(-0.05, 0.05, 2)
    shoulder = np.array([0.36, -beast.leg - beast.depth * 1.25, 0.0])
    poll = shoulder + (forward, -up, 0)
    radius = beast.neck[2]
    body.capsule(shoulder, poll, (radius * 1.35, radius * 0.85), coat, blend=0.06)
    if beast.maned:
        back = np.array([-up, -forward, 0]) / np.hypot(forward, up) * radius
        body.capsule(shoulder + 1.25 * back, poll + 0.75 * back, (0.05, 0.045), dark, blend=0.02)
        body.capsule(poll + 0.4 * back, poll + (0.06, -0.06, 0), (0.05, 0.04), dark, blend=0.02)
    turn = rotation(yaw=rng.normal(0, 0.35), roll=rng.uniform(0.0, 0.35))
    head = body.layer(body.frame.joint(poll, turn, beast.head[0]))
    _head(head, beast, coat)
    body.merge(head, 0.02)


def _head(head: Solid, beast: _Beast, coat: Finish) -> None:
    """Head of a hoofed animal in head radii: skull at the origin, muzzle along +x."""
    long, thick = (length / beast.head[0] for length in beast.head[1:])
    tip = np.array([0.6 + long, 0.42, 0])
    shade = Finish(coat.colour * 0.55 + 0.02, gloss=0.1, soft=0.35)
    head.ellipsoid((0.1, 0, 0), (1.12, 1, 0.88), coat, flow=(-1, 0.2, 0))
    head.capsule((0.35, 0.15, 0), tip, (0.72, thick), coat, blend=0.35)
    head.ellipsoid(tip + (0.35 * thick, 0, 0), np.full(3, 0.88 * thick), shade, blend=0.2)
    for side in (-1, 1):
        head.ellipsoid((0.55, -0.25, side * 0.72), (0.16, 0.16, 0.14), _DARK)
        if beast.maned:
            head.capsule((-0.35, -0.7, side * 0.45), (-0.6, -1.6, side * 0.55), (0.26, 0.08), coat, blend=0.1)
        else:
            head.capsule((-0.35, -0.5, side * 0.7), (-0.45, -0.35, side * 1.75), (0.24, 0.14), shade)
            head.capsule((-0.2, -0.7, side * 0.4), (-0.3, -1.6, side * 0.8), (0.16, 0.10), _HORN)


def _coat(rng: Rng, body: Solid, species: str) -> None:
    """Mark and texture the coat."""
    box = body.window()
    attrs, p = body.attrs[box], body.local(box)
    x, y = p[..., 0], p[..., 1]
    shift = rng.uniform(0, 512, 2)
    wave = noise_at("cloud", x * 70 + shift[0], y * 70 + shift[1])
    ink = hex_rgb("1e1814")
    mark = np.zeros_like(x)
    if species == "zebra":
        lean = x + 0.25 * y * np.where(x < -0.2, 1.6, -0.4) * (y < -0.58)
        mark = smoothstep(0.05, 0.38, np.sin(np.where(y > -0.52, 58 * y + wave, 46 * lean + 1.6 * wave)))
    elif species == "cow":
        ink = pick(rng, "2a2220 5c3820 8c5c34 e6e0d4")
        blot = noise_at("cloud", x * 150 + shift[0], y * 150 + shift[1])
        mark = smoothstep(-0.05, 0.08, blot - rng.uniform(0, 1.6))
    elif species == "giraffe":
        ink = hex_rgb("7c4c28")
        cell = noise_at("blotch", x * 125 + shift[0], y * 125 + shift[1])
        mark = smoothstep(-0.35, -0.15, cell) * (y < -0.3)
    soft = smoothstep(0.1, 0.3, attrs[..., SOFT])
    attrs[..., ALBEDO] = mix(attrs[..., ALBEDO], ink, 0.92 * mark * soft)
    texture_fur(rng, body)


def _build_bird(rng: Rng, solid: Solid) -> None:
    """A small bird on a branch."""
    back = Finish(pick(rng, "5c6c8c 6c5444 3c3a3c 7c8448 a8842c 4c7ca8 8c3c2c", 0.1), gloss=0.06, soft=0.3)
    breast = Finish(pick(rng, "c87838 e0d4bc d8b448 a83c28 c8bca8", 0.1), gloss=0.03, soft=0.4)
    beak = Finish(pick(rng, "3a3430 d89c38"), gloss=0.4)
    bark = Finish(pick(rng, "5c4836 6c5c4c 4a3c34"), soft=0.25)
    branch = solid.layer()
    branch.capsule((-3, 0.20, rng.uniform(-0.3, 0.3)), (3, 0.06, 0), (0.085, 0.06), bark)
    branch.capsule((rng.uniform(0.5, 0.9), 0.1, 0), (1.6, -0.6, 0.3), (0.04, 0.02), bark)
    texture_fur(rng, branch)
    solid.merge(branch)
    body = solid.layer()
    lean = rotation(roll=-0.55)
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
