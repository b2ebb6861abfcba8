"""Animals: portraits of cats, dogs and rabbits, and whole birds, fish and grazing animals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .drawing import Canvas, Frame, draw_frame, fractal, jitter, strands

COATS = (
    (0.05, 0.04, 0.035),
    (0.40, 0.22, 0.09),
    (0.62, 0.55, 0.46),
    (0.25, 0.24, 0.23),
    (0.72, 0.70, 0.66),
    (0.2, 0.1, 0.05),
)
FEATHERS = (
    (0.1, 0.25, 0.55),
    (0.55, 0.1, 0.06),
    (0.6, 0.5, 0.1),
    (0.12, 0.3, 0.12),
    (0.3, 0.22, 0.16),
    (0.03, 0.03, 0.04),
)
EYES = ((0.35, 0.28, 0.04), (0.15, 0.3, 0.1), (0.12, 0.06, 0.02), (0.15, 0.25, 0.4))


def draw_animal(canvas: Canvas, species: str | None = None) -> None:
    """Draw one animal, of a species in `SPECIES` or any."""
    names = list(SPECIES)
    SPECIES[species or names[canvas.rng.integers(len(names))]](canvas)


def _coat(canvas: Canvas, angle: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Draw a coat: its colour as an image [S, S, 3], plain, patched or striped, and its fur [S, S]."""
    rng, size = canvas.rng, canvas.size
    base, other = (jitter(rng, COATS[i], 0.12) for i in rng.choice(len(COATS), 2, replace=False))
    angle = rng.uniform(0.9, 2.2) if angle is None else angle
    kind = rng.integers(3)
    share = np.zeros((size, size), np.float32)
    if kind == 1:
        share = 1 / (1 + np.exp(-7 * (fractal(rng, size, 3, 0.4) - 0.5)))
    elif kind == 2:
        rows = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j].astype(np.float32)
        along = np.cos(angle) * rows[0] + np.sin(angle) * rows[1]
        share = 0.7 / (
            1 + np.exp(-4 * (np.sin(along * rng.uniform(60, 110) + 1.2 * fractal(rng, size, 4)) - 0.2))
        )
    colour = (base + share[..., None] * (other - base)).astype(np.float32)
    fur = 0.22 * strands(rng, size, angle, 0.035) + 0.12 * fractal(rng, size, 8, 0.7)
    return colour, fur


def _portrait(canvas: Canvas, body_width: float) -> tuple[Frame, np.ndarray, np.ndarray]:
    """Draw the shoulders and return what the head needs: its frame and its coat."""
    frame = draw_frame(canvas.rng, canvas.size, (0.25, 0.33), 0.22)
    colour, fur = _coat(canvas)
    body = frame.polygon(
        [
            (-0.5, 0.4),
            (0.5, 0.4),
            (body_width, 1.5),
            (body_width, 3.5),
            (-body_width, 3.5),
            (-body_width, 1.5),
        ],
        smooth=True,
    )
    canvas.solid(body, colour * 0.85, 0.08, fur)
    canvas.shadow(frame.ellipse(0, 0.85, 0.6, 0.3), 0.03, 0.4)
    return frame, colour, fur


def _iris(canvas: Canvas) -> np.ndarray:
    return jitter(canvas.rng, EYES[canvas.rng.integers(len(EYES))])


def _animal_eye(
    canvas: Canvas, frame: Frame, x: float, y: float, radius: float, iris: np.ndarray, slit: bool = False
) -> None:
    canvas.flat(frame.ellipse(x, y, radius * 1.25, radius * 1.12), (0.01, 0.008, 0.006), 0.9)
    canvas.flat(frame.ellipse(x, y, radius, radius), iris)
    canvas.flat(
        frame.ellipse(x, y, radius * (0.3 if slit else 0.6), radius * 0.85 if slit else radius * 0.6),
        (0.0, 0.0, 0.0),
    )
    canvas.flat(
        frame.ellipse(x - 0.3 * radius, y - 0.35 * radius, radius * 0.22, radius * 0.22), (1, 1, 1), 0.9
    )


def _muzzle(
    canvas: Canvas, frame: Frame, y: float, size: float, colour: np.ndarray, nose: tuple[float, float, float]
) -> None:
    pale = np.clip(colour * 1.25 + 0.04, 0, 1)
    for side in (-1, 1):
        canvas.solid(frame.ellipse(side * 0.55 * size, y + 0.35 * size, 0.7 * size, 0.55 * size), pale, 0.02)
    tip = [
        (-0.45 * size, y - 0.3 * size),
        (0.45 * size, y - 0.3 * size),
        (0.2 * size, y + 0.1 * size),
        (-0.2 * size, y + 0.1 * size),
    ]
    canvas.flat(
        frame.curve([(0, y), (0, y + 0.5 * size), (0.5 * size, y + 0.75 * size)], 0.022),
        (0.02, 0.012, 0.01),
        0.8,
    )
    canvas.flat(
        frame.curve([(0, y + 0.5 * size), (-0.5 * size, y + 0.75 * size)], 0.022), (0.02, 0.012, 0.01), 0.8
    )
    canvas.solid(frame.polygon(tip, smooth=True), nose, 0.01, gloss=0.35)


def _whiskers(canvas: Canvas, frame: Frame, y: float, colour: float) -> None:
    for side in (-1, 1):
        for k in range(3):
            end = (side * canvas.rng.uniform(0.9, 1.2), y - 0.12 + 0.12 * k + canvas.rng.uniform(-0.04, 0.04))
            canvas.flat(
                frame.curve([(side * 0.2, y), (side * 0.6, y - 0.05 + 0.03 * k), end], 0.008),
                (colour,) * 3,
                0.6,
            )


def _cat(canvas: Canvas) -> None:
    head = [(0, -0.68), (0.5, -0.62), (0.82, -0.15), (0.8, 0.3), (0.45, 0.66), (0, 0.74)]
    head = [*head, *[(-x, y) for x, y in head[-2:0:-1]]]
    frame, colour, fur = _portrait(canvas, canvas.rng.uniform(0.8, 1.2))
    for side in (-1, 1):
        canvas.solid(
            frame.polygon([(side * 0.24, -0.6), (side * 0.66, -1.2), (side * 0.82, -0.25)]), colour, 0.02, fur
        )
        canvas.flat(
            frame.polygon([(side * 0.38, -0.62), (side * 0.63, -1.03), (side * 0.72, -0.42)]),
            (0.45, 0.22, 0.2),
            0.7,
        )
    canvas.solid(frame.polygon(head, smooth=True), colour, 0.07, fur)
    radius, iris, slit = canvas.rng.uniform(0.13, 0.17), _iris(canvas), canvas.rng.random() < 0.7
    for side in (-1, 1):
        _animal_eye(canvas, frame, side * 0.34, -0.06, radius, iris, slit)
    _muzzle(canvas, frame, 0.26, 0.19, colour, (0.35, 0.14, 0.13))
    _whiskers(canvas, frame, 0.33, 0.85)


def _dog(canvas: Canvas) -> None:
    rng = canvas.rng
    head = [(0, -0.78), (0.45, -0.72), (0.66, -0.3), (0.6, 0.15), (0.42, 0.62), (0, 0.82)]
    head = [*head, *[(-x, y) for x, y in head[-2:0:-1]]]
    frame, colour, fur = _portrait(canvas, rng.uniform(0.75, 1.05))
    canvas.solid(frame.polygon(head, smooth=True), colour, 0.07, fur)
    drop, wide = rng.uniform(0.3, 0.75), rng.uniform(0.85, 1.05)
    for side in (-1, 1):
        ear = [
            (side * 0.4, -0.72),
            (side * 0.72, -0.6),
            (side * wide, drop - 0.3),
            (side * 0.82, drop),
            (side * 0.6, 0.1),
        ]
        canvas.shadow(frame.polygon(ear, smooth=True), 0.012, 0.35)
        canvas.solid(frame.polygon(ear, smooth=True), colour * rng.uniform(0.55, 0.8), 0.03, fur)
    radius, iris = rng.uniform(0.085, 0.11), _iris(canvas)
    for side in (-1, 1):
        _animal_eye(canvas, frame, side * 0.29, -0.18, radius, iris)
    canvas.solid(frame.ellipse(0, 0.36, 0.36, 0.34), np.clip(colour * 1.2 + 0.03, 0, 1), 0.05, fur)
    if rng.random() < 0.5:
        canvas.solid(
            frame.polygon([(-0.13, 0.62), (0.13, 0.62), (0.11, 0.95), (0, 1.02), (-0.11, 0.95)], smooth=True),
            (0.6, 0.2, 0.2),
            0.02,
            gloss=0.15,
        )
    _muzzle(canvas, frame, 0.28, 0.27, colour, (0.025, 0.02, 0.02))


def _rabbit(canvas: Canvas) -> None:
    head = [(0, -0.6), (0.42, -0.5), (0.6, 0.0), (0.5, 0.42), (0, 0.66)]
    head = [*head, *[(-x, y) for x, y in head[-2:0:-1]]]
    frame, colour, fur = _portrait(canvas, canvas.rng.uniform(0.9, 1.25))
    for side in (-1, 1):
        lean = canvas.rng.uniform(0.0, 0.3)
        ear = [
            (side * 0.1, -0.5),
            (side * (0.08 + lean), -1.2),
            (side * (0.24 + lean), -1.6),
            (side * (0.42 + lean), -1.2),
            (side * 0.42, -0.45),
        ]
        inner = [
            (side * 0.2, -0.55),
            (side * (0.19 + lean), -1.15),
            (side * (0.25 + lean), -1.42),
            (side * (0.33 + lean), -1.15),
            (side * 0.34, -0.5),
        ]
        canvas.solid(frame.polygon(ear, smooth=True), colour, 0.025, fur)
        canvas.flat(frame.polygon(inner, smooth=True), (0.5, 0.27, 0.24), 0.6)
    canvas.solid(frame.polygon(head, smooth=True), colour, 0.07, fur)
    iris = _iris(canvas)
    for side in (-1, 1):
        _animal_eye(canvas, frame, side * 0.4, -0.08, 0.11, iris)
    _muzzle(canvas, frame, 0.26, 0.15, colour, (0.4, 0.18, 0.17))
    _whiskers(canvas, frame, 0.32, 0.75)


def _bird(canvas: Canvas) -> None:
    rng = canvas.rng
    frame = draw_frame(rng, canvas.size, (0.26, 0.34), 0.3)
    back, belly, wing = (jitter(rng, FEATHERS[i]) for i in rng.choice(len(FEATHERS), 3, replace=False))
    plumes = 0.2 * strands(rng, canvas.size, rng.uniform(0.2, 0.9), 0.05) + 0.1 * fractal(rng, canvas.size, 6)
    branch = [(-2.5, 0.98 + rng.uniform(-0.2, 0.2)), (0, 0.9), (2.5, 0.95 + rng.uniform(-0.2, 0.2))]
    wood = 0.3 * strands(rng, canvas.size, 0, 0.05)
    canvas.solid(frame.curve(branch, 0.13), (0.16, 0.1, 0.06), 0.02, wood)
    for x in (-0.05, 0.18):
        canvas.flat(frame.curve([(x, 0.55), (x + 0.02, 0.9)], 0.05), (0.3, 0.18, 0.08))
    tail = [(-0.55, 0.25), (-1.55, 0.75), (-1.5, 0.98), (-0.4, 0.55)]
    canvas.solid(frame.polygon(tail), wing * 0.8, 0.02, plumes)
    body = [(-0.75, 0.2), (-0.4, -0.3), (0.2, -0.55), (0.62, -0.25), (0.6, 0.25), (0.2, 0.62), (-0.4, 0.58)]
    canvas.solid(frame.polygon(body, smooth=True), belly, 0.07, plumes)
    canvas.solid(frame.ellipse(0.48, -0.5, 0.36, 0.34), back, 0.05, plumes)
    feathers = [(-0.95, 0.42), (-0.5, -0.15), (0.1, -0.35), (0.32, -0.05), (0.05, 0.35)]
    canvas.shadow(frame.polygon(feathers, smooth=True), 0.01, 0.3)
    canvas.solid(frame.polygon(feathers, smooth=True), wing, 0.03, 1.6 * plumes)
    for k in range(4):
        canvas.flat(
            frame.curve([(0.12 - 0.1 * k, 0.3 - 0.05 * k), (-0.5, 0.12 + 0.06 * k), (-0.9, 0.4)], 0.02),
            wing * 0.3,
            0.6,
        )
    beak = [(0.78, -0.6), (1.18 + rng.uniform(-0.1, 0.2), -0.45), (0.78, -0.36)]
    canvas.solid(frame.polygon(beak), jitter(rng, (0.5, 0.3, 0.05), 0.5), 0.012, gloss=0.2)
    _animal_eye(canvas, frame, 0.6, -0.56, 0.065, _iris(canvas))


def _fish(canvas: Canvas) -> None:
    rng = canvas.rng
    frame = draw_frame(rng, canvas.size, (0.28, 0.36), 0.3)
    colour, fin = (jitter(rng, FEATHERS[i]) * 1.2 for i in rng.choice(len(FEATHERS) - 1, 2, replace=False))
    tall = rng.uniform(0.42, 0.68)
    tail = [(-0.8, 0), (-1.4, -0.55), (-1.22, 0), (-1.4, 0.55)]
    rays = 0.35 * strands(rng, canvas.size, rng.uniform(-0.3, 0.3), 0.06)
    canvas.solid(frame.polygon(tail), fin, 0.02, rays)
    canvas.solid(
        frame.polygon([(-0.5, -0.6 * tall), (-0.1, -tall - 0.4), (0.45, -0.8 * tall)], smooth=True),
        fin,
        0.02,
        rays,
    )
    canvas.solid(
        frame.polygon([(-0.3, 0.7 * tall), (-0.25, tall + 0.25), (0.15, 0.8 * tall)], smooth=True),
        fin,
        0.02,
        rays,
    )
    body = [
        (1.05, 0.02),
        (0.6, -0.75 * tall),
        (0, -tall),
        (-0.6, -0.5 * tall),
        (-0.92, 0),
        (-0.6, 0.5 * tall),
        (0, tall),
        (0.6, 0.75 * tall),
    ]
    grid = np.mgrid[0 : 1 : canvas.size * 1j, 0 : 1 : canvas.size * 1j].astype(np.float32) * rng.uniform(
        110, 170
    )
    scales = 0.16 * np.sin(grid[0] + 0.6 * np.sin(grid[1])) * np.sin(grid[1]) + 0.1 * fractal(
        rng, canvas.size, 4
    )
    stripes = (np.sin(frame.centre[0] * 9 + grid[1] * rng.uniform(0.1, 0.3)) > rng.uniform(0, 1.2))[..., None]
    canvas.solid(
        frame.polygon(body, smooth=True),
        np.where(stripes, fin, colour).astype(np.float32),
        0.07,
        scales,
        gloss=0.45,
    )
    canvas.flat(frame.curve([(0.5, -0.6 * tall), (0.36, 0), (0.5, 0.6 * tall)], 0.03), colour * 0.2, 0.6)
    canvas.solid(frame.polygon([(0.25, 0.1), (-0.15, 0.35), (-0.1, 0.02)], smooth=True), fin, 0.015, rays)
    canvas.flat(frame.ellipse(0.7, -0.12, 0.11, 0.11), (0.8, 0.78, 0.7))
    _animal_eye(canvas, frame, 0.7, -0.12, 0.075, _iris(canvas))
    canvas.flat(frame.curve([(1.03, 0.06), (0.92, 0.12), (0.84, 0.1)], 0.025), colour * 0.15, 0.8)


def _leg(canvas: Canvas, frame: Frame, x: float, leg: float, colour: np.ndarray, fur: np.ndarray) -> None:
    rng, ground, middle = canvas.rng, 0.55 + leg, 0.45 + leg / 2
    knee, foot = x + rng.uniform(-0.08, 0.08), x + rng.uniform(-0.14, 0.14)
    limb = [(x - 0.17, 0.2), (x + 0.17, 0.2), (knee + 0.09, middle), (foot + 0.09, ground)]
    limb += [(foot - 0.07, ground), (knee - 0.07, middle)]
    canvas.solid(frame.polygon(limb, smooth=True), colour, 0.02, fur)
    hoof = [
        (foot - 0.08, ground - 0.08),
        (foot + 0.1, ground - 0.08),
        (foot + 0.12, ground),
        (foot - 0.08, ground),
    ]
    canvas.flat(frame.polygon(hoof), (0.03, 0.025, 0.02))


def _grazer(canvas: Canvas, neck: float, muzzle: float, leg: float, horned: bool, mane: bool) -> None:
    """A standing four-legged animal from the side."""
    rng = canvas.rng
    frame = draw_frame(rng, canvas.size, (0.25, 0.31), 0.06)
    colour, fur = _coat(canvas, rng.uniform(0.8, 1.6))
    ground = 0.55 + leg
    canvas.shadow(frame.ellipse(0, ground, 1.1, 0.12), 0.015, 0.6)
    for x, near in ((-0.62, 0), (0.45, 0), (-0.78, 1), (0.6, 1)):
        _leg(canvas, frame, x, leg, colour * (0.55 + 0.4 * near), fur)
    canvas.flat(frame.curve([(-1.0, -0.15), (-1.2, 0.2), (-1.15, 0.65)], 0.09), colour.mean((0, 1)) * 0.5)
    body = [
        (-1.02, -0.1),
        (-0.7, -0.42),
        (0, -0.36),
        (0.6, -0.45),
        (0.95, -0.1),
        (0.75, 0.38),
        (0, 0.48),
        (-0.75, 0.4),
    ]
    canvas.solid(frame.polygon(body, smooth=True), colour, 0.08, fur)
    x, y = 1.0 + 0.35 * neck, -0.35 - neck
    canvas.solid(
        frame.polygon([(0.45, -0.4), (x - 0.2, y - 0.1), (x + 0.16, y + 0.1), (0.95, 0.15)], smooth=True),
        colour,
        0.05,
        fur,
    )
    head = [
        (x - 0.25, y - 0.12),
        (x, y - 0.24),
        (x + 0.25, y - 0.1),
        (x + 0.35 + muzzle, y + 0.26),
        (x + 0.22 + muzzle, y + 0.42),
        (x, y + 0.26),
    ]
    canvas.solid(frame.polygon(head, smooth=True), colour, 0.035, fur)
    canvas.solid(
        frame.polygon([(x - 0.22, y - 0.15), (x - 0.3, y - 0.45), (x - 0.05, y - 0.22)], smooth=True),
        colour * 0.8,
        0.015,
        fur,
    )
    if horned:
        canvas.flat(
            frame.curve([(x - 0.05, y - 0.2), (x + 0.06, y - 0.5), (x + 0.22, y - 0.55)], 0.06),
            (0.5, 0.45, 0.36),
        )
    if mane:
        canvas.flat(
            frame.curve([(x - 0.1, y - 0.24), (0.62, -0.55 - 0.4 * neck), (0.42, -0.38)], 0.17),
            colour.mean((0, 1)) * 0.25,
            0.9,
        )
    canvas.flat(frame.ellipse(x + 0.28 + muzzle, y + 0.33, 0.1, 0.09), (0.05, 0.035, 0.03), 0.8)
    _animal_eye(canvas, frame, x + 0.08, y - 0.02, 0.045, _iris(canvas))


def _horse(canvas: Canvas) -> None:
    _grazer(
        canvas, canvas.rng.uniform(0.5, 0.75), 0.22, canvas.rng.uniform(0.7, 0.85), horned=False, mane=True
    )


def _cow(canvas: Canvas) -> None:
    _grazer(
        canvas, canvas.rng.uniform(0.05, 0.3), 0.14, canvas.rng.uniform(0.42, 0.58), horned=True, mane=False
    )


SPECIES: dict[str, Callable[[Canvas], None]] = {
    "cat": _cat,
    "dog": _dog,
    "rabbit": _rabbit,
    "bird": _bird,
    "fish": _fish,
    "horse": _horse,
    "cow": _cow,
}
