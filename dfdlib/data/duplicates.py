"""Facts about each file of a data set, and images that show the same."""

from __future__ import annotations

import hashlib
import io
from itertools import pairwise
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image

from dfdlib.core.errors import ImageError
from dfdlib.core.parallel import read_ahead
from dfdlib.core.progress import Progress
from dfdlib.data.groups import tie
from dfdlib.data.manifest import files_of
from dfdlib.images.decode import decode_image

NEAR = 3
"""The perceptual hashes of near-duplicates differ in at most this many of 64 bits."""
FACTS = ("bytes", "bytes_per_pixel", "width", "height", "jpeg_quality", "red", "green", "blue", "brightness")
"""Numbers that have nothing to do with a manipulation, and should not separate real from fake."""
_LUMINANCE_SUM = 3688
"""Sum of the luminance quantisation table of the JPEG standard (ITU-T T.81, table K.1), libjpeg's at quality 50."""


def image_facts(manifest: pd.DataFrame, workers: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read every file once and collect simple facts about it.

    Args:
        manifest: The images.
        workers: Threads that read; 0 for one per core.

    Returns:
        Facts, one row per readable image in the order of the manifest: `path`, `format`, the numbers of `FACTS`
        (colours and brightness in grey levels; `jpeg_quality` 1 to 100, NaN for other formats), `digest` of the
        pixels and `hash`, the perceptual hash (Zauner 2010) as uint64. And the files that cannot be read, `path` and
        `error`.
    """
    n, errors, rows = len(manifest), [], []
    found = read_ahead(_facts, files_of(manifest), workers)
    progress = Progress(found, "auditing", n, unit="image", disable=n < 500)
    for path, facts in zip(manifest["path"], progress, strict=True):
        if isinstance(facts, str):
            errors.append((path, facts))
        else:
            rows.append({"path": path, **facts})
    columns = ["path", "format", *FACTS, "digest", "hash"]
    return pd.DataFrame(rows, columns=columns), pd.DataFrame(errors, columns=["path", "error"])


def find_duplicates(manifest: pd.DataFrame, facts: pd.DataFrame, max_distance: int = NEAR) -> pd.DataFrame:
    """Find images of different groups that show the same.

    Hashes are cut into `max_distance` + 1 bands: two that differ in at most `max_distance` bits agree in one of the
    bands, so only images that share a band are compared.

    Args:
        manifest: The images.
        facts: See `image_facts`, in the order of `manifest`.
        max_distance: The hashes of near-duplicates differ in at most this many of 64 bits.

    Returns:
        One row per pair: `first`, `second` (paths), `kind` (`exact`: the same pixels; `near`), `distance` in
        bits, `same_label`, `crosses_splits`. Images of the same hash are listed as a chain, not as all pairs.
    """
    hashes = facts["hash"].to_numpy(np.uint64)
    order = np.lexsort((facts["digest"].to_numpy(str), hashes))
    same = hashes[order[1:]] == hashes[order[:-1]]
    links = [np.stack([order[:-1][same], order[1:][same]], 1)]
    unique, first = np.unique(hashes, return_index=True)
    links.append(first[_near(unique, max_distance)].reshape(-1, 2))
    pairs = np.sort(np.concatenate(links), axis=1)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    groups, digests = manifest["group"].to_numpy(), facts["digest"].to_numpy()
    pairs = pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]]
    one, other = (manifest.iloc[pairs[:, i]].reset_index(drop=True) for i in (0, 1))
    return pd.DataFrame(
        {
            "first": one["path"],
            "second": other["path"],
            "kind": np.where(digests[pairs[:, 0]] == digests[pairs[:, 1]], "exact", "near"),
            "distance": np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]).astype(int),
            "same_label": one["label"].fillna("").eq(other["label"].fillna("")),
            "crosses_splits": one["split"].notna() & other["split"].notna() & one["split"].ne(other["split"]),
        }
    )


def regroup(manifest: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest with the groups of each pair merged, also through a chain of pairs."""
    if pairs.empty:
        return manifest
    group_of = dict(zip(manifest["path"], manifest["group"], strict=True))
    links = [(group_of[one], group_of[two]) for one, two in zip(pairs["first"], pairs["second"], strict=True)]
    joined = tie([*((group,) for group in manifest["group"]), *links])
    return manifest.assign(group=joined[: len(manifest)])


def _facts(path: Path) -> dict[str, object] | str:
    """Return facts about one file, or why it cannot be read."""
    try:
        data = path.read_bytes()
        image = decode_image(data, str(path))
        with Image.open(io.BytesIO(data)) as header:
            form, tables = header.format, getattr(header, "quantization", None)
    except (ImageError, OSError) as error:
        return str(error)
    red, green, blue = image.reshape(-1, 3).mean(0)
    grey = image.mean(2)
    hashed = imagehash.phash(Image.fromarray(image))
    return {
        "format": form,
        "bytes": len(data),
        "bytes_per_pixel": len(data) / grey.size,
        "width": image.shape[1],
        "height": image.shape[0],
        "jpeg_quality": _quality(tables[0]) if tables and form == "JPEG" else np.nan,
        "red": red,
        "green": green,
        "blue": blue,
        "brightness": grey.mean(),
        "digest": hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() + str(image.shape),
        "hash": np.packbits(hashed.hash.reshape(-1)).view(">u8").astype(np.uint64)[0],
    }


def _quality(table: list[int]) -> float:
    """Estimate the quality, 1 to 100, that libjpeg was asked for from its luminance table."""
    scale = 100 * (sum(table) / _LUMINANCE_SUM)
    return float(np.clip(5000 / scale if scale > 100 else (200 - scale) / 2, 1, 100))


def _near(hashes: np.ndarray, max_distance: int) -> np.ndarray:
    """Return pairs [P, 2] of positions among distinct hashes that differ in at most `max_distance` bits."""
    edges = np.linspace(0, 64, max_distance + 2).astype(int)
    found = [np.empty((0, 2), int)]
    for start, end in pairwise(edges):
        band = (hashes >> np.uint64(start)) & np.uint64((1 << int(end - start)) - 1)
        order = np.argsort(band, kind="stable")
        for step in range(1, len(order)):  # neighbours within a band, then those two apart, …
            one, other = order[:-step], order[step:]
            together = band[one] == band[other]
            if not together.any():
                break
            one, other = one[together], other[together]
            close = np.bitwise_count(hashes[one] ^ hashes[other]) <= max_distance
            found.append(np.stack([one[close], other[close]], 1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
