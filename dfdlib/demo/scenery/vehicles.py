"""Vehicles in metres: x forwards, y down with the ground (or water line) at y = 0, z to the side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from .draw import Array, hex_rgb, mix, noise, pick, smoothstep
from .solid import ALBEDO, GLOSS, MIRROR, NORMAL, Finish, Frame, Model, Solid, rotation, roughen

Rng = np.random.Generator
Rect = tuple[float, float, float, float]

_PAINTS = "b0241c 1c3c7c e0e0de 24262a 9aa0a6 2c5c40 d8a824 5c6c7c 7c1c2c d86c24 4c8cb4 c8bca4 3c3c44 e8e4d8"
_RUBBER = Finish(hex_rgb("222224"), gloss=0.04)
_STEEL = Finish(hex_rgb("a4a6aa"), gloss=0.5, mirror=0.35)
_BLACK = Finish(hex_rgb("1c1c1e"), gloss=0.15)


@dataclass(frozen=True)
class _Coach:
    """Box-like vehicle: convex side profiles (name, points, half width, lean), panes, wheels and lamps."""

    hulls: tuple[tuple[str, tuple[tuple[float, float], ...], float, float], ...]
    panes: tuple[Rect, ...]
    screens: tuple[float, float]
    wheels: tuple[float, ...]
    radius: float
    track: float
    seams: tuple[float, ...]
    lamps: tuple[float, float]
    length: float


# fmt: off
_CAR_LOW = ((-2.1, -0.4), (-2.08, -0.82), (-1.7, -0.94), (0.95, -0.93), (1.9, -0.76), (2.12, -0.5),
            (2.05, -0.2), (-2.0, -0.2))
_CABS = {
    "sedan": ((-1.75, -0.9), (-1.1, -1.40), (0.1, -1.44), (0.95, -0.9)),
    "hatch": ((-2.0, -0.9), (-1.75, -1.44), (0.05, -1.50), (0.95, -0.9)),
    "coupe": ((-1.9, -0.88), (-0.8, -1.28), (0.0, -1.30), (0.9, -0.88)),
}
_VAN = ((-2.3, -0.35), (-2.3, -1.9), (-2.15, -2.0), (1.2, -2.0), (1.9, -1.15), (2.4, -0.95), (2.45, -0.3),
        (-2.2, -0.3))
_BUS = ((-4.6, -0.35), (-4.6, -2.8), (-4.4, -2.95), (4.2, -2.95), (4.55, -2.7), (4.65, -1.2), (4.6, -0.3),
        (-4.5, -0.3))
_CAB = ((1.6, -0.5), (1.6, -2.4), (1.8, -2.5), (2.9, -2.5), (3.35, -1.5), (3.4, -0.4))
_BOX = ((-3.6, -0.8), (-3.6, -3.0), (1.45, -3.0), (1.45, -0.8))
_BED = ((-3.5, -0.55), (-3.5, -0.85), (1.8, -0.85), (1.8, -0.5))
# fmt: on


def _coach(rng: Rng, kind: str) -> _Coach:
    if kind == "car":
        cab = str(rng.choice(list(_CABS)))
        top = _CABS[cab]
        back, front = top[1][0] - 0.25, top[2][0] + 0.42
        panes = ((back, -0.42, -1.34, -0.98), (-0.34, front, -1.34, -0.98))
        hulls = (("body", _CAR_LOW, 0.88, 0.04), ("cab", top, 0.80, 0.30))
        seams = (-1.0, -0.38, 0.72)
        return _Coach(hulls, panes, (-1.38, -0.97), (-1.32, 1.32), 0.34, 0.80, seams, (-0.66, 0.60), 4.5)
    if kind == "van":
        panes: tuple[Rect, ...] = ((0.55, 1.42, -1.75, -1.2),)
        if rng.random() < 0.5:
            panes += ((-2.05, -0.9, -1.75, -1.2), (-0.75, 0.4, -1.75, -1.2))
        hulls, seams = (("body", _VAN, 0.95, 0.05),), (-0.82, 0.48, 1.5)
        return _Coach(hulls, panes, (-1.85, -1.2), (-1.45, 1.55), 0.36, 0.87, seams, (-0.78, 0.72), 5.0)
    if kind == "bus":
        panes = tuple((x, x + 1.2, -2.4, -1.4) for x in np.arange(-4.3, 3.0, 1.32))
        panes, hulls = (*panes, (3.6, 4.35, -2.4, -0.6)), (("body", _BUS, 1.25, 0.02),)
        return _Coach(hulls, panes, (-2.6, -1.2), (-2.6, 3.0), 0.48, 1.13, (2.0,), (-0.75, 0.95), 9.6)
    hulls = (("cargo", _BOX, 1.15, 0.0), ("bed", _BED, 0.9, 0.0), ("body", _CAB, 1.1, 0.04))
    panes, wheels = ((2.05, 2.95, -2.25, -1.55),), (-2.6, -1.6, 2.5)
    return _Coach(hulls, panes, (-2.3, -1.5), wheels, 0.48, 0.98, (1.9, 3.05), (-0.8, 0.8), 7.2)


def _build_coach(rng: Rng, solid: Solid, kind: str) -> None:
    coach = _coach(rng, kind)
    paint = Finish(pick(rng, _PAINTS, 0.12), gloss=0.75, mirror=rng.uniform(0.3, 0.5))
    cargo = Finish(pick(rng, "d8d8d4 c4bca8 8c4434 3c5c7c b4b8bc", 0.1), gloss=0.2, mirror=0.05)
    for side in (-1, 1):
        for x in coach.wheels:
            _wheel(solid, (x, -coach.radius, side * coach.track), coach.radius, 0.3 * coach.radius)
    shell = solid.layer()
    for name, profile, half, lean in coach.hulls:
        finish = {"cargo": cargo, "bed": _BLACK}.get(name, paint)
        shell.prism(profile, half, finish, lean=lean, rounding=0.02 if name == "cargo" else 0.06)
    _paint_coach(rng, shell, coach, kind)
    solid.merge(shell)


def _inside(x: Array, y: Array, rect: Rect, soft: float) -> Array:
    x0, x1, y0, y1 = rect
    edge = np.maximum(np.abs(x - (x0 + x1) / 2) - (x1 - x0) / 2, np.abs(y - (y0 + y1) / 2) - (y1 - y0) / 2)
    return smoothstep(soft, -soft, edge)


def _paint_coach(rng: Rng, shell: Solid, coach: _Coach, kind: str) -> None:
    """Curve the flanks and add glass, seams, wheel arches, lamps, bumper and dirt."""
    box = shell.window()
    attrs = shell.attrs[box]
    p = shell.local(box)
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    facing = attrs[..., NORMAL] @ shell.frame.rotation.astype(np.float32)
    flank = smoothstep(0.6, 0.8, np.abs(facing[..., 2]))
    nose, tail = smoothstep(0.25, 0.45, facing[..., 0]), smoothstep(0.25, 0.45, -facing[..., 0])
    soft = 1.2 / (shell.size * shell.frame.scale)
    half = coach.hulls[-1][2]
    waist = (coach.screens[1] - 0.25) / 2
    down = shell.frame.rotation[:, 1].astype(np.float32)
    bulge = np.clip((y - waist) * 0.55, -0.3, 0.3) + 0.10 * smoothstep(0.03, -0.03, y - waist)
    attrs[..., NORMAL] += (flank * bulge)[..., None] * down
    if kind in ("van", "bus") and rng.random() < 0.6:
        low = rng.uniform(waist - 0.2, waist + 0.1)
        stripe = flank * _inside(x, y, (-9, 9, low, low + rng.uniform(0.15, 0.5)), soft)
        attrs[..., ALBEDO] = mix(attrs[..., ALBEDO], pick(rng, _PAINTS), stripe)
    seam = sum(np.exp(-(((x - s) / (1.3 * soft)) ** 2)) for s in coach.seams)
    seam = seam * (y > coach.screens[0]) * (y < -0.3) * flank * (x > coach.hulls[-1][1][0][0])
    grips = [(s + 0.08, s + 0.26, waist - 0.16, waist - 0.11) for s in coach.seams[:2]]
    handles = sum(_inside(x, y, grip, soft) for grip in grips)
    grime = smoothstep(-0.75, -0.2, y) * (0.35 + 0.15 * noise("fractal", rng, x.shape))
    attrs[..., ALBEDO] = mix(attrs[..., ALBEDO], hex_rgb("5c5448"), np.clip(0.6 * grime, 0, 1))
    attrs[..., ALBEDO] *= (1 - 0.75 * seam - 0.4 * flank * handles)[..., None]
    sill = smoothstep(-0.34, -0.26, y) * (kind != "truck")
    off = np.min([np.hypot(x - w, y + coach.radius) for w in coach.wheels], axis=0)
    arch = smoothstep(soft, -soft, off - 1.2 * coach.radius)
    _cover(attrs, np.clip(sill + arch * flank, 0, 1), _BLACK)
    glass = sum(flank * _inside(x, y, pane, soft) for pane in coach.panes)
    top, low = coach.screens
    screen = _inside(z, y, (0.12 - half, half - 0.12, top, low), soft)
    if kind in ("car", "van"):
        screen = screen * smoothstep(0.2, 0.3, np.abs(facing[..., 1]))
    glass = np.clip(glass + (nose + (tail if kind != "truck" else 0)) * screen, 0, 1)
    _cover(attrs, glass, Finish(hex_rgb("181c20"), gloss=0.9, mirror=0.75))
    height, apart = coach.lamps
    lamp = smoothstep(0.2, 0.12, np.hypot(np.abs(z) - apart, 1.6 * (y - height)))
    corner = _inside(x, y, (coach.length / 2 - 0.42, 9, height - 0.1, height + 0.08), soft) * (kind == "car")
    _cover(attrs, np.clip(nose * lamp + flank * corner, 0, 1), Finish(hex_rgb("f4f4ec"), 1.0, 0.2))
    _cover(attrs, tail * lamp, Finish(hex_rgb("b01410"), gloss=0.9))
    grille = nose * _inside(z, y, (-0.42, 0.42, height, height + 0.2), soft)
    _cover(attrs, grille, Finish(hex_rgb("2c2c2e"), gloss=0.3, mirror=0.2))
    plate = (nose + tail) * _inside(z, y, (-0.27, 0.27, height + 0.22, height + 0.34), soft)
    _cover(attrs, np.clip(plate, 0, 1), Finish(hex_rgb("e8e4d0")))
    roughen(shell, 0.0009 * noise("cloud", rng, x.shape, 90), box)


def _cover(attrs: Array, mask: Array, finish: Finish) -> None:
    """Replace the finish of the surface where ``mask`` is 1."""
    attrs[..., ALBEDO] = mix(attrs[..., ALBEDO], finish.colour, mask)
    attrs[..., GLOSS] += (finish.gloss - attrs[..., GLOSS]) * mask
    attrs[..., MIRROR] += (finish.mirror - attrs[..., MIRROR]) * mask


def _wheel(solid: Solid, centre: tuple[float, float, float], radius: float, half: float) -> None:
    """A tyre with a spoked rim facing both sides."""
    layer = solid.layer()
    turn = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    layer.prism(np.c_[np.cos(turn), np.sin(turn)] * radius, half, _RUBBER, centre, rounding=0.02)
    if not layer.alpha.any():
        return
    box = layer.window()
    p = layer.local(box) - np.array(centre, np.float32)
    r, angle = np.hypot(p[..., 0], p[..., 1]) / radius, np.arctan2(p[..., 1], p[..., 0])
    flat = smoothstep(0.5, 0.9, np.abs(p[..., 2]) / half)
    spokes = 5 if radius < 0.4 else 8
    rim = flat * smoothstep(0.70, 0.66, r)
    _cover(layer.attrs[box], rim, _STEEL)
    hole = rim * smoothstep(-0.1, 0.25, np.cos(angle * spokes)) * smoothstep(0.20, 0.15, np.abs(r - 0.41))
    _cover(layer.attrs[box], hole, _BLACK)
    solid.merge(layer)


def _ring(
    solid: Solid, centre: tuple[float, float, float], radius: float, wire: float, finish: Finish
) -> None:
    angles = np.linspace(0, 2 * np.pi, 25)
    points = np.c_[np.cos(angles) * radius, np.sin(angles) * radius, np.zeros(25)] + np.asarray(centre)
    solid.tube(points, wire, finish)


def _build_bicycle(rng: Rng, solid: Solid) -> None:
    paint = Finish(pick(rng, _PAINTS, 0.12), gloss=0.8, mirror=0.15)
    back, front, radius = (-0.52, -0.34, 0.0), (0.55, -0.34, 0.0), 0.33
    crank, seat, stem = (-0.08, -0.30, 0.0), (-0.22, -0.78, 0.0), (0.36, -0.80, 0.0)
    phase = rng.uniform(0, 0.5)
    for hub in (back, front):
        for angle in np.arange(0, 2 * np.pi, np.pi / 8) + phase:
            tip = (hub[0] + radius * np.cos(angle), hub[1] + radius * np.sin(angle), 0)
            solid.capsule(hub, tip, (0.004, 0.004), _STEEL)
        _ring(solid, hub, radius, 0.021, _RUBBER)
        _ring(solid, hub, radius - 0.025, 0.010, _STEEL)
    head, post = (0.39, -0.72, 0), (-0.2, -0.70, 0)
    for start, end in ((crank, seat), (crank, head), (post, stem), (back, crank), (back, post)):
        solid.capsule(start, end, (0.020, 0.020), paint)
    solid.capsule((0.32, -0.90, 0), front, (0.018, 0.016), paint)
    solid.capsule(seat, (-0.24, -0.86, 0), (0.014, 0.014), _STEEL)
    solid.ellipsoid((-0.25, -0.88, 0), (0.14, 0.035, 0.07), _BLACK)
    grip = rng.uniform(-0.1, 0.12)
    for side in (-1, 1):
        solid.capsule((0.32, -0.92, 0), (0.36, -0.95, side * 0.16), (0.012, 0.012), _STEEL)
        solid.capsule((0.36, -0.95, side * 0.16), (0.36 + grip, -0.93, side * 0.27), (0.016, 0.018), _BLACK)
    _ring(solid, (crank[0], crank[1], 0.03), 0.085, 0.012, _STEEL)
    for side in (-1, 1):
        pedal = (crank[0] + side * 0.12, crank[1] + side * 0.10, side * 0.06)
        solid.capsule(crank, pedal, (0.013, 0.013), _STEEL)
        solid.capsule(pedal, (pedal[0] + 0.07, pedal[1], side * 0.09), (0.018, 0.018), _BLACK)


def _build_motorbike(rng: Rng, solid: Solid) -> None:
    paint = Finish(pick(rng, _PAINTS, 0.12), gloss=0.9, mirror=0.4)
    for x in (-0.72, 0.75):
        _wheel(solid, (x, -0.32, 0), 0.32, half=0.09)
    for side in (-1, 1):
        solid.capsule((0.75, -0.32, side * 0.10), (0.45, -1.0, side * 0.10), (0.030, 0.034), _STEEL)
        solid.capsule((-0.72, -0.32, side * 0.11), (0.0, -0.42, side * 0.11), (0.035, 0.045), _BLACK)
        solid.capsule((-0.9, -0.36, side * 0.17), (0.1, -0.30, side * 0.15), (0.060, 0.040), _STEEL)
        solid.capsule((0.42, -1.02, 0), (0.28, -1.08, side * 0.34), (0.018, 0.024), _BLACK)
        solid.ellipsoid((0.36, -1.22, side * 0.30), (0.03, 0.05, 0.09), _STEEL)
    solid.ellipsoid((0.05, -0.42, 0), (0.30, 0.20, 0.16), _STEEL)
    for k in range(4):
        solid.ellipsoid((0.10 + 0.02 * k, -0.48 - 0.06 * k, 0), (0.19, 0.018, 0.18), _BLACK)
    solid.ellipsoid((0.12, -0.82, 0), (0.34, 0.17, 0.19), paint)
    solid.ellipsoid((-0.62, -0.78, 0), (0.34, 0.09, 0.13), paint, rotation(roll=0.2), blend=0.03)
    solid.ellipsoid((-0.40, -0.84, 0), (0.40, 0.075, 0.16), _BLACK)
    solid.ellipsoid((0.75, -0.60, 0), (0.26, 0.07, 0.09), paint)
    solid.ellipsoid((0.56, -0.92, 0), (0.12, 0.13, 0.13), paint)
    solid.ellipsoid((0.63, -0.92, 0), (0.07, 0.11, 0.11), Finish(hex_rgb("f4f2e6"), gloss=1.0))
    if rng.random() < 0.5:
        solid.prism(((0.35, -1.35), (0.5, -1.3), (0.72, -0.98), (0.6, -0.9)), 0.13, paint)


def _build_tractor(rng: Rng, solid: Solid) -> None:
    paint = Finish(pick(rng, "b02c1c 2c6c34 2c4c8c d8a424 c86420"), gloss=0.6, mirror=0.2)
    rim = Finish(pick(rng, "d8b838 c8c8c4 b02c1c"), gloss=0.4)
    glass = Finish(hex_rgb("28343a"), gloss=0.9, mirror=0.6)
    for side in (-1, 1):
        _wheel(solid, (-0.9, -0.85, side * 0.75), 0.85, half=0.21)
        _wheel(solid, (1.35, -0.5, side * 0.65), 0.5, half=0.13)
        solid.ellipsoid((-0.9, -0.85, side * 0.97), (0.42, 0.42, 0.03), rim)
        solid.ellipsoid((-0.85, -1.72, side * 0.75), (0.75, 0.12, 0.25), paint)
    bonnet = ((-0.2, -0.8), (-0.2, -1.6), (1.6, -1.5), (1.85, -1.3), (1.85, -0.7))
    cab = ((-1.2, -1.3), (-1.1, -2.5), (0.0, -2.5), (0.25, -1.3))
    solid.prism(bonnet, 0.36, paint, rounding=0.08)
    solid.prism(((1.87, -0.75), (1.87, -1.3), (1.9, -1.3), (1.9, -0.75)), 0.28, _BLACK)
    solid.prism(cab, 0.62, glass, lean=0.08, rounding=0.03)
    solid.prism(((-1.25, -2.48), (-1.2, -2.62), (0.05, -2.62), (0.1, -2.48)), 0.66, paint, rounding=0.05)
    for x0, x1 in ((-1.2, -1.08), (-0.45, -0.45), (0.25, 0.02)):
        for side in (-1, 1):
            solid.capsule((x0, -1.3, side * 0.63), (x1, -2.5, side * 0.55), (0.045, 0.045), paint)
    solid.capsule((0.9, -1.5, 0.1), (0.9, -2.3, 0.1), (0.05, 0.045), _STEEL)


def _build_boat(rng: Rng, solid: Solid) -> None:
    paint = Finish(pick(rng, _PAINTS, 0.1), gloss=0.6, mirror=0.15)
    deck = Finish(pick(rng, "a88458 d8d4c8 8c6844"), gloss=0.2)
    afloat = (2.35, 0.75, 0.62)
    solid.ellipsoid((0.1, -0.35, 0), afloat, paint, cut=lambda p: np.minimum(p[..., 1] + 0.42, -p[..., 1]))
    solid.ellipsoid((0.1, -0.42, 0), (2.32, 0.05, 0.60), deck)
    cabin, panes = Finish(hex_rgb("e4e2dc"), 0.4), Finish(hex_rgb("20282e"), 0.9, 0.6)
    solid.prism(((-0.9, -0.4), (-0.8, -0.75), (0.6, -0.72), (0.9, -0.4)), 0.32, cabin, lean=0.2)
    solid.prism(((-0.6, -0.5), (-0.55, -0.66), (0.4, -0.66), (0.5, -0.5)), 0.335, panes)
    solid.capsule((0.25, -0.4, 0), (0.25, -4.6, 0), (0.05, 0.03), _STEEL)
    solid.capsule((0.25, -0.85, 0), (-1.6, -0.85, 0.25), (0.04, 0.03), _STEEL)
    canvas = Finish(pick(rng, "f0ece0 e8e0cc e4e8ec c85c44 8c2c28 d8c078", 0.05), gloss=0.02, soft=1.0)
    trim = Finish(pick(rng, "f0ece0 e8e8e4 c85c44 4c6c94", 0.05), gloss=0.02, soft=1.0)
    sails = solid.layer()
    main = ((-1.6, -0.95), (-1.0, -2.6), (0.15, -4.5), (0.2, -0.95))
    jib = ((0.45, -0.95), (0.4, -4.0), (1.3, -2.3), (2.25, -0.65))
    sails.prism(main, 0.02, canvas, turn=rotation(yaw=-0.12))
    sails.prism(jib, 0.02, trim, (0, 0, 0.08), rotation(yaw=0.1))
    box = sails.window()
    p = sails.local(box)
    sails.attrs[box][..., 0] += 0.5 * np.cos(2.2 * p[..., 0]) + 0.12 * p[..., 1]
    seams = np.exp(-((((p[..., 1] + 0.12 * p[..., 0]) % 0.55) / 0.02) ** 2))
    crumple = noise("cloud", rng, p.shape[:2], 110) + 0.3 * noise("fractal", rng, p.shape[:2])
    sails.attrs[box][..., ALBEDO] *= np.exp(-0.15 * seams + 0.05 * crumple)[..., None]
    roughen(sails, 0.004 * crumple, box)
    solid.merge(sails)


def _build_plane(rng: Rng, solid: Solid) -> None:
    white = Finish(pick(rng, "e8e8e6 d8dce0 c8ccd2 e4dcc8", 0.04), gloss=0.6, mirror=0.12)
    livery = Finish(pick(rng, _PAINTS, 0.1), gloss=0.7, mirror=0.15)
    metal = Finish(hex_rgb("b0b4b8"), gloss=0.5, mirror=0.2)
    flat = rotation(pitch=-np.pi / 2)
    ground = solid
    solid = ground.layer(ground.frame.joint((0, -1.05, 0), np.eye(3)))
    wing = ((-0.9, -3.6), (-0.5, -3.6), (0.7, 0.0), (-0.5, 0.0))
    for side in (-1, 1):
        outline = wing if side < 0 else [(x, -y) for x, y in wing[::-1]]
        solid.prism(outline, 0.05, metal, (0.1, 0.12, 0), flat, rounding=0.01)
        small = [(0.42 * x - 3.0, 0.36 * y) for x, y in outline]
        solid.prism(small, 0.03, livery, (0, -0.15, 0), flat, rounding=0.01)
        solid.capsule((0.55, 0.34, side * 1.3), (-0.15, 0.32, side * 1.3), (0.19, 0.14), livery)
        solid.ellipsoid((0.70, 0.34, side * 1.3), (0.05, 0.15, 0.15), _BLACK)
    body = solid.layer()
    body.capsule((-1.6, 0, 0), (2.4, 0, 0), (0.40, 0.40), white)
    body.capsule((-1.6, 0, 0), (-3.6, -0.18, 0), (0.40, 0.10), white, blend=0.03)
    body.ellipsoid((2.4, 0.03, 0), (0.95, 0.37, 0.39), white, blend=0.04)
    body.prism(((-3.75, -1.35), (-3.3, -1.35), (-2.3, -0.25), (-3.4, -0.2)), 0.04, livery, rounding=0.01)
    box = body.window()
    p = body.local(box)
    x, y = p[..., 0], p[..., 1]
    cabin = np.abs(y) < 0.5
    dots = smoothstep(0.06, 0.04, np.hypot((x % 0.22) - 0.11, 1.1 * (y + 0.08)))
    dots = dots * (x > -2.2) * (x < 2.35)
    band = cabin * _inside(x, y, (-3.4, 2.9, 0.06, 0.16), 0.015)
    screen = _inside(x, y, (2.72, 3.1, -0.20, -0.06), 0.02)
    _cover(body.attrs[box], np.clip(band, 0, 1), livery)
    _cover(body.attrs[box], np.clip(dots + screen, 0, 1), Finish(hex_rgb("20262c"), gloss=0.8, mirror=0.4))
    solid.merge(body)
    for x, z in ((2.1, 0), (-0.4, 0.45), (-0.4, -0.45)):
        solid.capsule((x, 0.2, z), (x, 0.92, z), (0.04, 0.04), _STEEL)
        solid.ellipsoid((x, 0.92, z), (0.13, 0.13, 0.09), _RUBBER)
    ground.merge(solid)


_Builder = Callable[[Rng, Solid], None]
_KINDS: dict[str, tuple[_Builder, float, float, tuple[str, ...]]] = {  # builder, length, height, places
    "car": (partial(_build_coach, kind="car"), 4.4, 1.5, ("ground",)),
    "van": (partial(_build_coach, kind="van"), 4.9, 2.1, ("ground",)),
    "bus": (partial(_build_coach, kind="bus"), 9.4, 3.0, ("ground",)),
    "truck": (partial(_build_coach, kind="truck"), 7.2, 3.1, ("ground",)),
    "bicycle": (_build_bicycle, 1.8, 1.0, ("ground",)),
    "motorbike": (_build_motorbike, 2.2, 1.3, ("ground",)),
    "tractor": (_build_tractor, 3.9, 2.7, ("ground",)),
    "boat": (_build_boat, 4.8, 4.7, ("water",)),
    "plane": (_build_plane, 7.6, 2.6, ("sky", "sky", "ground")),
}
KINDS = tuple(_KINDS)


def sculpt_vehicle(rng: Rng, size: int, kind: str | None = None) -> Model:
    """Sculpt a vehicle of the given or a random kind, seen from a random side."""
    kinds = [*KINDS, "car", "car"]
    kind = kind or str(rng.choice(kinds))
    build, length, height, places = _KINDS[kind]
    place = str(rng.choice(places))
    swing = 0.5 if kind in ("bicycle", "motorbike") else 0.75
    turn = rng.choice([0, np.pi]) + rng.uniform(-swing, swing)
    pitch = rng.uniform(0.05, 0.26)
    if place == "sky":
        pitch = rng.uniform(-0.6, 0.5)
    reach = length * abs(np.cos(turn)) + 0.4 * length * abs(np.sin(turn))
    scale = float(min(rng.uniform(0.80, 1.0) / reach, 0.78 / height))
    roll = rng.normal(0, 0.25) if place == "sky" else rng.normal(0, 0.015)
    feet = rng.uniform(0.74, 0.86)
    base = np.array([rng.uniform(0.46, 0.54), feet - 0.03, 0.0])
    if kind == "plane":
        base[1] = rng.uniform(0.42, 0.55) + scale if place == "sky" else feet - 0.03
    solid = Solid(size, Frame(base, scale, rotation(turn, pitch, roll)))
    build(rng, solid)
    if place == "ground":
        feet = _lowest(solid) - 0.01
    return Model(solid, place, feet)


def _lowest(solid: Solid) -> float:
    """Lowest row covered by the subject, as a fraction of the image."""
    rows = np.flatnonzero((solid.alpha > 0.5).any(axis=1))
    return float(rows[-1] + 1) / solid.size
