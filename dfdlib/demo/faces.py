"""Portraits: heads of every shape, hair, expression and dress."""

from __future__ import annotations

import numpy as np

from .drawing import Canvas, Frame, blurred, draw_frame, fractal, jitter, strands

SKINS = ((0.72, 0.48, 0.36), (0.60, 0.36, 0.25), (0.42, 0.24, 0.15), (0.22, 0.115, 0.07), (0.80, 0.57, 0.46))
HAIRS = ((0.03, 0.02, 0.015), (0.12, 0.06, 0.03), (0.45, 0.30, 0.12), (0.30, 0.09, 0.03), (0.45, 0.44, 0.43))
IRISES = ((0.10, 0.05, 0.02), (0.10, 0.22, 0.35), (0.12, 0.20, 0.08), (0.18, 0.12, 0.05))
CLOTHES = (
    (0.5, 0.08, 0.08),
    (0.06, 0.1, 0.3),
    (0.7, 0.7, 0.68),
    (0.05, 0.05, 0.06),
    (0.1, 0.3, 0.2),
    (0.6, 0.45, 0.1),
)


def draw_face(canvas: Canvas) -> None:
    """Draw one person on the canvas, from the back of the hair to the glasses."""
    rng = canvas.rng
    frame = draw_frame(rng, canvas.size, (0.29, 0.37), 0.16)
    turn = rng.uniform(-0.16, 0.16)  # where the head looks: features move sideways
    skin = jitter(rng, SKINS[rng.integers(len(SKINS))], 0.06)
    hair = jitter(rng, HAIRS[rng.integers(len(HAIRS))], 0.07)
    style = rng.choice(["short", "long", "bald", "bun", "curly", "bob"], p=[0.3, 0.2, 0.1, 0.12, 0.13, 0.15])
    jaw, width = rng.uniform(0.42, 0.58), rng.uniform(0.66, 0.76)
    _hair_behind(canvas, frame, hair, style, width)
    _shoulders(canvas, frame, skin)
    for side in (-1, 1):
        ear = frame.ellipse(side * width + 0.4 * turn, 0.06, 0.11, 0.19)
        canvas.solid(ear, skin * (0.95, 0.85, 0.8), 0.012)
    head = frame.polygon(_head_outline(jaw, width), smooth=True)
    canvas.shadow(frame.ellipse(0, 0.85, 0.55, 0.35), 0.03, 0.35)
    pores = 0.035 * fractal(rng, canvas.size, 24, 0.9) + 0.05 * fractal(rng, canvas.size, 3)
    canvas.solid(head, _complexion(frame, skin, turn), 0.085, pores, gloss=rng.uniform(0.03, 0.16))
    if rng.random() < 0.3:
        _beard(canvas, frame, head, hair, turn)
    _nose(canvas, frame, skin, turn)
    _mouth(canvas, frame, skin, turn)
    iris = jitter(rng, IRISES[rng.integers(len(IRISES))])
    gaze, openness = rng.uniform(-0.04, 0.04, 2), rng.uniform(0.045, 0.075)
    brow = rng.uniform(-0.04, 0.05)
    for side in (-1, 1):
        _eye(canvas, frame, side, turn, skin, iris, gaze, openness)
        _brow(canvas, frame, side, turn, hair, brow)
    _hair_in_front(canvas, frame, hair, style, width, head)
    if rng.random() < 0.25:
        _glasses(canvas, frame, turn)
    if rng.random() < 0.14:
        _hat(canvas, frame, width)


def _head_outline(jaw: float, width: float) -> list[tuple[float, float]]:
    right = [(0.0, -0.98), (0.45, -0.88), (width, -0.42), (width, 0.05), (width * 0.86, 0.42)]
    right += [(jaw, 0.76), (0.2, 1.0)]
    return [*right, (0.0, 1.03), *[(-x, y) for x, y in right[:0:-1]]]


def _complexion(frame: Frame, skin: np.ndarray, turn: float) -> np.ndarray:
    """Skin with redder cheeks and nose, and darker hollows of the eyes."""
    image = np.broadcast_to(skin.astype(np.float32), (frame.size, frame.size, 3)).copy()
    for x, y, rx, ry, tint, strength in (
        (-0.4, 0.32, 0.24, 0.2, (1.12, 0.8, 0.78), 0.6),
        (0.4, 0.32, 0.24, 0.2, (1.12, 0.8, 0.78), 0.6),
        (0.0, 0.28, 0.14, 0.14, (1.08, 0.85, 0.82), 0.6),
        (-0.32, -0.1, 0.24, 0.13, (0.72, 0.66, 0.66), 0.75),
        (0.32, -0.1, 0.24, 0.13, (0.72, 0.66, 0.66), 0.75),
        (0.0, 0.78, 0.3, 0.1, (0.85, 0.8, 0.8), 0.6),
    ):
        spot = blurred(frame.ellipse(x + turn, y, rx, ry), 0.03 * frame.size)
        image *= 1 + strength * spot[..., None] * (np.asarray(tint, np.float32) - 1)
    return image


def _shoulders(canvas: Canvas, frame: Frame, skin: np.ndarray) -> None:
    rng = canvas.rng
    slope = rng.uniform(1.45, 1.75)
    neck = frame.polygon([(-0.36, 0.5), (0.36, 0.5), (0.42, 1.6), (-0.42, 1.6)], smooth=True)
    canvas.solid(neck, skin * 0.85, 0.05, 0.04 * fractal(rng, canvas.size, 16, 0.8))
    outline = [(-0.45, 1.22), (0, 1.62), (0.45, 1.22), (1.2, 1.35), (slope, 1.75), (slope + 0.2, 3.2)]
    outline += [(-slope - 0.2, 3.2), (-slope, 1.75), (-1.2, 1.35)]
    if rng.random() < 0.5:  # a round collar rather than a V
        outline[1] = (0, 1.36)
    cloth = jitter(rng, CLOTHES[rng.integers(len(CLOTHES))], 0.25)
    weave = 0.08 * fractal(rng, canvas.size, 3) + 0.07 * strands(rng, canvas.size, rng.uniform(0, 3), 0.02)
    if rng.random() < 0.35:
        rows = np.mgrid[0 : 1 : canvas.size * 1j, 0 : 1 : canvas.size * 1j][rng.integers(2)]
        weave = weave + 0.3 * np.sign(np.sin(rows * rng.uniform(60, 150)))
    canvas.solid(frame.polygon(outline, smooth=True), cloth, 0.05, weave.astype(np.float32))


def _eye(
    canvas: Canvas,
    frame: Frame,
    side: int,
    turn: float,
    skin: np.ndarray,
    iris: np.ndarray,
    gaze: np.ndarray,
    openness: float,
) -> None:
    x, y = side * 0.32 + turn, -0.08
    lens = [(x - 0.15, y + 0.01), (x - 0.06, y - openness), (x + 0.06, y - openness), (x + 0.15, y + 0.01)]
    lens += [(x + 0.06, y + 0.8 * openness), (x - 0.06, y + 0.8 * openness)]
    opening = frame.polygon(lens, smooth=True)
    canvas.flat(blurred(frame.ellipse(x, y, 0.19, 0.11), 0.008 * frame.size), skin * 0.5, 0.45)
    canvas.solid(opening, (0.72, 0.70, 0.68), 0.015)
    u, v = x + gaze[0], y + 0.3 * gaze[1] - 0.005
    canvas.flat(opening * frame.ellipse(u, v, 0.072, 0.072), iris * 0.4)
    canvas.flat(opening * frame.ellipse(u, v, 0.060, 0.060), iris * 1.4)
    canvas.flat(opening * frame.ellipse(u, v, 0.030, 0.030), (0.005, 0.005, 0.005))
    canvas.flat(opening * frame.ellipse(u - 0.02, v - 0.025, 0.016, 0.016), (1.0, 1.0, 1.0), 0.9)
    canvas.flat(frame.curve(lens[:4], 0.028), skin * 0.08, 0.85)
    canvas.flat(frame.curve([lens[0], *lens[:3:-1], lens[3]], 0.012), skin * 0.35, 0.6)
    crease = [(px, py - 0.055) for px, py in lens[:4]]
    canvas.flat(frame.curve(crease, 0.014), skin * 0.4, 0.5)


def _brow(canvas: Canvas, frame: Frame, side: int, turn: float, hair: np.ndarray, lift: float) -> None:
    points = [(0.14, -0.27), (0.30, -0.34 - lift), (0.49, -0.27)]
    stroke = frame.curve([(side * x + turn, y) for x, y in points], canvas.rng.uniform(0.045, 0.085))
    hairs = 0.75 + 0.25 * strands(canvas.rng, frame.size, 0.4 * side, 0.02)
    canvas.flat(stroke * np.clip(hairs, 0, 1), hair * 0.6, 0.85)


def _nose(canvas: Canvas, frame: Frame, skin: np.ndarray, turn: float) -> None:
    x, wide = 1.25 * turn, canvas.rng.uniform(0.10, 0.15)
    bridge = frame.polygon(
        [(x - 0.05, -0.15), (x + 0.05, -0.15), (x + 0.09, 0.3), (x - 0.09, 0.3)], smooth=True
    )
    canvas.solid(blurred(bridge, 0.008 * frame.size), skin * 1.02, 0.016, gloss=0.08)
    tip = blurred(frame.ellipse(x, 0.29, wide, 0.09), 0.006 * frame.size)
    canvas.solid(tip, skin * (1.0, 0.9, 0.88), 0.02, gloss=0.12)
    for side in (-1, 1):
        canvas.flat(frame.ellipse(x + side * 0.6 * wide, 0.345, 0.04, 0.02, side * 0.3), skin * 0.15, 0.8)
    canvas.flat(frame.curve([(x - wide, 0.36), (x, 0.40), (x + wide, 0.36)], 0.025), skin * 0.45, 0.45)


def _mouth(canvas: Canvas, frame: Frame, skin: np.ndarray, turn: float) -> None:
    rng = canvas.rng
    x, y, wide, smile = 1.1 * turn, 0.585, rng.uniform(0.2, 0.29), rng.uniform(-0.02, 0.09)
    gap = max(0.0, rng.uniform(-0.06, 0.08))
    lip = skin * np.array([1.0, 0.62, 0.62]) * rng.uniform(0.75, 1.0)
    corners = [(x - wide, y - smile), (x + wide, y - smile)]
    upper = [
        corners[0],
        (x - 0.07, y - 0.055),
        (x, y - 0.035),
        (x + 0.07, y - 0.055),
        corners[1],
        (x, y + 0.01),
    ]
    lower = [corners[0], (x, y + gap), corners[1], (x + 0.1, y + gap + 0.085), (x - 0.1, y + gap + 0.085)]
    inside = frame.polygon([corners[0], (x, y - 0.01), corners[1], (x, y + gap + 0.03)], smooth=True)
    canvas.flat(inside, (0.05, 0.015, 0.015))
    if gap > 0.02:
        teeth = frame.polygon(
            [(x - 0.7 * wide, y - 0.4 * smile), (x + 0.7 * wide, y - 0.4 * smile), (x, y + 0.8 * gap)],
            smooth=True,
        )
        canvas.flat(teeth * inside, (0.75, 0.73, 0.68))
    canvas.solid(frame.polygon(upper, smooth=True), lip * 0.85, 0.01)
    canvas.solid(frame.polygon(lower, smooth=True), lip, 0.012, gloss=0.15)
    canvas.flat(frame.curve([corners[0], (x, y + 0.012), corners[1]], 0.014), lip * 0.2, 0.7)


def _hair_texture(canvas: Canvas, style: str) -> np.ndarray:
    if style == "curly":
        return 0.3 * fractal(canvas.rng, canvas.size, 24, 0.8)
    angle = np.pi / 2 + canvas.rng.uniform(-0.4, 0.4)
    return 0.32 * strands(canvas.rng, canvas.size, angle, 0.07) + 0.15 * fractal(canvas.rng, canvas.size, 4)


def _hair_behind(canvas: Canvas, frame: Frame, hair: np.ndarray, style: str, width: float) -> None:
    if style in ("long", "bob"):
        low = 1.9 if style == "long" else canvas.rng.uniform(0.75, 1.05)
        outline = [(0, -1.2), (0.7, -1.0), (width + 0.24, -0.2), (width + 0.22, 0.5), (width + 0.1, low)]
        outline = [*outline, (0, low * 0.8), *[(-x, y) for x, y in outline[:0:-1]]]
        canvas.solid(frame.polygon(outline, smooth=True), hair * 0.8, 0.06, _hair_texture(canvas, style))
    elif style == "bun":
        canvas.solid(frame.ellipse(0, -1.22, 0.32, 0.3), hair, 0.05, _hair_texture(canvas, style), gloss=0.1)
    elif style == "curly":
        blob = frame.ellipse(0, -0.28, width + 0.36, 0.98)
        edge = blurred(blob, 0.02 * frame.size) + 0.13 * fractal(canvas.rng, canvas.size, 12)
        canvas.solid(np.clip((edge - 0.5) * 6 + 0.5, 0, 1), hair * 0.9, 0.05, _hair_texture(canvas, style))


def _hair_in_front(
    canvas: Canvas, frame: Frame, hair: np.ndarray, style: str, width: float, head: np.ndarray
) -> None:
    if style == "bald":
        if canvas.rng.random() < 0.6:  # shaved hair shows as a shade
            cap = frame.polygon(
                [(-width, -0.1), (-0.5, -0.62), (0.5, -0.62), (width, -0.1), (0.5, -1.05), (-0.5, -1.05)],
                smooth=True,
            )
            canvas.flat(blurred(cap, 0.012 * frame.size) * head, hair * 0.8, 0.25)
        return
    rng, line = canvas.rng, canvas.rng.uniform(-0.68, -0.46)
    parting = rng.uniform(-0.35, 0.35)
    crown = [(-width - 0.06, 0.02), (-width - 0.1, -0.5), (-0.62, -1.0), (0, -1.16), (0.62, -1.0)]
    crown += [(width + 0.1, -0.5), (width + 0.06, 0.02), (width - 0.08, -0.28)]
    if rng.random() < 0.3:  # a fringe
        crown += [(0.4, -0.36), (0.0, -0.34), (-0.4, -0.36), (-width + 0.08, -0.28)]
    else:
        crown += [(0.45, line), (parting, line - 0.14), (-0.45, line), (-width + 0.08, -0.28)]
    mask = frame.polygon(crown, smooth=True)
    ragged = blurred(mask, 0.008 * frame.size) + 0.10 * strands(rng, frame.size, np.pi / 2, 0.05)
    canvas.shadow(np.clip(blurred(mask, 0.012 * frame.size) - mask, 0, 1) * head, 0.004, 0.6)
    canvas.solid(
        np.clip((ragged - 0.5) * 5 + 0.5, 0, 1), hair, 0.05, _hair_texture(canvas, style), gloss=0.12
    )


def _beard(canvas: Canvas, frame: Frame, head: np.ndarray, hair: np.ndarray, turn: float) -> None:
    full = [
        (-0.74, 0.15),
        (-0.42, 0.45),
        (turn, 0.43),
        (0.42, 0.45),
        (0.74, 0.15),
        (0.62, 0.8),
        (0.0, 1.12),
        (-0.62, 0.8),
    ]
    moustache = [(turn - 0.32, 0.55), (turn, 0.42), (turn + 0.32, 0.55), (turn, 0.5)]
    mask = frame.polygon(full if canvas.rng.random() < 0.65 else moustache, smooth=True) * head
    soft = blurred(mask, 0.012 * frame.size)
    hairs = np.clip(soft * (0.75 + 0.35 * strands(canvas.rng, frame.size, np.pi / 2, 0.03)), 0, 1)
    canvas.flat(hairs, hair * canvas.rng.uniform(0.8, 1.3), canvas.rng.uniform(0.5, 0.95))


def _glasses(canvas: Canvas, frame: Frame, turn: float) -> None:
    rng = canvas.rng
    colour, rx, ry = jitter(rng, (0.06, 0.05, 0.05), 0.5), rng.uniform(0.19, 0.24), rng.uniform(0.14, 0.2)
    dark = rng.random() < 0.3
    for side in (-1, 1):
        x = side * 0.32 + turn
        outer, inner = frame.ellipse(x, -0.06, rx + 0.025, ry + 0.025), frame.ellipse(x, -0.06, rx, ry)
        canvas.flat(inner, (0.02, 0.02, 0.025) if dark else (0.7, 0.8, 0.9), 0.88 if dark else 0.08)
        canvas.flat(np.clip(outer - inner, 0, 1), colour)
        canvas.flat(frame.curve([(x + side * rx, -0.08), (side * 0.76, -0.05)], 0.03), colour, 0.9)
    canvas.flat(frame.curve([(turn - 0.13, -0.08), (turn, -0.11), (turn + 0.13, -0.08)], 0.028), colour)


def _hat(canvas: Canvas, frame: Frame, width: float) -> None:
    rng = canvas.rng
    colour = jitter(rng, CLOTHES[rng.integers(len(CLOTHES))], 0.2)
    knit = 0.15 * strands(rng, canvas.size, np.pi / 2, 0.02) + 0.05 * fractal(rng, canvas.size, 4)
    dome = [
        (-width - 0.1, -0.5),
        (-width, -1.05),
        (0, -1.42),
        (width, -1.05),
        (width + 0.1, -0.5),
        (0, -0.62),
    ]
    canvas.solid(frame.polygon(dome, smooth=True), colour, 0.07, knit)
    if rng.random() < 0.5:
        brim = frame.ellipse(0, -0.55, width + 0.38, 0.13)
        canvas.shadow(frame.ellipse(0, -0.42, width, 0.12), 0.01, 0.45)
        canvas.solid(brim, colour * 0.85, 0.03, knit)
