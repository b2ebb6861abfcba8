"""The embedded data set: generated photographs of faces, animals and vehicles, and forgeries of them.

Every fake has its original among the real images (both in one `group`), a named family of manipulation
(`generator`), a `strength` and the mask of the manipulated pixels. Real and fake share the camera, the
sizes and the JPEG qualities, so that nothing but the manipulation tells them apart.
`forge_folder` applies the same families to real photographs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import cv2
import joblib
import numpy as np
import pandas as pd

from dfdlib.core import paths
from dfdlib.core.errors import DfdError, ImageError
from dfdlib.core.files import WriteError, atomic_folder, write_csv
from dfdlib.core.progress import Progress
from dfdlib.data.manifest import files_of, read_manifest, write_manifest
from dfdlib.data.scan import scan_images
from dfdlib.data.splits import assign_splits
from dfdlib.demo.scenery import CATEGORIES, JPEG_QUALITIES, draw_camera, encode_jpeg, render_scene, take_photo
from dfdlib.images.decode import read_image
from dfdlib.images.forge import FAMILIES, STRENGTHS, forge_image
from dfdlib.images.picture import reduce_image

DEMO_IMAGES = 2700
"""Images of the default demo set, half of them fake."""
DEMO_SIZE = 128
"""Side of a demo image in pixels."""
DEMO_VERSION = 5
"""Raised whenever the generator changes, so that a cached set of an older one is not used."""
Row = dict[str, object]


def demo_manifest(
    n_images: int = DEMO_IMAGES, seed: int = 0, size: int = DEMO_SIZE, workers: int = 0
) -> pd.DataFrame:
    """Return the manifest of the demo set, generating it under `data/` when it is not there yet.

    Args:
        n_images: Images in all: pairs of an original and its fake.
        seed: Draws everything; the same seed gives the same files.
        size: Side of an image in pixels; even.
        workers: Processes that draw; 0 for one per core.

    Returns:
        The manifest with `mask` and `strength` columns beside the usual ones, split 70/15/15.
    """
    name = f"demo-v{DEMO_VERSION}-{n_images}x{size}-seed{seed}"
    return cached_set(name, "the demo set", partial(_demo_pair, size=size), n_images // 2, workers, seed)


def forge_folder(
    photos: str | Path,
    out_dir: str | Path,
    seed: int = 0,
    families: Iterable[str] = tuple(FAMILIES),
    longest_side: int = 512,
    workers: int = 0,
) -> pd.DataFrame:
    """Make a training set out of real photographs alone: a re-encoded copy and a forgery of each.

    Args:
        photos: Folder of photographs, with category folders or without.
        out_dir: Folder to write `real/`, `fake/`, `masks/` and `manifest.csv` to; must not exist yet.
        seed: Draws strengths, places and JPEG qualities.
        families: Keys of `forge.FAMILIES`, used in turn.
        longest_side: Photographs with more pixels a side are reduced to it first.
        workers: Processes; 0 for one per core.

    Returns:
        The manifest, split 70/15/15. A photograph and the one that lent it a splice share a group.
        Photographs that cannot be read are left out, counted in a warning and listed in `unreadable.csv`.

    Raises:
        DfdError: Fewer than two photographs, an unknown family, or `out_dir` exists.
    """
    out_dir, families = Path(out_dir), list(families)
    unknown = [name for name in families if name not in FAMILIES]
    if unknown or not families:
        raise DfdError(f"unknown forgery families {unknown}; choose from {', '.join(FAMILIES)}.")
    if out_dir.exists():
        raise DfdError(f"{out_dir} exists already; remove it, or name a new folder for the forged set.")
    originals = scan_images(photos, require_labels=False)
    if len(originals) < 2:
        raise DfdError(f"{photos} holds fewer than two photographs, and a splice needs a donor; add more.")
    make_pair = partial(
        _photo_pair,
        files=files_of(originals),
        categories=originals["category"].tolist(),
        families=families,
        longest_side=longest_side,
    )
    return _make_set(out_dir, make_pair, len(originals), workers, "forging photographs", seed)


def _make_set(
    root: Path, make_pair: Callable[..., list[Row]], n_pairs: int, workers: int, title: str, seed: int
) -> pd.DataFrame:
    """Run `make_pair` for each number, in parallel, into a folder that appears only when it is whole."""
    with atomic_folder(root) as unfinished:
        run = joblib.Parallel(n_jobs=workers or joblib.cpu_count(), return_as="generator", batch_size=16)
        pairs = run(joblib.delayed(make_pair)(i, unfinished, seed=seed) for i in range(n_pairs))
        rows = [row for pair in Progress(pairs, title, total=n_pairs, unit="pair") for row in pair]
        table = pd.DataFrame(rows)
        broken = table["error"].notna() if "error" in table else pd.Series(False, table.index)
        manifest = table[~broken].drop(columns="error", errors="ignore").reset_index(drop=True)
        if manifest.empty:
            raise DfdError(f"none of the {n_pairs} photographs could be read, e.g. {table['error'].iloc[0]}")
        manifest = assign_splits(manifest, seed=seed)
        write_manifest(manifest.assign(root=str(unfinished)), unfinished / "manifest.csv")
        if broken.any():
            write_csv(table.loc[broken, ["path", "error"]], unfinished / "unreadable.csv")
            warnings.warn(
                f"{broken.sum()} of {n_pairs} photographs cannot be read and are left out; "
                f"{root / 'unreadable.csv'} lists them.",
                stacklevel=3,
            )
    return manifest.assign(root=str(root))


def cached_set(
    name: str, title: str, make_pair: Callable[..., list[Row]], n_pairs: int, workers: int, seed: int
) -> pd.DataFrame:
    """Return the manifest of a generated set under `data/`, drawing it first when it is not there yet.

    Raises:
        WriteError: The data folder cannot be written.
    """
    root = paths.data_root() / name
    if not (root / "manifest.csv").exists():
        try:
            _make_set(root, make_pair, n_pairs, workers, f"drawing {title}", seed)
        except WriteError:
            if not (root / "manifest.csv").exists():  # else another process drew it meanwhile
                raise
    return read_manifest(root / "manifest.csv")


def _demo_pair(i: int, root: Path, seed: int, size: int) -> list[Row]:
    rng = np.random.default_rng([seed, i])
    family = list(FAMILIES)[i % len(FAMILIES)]
    category = CATEGORIES[i // len(FAMILIES) % len(CATEGORIES)]
    scene = render_scene(category, rng, 2 * size)
    photo = take_photo(scene.radiance, draw_camera(rng), size, rng)
    subject = cv2.resize(scene.subject.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) > 0.5
    donor = photo
    if family == "splicing":
        other = render_scene(category, rng, 2 * size)  # a foreign face, animal or vehicle
        donor = take_photo(other.radiance, draw_camera(rng), size, rng)
    strength = rng.uniform(*STRENGTHS)
    fake, mask = forge_image(photo, family, strength, rng, donor, subject)
    group = f"scene_{i:05d}"
    return _write_pair(root, group, group, category, family, strength, photo, fake, mask, rng)


def _photo_pair(
    i: int,
    root: Path,
    files: list[Path],
    categories: list[str | None],
    families: list[str],
    longest_side: int,
    seed: int,
) -> list[Row]:
    rng = np.random.default_rng([seed, i])
    family = families[i % len(families)]
    # A splice takes its material from the next photograph, so neighbours in twos make a group.
    other = i ^ 1 if i ^ 1 < len(files) else i - 1
    try:
        photo = reduce_image(read_image(files[i]), longest_side)
        donor = reduce_image(read_image(files[other]), longest_side) if family == "splicing" else photo
    except ImageError as error:
        return [{"path": str(files[i]), "error": str(error)}]
    donor = cv2.resize(donor, photo.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    strength = rng.uniform(*STRENGTHS)
    fake, mask = forge_image(photo, family, strength, rng, donor)
    group = f"photos_{min(i, other) // 2 * 2:05d}"
    return _write_pair(root, f"photo_{i:05d}", group, categories[i], family, strength, photo, fake, mask, rng)


def _write_pair(
    root: Path,
    name: str,
    group: str,
    category: str | None,
    family: str,
    strength: float,
    photo: np.ndarray,
    fake: np.ndarray,
    mask: np.ndarray,
    rng: np.random.Generator,
) -> list[Row]:
    """Save an original, its fake and the mask; return the two manifest rows."""
    folder = category or "uncategorised"
    mask_path = f"masks/{name}.png"
    rows: list[Row] = []
    for label, image in (("real", photo), ("fake", fake)):
        path = f"{label}/{folder}/{name}.jpg"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(encode_jpeg(image, rng.integers(JPEG_QUALITIES[0], JPEG_QUALITIES[1] + 1)))
        rows.append({"path": path, "label": label, "category": category, "split": None, "group": group})
        is_fake = label == "fake"
        rows[-1] |= {"generator": family if is_fake else None, "mask": mask_path if is_fake else None}
        rows[-1] |= {"strength": f"{strength:.3f}" if is_fake else None}
    (root / mask_path).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / mask_path), mask.astype(np.uint8) * 255)
    return rows
