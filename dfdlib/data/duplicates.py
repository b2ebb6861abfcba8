"""Facts about each file of a data set, and the images that show the same."""

from __future__ import annotations

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm.auto import tqdm

from dfdlib.core.errors import ImageError
from dfdlib.data.manifest import files_of
from dfdlib.images.decode import decode_image

NEAR = 3
"""Bits of 64 in which the perceptual hashes of near-duplicates differ at most."""
FACTS = (
    "bytes",
    "bytes_per_pixel",
    "width",
    "height",
    "jpeg_quality",
    "red",
    "green",
    "blue",
    "brightness",
)
"""Numbers that say nothing of a manipulation, and should not tell real from fake."""

# Luminance quantisation at quality 50 in the JPEG standard (ITU-T T.81, table K.1), sorted.
_BASE = np.sort(
    np.array(
        [
            16,
            11,
            10,
            16,
            24,
            40,
            51,
            61,
            12,
            12,
            14,
            19,
            26,
            58,
            60,
            55,
            14,
            13,
            16,
            24,
            40,
            57,
            69,
            56,
            14,
            17,
            22,
        ]
        + [
            29,
            51,
            87,
            80,
            62,
            18,
            22,
            37,
            56,
            68,
            109,
            103,
            77,
            24,
            35,
            55,
            64,
            81,
            104,
            113,
            92,
            49,
            64,
            78,
            87,
        ]
        + [103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99]
    )
)


def image_facts(manifest: pd.DataFrame, workers: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read every file once and note what is easily seen.

    Returns:
        Facts, a row a readable image in the order of the manifest: `path`, `format`, the numbers of `FACTS`
        (colours and brightness in grey levels; `jpeg_quality` 1 to 100, NaN for other formats),
        `digest` of the pixels and `hash`, the perceptual hash (Zauner 2010) as uint64. And the files that
        cannot be read, `path` and `error`.
    """
    files, errors, rows = files_of(manifest), [], []
    progress = tqdm(desc="auditing", total=len(manifest), unit="image", disable=len(manifest) < 500)
    with progress, ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for start in range(0, len(manifest), 1024):  # in chunks, so that few images wait in memory
            paths = manifest["path"].iloc[start : start + 1024]
            for path, found in zip(paths, pool.map(_facts, files[start : start + 1024]), strict=True):
                (errors if isinstance(found, str) else rows).append(
                    (path, found) if isinstance(found, str) else {"path": path, **found}
                )
            progress.update(len(paths))
    columns = ["path", "format", *FACTS, "digest", "hash"]
    return pd.DataFrame(rows, columns=columns), pd.DataFrame(errors, columns=["path", "error"])


def find_duplicates(manifest: pd.DataFrame, facts: pd.DataFrame, max_distance: int = NEAR) -> pd.DataFrame:
    """Find images of different groups that show the same.

    Hashes are cut into `max_distance` + 1 bands: two that differ in so few bits agree in a band, so only
    images that share one are compared.

    Args:
        manifest: The images.
        facts: See `image_facts`, in the order of `manifest`.
        max_distance: Bits of 64 in which near-duplicates differ at most.

    Returns:
        A row a pair: `first`, `second` (paths), `kind` (`exact`: the same pixels; `near`), `distance` in
        bits, `same_label`, `crosses_splits`. Images of one hash make a chain of pairs, not all pairs.
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
    """Return the manifest with the groups of each pair made one, at first or second hand."""
    if pairs.empty:
        return manifest
    codes, names = pd.factorize(manifest["group"], sort=True)
    code_of = dict(zip(manifest["path"], codes, strict=True))
    rows, columns = ([code_of[path] for path in pairs[name]] for name in ("first", "second"))
    graph = coo_array((np.ones(len(rows)), (rows, columns)), (len(names), len(names)))
    component = connected_components(graph, directed=False)[1]
    first = pd.Series(names).groupby(component).first()
    result = manifest.assign(group=first.loc[component[codes]].to_numpy())
    result.attrs = dict(manifest.attrs)
    return result


def _facts(path: Path) -> dict[str, object] | str:
    """Return the facts of one file, or why it cannot be read."""
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
    scale = 100 * float(np.sum(np.sort(table)) / _BASE.sum())
    return float(np.clip(5000 / scale if scale > 100 else (200 - scale) / 2, 1, 100))


def _near(hashes: np.ndarray, max_distance: int) -> np.ndarray:
    """Return pairs [P, 2] of positions among distinct hashes that differ in at most so many bits."""
    edges = np.linspace(0, 64, max_distance + 2).astype(int)
    found = [np.empty((0, 2), int)]
    for start, end in pairwise(edges):
        band = (hashes >> np.uint64(start)) & np.uint64((1 << int(end - start)) - 1)
        order = np.argsort(band, kind="stable")
        for step in range(1, len(order)):  # neighbours, then those two apart, … within a bucket
            one, other = order[:-step], order[step:]
            together = band[one] == band[other]
            if not together.any():
                break
            one, other = one[together], other[together]
            close = np.bitwise_count(hashes[one] ^ hashes[other]) <= max_distance
            found.append(np.stack([one[close], other[close]], 1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
