"""Head-and-shoulders portraits. Head units: chin at y = 1, crown at y = -1, eyes at y = 0."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .draw import Array, Rng, mix, noise, pick, smoothstep, strands
from .solid import ALBEDO, FLOW, GLOSS, Finish, Frame, Sculpture, Solid, rotation, roughen

_SKINS = "f0cdb8 e8bea2 dfae8c d09a74 b97f58 9a6442 7a4c32 5c3826 e6b898 c68e68"
_HAIRS = "1c1614 2a1e18 3e2a1c 5a3c24 7c5632 a87c48 c8a468 8c4424 6e6a68 a8a4a0 d4d0cc 30241c"
_DARK_HAIRS = "1c1614 241a16 2a1e18 3a2a20 8c8a88"
_IRISES = "4a2e1c 5c3c22 3c2818 5a7890 6c8ca0 5c7050 7c7c58"
_CLOTHES = "2c3448 7c2c30 d8d4cc 3a3a3c 486450 b48c3c 586c94 a86c74 8c9498 283c3c 6c4c6c e4dccc 943c2c 3c5c8c"
_STYLES = ("short", "short", "crop", "long", "long", "bob", "curly", "bald", "fringe")


@dataclass(frozen=True)
class _Person:
    """What tells one sitter from another: linear colours, a hair style and sizes relative to the usual."""

    skin: Array
    hair: Array
    iris: Array
    style: str
    nose: float
    jaw: float  # 0 narrow to 1 broad
    age: float  # 0 without wrinkles to 1
    smile: float  # rise of the corners of the mouth in head units
    beard: float  # 0 for none to 1


def _draw_person(rng: Rng) -> _Person:
    masculine = rng.random() < 0.5
    skin = pick(rng, _SKINS, 0.05)
    style = str(rng.choice(_STYLES))
    if masculine and style in ("long", "bob") and rng.random() < 0.7:
        style = str(rng.choice(["short", "crop", "bald"]))
    return _Person(
        skin=skin,
        hair=pick(rng, _HAIRS if skin.mean() > 0.2 or rng.random() < 0.15 else _DARK_HAIRS, 0.1),
        iris=pick(rng, _IRISES, 0.1),
        style=style,
        nose=rng.uniform(0.8, 1.25),
        jaw=rng.uniform(0.0, 1.0) * (1.0 if masculine else 0.5),
        age=max(rng.uniform(-0.5, 1.0), 0.0),
        smile=rng.normal(0.02, 0.035),
        beard=rng.uniform(0.35, 1.0) if masculine and rng.random() < 0.5 else 0.0,
    )


def sculpt_portrait(rng: Rng, size: int) -> Sculpture:
    """Sculpt a person from the chest up, looking roughly at the camera."""
    person = _draw_person(rng)
    scale = rng.uniform(0.24, 0.33)
    origin = np.array([rng.uniform(0.42, 0.58), rng.uniform(0.40, 0.50), 0.0])
    yaw, pitch, roll = rng.normal(0, 0.28), rng.normal(0.0, 0.09), rng.normal(0, 0.07)
    frame = Frame(origin, scale, rotation(np.clip(yaw, -0.6, 0.6), pitch, roll))
    chest = Frame(origin - (0, 0, 0.1 * scale), scale, rotation(0.5 * yaw + rng.normal(0, 0.2), 0.05, 0))
    solid, head = Solid(size, chest), Solid(size, frame)
    hair = Solid(size, frame, fuzz=0.003 * noise("grain", rng, (size, size), 420))
    _torso(rng, person, solid)
    _head(person, head)
    _paint_face(rng, person, head)
    solid.merge(head)
    if person.style != "bald":
        _hair(rng, person, hair)
        solid.merge(hair, blend=0.006)
    return solid, None


def _torso(rng: Rng, person: _Person, solid: Solid) -> None:
    """Shoulders in a plain or striped shirt with folds, and a bare neck down to a round collar."""
    broad = rng.uniform(0.95, 1.2) + 0.12 * person.jaw
    cloth = Finish(pick(rng, _CLOTHES, 0.1), gloss=0.02, soft=0.15)
    for side in (-1, 1):
        shoulder, elbow = (side * 1.13 * broad, 1.80, -0.4), (side * 1.3 * broad, 3.4, -0.2)
        solid.capsule((side * 0.2, 1.42, -0.35), shoulder, (0.36, 0.40), cloth, 0.2)
        solid.capsule(shoulder, elbow, (0.38, 0.36), cloth, 0.15)
    solid.ellipsoid((0, 2.9, -0.25), (1.15 * broad, 1.55, 0.62), cloth, blend=0.25)
    box = solid.window()
    attrs = solid.attrs[box]
    across = solid.local(box)[..., int(rng.integers(2))]
    folds = noise("cloud", rng, across.shape, 150 * across.shape[1] / solid.size)
    if rng.random() < 0.35:
        stripe = smoothstep(-0.2, 0.2, np.sin((across + 0.02 * folds) * rng.uniform(12, 40)))
        attrs[..., ALBEDO] = mix(cloth.colour, pick(rng, _CLOTHES), stripe)
    attrs[..., ALBEDO] *= np.exp(0.08 * noise("grain", rng, folds.shape) + 0.05 * folds)[..., None]
    roughen(solid, 0.006 * folds, box)
    bare = Finish(person.skin * 0.92, gloss=0.06, soft=1.0)
    depth = rng.uniform(0.22, 0.45)
    neck = solid.layer()
    neck.capsule((0, 0.55, -0.28), (0, 1.6, -0.38), (0.42, 0.46), bare)

    def above_collar(p: Array) -> Array:
        return 0.25 * (1 - (p[..., 0] / 0.52) ** 2 - (np.maximum(p[..., 1] - 1.42, 0) / depth) ** 2)

    neck.ellipsoid((0, 1.55, -0.15), (0.68, 0.62, 0.36), bare, blend=0.15, cut=above_collar)
    solid.merge(neck)


def _head(person: _Person, head: Solid) -> None:
    """Skull, jaw, cheeks, nose and ears under one smooth skin."""
    skin = Finish(person.skin, gloss=0.12, soft=1.0)
    n = person.nose
    ear = Finish(person.skin * np.float32([0.95, 0.8, 0.77]), gloss=0.08, soft=1.0)
    head.ellipsoid((0, -0.26, -0.15), (0.74, 0.74, 0.84), skin)
    head.ellipsoid((0, 0.10, 0.06), (0.63, 0.86, 0.66), skin, blend=0.10)
    head.ellipsoid((0, 0.58, 0.12), (0.46 + 0.11 * person.jaw, 0.40, 0.50), skin, blend=0.12)
    head.ellipsoid((0, 0.86, 0.42), (0.20 + 0.06 * person.jaw, 0.15, 0.18), skin, blend=0.12)
    head.capsule((0, -0.10, 0.62), (0, 0.26, 0.78), (0.07 * n, 0.095 * n), skin, blend=0.07)
    head.ellipsoid((0, 0.29, 0.78), (0.115 * n, 0.10, 0.12), skin, blend=0.05)
    head.ellipsoid((0, 0.56, 0.60), (0.26, 0.14, 0.14), skin, blend=0.10)
    for side in (-1, 1):
        tilt = rotation(side * 0.5, 0, side * 0.12)
        head.ellipsoid((side * 0.76, 0.10, -0.12), (0.10, 0.23, 0.10), ear, tilt)
        head.ellipsoid((side * 0.35, 0.24, 0.38), (0.22, 0.20, 0.25), skin, blend=0.16)
        head.ellipsoid((side * 0.26, -0.19, 0.60), (0.22, 0.07, 0.12), skin, blend=0.08)
        head.ellipsoid((side * 0.115 * n, 0.33, 0.68), (0.075, 0.07, 0.10), skin, blend=0.04)


def _paint_face(rng: Rng, person: _Person, head: Solid) -> None:
    """Colour the skin and draw eyes, brows, lips, nostrils, beard and wrinkles on it."""
    box = head.window()
    shape, p = head.alpha[box].shape, head.local(box)
    x, y, front = p[..., 0], p[..., 1], smoothstep(0.05, 0.3, p[..., 2])
    albedo = head.attrs[box][..., ALBEDO].copy()
    wide = np.abs(x)
    pores = noise("grain", rng, shape, 256 * shape[1] / head.size) + noise("fractal", rng, shape)
    flush = np.exp(-(((wide - 0.38) / 0.20) ** 2 + ((y - 0.30) / 0.17) ** 2))
    flush += 0.8 * np.exp(-(x * x + (y - 0.28) ** 2) / 0.017)  # cheeks and the tip of the nose
    albedo *= np.exp(0.025 * pores)[..., None] * (1 - flush[..., None] * np.float32([0.02, 0.16, 0.14]))
    relief = 0.0002 * pores
    if person.age > 0.2:
        folds = np.exp(-(((wide - 0.20 - 0.32 * (y - 0.36)) / 0.016) ** 2 + ((y - 0.48) / 0.15) ** 4))
        rows = np.exp(-3 * (1 + np.sin(80 * y + 4 * x * x)) - (x / 0.4) ** 4 - ((y + 0.42) / 0.14) ** 4)
        relief -= 0.0025 * person.age * (1.3 * folds + rows)
    for side in (-1, 1):
        part = _region(p, (side * 0.32, -0.08), (0.36, 0.30))
        _eye(person, side, x[part], y[part], albedo[part], relief[part])
    part = _region(p, (0, 0.6), (0.5, 0.22))
    _mouth(person, x[part], y[part], albedo[part], relief[part])
    holes = np.exp(-(((wide - 0.07 * person.nose) / 0.04) ** 2 + ((y - 0.385) / 0.024) ** 2)) * front
    albedo *= 1 - 0.8 * holes[..., None]
    if person.beard > 0:
        _beard(rng, person, p, albedo, relief)
    head.attrs[box][..., ALBEDO] = albedo
    roughen(head, relief * front, box)


def _region(p: Array, centre: tuple[float, float], half: tuple[float, float]) -> tuple[slice, slice]:
    """Window of the local points ``p`` [h, w, 3] that lie in a box on the front of the head."""
    near = (np.abs(p[..., 0] - centre[0]) < half[0]) & (np.abs(p[..., 1] - centre[1]) < half[1])
    x, y, w, h = cv2.boundingRect((near & (p[..., 2] > 0)).astype(np.uint8))
    return slice(y, y + h), slice(x, x + w)


def _eye(person: _Person, side: int, x: Array, y: Array, albedo: Array, relief: Array) -> None:
    """Draw one eye with lids, lashes and brow into the arrays."""
    u = (x * side - 0.30) / 0.150
    arch, v = np.maximum(1 - u * u, 0), y + 0.012 * u
    top, low = v + 0.066 * arch**0.75, 0.046 * arch**0.8 - v
    inside = smoothstep(-0.008, 0.010, np.minimum(top, low)) * (np.abs(u) < 1)
    socket = np.exp(-((u / 1.25) ** 2 + ((y + 0.05) / 0.13) ** 2))
    albedo *= 1 - 0.24 * socket[..., None]
    white = np.float32([0.44, 0.40, 0.37]) * (0.55 + 0.45 * smoothstep(0.0, 0.05, top))[..., None]
    radius = np.hypot(x - side * 0.30, v + 0.012)
    ball = mix(white, person.iris, smoothstep(0.076, 0.066, radius))
    ball = mix(ball, np.full(3, 0.004), smoothstep(0.036, 0.027, radius))
    glint = np.hypot(x - side * 0.30 + 0.028, v + 0.040)
    ball = mix(ball, np.full(3, 1.4), smoothstep(0.024, 0.012, glint))
    albedo[:] = mix(albedo, ball, inside)
    lash = np.exp(-((top / 0.014) ** 2)) * (np.abs(u) < 1.08)
    albedo *= 1 - 0.92 * lash[..., None]
    relief += 0.012 * np.exp(-((u / 0.95) ** 4 + (y / 0.11) ** 2))
    b = (x * side - 0.31) / 0.21
    line = -0.215 + 0.045 * np.clip(b, -1, 1.3) ** 2 - 0.03 * b
    thick = 0.036 * smoothstep(1.25, 0.2, b) * smoothstep(-1.15, -0.8, b)
    hairs = smoothstep(0.6, -0.5, (np.abs(y - line) - thick) / 0.022) * smoothstep(0.002, 0.015, thick)
    albedo[:] = mix(albedo, np.minimum(person.hair * 0.7, 0.3), 0.8 * hairs)


def _mouth(person: _Person, x: Array, y: Array, albedo: Array, relief: Array) -> None:
    """Draw lips and the line between them into the arrays."""
    u = x / (0.245 + 1.2 * max(person.smile, 0))
    arch = np.maximum(1 - u * u, 0)
    down = y - (0.595 + person.smile * (1 - 1.6 * u * u))
    upper = 0.065 * arch**0.7 * (1 - 0.28 * np.exp(-((u / 0.13) ** 2))) + down
    lips = smoothstep(-0.009, 0.013, np.where(down < 0, upper, 0.088 * arch**0.75 - down))
    lips = lips * smoothstep(1.0, 0.93, np.abs(u))
    tint = person.skin * np.float32([0.8, 0.48, 0.48])
    albedo[:] = mix(albedo, tint * np.where(down < 0, 0.82, 1.0)[..., None], 0.85 * lips)
    relief += 0.012 * lips * np.where(down < 0, 0.5, 1.0)
    seam = np.exp(-((down / 0.012) ** 2)) * smoothstep(1.1, 0.95, np.abs(u))
    albedo *= 1 - 0.72 * seam[..., None]


def _beard(rng: Rng, person: _Person, p: Array, albedo: Array, relief: Array) -> None:
    """Blend a beard and moustache over the lower face."""
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    cheek = 0.36 + 0.30 * np.exp(-((x / 0.42) ** 4)) + 0.05 * noise("fractal", rng, x.shape, 300)
    beard = smoothstep(cheek - 0.04, cheek + 0.10, y) * smoothstep(-0.35, 0.1, z)
    beard *= 1 - np.exp(-(((x / 0.27) ** 2 + ((y - 0.595) / 0.075) ** 2) ** 3))  # spare the lips
    tache = np.exp(-(((x / 0.27) ** 4 + ((y - 0.475 - 0.25 * x * x) / 0.055) ** 2) ** 2))
    hairs = strands(rng, np.stack([0.6 * x, np.ones_like(x)], -1), 420 * x.shape[1] / 256)
    cover = person.beard * np.maximum(beard, tache) * (1.0 + 0.2 * hairs)
    albedo[:] = mix(albedo, person.hair * np.exp(0.2 * hairs)[..., None], 0.9 * np.clip(cover, 0, 1))
    relief += cover * (0.012 + 0.0008 * hairs)


def _hair(rng: Rng, person: _Person, hair: Solid) -> None:
    """Add the hair style as solid volumes; the strands fall away from the parting."""
    style = person.style
    finish = Finish(person.hair, gloss=0.07, soft=0.3)
    line = {"fringe": -0.22, "bob": -0.30}.get(style, -0.60 + rng.uniform(-0.08, 0.10))
    side_line = {"crop": 0.0, "short": 0.12}.get(style, 0.35)
    volume = {"crop": 0.03, "curly": 0.16}.get(style, 0.10)
    part, skew = rng.uniform(-0.4, 0.4), rng.uniform(-0.25, 0.25)

    def beyond_hairline(p: Array) -> Array:
        x, y, z = p[..., 0], p[..., 1], p[..., 2]
        edge = line + skew * x - 0.06 * np.cos(9 * (x - part)) + 0.9 * smoothstep(0.42, 0.78, np.abs(x))
        return np.maximum(np.minimum(edge, side_line) - y, np.minimum(-0.22 - z, 0.75 - y))

    radii = (0.75 + volume, 0.76 + volume, 0.87 + volume)
    hair.ellipsoid((0, -0.27, -0.17), radii, finish, cut=beyond_hairline)
    if style in ("long", "bob"):
        end = 0.75 if style == "bob" else rng.uniform(1.3, 2.1)
        hair.ellipsoid((0, 0.3 * end, -0.55), (0.86, 0.75 * end, 0.42), finish, blend=0.1)
        for side in (-1, 1):
            for k in range(4):
                top = (side * (0.68 + 0.05 * k), -0.45 + 0.1 * k, 0.08 - 0.17 * k)
                tip = (side * (0.72 + 0.09 * k + rng.uniform(-0.05, 0.12)), end, 0.1 - 0.15 * k)
                hair.capsule(top, tip, (0.16, rng.uniform(0.07, 0.16)), finish, blend=0.1)
    if style == "curly":
        for a, b in rng.uniform((0, -0.3), (2 * np.pi, 1), (48, 2)):
            ring, r = np.sqrt(1 - b * b), rng.uniform(0.12, 0.22)
            x, y, z = 0.9 * ring * np.cos(a), -0.27 - 0.92 * b, -0.15 + 0.95 * ring * np.sin(a)
            if y < -0.5 or z < 0.15:
                hair.ellipsoid((x, y, z), (r, r, r), finish, blend=0.05, flow=(np.cos(a), np.sin(9 * b), 0))
    box = hair.window()
    p, attrs = hair.local(box), hair.attrs[box]
    direction = np.stack([1.6 * (p[..., 0] - 0.1), 0.35 + 0.9 * (p[..., 1] + 0.9)], -1)
    direction = direction @ hair.frame.rotation[:2, :2].T.astype(np.float32)
    flow = mix(attrs[..., FLOW], direction, smoothstep(0.3, -0.2, p[..., 1]))
    lines, locks = (strands(rng, flow, texels * p.shape[1] / hair.size) for texels in (420, 170))
    contrast = 0.25 if style == "curly" else 0.42
    attrs[..., ALBEDO] *= np.exp(contrast * (0.6 * lines + 0.5 * locks))[..., None]
    attrs[..., GLOSS] *= np.exp(0.6 * lines)
    roughen(hair, 0.0022 * locks + 0.0006 * lines, box)
