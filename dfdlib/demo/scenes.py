"""Photograph-like scenes of the three categories, each drawn from a random generator alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .animals import draw_animal
from .backgrounds import draw_background
from .drawing import Canvas, draw_light
from .faces import draw_face
from .vehicles import draw_vehicle

_DRAW: dict[str, Callable[[Canvas], None]] = {
    "human_faces": draw_face,
    "animals": draw_animal,
    "vehicles": draw_vehicle,
}
CATEGORIES = tuple(_DRAW)


@dataclass(frozen=True)
class Scene:
    """What stands before the camera."""

    radiance: np.ndarray
    """float32 [S, S, 3], linear RGB, 0 to 1."""
    subject: np.ndarray
    """bool [S, S], the pixels of the subject."""
    category: str


def render_scene(category: str, rng: np.random.Generator, size: int = 256) -> Scene:
    """Draw a scene of a category, `size` × `size` pixels; the same generator state gives the same scene.

    Raises:
        ValueError: Unknown category.
    """
    if category not in _DRAW:
        raise ValueError(f"unknown category {category!r}; choose from {', '.join(CATEGORIES)}")
    canvas = Canvas(draw_background(rng, size), draw_light(rng), rng)
    _DRAW[category](canvas)
    return Scene(np.clip(canvas.image, 0, 1).astype(np.float32), canvas.subject > 0.5, category)
