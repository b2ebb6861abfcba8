"""What is wrong with a data set before anything is trained on it: duplicates, leaks, broken files."""

from __future__ import annotations

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from . import metrics
from .errors import DfdError
from .imageio import ImageError, decode_image
from .manifest import root_of

NEAR = 3
"""Bits of 64 in which the perceptual hashes of near-duplicates differ at most."""
LEAK_FROM, STRONG_FROM = 0.55, 0.7
"""Lower ends of the interval of the probe's AUC from which there is a leak, and a strong one."""

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


@dataclass(frozen=True)
class LeakProbe:
    """How well facts that say nothing of a manipulation tell real from fake."""

    auc: float
    """Cross-validated AUC of the better one of a linear model and a forest on all facts."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end."""
    facts: pd.DataFrame
    """A row a fact: `fact`, `auc` on its own, 0.5 (nothing) to 1 (tells everything)."""

    def verdict(self) -> str:
        """Say in words what it means."""
        found = f"AUC {self.auc:.2f} [{self.low:.2f}, {self.high:.2f}]"
        if self.low < LEAK_FROM:
            return f"No leak found: size, format, compression and colour alone tell real from fake hardly better than chance ({found})."
        told = ", ".join(self.facts.loc[self.facts["auc"] > LEAK_FROM, "fact"].head(3)) or "their combination"
        grade = "Strong leak" if self.low >= STRONG_FROM else "Leak"
        return (
            f"{grade}: {told} alone tell real from fake ({found}). A detector will learn these instead of the "
            "manipulation; save real and fake images in the same sizes, formats and qualities first."
        )


@dataclass(frozen=True)
class Audit:
    """What was found in a data set."""

    manifest: pd.DataFrame
    """The readable images; near-duplicates share a `group`."""
    facts: pd.DataFrame
    """See `image_facts`, in the order of `manifest`."""
    unreadable: pd.DataFrame
    """Columns `path`, `error`."""
    pairs: pd.DataFrame
    """See `duplicates`."""
    probe: LeakProbe | None
    """None where a label is missing or too rare to cross-validate."""

    def verdicts(self) -> list[str]:
        """Say in sentences what was found."""
        exact, near = (self.pairs[self.pairs["kind"] == kind] for kind in ("exact", "near"))
        crossing = int((self.pairs["crosses_splits"]).sum())
        conflicts = int((~exact["same_label"]).sum())
        found = [
            f"{len(self.unreadable)} of {len(self.manifest) + len(self.unreadable)} files cannot be read.",
            f"{len(exact)} pairs of exact and {len(near)} of near duplicates between groups"
            + ("; they now share a group." if len(self.pairs) else "."),
        ]
        if crossing:
            found.append(
                f"{crossing} of these pairs crossed the splits as the data set stated them: a test on them flatters."
            )
        if conflicts:
            found.append(
                f"{conflicts} exact duplicates are called real in one place and fake in another: one label is wrong."
            )
        found.append(
            self.probe.verdict() if self.probe else "Too few images of one label to probe for leaks."
        )
        return found


def audit(manifest: pd.DataFrame, seed: int = 0, workers: int = 0) -> Audit:
    """Look at every file of a data set once, and put duplicates into one group.

    Args:
        manifest: See `manifest`; a `split` that is there is looked at for pairs that cross it.
        seed: Draws the folds of the leak probe.
        workers: Threads that decode; 0 for one a core.

    Raises:
        DfdError: No file can be read.
    """
    facts, unreadable = image_facts(manifest, workers)
    readable = manifest[~manifest["path"].isin(unreadable["path"])].reset_index(drop=True)
    readable.attrs = dict(manifest.attrs)
    if readable.empty:
        raise DfdError(f"none of the {len(manifest)} images can be read, e.g. {unreadable['error'].iloc[0]}")
    pairs = duplicates(readable, facts)
    grouped = regroup(readable, pairs)
    counts = grouped.groupby("label")["group"].nunique()
    probe = leak_probe(grouped, facts, seed) if len(counts) == 2 and counts.min() >= 10 else None
    return Audit(grouped, facts, unreadable, pairs, probe)


def image_facts(manifest: pd.DataFrame, workers: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read every file once and note what is easily seen.

    Returns:
        Facts, a row a readable image in the order of the manifest: `path`, `format`, the numbers of `FACTS`
        (colours and brightness in grey levels; `jpeg_quality` 1 to 100, NaN for other formats),
        `digest` of the pixels and `hash`, the perceptual hash (Zauner 2010) as uint64. And the files that
        cannot be read, `path` and `error`.
    """
    root, errors, rows = root_of(manifest), [], []
    progress = tqdm(desc="auditing", total=len(manifest), unit="image", disable=len(manifest) < 500)
    with progress, ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for start in range(0, len(manifest), 1024):  # in chunks, so that few images wait in memory
            paths = manifest["path"].iloc[start : start + 1024]
            for path, found in zip(paths, pool.map(lambda path: _facts(root / path), paths), strict=True):
                (errors if isinstance(found, str) else rows).append(
                    (path, found) if isinstance(found, str) else {"path": path, **found}
                )
            progress.update(len(paths))
    columns = ["path", "format", *FACTS, "digest", "hash"]
    return pd.DataFrame(rows, columns=columns), pd.DataFrame(errors, columns=["path", "error"])


def duplicates(manifest: pd.DataFrame, facts: pd.DataFrame, max_distance: int = NEAR) -> pd.DataFrame:
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


def leak_probe(manifest: pd.DataFrame, facts: pd.DataFrame, seed: int = 0) -> LeakProbe:
    """Measure how well size, format, compression and colour alone tell real from fake.

    Five folds, stratified, no group in two of them; a linear model and a forest.

    Args:
        manifest: The images; those without a label do not count.
        facts: See `image_facts`, in the order of `manifest`.
        seed: Draws the folds and the forest.
    """
    known = manifest["label"].notna().to_numpy()
    numbers = (
        facts.loc[known, list(FACTS)].astype(float).assign(no_jpeg=facts.loc[known, "jpeg_quality"].isna())
    )
    numbers = numbers.fillna(numbers.median()).fillna(0)
    features = (
        pd.concat([numbers, pd.get_dummies(facts.loc[known, "format"])], axis=1).astype(float).to_numpy()
    )
    truth = (manifest.loc[known, "label"] == "fake").to_numpy(int)
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    table = manifest[known].reset_index(drop=True)
    best: tuple[float, float, float] = (-1.0, np.nan, np.nan)
    for model in (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        RandomForestClassifier(200, min_samples_leaf=5, random_state=seed, n_jobs=-1),
    ):
        p_fake = cross_val_predict(
            model, features, truth, groups=table["group"], cv=folds, method="predict_proba"
        )
        score = metrics.auc(truth, p_fake[:, 1])
        if score > best[0]:
            best = (score, *metrics.auc_interval(table.assign(p_fake=p_fake[:, 1])))
    alone = {name: metrics.auc(truth, numbers[name].to_numpy()) for name in FACTS}
    single = pd.DataFrame({"fact": list(alone), "auc": [max(value, 1 - value) for value in alone.values()]})
    single = single.sort_values("auc", ascending=False, ignore_index=True)
    return LeakProbe(*best, single)


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
