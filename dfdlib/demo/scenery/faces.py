"""Head-and-shoulders portraits. Head units: chin at y = 1, crown at y = -1, eyes at y = 0."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .draw import Array, mix, noise, pick, rgb, smoothstep, strands
from .dress import add_glasses, add_hat, sculpt_torso
from .solid import ALBEDO, FLOW, GLOSS, SOFT, Finish, Frame, Model, Solid, moved, rotation, roughen

Rng = np.random.Generator

_SKINS = "f0cdb8 e8bea2 dfae8c d09a74 b97f58 9a6442 7a4c32 5c3826 e6b898 c68e68"
_HAIRS = "1c1614 2a1e18 3e2a1c 5a3c24 7c5632 a87c48 c8a468 8c4424 6e6a68 a8a4a0 d4d0cc 30241c"
_DARK_HAIRS = "1c1614 241a16 2a1e18 3a2a20 8c8a88"
_IRISES = "4a2e1c 5c3c22 3c2818 5a7890 6c8ca0 5c7050 7c7c58"
_STYLES = ("short", "short", "crop", "long", "long", "bob", "bun", "curly", "bald", "fringe", "cap", "beanie")


@dataclass(frozen=True)
class _Person:
    """Everything that tells one sitter from another; lengths in head units."""

    skin: Array
    hair: Array
    style: str
    width: float
    jaw: float
    nose: float
    age: float
    brow: float
    smile: float
    teeth: float
    eye_open: float
    gaze: tuple[float, float]
    iris: Array
    lip: Array
    beard: float
    moustache: float
    glasses: str


def _draw_person(rng: Rng) -> _Person:
    masculine = rng.random() < 0.5
    skin = pick(rng, _SKINS, 0.05)
    style = str(rng.choice(_STYLES))
    if masculine and style in ("long", "bob", "bun") and rng.random() < 0.7:
        style = str(rng.choice(["short", "crop", "bald"]))
    smile = rng.normal(0.02, 0.035)
    bearded = masculine and rng.random() < 0.5
    return _Person(
        skin=skin,
        hair=pick(rng, _HAIRS if skin.mean() > 0.2 or rng.random() < 0.15 else _DARK_HAIRS, 0.1),
        style=style,
        width=rng.uniform(0.92, 1.06),
        jaw=rng.uniform(0.0, 1.0) * (1.0 if masculine else 0.5),
        nose=rng.uniform(0.85, 1.2) * (1.05 if masculine else 0.95),
        age=max(rng.uniform(-0.5, 1.0), 0.0),
        brow=rng.uniform(0.7, 1.3) * (1.15 if masculine else 0.8),
        smile=smile,
        teeth=rng.uniform(0.2, 1.0) if smile > 0.03 and rng.random() < 0.6 else 0.0,
        eye_open=rng.uniform(0.75, 1.1),
        gaze=(rng.normal(0, 0.02), rng.normal(0, 0.008)),
        iris=pick(rng, _IRISES, 0.1),
        lip=skin * rgb(0.85, 0.52, 0.52) * (1.0 if masculine else rng.uniform(0.75, 1.0)),
        beard=rng.uniform(0.35, 1.0) if bearded else 0.0,
        moustache=rng.uniform(0.4, 1.0) if bearded or (masculine and rng.random() < 0.15) else 0.0,
        glasses=str(rng.choice(["none", "thin", "thick", "sun"], p=[0.7, 0.13, 0.12, 0.05])),
    )


def sculpt_portrait(rng: Rng, size: int) -> Model:
    """Sculpt a person from the chest up, looking roughly at the camera."""
    person = _draw_person(rng)
    scale = rng.uniform(0.24, 0.33)
    origin = np.array([rng.uniform(0.42, 0.58), rng.uniform(0.40, 0.50), 0.0])
    yaw, pitch, roll = rng.normal(0, 0.28), rng.normal(0.0, 0.09), rng.normal(0, 0.07)
    head_frame = Frame(origin, scale, rotation(np.clip(yaw, -0.6, 0.6), pitch, roll))
    chest = Frame(moved(origin, 0, 0, -0.1 * scale), scale, rotation(0.5 * yaw + rng.normal(0, 0.2), 0.05, 0))
    solid = sculpt_torso(rng, person.skin, 0.12 * person.jaw, Solid(size, chest))
    head = _head(person, Solid(size, head_frame))
    _paint_face(rng, person, head)
    solid.merge(head)
    hair = Solid(size, head_frame, fuzz=0.003 * noise("grain", rng, (size, size), 420))
    _hair(rng, person, hair)
    _comb(rng, hair, 0.42 if person.style != "curly" else 0.25)
    solid.merge(hair, blend=0.006)
    extras = Solid(size, head_frame)
    add_hat(rng, person.style, extras)
    add_glasses(rng, person.glasses, extras)
    solid.merge(extras)
    return Model(solid, "portrait")


def _head(person: _Person, head: Solid) -> Solid:
    """Skull, jaw, cheeks, nose and ears under one smooth skin."""
    skin = Finish(person.skin, gloss=0.10, soft=1.0)
    w = person.width
    head.ellipsoid((0, -0.26, -0.15), (0.74 * w, 0.74, 0.84), skin)
    head.ellipsoid((0, 0.10, 0.06), (0.63 * w, 0.86, 0.66), skin, blend=0.10)
    head.ellipsoid((0, 0.58, 0.12), ((0.46 + 0.11 * person.jaw) * w, 0.40, 0.50), skin, blend=0.12)
    head.ellipsoid((0, 0.86, 0.42), (0.20 + 0.06 * person.jaw, 0.15, 0.18), skin, blend=0.12)
    for side in (-1, 1):
        head.ellipsoid((side * 0.35 * w, 0.24, 0.38), (0.22, 0.20, 0.25), skin, blend=0.16)
        head.ellipsoid((side * 0.26, -0.19, 0.60), (0.22, 0.07, 0.12), skin, blend=0.08)
        _ear(person, head, side)
    n = person.nose
    head.capsule((0, -0.10, 0.62), (0, 0.26, 0.78), (0.07 * n, 0.095 * n), skin, blend=0.07)
    head.ellipsoid((0, 0.29, 0.78), (0.115 * n, 0.10, 0.12), skin, blend=0.05)
    for side in (-1, 1):
        head.ellipsoid((side * 0.115 * n, 0.33, 0.68), (0.075, 0.07, 0.10), skin, blend=0.04)
    head.ellipsoid((0, 0.56, 0.60), (0.26, 0.14, 0.14), skin, blend=0.10)
    return head


def _ear(person: _Person, head: Solid, side: int) -> None:
    skin = Finish(person.skin * rgb(1.0, 0.88, 0.86), gloss=0.08, soft=1.0)
    inner = Finish(person.skin * rgb(0.7, 0.5, 0.46), soft=1.0)
    tilt = rotation(side * 0.5, 0, side * 0.12)
    head.ellipsoid((side * 0.76 * person.width, 0.10, -0.12), (0.10, 0.23, 0.10), skin, tilt)
    head.ellipsoid((side * 0.80 * person.width, 0.08, -0.06), (0.05, 0.15, 0.06), inner, tilt, blend=0.02)


def _paint_face(rng: Rng, person: _Person, head: Solid) -> None:
    """Colour the skin and draw eyes, brows, lips, nostrils, beard and wrinkles on it."""
    box = head.window()
    shape = head.alpha[box].shape
    p = head.local(box)
    x, y, front = p[..., 0], p[..., 1], smoothstep(0.05, 0.3, p[..., 2])
    albedo, relief = head.attrs[box][..., ALBEDO].copy(), np.zeros(shape, np.float32)
    pores = noise("grain", rng, shape, 256 * shape[1] / head.size)
    mottle = noise("fractal", rng, shape, 200 * shape[1] / head.size)
    albedo *= np.exp(0.022 * pores + 0.035 * mottle)[..., None]
    relief += 0.00022 * pores + 0.0002 * mottle
    flush = np.exp(-(((np.abs(x) - 0.38) / 0.20) ** 2 + ((y - 0.30) / 0.17) ** 2))
    flush = flush + 0.8 * np.exp(-((x / 0.13) ** 2 + ((y - 0.28) / 0.12) ** 2))
    albedo *= 1 - flush[..., None] * rgb(0.02, 0.16, 0.14)
    if person.age > 0.2:
        part = _region(p, (0, 0), (0.65, 0.75))
        relief[part] -= _wrinkles(person, x[part], y[part])
    gloss = head.attrs[box][..., GLOSS].copy()
    gloss += 0.06 * np.exp(-((x / 0.35) ** 2 + ((y + 0.45) / 0.2) ** 2)) + 0.05 * flush
    for side in (-1, 1):
        part = _region(p, (side * 0.32, -0.08), (0.36, 0.30))
        _eye(person, side, x[part], y[part], albedo[part], relief[part], gloss[part])
    part = _region(p, (0, 0.6), (0.5, 0.22))
    _mouth(person, x[part], y[part], albedo[part], relief[part], gloss[part])
    holes = np.exp(-((((np.abs(x) - 0.07 * person.nose) / 0.038) ** 2 + ((y - 0.385) / 0.022) ** 2) ** 2))
    albedo *= 1 - 0.8 * (holes * front)[..., None]
    _whiskers(rng, person, p, albedo, relief)
    head.attrs[box][..., ALBEDO] = albedo
    head.attrs[box][..., GLOSS] = gloss
    roughen(head, relief * front, box)


def _region(p: Array, centre: tuple[float, float], half: tuple[float, float]) -> tuple[slice, slice]:
    """Window of the local points ``p`` [h, w, 3] that lie in a box on the front of the head."""
    near = (np.abs(p[..., 0] - centre[0]) < half[0]) & (np.abs(p[..., 1] - centre[1]) < half[1])
    x, y, w, h = cv2.boundingRect((near & (p[..., 2] > 0)).astype(np.uint8))
    return slice(y, y + h), slice(x, x + w)


def _wrinkles(person: _Person, x: Array, y: Array) -> Array:
    lines = np.zeros_like(x)
    for row, reach in ((-0.50, 0.4), (-0.42, 0.45), (-0.34, 0.35)):
        lines += np.exp(-(((y - row + 0.05 * x * x) / 0.010) ** 2)) * np.exp(-((x / reach) ** 4))
    smile = np.abs(x) - 0.20 - 0.32 * (y - 0.36)
    lines += 1.4 * np.exp(-((smile / 0.016) ** 2)) * np.exp(-(((y - 0.48) / 0.15) ** 4))
    lines += 0.8 * np.exp(-(((y - 0.135 - 0.2 * (np.abs(x) - 0.3) ** 2) / 0.012) ** 2)) * (np.abs(x) < 0.45)
    return 0.0022 * person.age * lines


def _eye(person: _Person, side: int, x: Array, y: Array, albedo: Array, relief: Array, gloss: Array) -> None:
    """Draw one eye with lids, lashes and brow into the arrays."""
    u = (x * side - 0.30) / 0.150
    arch = np.maximum(1 - u * u, 0)
    v = y + 0.012 * u
    top = v + 0.072 * person.eye_open * arch**0.75
    low = 0.046 * arch**0.8 - v
    inside = smoothstep(-0.008, 0.010, np.minimum(top, low)) * (np.abs(u) < 1)
    socket = np.exp(-((u / 1.25) ** 2 + ((y + 0.05) / 0.13) ** 2))
    albedo *= 1 - 0.24 * socket[..., None] * rgb(0.8, 1.0, 0.95)
    white = rgb(0.44, 0.40, 0.37) * (0.55 + 0.45 * smoothstep(0.0, 0.05, top))[..., None]
    gx, gy = person.gaze
    radius = np.hypot(x - side * 0.30 - gx, v + 0.012 - gy)
    iris = mix(person.iris * 1.0, person.iris * 0.25, smoothstep(0.05, 0.070, radius))
    ball = mix(white, iris, smoothstep(0.076, 0.066, radius))
    ball = mix(ball, rgb(0.004, 0.004, 0.004), smoothstep(0.036, 0.027, radius))
    albedo[:] = mix(albedo, ball, inside)
    glint = np.hypot(x - side * 0.30 - gx + 0.028, v + 0.040 - gy)
    albedo[:] = mix(albedo, rgb(1.4, 1.4, 1.4), inside * smoothstep(0.024, 0.012, glint))
    lash = np.exp(-((top / 0.014) ** 2)) * (np.abs(u) < 1.08)
    lower = 0.35 * np.exp(-((low / 0.010) ** 2)) * (np.abs(u) < 1)
    crease = 0.45 * np.exp(-(((top - 0.045) / 0.013) ** 2)) * smoothstep(1.2, 0.8, np.abs(u))
    albedo *= 1 - np.clip(0.92 * lash + lower + crease, 0, 0.95)[..., None] * rgb(0.9, 1, 1)
    gloss += inside * 0.5
    relief += 0.012 * np.exp(-((u / 0.95) ** 4 + (y / 0.11) ** 2))
    b = (x * side - 0.31) / 0.21
    line = -0.215 + 0.045 * np.clip(b, -1, 1.3) ** 2 - 0.03 * b + 0.02 * person.smile
    thick = 0.036 * person.brow * smoothstep(1.25, 0.2, b) * smoothstep(-1.15, -0.8, b)
    hairs = smoothstep(0.6, -0.5, (np.abs(y - line) - thick) / 0.022)
    albedo[:] = mix(albedo, np.minimum(person.hair * 0.7, 0.3), 0.8 * hairs * smoothstep(0.002, 0.015, thick))


def _mouth(person: _Person, x: Array, y: Array, albedo: Array, relief: Array, gloss: Array) -> None:
    """Draw lips, the line between them and teeth into the arrays."""
    half = 0.245 + 1.2 * max(person.smile, 0)
    u = x / half
    arch = np.maximum(1 - u * u, 0)
    line = 0.595 - person.smile * u * u * 1.6 + person.smile
    gap = person.teeth * 0.055 * arch**0.8
    upper = 0.065 * arch**0.7 * (1 - 0.28 * np.exp(-((u / 0.13) ** 2))) - (line - gap * 0.5 - y)
    lower = 0.088 * arch**0.75 - (y - line - gap * 0.5)
    above = y < line
    lips = np.where(above, smoothstep(-0.008, 0.012, upper), smoothstep(-0.010, 0.014, lower))
    lips = lips * smoothstep(1.0, 0.93, np.abs(u))
    tint = person.lip * np.where(above, 0.82, 1.0)[..., None]
    albedo[:] = mix(albedo, tint, 0.85 * lips)
    gloss += 0.20 * lips
    relief += 0.012 * lips * np.where(above, 0.5, 1.0)
    inner = smoothstep(0.006, -0.006, np.abs(y - line) - gap) * (person.teeth > 0) * arch
    tooth = rgb(0.66, 0.62, 0.55) * (0.75 + 0.25 * np.cos(x * 105))[..., None]
    tooth = tooth * smoothstep(line + gap * 1.1, line + gap * 0.4, y)[..., None] * arch[..., None]
    albedo[:] = mix(albedo, tooth, inner)
    seam = np.exp(-(((y - line) / 0.012) ** 2)) * (1 - inner) + 0.7 * np.exp(
        -((((np.abs(x) - half) / 0.03) ** 2) + ((y - line + person.smile) / 0.02) ** 2)
    )
    albedo *= 1 - 0.72 * np.clip(seam * smoothstep(1.1, 0.95, np.abs(u)), 0, 1)[..., None]


def _whiskers(rng: Rng, person: _Person, p: Array, albedo: Array, relief: Array) -> None:
    """Blend beard and moustache hair over the lower face."""
    if person.beard + person.moustache == 0:
        return
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    rough = 0.05 * noise("fractal", rng, x.shape, 300)
    cheek = 0.36 + 0.30 * np.exp(-((x / 0.42) ** 4)) + rough
    beard = smoothstep(cheek - 0.04, cheek + 0.10, y) * smoothstep(-0.35, 0.1, z)
    lip = np.exp(-(((np.abs(x) / 0.27) ** 2 + ((y - 0.595) / 0.075) ** 2) ** 3))
    tache = np.exp(-(((x / 0.27) ** 4 + ((y - 0.475 - 0.25 * x * x + rough * 0.4) / 0.055) ** 2) ** 2))
    cover = np.maximum(person.beard * beard * (1 - lip), person.moustache * tache)
    flow = np.stack([0.6 * x, np.ones_like(x)], -1)
    hairs = strands(rng, flow.astype(np.float32), 420 * x.shape[1] / 256)
    cover = np.clip(cover * (1.0 + 0.2 * hairs), 0, 1)
    albedo[:] = mix(albedo, person.hair * np.exp(0.2 * hairs)[..., None], 0.9 * cover)
    relief += cover * (0.012 + 0.0008 * hairs)


def _hair(rng: Rng, person: _Person, hair: Solid) -> None:
    """Add the hair style as solid volumes."""
    style, w = person.style, person.width
    finish = Finish(person.hair, gloss=0.07, soft=0.25)
    if style == "bald":
        return
    line = {"fringe": -0.22, "bob": -0.30}.get(style, -0.60 + rng.uniform(-0.08, 0.10))
    part, skew = rng.uniform(-0.4, 0.4), rng.uniform(-0.25, 0.25)
    side_line = {"crop": 0.0, "short": 0.12}.get(style, 0.35)

    def beyond_hairline(p: Array) -> Array:
        x, y, z = p[..., 0] / w, p[..., 1], p[..., 2]
        edge = line + skew * x - 0.06 * np.cos(9 * (x - part)) + 0.9 * smoothstep(0.42, 0.78, np.abs(x))
        return np.maximum(np.minimum(edge, side_line) - y, np.minimum(-0.22 - z, 0.75 - y))

    volume = {"crop": 0.03, "curly": 0.16, "bun": 0.05, "cap": 0.04, "beanie": 0.04}.get(style, 0.10)
    radii = ((0.75 + volume) * w, 0.76 + volume, 0.87 + volume)
    hair.ellipsoid((0, -0.27, -0.17), radii, finish, cut=beyond_hairline)
    if style in ("long", "bob"):
        end = 0.75 if style == "bob" else rng.uniform(1.3, 2.1)
        hair.ellipsoid((0, 0.3 * end, -0.55), (0.86 * w, 0.75 * end, 0.42), finish, blend=0.1)
        for side in (-1, 1):
            for k in range(4):
                top = (side * (0.68 + 0.05 * k) * w, -0.45 + 0.1 * k, 0.08 - 0.17 * k)
                tip = (side * (0.72 + 0.09 * k + rng.uniform(-0.05, 0.12)) * w, end, 0.1 - 0.15 * k)
                hair.capsule(top, tip, (0.16, rng.uniform(0.07, 0.16)), finish, blend=0.1)
    if style == "bun":
        hair.ellipsoid((0, -1.12, -0.35), (0.34, 0.30, 0.34), finish, blend=0.03)
    if style == "curly":
        for _ in range(48):
            a, b = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 1)
            ring = np.sqrt(1 - b * b)
            x, y, z = 0.9 * w * ring * np.cos(a), -0.27 - 0.92 * b, -0.15 + 0.95 * ring * np.sin(a)
            if y < -0.5 or z < 0.15:
                r = rng.uniform(0.12, 0.22)
                hair.ellipsoid((x, y, z), (r, r, r), finish, blend=0.05, flow=(np.cos(a), np.sin(9 * b), 0))


def _comb(rng: Rng, hair: Solid, contrast: float) -> None:
    """Give hair its strands: they fall away from the parting and run along the locks."""
    if not hair.alpha.any():
        return
    box = hair.window()
    p = hair.local(box)
    dome = smoothstep(0.3, -0.2, p[..., 1])
    direction = np.stack([1.6 * (p[..., 0] - 0.1), 0.35 + 0.9 * (p[..., 1] + 0.9)], -1)
    turn = hair.frame.rotation[:2, :2].astype(np.float32)
    flow = mix(hair.attrs[box][..., FLOW], direction @ turn.T, dome)
    lines = strands(rng, flow.astype(np.float32), 420 * p.shape[1] / hair.size)
    locks = strands(rng, flow.astype(np.float32), 170 * p.shape[1] / hair.size)
    hair.attrs[box][..., ALBEDO] *= np.exp(contrast * (0.6 * lines + 0.5 * locks))[..., None]
    hair.attrs[box][..., GLOSS] *= np.exp(0.6 * lines)
    hair.attrs[box][..., SOFT] = 0.3
    roughen(hair, 0.0022 * locks + 0.0006 * lines, box)
