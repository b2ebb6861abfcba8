"""A simulated camera: from scene radiance to an 8-bit photograph, and on to a JPEG file.

The steps and their order follow the usual model of a consumer camera (Healey & Kondepudy 1994 for the
noise; Popescu & Farid 2005 for the trace that colour interpolation leaves): lens, colour filter array,
sensor noise, demosaicing, tone curve, sharpening, JPEG. Forensic traces live in exactly these steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

JPEG_QUALITIES = (80, 98)
"""Range that the JPEG quality of every saved image, real or fake, is drawn from."""

_PATTERNS = ("RGGB", "GRBG", "GBRG", "BGGR")


@dataclass(frozen=True)
class Camera:
    """One camera with its settings for one shot."""

    blur: float  # standard deviation of the lens blur, in sensor pixels
    vignetting: float  # light lost in the corners, 0 to 1
    pattern: str  # layout of the 2×2 colour filter, e.g. RGGB
    edge_aware: bool  # edge-aware rather than bilinear demosaicing
    shot_noise: float  # variance of the noise per unit of signal (photon noise)
    read_noise: float  # standard deviation of the signal-independent noise
    contrast: float  # strength of the S-shaped tone curve, 0 for none
    sharpening: float  # amount of unsharp masking, 0 for none


def draw_camera(rng: np.random.Generator) -> Camera:
    """Draw a camera: a phone to a good compact, in daylight to dim light."""
    gain = 10 ** rng.uniform(-4.2, -3.0)
    return Camera(
        blur=rng.uniform(0.35, 0.75),
        vignetting=rng.uniform(0.0, 0.25),
        pattern=_PATTERNS[rng.integers(4)],
        edge_aware=bool(rng.random() < 0.5),
        shot_noise=gain,
        read_noise=rng.uniform(0.5, 1.5) * gain**0.5 * 0.12,
        contrast=rng.uniform(0.0, 0.5),
        sharpening=rng.uniform(0.0, 0.8),
    )


def take_photo(radiance: np.ndarray, camera: Camera, size: int, rng: np.random.Generator) -> np.ndarray:
    """Photograph a scene.

    Args:
        radiance: float32 [S, S, 3], linear RGB in [0, 1], S at least `size`.
        camera: The camera and its settings.
        size: Side of the photograph in pixels; even.
        rng: Draws the noise.

    Returns:
        uint8 [size, size, 3], sRGB, never compressed.
    """
    scale = radiance.shape[0] / size
    light = cv2.GaussianBlur(radiance, (0, 0), max(camera.blur * scale, 0.1))
    light = cv2.resize(light, (size, size), interpolation=cv2.INTER_AREA)
    axis = np.linspace(-1, 1, size, dtype=np.float32)[:, None] ** 2
    light *= (1 - camera.vignetting * (axis + axis.T) / 2)[..., None]
    raw = _mosaic(light, camera.pattern)
    noise = rng.standard_normal(raw.shape, dtype=np.float32)
    raw += noise * np.sqrt(camera.shot_noise * raw + camera.read_noise**2)
    code = f"COLOR_Bayer{camera.pattern}2RGB" + ("_EA" if camera.edge_aware else "")
    counts = (raw.clip(0, 1) * 65535).astype(np.uint16)
    rgb = cv2.cvtColor(counts, getattr(cv2, code)).astype(np.float32) / 65535
    return _develop(rgb, camera)


def encode_jpeg(photo: np.ndarray, quality: int) -> bytes:
    """Encode uint8 [H, W, 3] RGB as baseline JPEG with 4:2:0 chroma, `quality` 1 to 100."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), flags)
    assert done, "OpenCV could not encode a JPEG"
    return data.tobytes()


def _mosaic(light: np.ndarray, pattern: str) -> np.ndarray:
    """Keep the one colour that each pixel's filter lets through: [H, W, 3] to [H, W]."""
    raw = np.empty(light.shape[:2], np.float32)
    for place, colour in enumerate(pattern):
        rows, columns = slice(place // 2, None, 2), slice(place % 2, None, 2)
        raw[rows, columns] = light[rows, columns, "RGB".index(colour)]
    return raw


def _develop(linear: np.ndarray, camera: Camera) -> np.ndarray:
    """Tone curve and sharpening: linear RGB in [0, 1] to sRGB uint8."""
    srgb = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-6) ** (1 / 2.4) - 0.055
    )
    srgb = (srgb + camera.contrast * srgb * (1 - srgb) * (2 * srgb - 1)).astype(np.float32)
    srgb += camera.sharpening * (srgb - cv2.GaussianBlur(srgb, (0, 0), 1.0))
    return (srgb.clip(0, 1) * 255 + 0.5).astype(np.uint8)
