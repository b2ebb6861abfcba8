"""Backgrounds with natural statistics: landscapes, streets, walls, rooms, foliage and studio drops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from .draw import Array, blur, grid, hex_rgb, mix, noise, noise_at, pick, smoothstep, times

Rng = np.random.Generator


@dataclass(frozen=True)
class Light:
    """A key light from ``direction`` (unit vector towards it) and a two-tone ambient fill."""

    direction: Array
    key: Array
    sky: Array
    ground: Array
    hardness: float


def random_light(rng: np.random.Generator) -> Light:
    """Daylight, overcast, low sun or lamp light from a random side."""
    azimuth = rng.uniform(-1.25, 1.25)
    elevation = rng.uniform(0.35, 1.05)
    direction = np.array(
        [np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    )
    kind = rng.choice(["sun", "overcast", "low", "lamp"], p=[0.4, 0.25, 0.2, 0.15])
    key, sky, ground, hardness = {
        "sun": ("fff4e4", "b4c8e6", "a89a86", 1.0),
        "overcast": ("eef2fa", "d6dce4", "8c8a86", 0.4),
        "low": ("ffe4c0", "a8b4d6", "9c8474", 0.9),
        "lamp": ("ffe9cc", "c2bcb6", "948270", 0.7),
    }[str(kind)]
    ratio = rng.uniform(0.75, 1.25)
    return Light(
        direction=(direction / np.linalg.norm(direction)).astype(np.float32),
        key=hex_rgb(key) * (1.0 if kind == "overcast" else 1.7) * ratio,
        sky=hex_rgb(sky) * (1.0 if kind == "overcast" else 0.62),
        ground=hex_rgb(ground) * 0.55,
        hardness=hardness,
    )


_GROUNDS: dict[str, tuple[str, str, float]] = {  # palette, second tone, coarseness of the texture
    "grass": ("5f7a34 6d8a3c 4f6d33 7d8b45", "8f9450", 1.0),
    "meadow": ("8a8a48 9c9352 777f42", "c2b070", 1.1),
    "sand": ("c8b08a d0bc98 b89c74", "a88c68", 0.5),
    "asphalt": ("6a6a6c 7a7876 58595c", "8c8984", 0.4),
    "paving": ("9a948c a8a098 88847e", "787068", 0.5),
    "earth": ("8a6c4e 7c6248 98785a", "b0906c", 0.8),
    "snow": ("d4dae2 dee2e6", "b4c0d0", 0.4),
}


def _sky(rng: Rng, size: int, light: Light, horizon: float) -> Array:
    x, y = grid(size)
    zenith = pick(rng, "5a8cc8 6c9ad0 7aa2cc 9ab0c8 8494b4 a8b4c0", 0.06)
    low = pick(rng, "c8d8e6 d8dcde e2d4c4 e6c8a8 c4ccd4", 0.05)
    image = mix(zenith, low, smoothstep(-0.1, 1.0, y / max(horizon, 0.2)))
    lift = 1 / (1.15 * horizon - y * 0.9 + 0.25)
    field = noise_at("cloud", x * 150 * lift + rng.uniform(0, 512), lift * 130 + rng.uniform(0, 512))
    field = field + 0.25 * noise("fractal", rng, (size, size), 220)
    cover = rng.uniform(-0.7, 1.3)
    body = smoothstep(cover, cover + rng.uniform(0.6, 1.6), field)
    tone = mix(hex_rgb("a4aab4"), hex_rgb("f6f4f0"), smoothstep(cover + 2.0, cover + 0.2, field))
    image = mix(image, tone * (0.7 + 0.3 * light.key / light.key.max()), 0.9 * body)
    sun = np.exp(-((x - 0.5 - light.direction[0]) ** 2 + (y + 0.1) ** 2) / 0.25)
    return times(image, 1.15 + 0.5 * sun)


def _skyline(rng: Rng, image: Array, horizon: float, kind: str) -> Array:
    """Lay mountains, a tree line, hills or houses on the horizon."""
    size = len(image)
    x, y = grid(size)
    for layer in range(int(rng.integers(1, 4))):
        depth = 1 - layer / 3
        rough, rise, palette = {
            "mountains": (90, 0.10, "6a7484 747a80 5c6a78"),
            "hills": (50, 0.05, "6f8460 7c8a60 5c7458"),
            "trees": (400, 0.045, "3f5434 4a5a38 56603a 3a4a34"),
            "houses": (60, 0.02, "8a7468 a09488 786c68"),
        }[kind]
        ridge = noise_at("fractal", x * rough + rng.uniform(0, 512), np.full_like(x, rng.uniform(0, 512)))
        if kind == "trees":
            ridge = 0.5 * ridge + 0.6 * noise("fractal", rng, (size, size), 500)
        if kind == "houses":
            ridge = np.floor(ridge * 2) * 1.2
        top = horizon - rise * (0.4 + depth + ridge * 0.7)
        colour = mix(pick(rng, palette), hex_rgb("c0ccd8"), np.float32(0.55 * depth))
        grain = noise("fractal", rng, (size, size), 400)
        body = times(colour, np.exp(0.22 * grain))
        if kind == "houses":
            panes = (np.sin(x * 190) > 0.2) & (np.sin(y * 230) > 0.1)
            body = mix(body, hex_rgb("3a424c"), 0.7 * panes * (y < horizon - 0.01))
        mask = smoothstep(-0.004, 0.004, y - top) * (y < horizon + 0.01)
        image = mix(image, body, mask)
    return image


def _ground(rng: Rng, size: int, horizon: float, kind: str) -> Array:
    """Ground plane in perspective, [size, size, 3]; rows above the horizon are meaningless."""
    x, y = grid(size)
    palette, second, coarse = _GROUNDS[kind]
    distance = 0.30 / np.maximum(y - horizon + 0.012, 0.012)
    u = (x - 0.5) * distance * 300 + rng.uniform(0, 512)
    v = distance * 240 + rng.uniform(0, 512)
    patch = noise_at("cloud", u * 0.35, v * 0.35)
    detail = noise_at("grain", u, v) * np.minimum(1.6 / distance, 1) + noise_at("fractal", u * 0.8, v * 0.8)
    if kind in ("grass", "meadow"):
        blades = noise("strand", rng, (size, size), 300)
        detail = 0.6 * detail + 0.9 * blades * smoothstep(horizon, 1, y)
    base = mix(pick(rng, palette), hex_rgb(second), smoothstep(-0.5, 1.5, patch))
    image = times(base, np.exp(0.20 * coarse * detail + 0.10 * patch))
    if kind == "paving":
        cell = 60.0
        joint = np.minimum(np.abs(u % cell - cell / 2), np.abs(v % cell - cell / 2) * 1.2)
        image = times(image, 1 - 0.45 * smoothstep(2.5, 0.5, joint))
    return mix(image, hex_rgb("b8c2cc"), 0.45 * smoothstep(horizon + 0.12, horizon, y))


def _water(rng: Rng, sky: Array, horizon: float) -> Array:
    """Rippled mirror image of the scene above the horizon."""
    size = len(sky)
    x, y = grid(size)
    depth = np.maximum(y - horizon, 0.0)
    scale = 0.22 / (depth + 0.04)
    wave = noise_at("fractal", x * 170 * scale + rng.uniform(0, 512), scale * 420 + rng.uniform(0, 512))
    source = horizon - depth * 0.9 + wave * 0.05 * np.minimum(depth * 6 + 0.1, 1)
    mirror = cv2.remap(
        sky,
        ((x + wave * 0.01) * size).astype(np.float32),
        (np.clip(source, 0.02, 0.98) * size).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    deep = pick(rng, "2c5464 34586c 3c6460 44606c")
    return mix(mirror * 0.85, deep, np.clip(0.35 + 0.5 * depth - 0.22 * wave, 0, 0.95))


def landscape(
    rng: Rng, size: int, light: Light, surface: str, horizon: float, skylines: tuple[str, ...]
) -> Array:
    """Open scenery under a sky with the given ground ``surface`` or ``"water"``, and one of the ``skylines``."""
    image = _sky(rng, size, light, horizon)
    kind = str(rng.choice(skylines))
    if kind != "none":
        image = _skyline(rng, image, horizon, kind)
    image = np.ascontiguousarray(image, np.float32)
    below = _water(rng, image, horizon) if surface == "water" else _ground(rng, size, horizon, surface)
    lit = below * (0.6 + 0.5 * light.key / light.key.max())
    _, y = grid(size)
    return mix(image, lit, smoothstep(horizon - 0.003, horizon + 0.004, y))


def _masonry(rng: Rng, size: int, u: Array, v: Array) -> Array:
    """Bricks, planks, plaster or panels as a function of wall coordinates."""
    kind = rng.choice(["brick", "planks", "plaster", "plaster", "panels"])
    grain = noise("fractal", rng, (size, size), 330) + 0.6 * noise("grain", rng, (size, size), 256)
    if kind == "plaster":
        tone = pick(rng, "c8bca8 b8c0c0 a8b4a0 d0c8bc 8c98a8 b09080 707c84")
        return times(tone, np.exp(0.09 * grain + 0.12 * noise("cloud", rng, (size, size), 200)))
    rows, columns, palette, mortar = {
        "brick": (rng.uniform(13, 24), rng.uniform(5, 9), "8e5a48 a06a52 7c5044 b09078 94847a", "b0a498"),
        "planks": (rng.uniform(5, 10), 0.7, "8c6e50 a08a70 6c5846 b4b0a8 5c6c70", "2c241c"),
        "panels": (rng.uniform(2, 4), rng.uniform(2, 4), "a8a49c 90949a bcb4a4", "54504c"),
    }[str(kind)]
    row = np.floor(v * rows)
    shift = u * columns + (0.5 * (row % 2) if kind == "brick" else row * 0.37)
    column = np.floor(shift)
    gap = np.maximum(
        (np.abs(v * rows - row - 0.5) - 0.5) / rows, (np.abs(shift - column - 0.5) - 0.5) / columns
    )
    tint = noise_at("grain", column * 37.3 + 0.5, row * 91.7 + 0.5)
    if kind == "planks":
        grain = grain * 0.5 + noise("strand", rng, (size, size), 220, np.pi / 2)
    body = times(pick(rng, palette), np.exp(0.16 * tint + 0.13 * grain))
    return mix(body, hex_rgb(mortar) * 0.8, smoothstep(-0.006, -0.0015, gap))


def wall(rng: Rng, size: int, light: Light, surface: str | None, horizon: float) -> Array:
    """A wall, lit from the side, that meets the floor ``surface`` (no floor if None)."""
    x, y = grid(size)
    slant = rng.uniform(-0.25, 0.25)
    u, v = x + rng.uniform(0, 3), y + slant * (x - 0.5) * (y - 0.5) + rng.uniform(0, 1)
    image = _masonry(rng, size, u, v)
    pool = np.exp(-(((x - 0.5 - 0.5 * light.direction[0]) / 0.6) ** 2 + ((y - 0.25) / 0.7) ** 2))
    image = times(image, 0.55 + 0.65 * pool)
    if surface is not None:
        floor = _ground(rng, size, horizon - 0.12, surface)
        edge = horizon + slant * 0.1 * (x - 0.5)
        image = times(image, 1 - 0.35 * np.exp(-np.abs(y - edge) / 0.03))
        image = mix(image, times(floor, 0.75 + 0.35 * pool), smoothstep(-0.003, 0.003, y - edge))
    return image


def room(rng: Rng, size: int, light: Light, surface: str | None, horizon: float) -> Array:
    """Interior with a plain wall, furniture, a bright window or shelves, and a floor."""
    x, y = grid(size)
    grain = 0.03 * noise("fractal", rng, (size, size), 260) + 0.05 * noise("cloud", rng, (size, size), 120)
    lit = 0.7 + 0.4 * np.exp(-np.abs(x - 0.5 - 0.6 * light.direction[0]))
    image = times(pick(rng, "c4b8a4 b4bcb8 cfc6ba 9ca8a4 b4a098"), lit * np.exp(grain))
    if rng.random() < 0.6:
        left, top, wide = rng.uniform(-0.1, 0.7), rng.uniform(-0.1, 0.12), rng.uniform(0.25, 0.45)
        inside = smoothstep(0.006, 0, np.abs(x - left - wide / 2) - wide / 2)
        inside = inside * smoothstep(0.006, 0, np.abs(y - top - 0.2) - 0.24)
        panes = smoothstep(0.006, 0.012, np.abs((x - left) % (wide / 2) - wide / 4 + wide / 4))
        view = mix(hex_rgb("f4f6fa"), hex_rgb("a4b48c"), smoothstep(0.15, 0.45, y + 0.02 * grain))
        image = mix(image, view * 1.1, inside * panes)
    floor_y = 1.1 if surface is None else horizon
    for _ in range(int(rng.integers(3, 9))):
        left, wide = rng.uniform(-0.1, 0.95), rng.uniform(0.06, 0.3)
        base = rng.uniform(0.5, 1.0) if surface is None else floor_y + 0.01
        top = base - rng.uniform(0.08, 0.45)
        inside = (x > left) & (x < left + wide) & (y > top) & (y < base)
        colour = pick(rng, "6c5444 8a6a4c 3c4650 a49484 5c6c5c 944c40 c0b49c 2c2c30")
        shade = 0.75 + 0.4 * (x - left) / wide
        image = mix(image, times(colour, shade * np.exp(2 * grain)), inside)
    if surface is not None:
        boards = noise("strand", rng, (size, size), 150, np.pi / 2) * 0.08
        sheen = 0.6 + 0.6 * smoothstep(floor_y, 1.1, y)
        floor = times(pick(rng, "8c6c4c a88c6c 6c584a b0a898 787068"), sheen * np.exp(boards + 2 * grain))
        image = mix(image, floor, smoothstep(-0.003, 0.003, y - floor_y))
    return image


def foliage(rng: Rng, size: int, light: Light, surface: str | None, horizon: float) -> Array:
    """Woodland seen through a wide aperture: leaf masses, trunks and discs of light."""
    x, y = grid(size)
    mass = noise("cloud", rng, (size, size), 300) + 0.6 * noise("fractal", rng, (size, size), 300)
    dark, bright = pick(rng, "2c3c22 3a4428 443c26 24383a"), pick(rng, "86a04c a4a858 b89a4c 7c9a70 c0a070")
    image = mix(dark, bright, smoothstep(-1.2, 2.0, mass + 1.2 * (0.5 - y)))
    for _ in range(int(rng.integers(0, 5))):
        centre, half = rng.uniform(0, 1), rng.uniform(0.008, 0.04)
        lean = centre + rng.uniform(-0.1, 0.1) * (y - 0.5)
        trunk = smoothstep(half, half * 0.75, np.abs(x - lean))
        bark = times(pick(rng, "4a3c30 5c5044 3a342e"), 0.8 + 0.3 * (x - lean) / half)
        image = mix(image, bark, trunk)
    image = blur(np.ascontiguousarray(times(image, np.exp(0.25 * mass)), np.float32), 0.008)
    discs = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(5, 30))):
        centre, radius = rng.uniform(0, 1, 2) * (1, 0.7), rng.uniform(0.012, 0.035)
        at = tuple(int(c * size * 16) for c in centre)
        spot = cv2.circle(np.zeros_like(discs), at, int(radius * size * 16), 1.0, -1, cv2.LINE_AA, 4)
        discs = np.maximum(discs, spot * rng.uniform(0.1, 0.6))
    image = image + times(pick(rng, "f0e8b0 d8e8c0 fff4d8"), 0.8 * discs)
    image *= 0.6 + 0.45 * light.key / light.key.max()
    if surface is None:
        return image
    floor = _ground(rng, size, horizon - 0.05, surface) * 0.8
    edge = horizon + 0.012 * noise("fractal", rng, (size, size), 220)
    return mix(image, floor, smoothstep(-0.01, 0.015, y - edge))


def studio(rng: Rng, size: int, light: Light, surface: str | None, horizon: float) -> Array:
    """Seamless mottled backdrop with a soft pool of light."""
    x, y = grid(size)
    tone = pick(rng, "8c8c90 6c7480 a09484 74806c 5c5450 b4b0a8 7c6c74", 0.15)
    pool = np.exp(
        -(((x - 0.5 - 0.4 * light.direction[0]) / 0.5) ** 2 + ((y - rng.uniform(0.2, 0.6)) / 0.5) ** 2)
    )
    mottle = 0.10 * noise("cloud", rng, (size, size), 220) + 0.05 * noise("fractal", rng, (size, size), 256)
    image = times(tone, (0.45 + 0.8 * pool) * np.exp(mottle))
    if surface is not None:
        image = times(image, 1 + 0.35 * smoothstep(horizon - 0.1, horizon + 0.2, y))
    return image


@dataclass(frozen=True)
class Surroundings:
    """Where the subjects of a category are photographed; each choice is as likely as it is often named."""

    outdoors: float
    """Share of the photographs that show open scenery."""
    surfaces: tuple[str, ...]
    """Keys of ``_GROUNDS``."""
    skylines: tuple[str, ...]
    """Kinds of `_skyline`, or ``"none"``."""
    sheltered: tuple[Callable[..., Array], ...]
    """What paints the rest."""


SURROUNDINGS = {
    "human_faces": Surroundings(
        outdoors=0.2,
        surfaces=("paving", "asphalt"),
        skylines=("houses", "houses", "trees", "none"),
        sheltered=(room, room, room, studio, studio, studio, wall, wall),
    ),
    "animals": Surroundings(
        outdoors=0.55,
        surfaces=("grass", "grass", "meadow", "meadow", "earth", "sand", "snow"),
        skylines=("trees", "trees", "hills", "mountains", "none"),
        sheltered=(foliage,),
    ),
    "vehicles": Surroundings(
        outdoors=0.7,
        surfaces=("asphalt", "asphalt", "asphalt", "paving", "paving"),
        skylines=("houses", "houses", "hills", "mountains", "trees", "none"),
        sheltered=(wall, wall, wall, wall, studio),
    ),
}
"""As in photographs, what is around a subject hints at its category; skies, walls and backdrops are shared."""


def render_background(
    rng: Rng, size: int, light: Light, around: Surroundings, place: str, feet: float = 0.8
) -> Array:
    """Render a background.

    Args:
        rng: Source of all choices.
        size: Width and height in pixels.
        light: Illumination of the scene.
        around: What there is to choose from.
        place: ``"portrait"`` (subject close to the camera, strong blur), ``"ground"`` (the subject stands at
            row ``feet``), ``"water"`` or ``"sky"``.
        feet: Height of the contact with the ground, as a fraction of the image.

    Returns:
        Linear RGB float32 [size, size, 3], about 0 to 1.
    """
    outdoor = place in ("water", "sky") or rng.random() < around.outdoors
    horizon = feet - rng.uniform(0.10, 0.38) if outdoor else feet - rng.uniform(0.03, 0.16)
    surface = "water" if place == "water" else str(rng.choice(around.surfaces))
    if place == "sky":
        horizon = rng.uniform(0.75, 1.25)
    if outdoor:
        seen = float(np.clip(horizon, 0.12, 1.2))
        image = landscape(rng, size, light, surface, seen, around.skylines)
    else:
        paint = around.sheltered[int(rng.integers(len(around.sheltered)))]
        image = paint(rng, size, light, None if place == "portrait" else surface, float(horizon))
    image = np.ascontiguousarray(np.clip(image, 0.003, 1.5), np.float32)
    if place == "portrait":
        return blur(image, rng.choice([0.003, 0.008, 0.015]) * rng.uniform(0.7, 1.4))
    soft = blur(image, rng.uniform(0.002, 0.010))
    _, y = grid(size)
    return mix(soft, image, smoothstep(horizon, feet, y) if place == "ground" else np.float32(0.3)).astype(
        np.float32
    )
