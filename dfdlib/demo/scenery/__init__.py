"""Photograph-like scenes of faces, animals and vehicles, and a simulated camera that photographs them.

A subject is sculpted from smooth primitives (``solid``), set before a background, lit (``scenes``) and
photographed (``camera``). Every choice is drawn from the generator that the caller passes, so the same
generator state gives the same picture. Nothing here knows of forgeries, files or the rest of the library.
"""

from .camera import JPEG_QUALITIES, Camera, draw_camera, encode_jpeg, take_photo
from .scenes import CATEGORIES, Scene, render_scene

__all__ = [
    "CATEGORIES",
    "JPEG_QUALITIES",
    "Camera",
    "Scene",
    "draw_camera",
    "encode_jpeg",
    "render_scene",
    "take_photo",
]
