"""Vehicles in metres: x forwards, y down with the ground at y = 0, z to the side."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .draw import Array, Rng, hex_rgb, mix, noise, pick, smoothstep
from .solid import ALBEDO, GLOSS, MIRROR, NORMAL, Finish, Frame, Profile, Sculpture, Solid, rotation

Rect = tuple[float, float, float, float]

_PAINTS = "b0241c 1c3c7c e0e0de 24262a 9aa0a6 2c5c40 d8a824 5c6c7c 7c1c2c d86c24 4c8cb4 c8bca4 3c3c44 e8e4d8"
_RUBBER = Finish(hex_rgb("222224"), gloss=0.04)
_STEEL = Finish(hex_rgb("a4a6aa"), gloss=0.5, mirror=0.35)
_BLACK = Finish(hex_rgb("1c1c1e"), gloss=0.15)
_GLASS = Finish(hex_rgb("181c20"), gloss=0.9, mirror=0.7)


@dataclass(frozen=True)
class _Coach:
    """Box-like vehicle, in metres."""

    hulls: tuple[tuple[Profile, float, float], ...]  # side profile, half width and lean of the convex parts
    panes: tuple[Rect, ...]  # left, right, top and bottom of the side windows
    screen: tuple[float, float]  # top and bottom of the windscreen
    wheels: tuple[float, ...]
    radius: float  # of the wheels
    seams: tuple[float, ...]  # edges of the doors
    lamps: float  # height


# fmt: off
_CAR = ((-2.1, -0.4), (-2.08, -0.82), (-1.7, -0.94), (0.95, -0.93), (1.9, -0.76), (2.12, -0.5), (2.05, -0.2),
        (-2.0, -0.2))
_TOP = ((-1.75, -0.9), (-1.1, -1.40), (0.1, -1.44), (0.95, -0.9))
_VAN = ((-2.3, -0.35), (-2.3, -1.9), (-2.15, -2.0), (1.2, -2.0), (1.9, -1.15), (2.4, -0.95), (2.45, -0.3))
_BUS = ((-4.6, -0.3), (-4.6, -2.8), (-4.4, -2.95), (4.2, -2.95), (4.55, -2.7), (4.65, -1.2), (4.6, -0.3))
_CAB = ((1.6, -0.5), (1.6, -2.4), (1.8, -2.5), (2.9, -2.5), (3.35, -1.5), (3.4, -0.4))
_COACHES = {
    "car": _Coach(((_CAR, 0.88, 0.04), (_TOP, 0.80, 0.30)), ((-1.35, -0.42, -1.34, -0.98), (-0.34, 0.52, -1.34, -0.98)),
                  (-1.38, -0.97), (-1.32, 1.32), 0.34, (-1.0, -0.38, 0.72), -0.66),
    "van": _Coach(((_VAN, 0.95, 0.05),), ((0.55, 1.42, -1.75, -1.2), (-0.75, 0.4, -1.75, -1.2)),
                  (-1.85, -1.2), (-1.45, 1.55), 0.36, (-0.82, 0.48, 1.5), -0.78),
    "bus": _Coach(((_BUS, 1.25, 0.02),), tuple((x, x + 1.2, -2.4, -1.4) for x in np.arange(-4.3, 3.4, 1.32)),
                  (-2.6, -1.2), (-2.6, 3.0), 0.48, (2.3, 3.55), -0.75),
    "truck": _Coach(((_CAB, 1.1, 0.04),), ((2.05, 2.95, -2.25, -1.55),),
                    (-2.3, -1.5), (-2.6, -1.6, 2.5), 0.48, (1.9, 3.05), -0.8),
}
# fmt: on
KINDS = {"car": 4.4, "van": 4.9, "bus": 9.4, "truck": 7.2, "bicycle": 1.8}
"""Kinds of vehicles and their lengths in metres."""


def sculpt_vehicle(rng: Rng, size: int, kind: str | None = None) -> Sculpture:
    """Sculpt a vehicle of the given or a random kind, seen from a random side."""
    kind = kind or str(rng.choice(["car", "car", *KINDS]))
    swing = 0.5 if kind == "bicycle" else 0.75
    turn = rng.choice([0, np.pi]) + rng.uniform(-swing, swing)
    reach = KINDS[kind] * (abs(np.cos(turn)) + 0.4 * abs(np.sin(turn)))
    base = np.array([rng.uniform(0.46, 0.54), rng.uniform(0.71, 0.83), 0.0])
    view = rotation(turn, rng.uniform(0.05, 0.26), rng.normal(0, 0.015))
    solid = Solid(size, Frame(base, rng.uniform(0.80, 1.0) / reach, view))
    if kind == "bicycle":
        _build_bicycle(rng, solid)
    else:
        _build_coach(rng, solid, kind)
    lowest = np.flatnonzero((solid.alpha > 0.5).any(axis=1))[-1] + 1
    return solid, float(lowest) / size - 0.01


def _build_coach(rng: Rng, solid: Solid, kind: str) -> None:
    coach = _COACHES[kind]
    paint = Finish(pick(rng, _PAINTS, 0.12), gloss=0.75, mirror=rng.uniform(0.3, 0.5))
    for side in (-1, 1):
        for x in coach.wheels:
            centre = (x, -coach.radius, side * (coach.hulls[0][1] - 0.1))
            _wheel(solid, centre, coach.radius, 0.3 * coach.radius)
    shell = solid.layer()
    for profile, half, lean in coach.hulls:
        shell.prism(profile, half, paint, lean, rounding=0.06)
    _paint_coach(rng, shell, coach)
    solid.merge(shell)
    if kind == "truck":
        cargo = Finish(pick(rng, "d8d8d4 c4bca8 8c4434 3c5c7c b4b8bc", 0.1), gloss=0.2)
        solid.prism(((-3.5, -0.55), (-3.5, -0.85), (1.8, -0.85), (1.8, -0.5)), 0.9, _BLACK)
        solid.prism(((-3.6, -0.8), (-3.6, -3.0), (1.45, -3.0), (1.45, -0.8)), 1.15, cargo)


def _inside(x: Array, y: Array, rect: Rect, soft: float) -> Array:
    x0, x1, y0, y1 = rect
    edge = np.maximum(np.abs(x - (x0 + x1) / 2) - (x1 - x0) / 2, np.abs(y - (y0 + y1) / 2) - (y1 - y0) / 2)
    return smoothstep(soft, -soft, edge)


def _paint_coach(rng: Rng, shell: Solid, coach: _Coach) -> None:
    """Curve the flanks and add glass, seams, wheel arches, lamps, a grille and dirt."""
    box = shell.window()
    attrs, p = shell.attrs[box], shell.local(box)
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    facing = attrs[..., NORMAL] @ shell.frame.rotation.astype(np.float32)
    flank = smoothstep(0.6, 0.8, np.abs(facing[..., 2]))
    nose, tail = smoothstep(0.25, 0.45, facing[..., 0]), smoothstep(0.25, 0.45, -facing[..., 0])
    soft = 1.2 / (shell.size * shell.frame.scale)
    half, height = coach.hulls[-1][1], coach.lamps
    top, low = coach.screen
    waist = (low - 0.25) / 2
    bulge = np.clip((y - waist) * 0.55, -0.3, 0.3) + 0.10 * smoothstep(0.03, -0.03, y - waist)
    attrs[..., NORMAL] += (flank * bulge)[..., None] * shell.frame.rotation[:, 1].astype(np.float32)
    seam = sum(np.exp(-(((x - s) / (1.3 * soft)) ** 2)) for s in coach.seams) * flank * (y > top) * (y < -0.3)
    grime = smoothstep(-0.75, -0.2, y) * (0.35 + 0.15 * noise("fractal", rng, x.shape))
    attrs[..., ALBEDO] = mix(attrs[..., ALBEDO], hex_rgb("5c5448"), np.clip(0.6 * grime, 0, 1))
    attrs[..., ALBEDO] *= (1 - 0.75 * seam)[..., None]
    off = np.min([np.hypot(x - w, y + coach.radius) for w in coach.wheels], axis=0)
    arch = smoothstep(soft, -soft, off - 1.2 * coach.radius) * flank
    _cover(attrs, np.clip(smoothstep(-0.34, -0.26, y) + arch, 0, 1), _BLACK)
    screen = _inside(z, y, (0.12 - half, half - 0.12, top, low), soft)
    panes = sum(_inside(x, y, pane, soft) for pane in coach.panes)
    _cover(attrs, np.clip(flank * panes + (nose + tail) * screen, 0, 1), _GLASS)
    lamp = smoothstep(0.2, 0.12, np.hypot(np.abs(z) - 0.75 * half, 1.6 * (y - height)))
    _cover(attrs, nose * lamp, Finish(hex_rgb("f4f4ec"), 1.0, 0.2))
    _cover(attrs, tail * lamp, Finish(hex_rgb("b01410"), gloss=0.9))
    _cover(attrs, nose * _inside(z, y, (-0.42, 0.42, height, height + 0.2), soft), _BLACK)


def _cover(attrs: Array, mask: Array, finish: Finish) -> None:
    """Replace the finish of the surface where ``mask`` is 1."""
    attrs[..., ALBEDO] = mix(attrs[..., ALBEDO], finish.colour, mask)
    attrs[..., GLOSS] += (finish.gloss - attrs[..., GLOSS]) * mask
    attrs[..., MIRROR] += (finish.mirror - attrs[..., MIRROR]) * mask


def _wheel(solid: Solid, centre: tuple[float, float, float], radius: float, half: float) -> None:
    """A tyre with a spoked rim facing both sides."""
    layer = solid.layer(solid.frame.joint(centre, np.eye(3)))
    turn = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    layer.prism(np.c_[np.cos(turn), np.sin(turn)] * radius, half, _RUBBER)
    box = layer.window()
    p = layer.local(box)
    r = np.hypot(p[..., 0], p[..., 1]) / radius
    angle = np.arctan2(p[..., 1], p[..., 0])
    rim = smoothstep(0.5, 0.9, np.abs(p[..., 2]) / half) * smoothstep(0.70, 0.66, r)
    hole = rim * smoothstep(-0.1, 0.25, np.cos(angle * 5)) * smoothstep(0.20, 0.15, np.abs(r - 0.41))
    _cover(layer.attrs[box], rim, _STEEL)
    _cover(layer.attrs[box], hole, _BLACK)
    solid.merge(layer)


def _build_bicycle(rng: Rng, solid: Solid) -> None:
    paint = Finish(pick(rng, _PAINTS, 0.12), gloss=0.8, mirror=0.15)
    back, front, crank = np.array([(-0.52, -0.34, 0.0), (0.55, -0.34, 0.0), (-0.08, -0.30, 0.0)])
    head, post, seat, stem = (0.39, -0.72, 0), (-0.2, -0.70, 0), (-0.22, -0.78, 0), (0.36, -0.80, 0)
    angles = np.linspace(0, 2 * np.pi, 25)
    rim = 0.33 * np.c_[np.cos(angles), np.sin(angles), np.zeros(25)]
    for hub in (back, front):
        for start, end in pairwise(hub + rim):
            solid.capsule(hub, start, (0.004, 0.004), _STEEL)
            solid.capsule(start, end, (0.021, 0.021), _RUBBER)
    frame = ((crank, seat), (crank, head), (post, stem), (back, crank), (back, post), (stem, front))
    for start, end in frame:
        solid.capsule(start, end, (0.020, 0.020), paint)
    solid.capsule(seat, (-0.24, -0.86, 0), (0.014, 0.014), _STEEL)
    solid.ellipsoid((-0.25, -0.88, 0), (0.14, 0.035, 0.07), _BLACK)
    solid.ellipsoid(crank, (0.09, 0.09, 0.03), _STEEL)
    solid.capsule(stem, (0.32, -0.92, 0), (0.014, 0.014), _STEEL)
    for side in (-1, 1):
        solid.capsule((0.32, -0.92, 0), (0.40, -0.95, side * 0.27), (0.014, 0.018), _BLACK)
        solid.capsule(crank, crank + (side * 0.12, side * 0.10, side * 0.06), (0.013, 0.02), _BLACK)
