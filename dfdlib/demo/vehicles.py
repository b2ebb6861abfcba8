"""Vehicles: cars, vans, lorries, buses, bicycles, boats and aeroplanes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .drawing import Canvas, Frame, Points, draw_frame, fractal, jitter

PAINTS = (
    (0.5, 0.03, 0.03),
    (0.03, 0.08, 0.3),
    (0.62, 0.62, 0.62),
    (0.03, 0.03, 0.035),
    (0.75, 0.74, 0.7),
    (0.6, 0.4, 0.03),
    (0.05, 0.22, 0.1),
    (0.2, 0.25, 0.3),
)
GLASS = (0.07, 0.09, 0.11)


def draw_vehicle(canvas: Canvas, kind: str | None = None) -> None:
    """Draw one vehicle, of a kind in `KINDS` or any."""
    names = list(KINDS)
    KINDS[kind or names[canvas.rng.integers(len(names))]](canvas)


def _paint(canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Draw a paint and the dirt and reflections on it."""
    colour = jitter(canvas.rng, PAINTS[canvas.rng.integers(len(PAINTS))])
    rows = np.mgrid[0 : 1 : canvas.size * 1j, 0 : 1 : canvas.size * 1j][0].astype(np.float32)
    bands = 0.16 * np.sin(rows * canvas.rng.uniform(25, 50) + canvas.rng.uniform(0, 6))
    return colour, bands + 0.06 * fractal(canvas.rng, canvas.size, 4, 0.8)


def _wheel(canvas: Canvas, frame: Frame, x: float, y: float, radius: float) -> None:
    rng = canvas.rng
    canvas.solid(
        frame.ellipse(x, y, radius, radius),
        (0.025, 0.025, 0.027),
        0.012,
        0.2 * fractal(rng, canvas.size, 32, 0.8),
    )
    rim = jitter(rng, (0.45, 0.45, 0.47), 0.2)
    canvas.solid(frame.ellipse(x, y, 0.62 * radius, 0.62 * radius), rim, 0.012, gloss=0.4)
    turn = rng.uniform(0, np.pi)
    for k in range(5):
        angle = turn + k * 2 * np.pi / 5
        hole = frame.ellipse(
            x + 0.36 * radius * np.cos(angle), y + 0.36 * radius * np.sin(angle), 0.15 * radius, 0.15 * radius
        )
        canvas.flat(hole, (0.02, 0.02, 0.02), 0.9)
    canvas.flat(frame.ellipse(x, y, 0.12 * radius, 0.12 * radius), rim * 0.5)


def _window(canvas: Canvas, frame: Frame, points: Points) -> None:
    """A pane that mirrors the sky in its upper part and a slanted streak."""
    mask = frame.polygon(points)
    rows = np.mgrid[0 : 1 : canvas.size * 1j, 0 : 1 : canvas.size * 1j].astype(np.float32)
    inside = rows[0][mask > 0.5]
    low, high = (inside.min(), inside.max()) if inside.size else (0.0, 1.0)
    sky = np.clip(1 - (rows[0] - low) / max(high - low, 1e-3), 0, 1) ** 2
    streak = np.clip(np.sin((rows[1] + rows[0]) * 30 + canvas.rng.uniform(0, 6)) - 0.7, 0, 1)
    shine = (0.35 * sky + 0.5 * streak)[..., None] * np.array([0.75, 0.85, 0.95], np.float32)
    canvas.flat(mask, (np.asarray(GLASS, np.float32) + shine).astype(np.float32))


def _ground(canvas: Canvas, frame: Frame, y: float, half: float) -> None:
    canvas.shadow(frame.ellipse(0, y, half, 0.10), 0.012, 0.8)
    canvas.shadow(frame.ellipse(0, y + 0.04, 1.15 * half, 0.16), 0.03, 0.45)


def _lights(canvas: Canvas, frame: Frame, front: float, back: float, y: float) -> None:
    canvas.solid(frame.ellipse(front, y, 0.055, 0.05), (0.9, 0.88, 0.75), 0.008, gloss=0.4)
    canvas.flat(
        frame.polygon(
            [
                (back - 0.03, y - 0.05),
                (back + 0.05, y - 0.05),
                (back + 0.05, y + 0.06),
                (back - 0.03, y + 0.06),
            ]
        ),
        (0.5, 0.02, 0.02),
    )


def _car(canvas: Canvas) -> None:
    rng = canvas.rng
    frame = draw_frame(rng, canvas.size, (0.33, 0.4), 0.05)
    colour, shine = _paint(canvas)
    roof, rear, nose = rng.uniform(-0.52, -0.4), rng.uniform(-1.0, -0.6), rng.uniform(0.75, 0.95)
    _ground(canvas, frame, 0.47, 1.1)
    cabin = [(rear, -0.08), (rear + 0.25, roof), (0.25, roof), (0.62, -0.08)]
    canvas.solid(frame.polygon(cabin), colour * 0.9, 0.03, shine, gloss=0.4)
    pane = [(rear + 0.12, -0.1), (rear + 0.31, roof + 0.07), (-0.16, roof + 0.07), (-0.16, -0.1)]
    _window(canvas, frame, pane)
    _window(canvas, frame, [(-0.09, -0.1), (-0.09, roof + 0.07), (0.21, roof + 0.07), (0.5, -0.1)])
    body = [
        (-1.12, -0.02),
        (-1.05, -0.12),
        (rear, -0.12),
        (0.62, -0.12),
        (nose, -0.04),
        (1.12, 0.08),
        (1.14, 0.34),
        (-1.14, 0.34),
    ]
    canvas.solid(frame.polygon(body), colour, 0.045, shine, gloss=0.45)
    canvas.flat(frame.curve([(-0.12, -0.1), (-0.13, 0.1), (-0.1, 0.3)], 0.014), colour * 0.25)
    canvas.flat(frame.curve([(-0.02, 0.0), (0.06, 0.0), (0.1, 0.0)], 0.022), colour * 0.3)
    canvas.flat(frame.polygon([(-1.14, 0.28), (1.14, 0.28), (1.12, 0.36), (-1.12, 0.36)]), (0.03, 0.03, 0.03))
    for x in (-0.66, 0.68):
        canvas.flat(frame.ellipse(x, 0.3, 0.265, 0.25), (0.01, 0.01, 0.01))
        _wheel(canvas, frame, x, 0.32, 0.215)
    _lights(canvas, frame, 1.07, -1.1, 0.07)


def _box_vehicle(canvas: Canvas, bus: bool) -> None:
    """A van, or a bus with a row of windows."""
    rng = canvas.rng
    frame = draw_frame(rng, canvas.size, (0.33, 0.39), 0.04)
    colour, shine = _paint(canvas)
    roof = rng.uniform(-0.72, -0.6)
    _ground(canvas, frame, 0.5, 1.15)
    hood = 1.12 if bus else rng.uniform(0.7, 0.9)
    body = [
        (-1.15, roof + 0.05),
        (-1.1, roof),
        (hood - 0.15, roof),
        (hood + 0.05, -0.1),
        (1.15, 0.0 if not bus else -0.05),
        (1.16, 0.38),
        (-1.16, 0.38),
    ]
    canvas.solid(frame.polygon(body), colour, 0.04, shine, gloss=0.35)
    if rng.random() < 0.6:
        stripe = jitter(rng, PAINTS[rng.integers(len(PAINTS))])
        canvas.flat(frame.polygon([(-1.16, 0.1), (1.14, 0.1), (1.15, 0.2), (-1.16, 0.2)]), stripe, 0.85)
    top, low = roof + 0.1, -0.16
    count = rng.integers(5, 7) if bus else rng.integers(1, 4)
    for k in range(count):
        left = -1.05 + k * (1.75 if bus else 1.3) / count
        right = left + (1.75 if bus else 1.3) / count - 0.06
        _window(canvas, frame, [(left, low), (left, top), (right, top), (right, low)])
    _window(canvas, frame, [(hood - 0.36, low), (hood - 0.36, top), (hood - 0.2, top), (hood - 0.02, low)])
    for x in (-0.7, 0.72):
        canvas.flat(frame.ellipse(x, 0.36, 0.24, 0.22), (0.01, 0.01, 0.01))
        _wheel(canvas, frame, x, 0.37, 0.195)
    _lights(canvas, frame, 1.1, -1.12, 0.2)


def _van(canvas: Canvas) -> None:
    _box_vehicle(canvas, bus=False)


def _bus(canvas: Canvas) -> None:
    _box_vehicle(canvas, bus=True)


def _lorry(canvas: Canvas) -> None:
    rng = canvas.rng
    frame = draw_frame(rng, canvas.size, (0.33, 0.39), 0.04)
    colour, shine = _paint(canvas)
    load = jitter(rng, PAINTS[rng.integers(len(PAINTS))])
    _ground(canvas, frame, 0.52, 1.2)
    ribs = 0.12 * np.sin(np.arange(canvas.size, dtype=np.float32) * rng.uniform(0.2, 0.5))[None, :]
    roof = rng.uniform(-0.85, -0.6)
    canvas.solid(
        frame.polygon([(-1.2, roof), (0.42, roof), (0.42, 0.22), (-1.2, 0.22)]), load, 0.02, shine + ribs
    )
    canvas.flat(frame.polygon([(-1.2, 0.2), (1.1, 0.2), (1.1, 0.32), (-1.2, 0.32)]), (0.04, 0.04, 0.045))
    cab = [(0.47, -0.5), (0.85, -0.5), (1.0, -0.08), (1.14, 0.0), (1.16, 0.34), (0.47, 0.34)]
    canvas.solid(frame.polygon(cab), colour, 0.035, shine, gloss=0.4)
    _window(canvas, frame, [(0.56, -0.08), (0.56, -0.4), (0.8, -0.4), (0.93, -0.08)])
    for x in (-0.9, -0.5, 0.78):
        _wheel(canvas, frame, x, 0.36, 0.19)
    _lights(canvas, frame, 1.12, -1.18, 0.18)


def _bicycle(canvas: Canvas) -> None:
    rng = canvas.rng
    frame = draw_frame(rng, canvas.size, (0.34, 0.4), 0.08)
    colour, _ = _paint(canvas)
    _ground(canvas, frame, 0.66, 1.0)
    for x in (-0.62, 0.62):
        outer, inner = frame.ellipse(x, 0.2, 0.46, 0.46), frame.ellipse(x, 0.2, 0.41, 0.41)
        canvas.solid(np.clip(outer - inner, 0, 1), (0.03, 0.03, 0.03), 0.008)
        canvas.flat(
            np.clip(frame.ellipse(x, 0.2, 0.41, 0.41) - frame.ellipse(x, 0.2, 0.385, 0.385), 0, 1),
            (0.5, 0.5, 0.5),
        )
        for k in range(9):
            angle = k * np.pi / 9
            spoke = [(x + s * 0.39 * np.cos(angle), 0.2 + s * 0.39 * np.sin(angle)) for s in (-1, 0, 1)]
            canvas.flat(frame.curve(spoke, 0.008), (0.55, 0.55, 0.55), 0.7)
    tubes = [
        ((-0.62, 0.2), (-0.12, 0.24)),
        ((-0.12, 0.24), (-0.28, -0.38)),
        ((-0.28, -0.38), (-0.62, 0.2)),
        ((-0.25, -0.28), (0.42, -0.32)),
        ((-0.12, 0.24), (0.45, -0.2)),
        ((0.4, -0.45), (0.62, 0.2)),
    ]
    for (x0, y0), (x1, y1) in tubes:
        canvas.solid(
            frame.curve([(x0, y0), ((x0 + x1) / 2, (y0 + y1) / 2), (x1, y1)], 0.055), colour, 0.006, gloss=0.3
        )
    canvas.flat(
        frame.polygon([(-0.45, -0.46), (-0.12, -0.42), (-0.14, -0.37), (-0.42, -0.38)], smooth=True),
        (0.03, 0.025, 0.02),
    )
    canvas.flat(frame.curve([(0.28, -0.5), (0.42, -0.5), (0.56, -0.42)], 0.05), (0.03, 0.03, 0.03))
    canvas.flat(frame.ellipse(-0.12, 0.24, 0.11, 0.11), (0.25, 0.25, 0.26))
    canvas.flat(frame.curve([(-0.22, 0.38), (-0.12, 0.24), (-0.02, 0.1)], 0.035), (0.1, 0.1, 0.1))


def _boat(canvas: Canvas) -> None:
    rng = canvas.rng
    frame = draw_frame(rng, canvas.size, (0.29, 0.36), 0.1)
    colour, shine = _paint(canvas)
    cloth = 0.07 * fractal(rng, canvas.size, 3) + 0.04 * fractal(rng, canvas.size, 24)
    canvas.shadow(frame.ellipse(0, 0.82, 0.95, 0.14), 0.02, 0.55)
    canvas.flat(frame.curve([(0, -1.35), (0, -0.3), (0, 0.5)], 0.045), (0.3, 0.24, 0.16))
    sail = jitter(rng, (0.85, 0.83, 0.78) if rng.random() < 0.6 else PAINTS[rng.integers(len(PAINTS))])
    reach = rng.uniform(0.7, 0.95)
    canvas.solid(
        frame.polygon([(0.04, -1.3), (reach * 0.55, -0.3), (reach, 0.33), (0.04, 0.36)], smooth=False),
        sail,
        0.08,
        cloth,
    )
    if rng.random() < 0.7:
        canvas.solid(
            frame.polygon([(-0.05, -1.1), (-0.45, -0.2), (-0.8, 0.36), (-0.05, 0.36)]),
            sail * 0.92,
            0.06,
            cloth,
        )
    hull = [(-1.05, 0.42), (1.0, 0.42), (0.78, 0.8), (-0.7, 0.82)]
    canvas.solid(frame.polygon(hull), colour, 0.04, shine, gloss=0.3)
    canvas.flat(
        frame.polygon([(-1.05, 0.42), (1.0, 0.42), (0.98, 0.48), (-1.0, 0.48)]), (0.7, 0.68, 0.62), 0.9
    )
    if rng.random() < 0.6:
        canvas.solid(
            frame.polygon([(-0.5, 0.24), (0.2, 0.24), (0.26, 0.42), (-0.55, 0.42)]), (0.7, 0.7, 0.68), 0.02
        )
        for x in (-0.38, -0.12):
            _window(canvas, frame, [(x, 0.28), (x + 0.16, 0.28), (x + 0.16, 0.38), (x, 0.38)])


def _plane(canvas: Canvas) -> None:
    rng = canvas.rng
    frame = draw_frame(rng, canvas.size, (0.35, 0.41), 0.28)
    colour, shine = _paint(canvas)
    white = jitter(rng, (0.75, 0.76, 0.78), 0.06)
    fin = [(-1.0, -0.08), (-1.18, -0.52), (-0.96, -0.52), (-0.66, -0.1)]
    far_wing = [(0.2, -0.06), (-0.18, -0.5), (-0.32, -0.5), (-0.12, -0.04)]
    canvas.solid(frame.polygon(far_wing), white * 0.7, 0.02, shine * 0.4)
    canvas.solid(frame.polygon(fin), colour, 0.02, shine * 0.5)
    hull = [
        (1.16, 0.05),
        (0.98, -0.1),
        (0.7, -0.17),
        (-0.7, -0.14),
        (-1.15, -0.1),
        (-1.1, 0.0),
        (-0.6, 0.14),
        (0.7, 0.18),
        (1.02, 0.15),
    ]
    canvas.solid(frame.polygon(hull, smooth=True), white, 0.04, shine * 0.4, gloss=0.35)
    canvas.flat(frame.polygon([(-1.1, -0.02), (1.08, 0.02), (1.05, 0.07), (-1.0, 0.03)]), colour, 0.85)
    for x in np.arange(-0.75, 0.8, 0.11):
        canvas.flat(frame.ellipse(x, -0.06, 0.026, 0.032), (0.04, 0.05, 0.06), 0.9)
    _window(canvas, frame, [(0.9, -0.09), (1.0, -0.08), (1.06, -0.02), (0.92, -0.02)])
    wing = [(0.32, 0.08), (-0.28, 0.62), (-0.48, 0.62), (-0.12, 0.1)]
    canvas.shadow(frame.polygon(wing), 0.012, 0.3)
    canvas.solid(frame.polygon(wing), white * 0.85, 0.025, shine * 0.5, gloss=0.2)
    canvas.solid(frame.ellipse(0.12, 0.34, 0.19, 0.075), colour * 0.9, 0.02, gloss=0.3)
    canvas.flat(frame.ellipse(0.3, 0.34, 0.025, 0.06), (0.02, 0.02, 0.02))
    canvas.solid(
        frame.polygon([(-0.9, -0.04), (-1.22, 0.14), (-1.32, 0.14), (-1.1, -0.04)]), white * 0.8, 0.015
    )


KINDS: dict[str, Callable[[Canvas], None]] = {
    "car": _car,
    "van": _van,
    "bus": _bus,
    "lorry": _lorry,
    "bicycle": _bicycle,
    "sailing boat": _boat,
    "aeroplane": _plane,
}
