"""Photograph-like scenes: a lit subject in front of a background.

The subject is sculpted into a depth buffer (see ``solid.Solid``), then shaded like a photograph: key light
with cast shadow, ambient light with occlusion, highlights, reflections and a rim. The exposure is metered
on the whole image, as a camera would, so that brightness says nothing about the category.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .animals import sculpt_animal
from .backgrounds import Light, random_light, render_background
from .draw import Array, Rng, blur, mix, noise_at, smoothstep, times, unit
from .faces import sculpt_portrait
from .solid import ALBEDO, FAR, GLOSS, MIRROR, NORMAL, SOFT, Solid
from .vehicles import sculpt_vehicle

_SCULPTORS = {"human_faces": sculpt_portrait, "animals": sculpt_animal, "vehicles": sculpt_vehicle}
CATEGORIES = tuple(_SCULPTORS)
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True)
class Scene:
    """What stands before the camera."""

    radiance: Array  # linear-light RGB float32 [S, S, 3] in [0, 1]; highlights are clipped
    subject: Array  # bool [S, S], the pixels of the face, animal or vehicle
    category: str  # one of CATEGORIES


def render_scene(category: str, rng: Rng, size: int = 256) -> Scene:
    """Render a scene of ``category``; the same generator state always gives the same arrays.

    Raises:
        ValueError: The category is unknown.
    """
    if category not in _SCULPTORS:
        raise ValueError(f"unknown category {category!r}; choose from {', '.join(CATEGORIES)}")
    light = random_light(rng)
    solid, feet = _SCULPTORS[category](rng, size)
    box = solid.window()
    image = render_background(rng, size, light, category, feet)
    if feet is not None:
        image = _ground_shadow(image, solid, light)
    edge = 0.25 * np.clip(1 - blur(solid.alpha, 0.006)[box], 0, 1)
    shaded = _shade(solid, light, rng, box) + times(blur(image, 0.04)[box], edge)
    image[box] = mix(image[box], shaded, solid.alpha[box])
    return Scene(_expose(image, rng), solid.alpha > 0.5, category)


def _shade(solid: Solid, light: Light, rng: Rng, box: tuple[slice, slice]) -> Array:
    """Radiance [h, w, 3] of the visible surface."""
    planes = solid.planes[(slice(None), *box)]
    normal, albedo = unit(planes[NORMAL]), planes[ALBEDO]
    gloss, mirror, soft = planes[GLOSS], planes[MIRROR], planes[SOFT]
    shadow, occlusion = _cast_shadow(solid, light)[box], _occlusion(solid)[box]
    facing = np.tensordot(light.direction, normal, 1)
    half = light.direction + np.array([0, 0, 1], np.float32)
    sheen = np.tensordot(half / np.linalg.norm(half), normal, 1)
    lobe = np.maximum((12 + 60 * np.minimum(gloss, 1)) * (sheen - 1), -20)
    spark = gloss * np.exp(lobe) * (0.25 + 0.75 * shadow)
    edge = 1 - np.clip(normal[2], 0, 1)
    rim = edge**3 * occlusion * (0.06 + 0.25 * soft)
    fresnel = mirror * (0.35 + 0.65 * edge * edge)
    up = 0.5 - 0.5 * normal[1]
    sight = _surroundings(normal, light, rng) if mirror.max() > 0.01 else (0, 0, 0)
    channels = []
    for c, (spread, dark) in enumerate(((0.55, 0.85), (0.34, 0.93), (0.26, 0.96))):  # red scatters in skin
        wrap = soft * spread
        lambert = np.clip((facing + wrap) / (1 + wrap), 0, 1) * (1 - (1 - shadow) * (light.hardness * dark))
        ambient = (light.ground[c] + (light.sky[c] - light.ground[c]) * up) * occlusion
        colour = albedo[c] * (light.key[c] * lambert + ambient)
        colour = colour + spark * light.key[c] + rim * light.sky[c] * (0.15 + albedo[c])
        channels.append(colour + (sight[c] * occlusion - colour) * fresnel)
    return cv2.merge(channels)


def _surroundings(normal: Array, light: Light, rng: Rng) -> list[Array]:
    """Colour planes of sky, skyline and ground mirrored by a surface with normals [3, h, w]."""
    side, up = 2 * normal[2] * normal[0], -2 * normal[2] * normal[1]
    above = smoothstep(0.06, 0.14, up + 0.07 * noise_at("fractal", side * 60 + rng.uniform(0, 512), up))
    clouds = 1.5 + 0.4 * noise_at("cloud", side * 130, up * 130)
    dark = 0.25 + 0.5 * np.clip(-up, 0, 1)
    return [light.ground[c] * dark * (1 - above) + light.sky[c] * clouds * above for c in range(3)]


def _cast_shadow(solid: Solid, light: Light) -> Array:
    """Share of the key light that reaches each surface point, float32 [S, S]; marched at reduced size."""
    coarse = 112
    depth = cv2.resize(solid.depth, (coarse, coarse), interpolation=cv2.INTER_NEAREST)
    lit = np.ones_like(depth)
    for step in (0.02, 0.035, 0.055, 0.08, 0.11, 0.15):
        dx, dy, dz = light.direction * step
        matrix = np.array([[1, 0, -dx * coarse], [0, 1, -dy * coarse]], np.float32)
        ahead = cv2.warpAffine(depth, matrix, (coarse, coarse), flags=cv2.INTER_NEAREST, borderValue=FAR)
        over = ahead - depth - dz
        blocked = np.clip(over / (0.25 * step), 0, 1) * (depth > FAR + 1)
        lit = np.minimum(lit, 1 - blocked)
    lit = cv2.GaussianBlur(lit, (0, 0), 1.1)
    return cv2.resize(lit, solid.depth.shape, interpolation=cv2.INTER_LINEAR)


def _occlusion(solid: Solid) -> Array:
    """Ambient light left in creases and corners, float32 [S, S]."""
    present = (solid.depth > FAR + 1).astype(np.float32)
    depth = np.where(present > 0, solid.depth, 0).astype(np.float32)
    mean = blur(depth, 0.025) / np.maximum(blur(present, 0.025), 0.05)
    return np.exp(-12 * np.clip(mean - depth - 0.002, 0, 0.12))


def _ground_shadow(image: Array, solid: Solid, light: Light) -> Array:
    """Darken the ground where the surface, projected along the light or straight down, falls on it."""
    size, frame = solid.size, solid.frame
    points = solid.local()[::2, ::2][solid.alpha[::2, ::2] > 0.5]
    sun = light.direction @ frame.rotation.astype(np.float32)
    sun = sun / max(-float(sun[1]), 0.35)
    height, shadow = np.maximum(-points[:, 1:2], 0), np.zeros((size, size), np.float32)
    low = np.exp(-((height[:, 0] * frame.scale / 0.25) ** 2))  # only low parts darken the ground below them
    for slope, weight, gain, sigma in (
        (sun * [1, 0, 1], np.ones_like(low), 0.62 * light.hardness, 0.006),
        (np.zeros(3), low, 0.75, 0.012),
    ):
        fallen = points * [1, 0, 1] - slope * height
        spot = (frame.origin + frame.scale * fallen @ frame.rotation.T)[:, :2] * (size / 2)
        inside = ((spot >= 0) & (spot < size // 2)).all(axis=1)
        columns, rows = spot[inside].astype(int).T
        layer = np.zeros((size // 2, size // 2), np.float32)
        np.maximum.at(layer, (rows, columns), weight[inside].astype(np.float32))
        layer = cv2.morphologyEx(layer, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        layer = blur(cv2.resize(layer, (size, size), interpolation=cv2.INTER_LINEAR), sigma)
        shadow = 1 - (1 - shadow) * (1 - gain * np.clip(layer, 0, 1))
    return times(image, 1 - shadow)


def _expose(image: Array, rng: Rng) -> Array:
    """Meter the whole image, vary the saturation and roll off the highlights; float32 in [0, 1]."""
    means = image.reshape(-1, 3).mean(0)
    target = 0.24 * float(np.exp(rng.normal(0, 0.25)))
    gain = target / float(means @ _LUMA) * (means / means.mean()) ** -0.3
    saturation = rng.uniform(0.9, 1.2)
    matrix = (saturation * np.eye(3) + (1 - saturation) * _LUMA) * gain
    image = np.maximum(cv2.transform(image, matrix.astype(np.float32)), 0)
    knee = 0.7
    over = np.maximum(image - knee, 0)
    return np.minimum(np.minimum(image, knee) + over / (1 + over / (1 - knee)), 1)
