"""Short clips for the demo data: what gives a fake away is the order of its frames, not any one of them.

In every clip the subject changes its tone and sharpness over time, by the same amounts in a real clip and
in its fake. In the real one they drift, as light and focus do. In the fake they jump from frame to frame,
as in videos whose frames were manipulated one by one (Guera & Delp 2018, doi:10.1109/AVSS.2018.8639163).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.demo.scenery import CATEGORIES, Camera, Scene, draw_camera, render_scene, take_photo

GENERATOR = "frame_by_frame"
CLIPS_VERSION = 3
"""Raised whenever the generator changes, so that a cached set of an older one is not used."""
_FPS = 16
_OVERSIZE = 3
"""Side of the rendered scene, in sides of a frame."""


def demo_clips(
    n_clips: int = 480, seed: int = 0, size: int = 64, n_frames: int = 16, workers: int = 0
) -> pd.DataFrame:
    """Return the manifest of the demo clips, generating them under `data/` when they are not there yet.

    Args:
        n_clips: Clips in all: pairs of an original and its fake.
        seed: Draws everything.
        size: Side of a frame in pixels; even.
        n_frames: Frames of a clip.
        workers: Processes that draw; 0 for one per core.

    Returns:
        A manifest, one row per clip (mp4), split 70/15/15; a pair is one group.
    """
    from dfdlib.demo.sets import cached_set

    name = f"demo-clips-v{CLIPS_VERSION}-{n_clips}x{n_frames}x{size}-seed{seed}"
    make_pair = partial(_clip_pair, size=size, n_frames=n_frames)
    return cached_set(name, "the demo clips", make_pair, n_clips // 2, workers, seed)


def _clip_pair(i: int, root: Path, seed: int, size: int, n_frames: int) -> list[dict[str, object]]:
    rng = np.random.default_rng([seed, 1, i])
    category = CATEGORIES[i % len(CATEGORIES)]
    scene, camera = render_scene(category, rng, _OVERSIZE * size), draw_camera(rng)
    motion, states = _motion(rng, n_frames), _states(rng, n_frames)
    group, rows, files = f"clip_{i:05d}", [], []
    for label, order in (("real", np.arange(n_frames)), ("fake", _jumbled(states, rng))):
        path = f"{label}/{category}/{group}.mp4"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        _write_clip(root / path, _film(scene, camera, motion, states[order], size, rng))
        files.append(root / path)
        rows.append({"path": path, "label": label, "category": category, "split": None, "group": group})
        rows[-1]["generator"] = GENERATOR if label == "fake" else None
    _same_size(files)
    return rows


def _motion(rng: np.random.Generator, n_frames: int) -> np.ndarray:
    """Return [T, 4]: shift right and down (parts of the side), zoom and turn (degrees), all smooth."""
    time = np.linspace(0, 1, n_frames)[:, None]
    reach = np.array([0.06, 0.06, 0.05, 4.0])
    phase, pace = rng.uniform(0, 2 * np.pi, 4), rng.uniform(0.3, 0.9, 4)
    return reach * rng.uniform(0.3, 1.0, 4) * np.sin(phase + 2 * np.pi * pace * time)


def _states(rng: np.random.Generator, n_frames: int) -> np.ndarray:
    """Return [T, 2]: tone and sharpness of the subject over time, smooth, within [-1, 1]; some clips hardly change."""
    time = np.linspace(0, 1, n_frames)[:, None]
    phase, pace = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.6, 1.1, 2)
    return rng.uniform(0.1, 0.9) * np.sin(phase + 2 * np.pi * pace * time)


def _jumbled(states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw an order of the states that jumps: of several at random, the one with the longest way."""
    orders = [rng.permutation(len(states)) for _ in range(8)]
    return max(orders, key=lambda order: np.abs(np.diff(states[order], axis=0)).sum())


def _film(
    scene: Scene, camera: Camera, motion: np.ndarray, states: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Return uint8 [T, size, size, 3]: the scene through a moving camera, its subject in changing states."""
    side = scene.radiance.shape[0]
    subject = cv2.GaussianBlur(scene.subject.astype(np.float32), (0, 0), side / 100)[..., None]
    blurred = cv2.GaussianBlur(scene.radiance, (0, 0), side / 90)
    frames = []
    for (right, down, zoom, turn), (tone, sharpness) in zip(motion, states, strict=True):
        light = (
            scene.radiance * (1 + 0.22 * tone) * np.array([1 + 0.08 * tone, 1, 1 - 0.08 * tone], np.float32)
        )
        light = light + (0.5 - 0.5 * sharpness) * (blurred - scene.radiance)
        shown = scene.radiance + subject * (light.astype(np.float32) - scene.radiance)
        place = cv2.getRotationMatrix2D((side / 2, side / 2), turn, 1.12 + zoom)
        place[:, 2] += (right * side, down * side)
        moved = cv2.warpAffine(
            shown, place, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        frames.append(take_photo(moved.clip(0, 1), camera, size, rng))
    return np.stack(frames)


def _write_clip(path: Path, frames: np.ndarray) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), _FPS, frames.shape[2:0:-1])
    if not writer.isOpened():
        raise DfdError(f"OpenCV {cv2.__version__} cannot write {path} here: it lacks the mp4v codec.")
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


def _same_size(files: list[Path]) -> None:
    """Pad the files with empty boxes, which players skip: jumps cost bits, and the size would tell them."""
    longest = max(file.stat().st_size for file in files) + 8  # a box is 8 bytes at least
    for file in files:
        gap = longest - file.stat().st_size
        with file.open("ab") as stream:
            stream.write(gap.to_bytes(4, "big") + b"free" + bytes(gap - 8))
