"""Backgrounds with natural statistics: landscapes, walls and foliage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .draw import Array, Rng, blur, grid, hex_rgb, mix, noise, noise_at, pick, smoothstep, times


@dataclass(frozen=True)
class Light:
    """A key light from ``direction`` (unit vector towards it) and a two-tone ambient fill."""

    direction: Array
    key: Array
    sky: Array
    ground: Array
    hardness: float  # share of the key light that a shadow takes away


_LIGHTS = (  # key, sky and ground colour, strength of key and sky, hardness
    ("fff4e4", "b4c8e6", "a89a86", 1.7, 0.62, 1.0),  # sun
    ("eef2fa", "d6dce4", "8c8a86", 1.0, 1.0, 0.4),  # overcast
    ("ffe4c0", "a8b4d6", "9c8474", 1.7, 0.62, 0.9),  # low sun
    ("ffe9cc", "c2bcb6", "948270", 1.7, 0.62, 0.7),  # lamp
)


def random_light(rng: Rng) -> Light:
    """Daylight, overcast, low sun or lamp light from a random side."""
    azimuth, elevation = rng.uniform(-1.25, 1.25), rng.uniform(0.35, 1.05)
    flat = np.cos(elevation)
    direction = np.array([np.sin(azimuth) * flat, -np.sin(elevation), np.cos(azimuth) * flat], np.float32)
    key, sky, ground, strength, fill, hardness = _LIGHTS[rng.choice(len(_LIGHTS), p=[0.4, 0.25, 0.2, 0.15])]
    strength = strength * rng.uniform(0.75, 1.25)
    return Light(direction, hex_rgb(key) * strength, hex_rgb(sky) * fill, hex_rgb(ground) * 0.55, hardness)


_GROUNDS = {  # palette, second tone, coarseness of the texture
    "grass": ("5f7a34 6d8a3c 4f6d33 7d8b45", "8f9450", 1.0),
    "meadow": ("8a8a48 9c9352 777f42", "c2b070", 1.1),
    "sand": ("c8b08a d0bc98 b89c74", "a88c68", 0.5),
    "asphalt": ("6a6a6c 7a7876 58595c", "8c8984", 0.4),
    "paving": ("9a948c a8a098 88847e", "787068", 0.5),
    "earth": ("8a6c4e 7c6248 98785a", "b0906c", 0.8),
    "snow": ("d4dae2 dee2e6", "b4c0d0", 0.4),
}
_SKYLINES = {  # roughness, rise and palette
    "mountains": (90, 0.10, "6a7484 747a80 5c6a78"),
    "hills": (50, 0.05, "6f8460 7c8a60 5c7458"),
    "trees": (400, 0.06, "3f5434 4a5a38 56603a 3a4a34"),
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
    return mix(image, tone * (0.7 + 0.3 * light.key / light.key.max()), 0.9 * body) * 1.25


def _skyline(rng: Rng, image: Array, horizon: float, kind: str) -> Array:
    """Lay mountains, hills or a tree line on the horizon."""
    size = len(image)
    x, y = grid(size)
    rough, rise, palette = _SKYLINES[kind]
    for layer in range(int(rng.integers(1, 4))):
        depth = 1 - layer / 3
        ridge = noise_at("fractal", x * rough + rng.uniform(0, 512), np.full_like(x, rng.uniform(0, 512)))
        tone = mix(pick(rng, palette), hex_rgb("c0ccd8"), np.float32(0.55 * depth))
        body = times(tone, np.exp(0.22 * noise("fractal", rng, (size, size), 400)))
        top = horizon - rise * (0.4 + depth + ridge * 0.7)
        image = mix(image, body, smoothstep(-0.004, 0.004, y - top) * (y < horizon + 0.01))
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
        joint = np.minimum(np.abs(u % 60 - 30), np.abs(v % 60 - 30) * 1.2)
        image = times(image, 1 - 0.45 * smoothstep(2.5, 0.5, joint))
    return mix(image, hex_rgb("b8c2cc"), 0.45 * smoothstep(horizon + 0.12, horizon, y))


def wall(rng: Rng, size: int, light: Light) -> Array:
    """A wall of bricks or plaster, lit from the side."""
    x, y = grid(size)
    grain = noise("fractal", rng, (size, size), 330) + 0.6 * noise("grain", rng, (size, size), 256)
    tone = pick(rng, "c8bca8 b8c0c0 a8b4a0 d0c8bc 8c98a8 b09080 707c84 5c5450 6c7480")
    image = times(tone, np.exp(0.09 * grain + 0.12 * noise("cloud", rng, (size, size), 200)))
    if rng.random() < 0.4:
        rows, columns = rng.uniform(13, 24), rng.uniform(5, 9)
        row = np.floor(y * rows)
        along = x * columns + 0.5 * (row % 2)
        gap = np.minimum((0.5 - np.abs(y * rows % 1 - 0.5)) / rows, (0.5 - np.abs(along % 1 - 0.5)) / columns)
        tint = noise_at("grain", np.floor(along) * 37.3 + 0.5, row * 91.7 + 0.5)
        brick = times(pick(rng, "8e5a48 a06a52 7c5044 b09078 94847a"), np.exp(0.16 * tint + 0.13 * grain))
        image = mix(hex_rgb("a0948a"), brick, smoothstep(0.0015, 0.006, gap))
    pool = np.exp(-(((x - 0.5 - 0.5 * light.direction[0]) / 0.6) ** 2 + ((y - 0.25) / 0.7) ** 2))
    return times(image, 0.55 + 0.65 * pool)


def foliage(rng: Rng, size: int, light: Light) -> Array:
    """Woodland seen through a wide aperture: leaf masses, trunks and discs of light."""
    x, y = grid(size)
    mass = noise("cloud", rng, (size, size), 300) + 0.6 * noise("fractal", rng, (size, size), 300)
    dark, bright = pick(rng, "2c3c22 3a4428 443c26 24383a"), pick(rng, "86a04c a4a858 b89a4c 7c9a70 c0a070")
    image = mix(dark, bright, smoothstep(-1.2, 2.0, mass + 1.2 * (0.5 - y)))
    for _ in range(int(rng.integers(0, 5))):
        half = rng.uniform(0.008, 0.04)
        lean = rng.uniform(0, 1) + rng.uniform(-0.1, 0.1) * (y - 0.5)
        bark = times(pick(rng, "4a3c30 5c5044 3a342e"), 0.8 + 0.3 * (x - lean) / half)
        image = mix(image, bark, smoothstep(half, half * 0.75, np.abs(x - lean)))
    image = blur(times(image, np.exp(0.25 * mass)), 0.008)
    discs = smoothstep(1.7, 1.9, noise("blotch", rng, (size, size), 130))
    image = image + times(pick(rng, "f0e8b0 d8e8c0 fff4d8"), rng.uniform(0.1, 0.5) * discs)
    return image * (0.6 + 0.45 * light.key / light.key.max())


_MEADOWS = "grass grass meadow meadow earth sand snow"
_SURROUNDINGS = {  # share of open scenery, grounds, skylines and what paints the rest
    "human_faces": (0.2, "paving asphalt", "trees trees hills", (wall, wall, wall, foliage)),
    "animals": (0.55, _MEADOWS, "trees trees hills mountains", (foliage,)),
    "vehicles": (0.7, "asphalt asphalt paving", "trees trees hills mountains", (wall,)),
}
"""As in photographs, what is around a subject hints at its category; skies and walls are shared."""


def render_background(rng: Rng, size: int, light: Light, category: str, feet: float | None) -> Array:
    """Render what is around a subject of a category: linear RGB float32 [size, size, 3], about 0 to 1.

    ``feet`` is the row where it stands, as a fraction of the image; None blurs the background of a close-up.
    """
    outdoors, surfaces, skylines, sheltered = _SURROUNDINGS[category]
    close = feet is None
    feet = 0.8 if close else feet
    outdoor = rng.random() < outdoors
    horizon = float(feet - (rng.uniform(0.10, 0.38) if outdoor else rng.uniform(0.03, 0.16)))
    if outdoor:
        horizon = max(horizon, 0.12)
        image = _sky(rng, size, light, horizon)
        image = _skyline(rng, image, horizon, str(rng.choice(skylines.split())))
    else:
        image = sheltered[rng.integers(len(sheltered))](rng, size, light)
    _, y = grid(size)
    if outdoor or not close:
        vanishing = horizon if outdoor else horizon - 0.1
        ground = _ground(rng, size, vanishing, str(rng.choice(surfaces.split())))
        ground = ground * (0.6 + 0.5 * light.key / light.key.max())
        edge = horizon + (0.0 if outdoor else 0.004) * noise("fractal", rng, (size, size), 220)
        image = mix(image, ground, smoothstep(-0.003, 0.004, y - edge))
    image = np.clip(image, 0.003, 1.5).astype(np.float32)
    if close:
        return blur(image, rng.choice([0.003, 0.008, 0.015]) * rng.uniform(0.7, 1.4))
    return mix(blur(image, rng.uniform(0.002, 0.010)), image, smoothstep(horizon, feet, y))
