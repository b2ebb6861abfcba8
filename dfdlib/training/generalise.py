"""How a detector does on what it has not seen: other data sets, generators left out, and newer generators.

The test images of the training set flatter: detectors learn the family at hand, and fail on the next (Wang et
al. 2020, CNNDetection, arXiv:1912.11035; Ojha et al. 2023, arXiv:2302.10174).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dfdlib.core.errors import DfdError, unknown
from dfdlib.core.progress import Progress
from dfdlib.data.dataset import Fit, ImageDataset
from dfdlib.data.manifest import LABELS, content_digests, root_of
from dfdlib.data.releases import released
from dfdlib.data.scan import open_data
from dfdlib.data.sources import join
from dfdlib.evaluation.bootstrap import check_resampling, ends_of, resample, scored_images
from dfdlib.evaluation.predictions import predict
from dfdlib.models.detector import Detector
from dfdlib.training.crossval import train_or_load
from dfdlib.training.settings import TrainConfig

ALL = "all"
"""The training that leaves nothing out."""
_NEW = {
    "sources": "a data set that it was not trained on",
    "pooled": "a data set that was left out of its training",
    "generators": "a generator that was left out of its training",
    "released": "the generators of the period after its training",
}
PROTOCOLS = tuple(_NEW)
"""`sources` trains on each data set and tests on each; `pooled` trains on all of them together, and on all but each;
`generators` leaves one generator out at a time; `released` trains on the generators up to a month and tests on the next
(AI-GenBench, arXiv:2504.20865)."""


@dataclass(frozen=True)
class Plan:
    """Which images of a manifest train and which are judged; N images in all."""

    trained_on: Mapping[str, np.ndarray]
    """By the name of the training: bool [N], over all splits."""
    tested_on: Mapping[str, np.ndarray]
    """By the name of the test: bool [N], over all splits."""
    relation: Callable[[str, str], str]
    """What a test is to a training: `seen`, `unseen`, or of newer generators `next` and `later`."""


def open_sources(paths: Sequence[str | Path], seed: int = 0, max_images: int = 0) -> pd.DataFrame:
    """Return several data sets as one manifest, see `sources.join`; each row states its `source`.

    A fake without a generator counts as of one that is called as its source.

    Args:
        paths: Folders or manifests, see `scan.open_data`.
        seed: Draws the splits that a data set does not state, and the sample.
        max_images: Use at most so many images of each; 0 for all.

    Raises:
        DfdError: See `scan.open_data`; or two data sets have the same name.
    """
    tables = [open_data(path, seed, max_images) for path in paths]
    names = [root_of(table).resolve().name for table in tables]
    for name in names:
        if names.count(name) > 1:
            raise DfdError(f"two data sets are called {name}; rename one of their folders.")
    joined = join(tables)
    joined["source"] = joined["source"].fillna(names[0]) if "source" in joined else names[0]
    unnamed = (joined["label"] == "fake") & joined["generator"].isna()
    joined.loc[unnamed, "generator"] = joined["source"]
    return joined[joined["label"].notna()].reset_index(drop=True)


def plan(manifest: pd.DataFrame, protocol: str, window: int = 1) -> Plan:
    """Say which images train and which are judged.

    Args:
        manifest: See `open_sources`; N images.
        protocol: One of `PROTOCOLS`.
        window: Least number of generators in a period of `released`; AI-GenBench takes 4.

    Raises:
        DfdError: There is nothing to compare, or a part has no image of one label.
    """
    if protocol not in _PLANS:
        raise unknown("protocol", protocol, PROTOCOLS)
    planned = _PLANS[protocol](manifest, window)
    parts = [(name, split, rows) for name, rows in planned.trained_on.items() for split in ("train", "val")]
    parts += [(name, "test", rows) for name, rows in planned.tested_on.items()]
    for name, split, rows in parts:
        lacking = set(LABELS) - set(manifest.loc[rows & (manifest["split"] == split), "label"])
        if lacking:
            raise DfdError(
                f"`{name}` has no {' and no '.join(sorted(lacking))} image in its {split} split; add some, or leave it out."
            )
    return planned


def _each_source(manifest: pd.DataFrame, _: int) -> Plan:
    masks = _by_source(manifest)
    return Plan(masks, masks, lambda trained, tested: "seen" if trained == tested else "unseen")


def _without_each_source(manifest: pd.DataFrame, _: int) -> Plan:
    masks = _by_source(manifest)
    return _leave_one_out(masks, masks)


def _without_each_generator(manifest: pd.DataFrame, _: int) -> Plan:
    generator = manifest["generator"].where(manifest["label"] == "fake")
    fakes = {name: (generator == name).to_numpy() for name in _several(generator, "generator")}
    return _leave_one_out(fakes, {name: _with_reals(manifest, rows) for name, rows in fakes.items()})


def _by_source(manifest: pd.DataFrame) -> dict[str, np.ndarray]:
    source = manifest["source"]
    return {name: (source == name).to_numpy() for name in _several(source, "data set")}


def _leave_one_out(parts: Mapping[str, np.ndarray], tested_on: Mapping[str, np.ndarray]) -> Plan:
    everything = np.ones_like(next(iter(parts.values())))
    trained_on = {ALL: everything} | {_but(name): ~rows for name, rows in parts.items()}
    return Plan(trained_on, tested_on, lambda lacks, name: "unseen" if lacks == _but(name) else "seen")


def _older_to_newer(manifest: pd.DataFrame, window: int) -> Plan:
    fake = manifest["label"] == "fake"
    months = _months(manifest).where(fake)
    for name in manifest.loc[fake & months.isna(), "generator"].unique():
        Progress.write(f"left out: {name}, of unknown date; state it in a column `released` of the manifest")
    known = manifest["generator"].groupby(months).nunique().sort_index().cumsum()
    period = pd.Series(pd.factorize((known - 1) // window)[0], known.index)
    spans = [sorted(months_of.index) for _, months_of in period.groupby(period)]
    names = [" to ".join(dict.fromkeys((span[0], span[-1]))) for span in spans]
    if len(names) < 2:
        raise DfdError(
            f"`released` needs generators of two periods, and there are {len(names)}; state months such as 2022-08 "
            "in a column `released` of the manifest."
        )
    of_row = months.map(period)
    trained = {f"up to {span[-1]}": (~fake | (of_row <= i)).to_numpy() for i, span in enumerate(spans[:-1])}
    tested = {name: _with_reals(manifest, (of_row == i).to_numpy()) for i, name in enumerate(names)}

    def relation(trained_on: str, tested_on: str) -> str:
        ahead = names.index(tested_on) - list(trained).index(trained_on)
        return "seen" if ahead <= 0 else "next" if ahead == 1 else "later"

    return Plan(trained, tested, relation)


_PLANS = {
    "sources": _each_source,
    "pooled": _without_each_source,
    "generators": _without_each_generator,
    "released": _older_to_newer,
}


def _months(manifest: pd.DataFrame) -> pd.Series:
    """Return the month in which the generator of each row became public: as stated, or as the library knows it."""
    known = manifest["generator"].map(released, na_action="ignore").astype(object)
    months = manifest["released"].fillna(known) if "released" in manifest else known
    for stated in months.dropna().unique():
        if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])(-\d\d)?", stated):
            raise DfdError(
                f"the manifest has {stated!r} in its column `released`; write months such as 2022-08."
            )
    return months.str[:7]


def _several(names: pd.Series, what: str) -> list[str]:
    found = sorted(names.dropna().unique())
    if len(found) < 2:
        raise DfdError(
            f"this protocol needs at least two {what}s, and there is {', '.join(found) or 'none'}; add one."
        )
    return found


def _with_reals(manifest: pd.DataFrame, fakes: np.ndarray) -> np.ndarray:
    """Add to some fakes the real images of the data sets that they are from."""
    beside = manifest["source"].isin(manifest.loc[fakes, "source"])
    return fakes | (beside & (manifest["label"] == "real")).to_numpy()


def _but(name: str) -> str:
    return f"all but {name}"


def generalise(
    manifest: pd.DataFrame,
    protocol: str,
    new_detector: Callable[..., Detector],
    config: TrainConfig,
    out_dir: str | Path,
    seeds: int = 1,
    window: int = 1,
    resamples: int = 1000,
) -> pd.DataFrame:
    """Train a detector for each part of the data, and judge each on the test images of each part.

    A training that is there already, from the same data and settings, is not repeated; an interrupted one resumes. A
    test image whose bytes are among the training or validation images of any part, is judged by none.

    Args:
        manifest: See `open_sources`.
        protocol: One of `PROTOCOLS`.
        new_detector: Makes an untrained detector, given a `seed`.
        config: How to train; its seed is the first.
        out_dir: Folder of the detectors, see `crossval.train_or_load`.
        seeds: Trainings of each part.
        window: See `plan`.
        resamples: Bootstrap samples of the groups for each interval.

    Returns:
        One row per training and test: `trained_on`, `tested_on`, `relation` (see `Plan`), `n`, `n_real`, `n_fake`,
        `n_groups`, `auc` (0 to 1, the mean over the seeds), the ends of its 95 % interval over groups, `auc_low` and
        `auc_high`, and `seeds` with the standard deviation between them, `auc_sd` (NaN for one seed).

    Raises:
        DfdError: See `plan` and `loop.fit`.
    """
    check_resampling(resamples, 0.95)
    if min(seeds, window) < 1:
        raise DfdError(f"`seeds` is {seeds} and `window` {window}; both must be at least 1.")
    images = _readable(manifest, new_detector(seed=config.seed).fit, config.workers)
    manifest = images.manifest
    planned = plan(manifest, protocol, window)
    in_test = (manifest["split"] == "test").to_numpy()
    tests = {name: rows[in_test] for name, rows in planned.tested_on.items()}
    cells = []
    for place, (name, rows) in enumerate(planned.trained_on.items(), 1):
        Progress.write(
            f"training {place} of {len(planned.trained_on)}: {name}, {seeds} seed{'s' * (seeds > 1)}"
        )
        part, judged = images.subset(rows), []
        for seed in range(config.seed, config.seed + seeds):
            own = dataclasses.replace(config, seed=seed)
            called = f"{protocol}-{name.replace(' ', '-')}-seed{seed}"
            fresh = new_detector(seed=seed)
            trained, _ = train_or_load(
                fresh, part.split("train"), part.split("val"), own, Path(out_dir), called
            )
            judged.append(predict(trained, images.subset(in_test)))
        for tested, chosen in tests.items():
            about = {"trained_on": name, "tested_on": tested, "relation": planned.relation(name, tested)}
            cells.append(about | _cell([table[chosen] for table in judged], resamples))
    return pd.DataFrame(cells)


def _readable(manifest: pd.DataFrame, fit: Fit, workers: int) -> ImageDataset:
    """Return the images that can be read, without test images of which a copy is among the others."""
    images = ImageDataset(manifest, fit, workers=workers)
    for error in images.unreadable["error"]:
        Progress.write(f"left out: {error}")
    digests, test = content_digests(images.manifest), (images.manifest["split"] == "test").to_numpy()
    copies = test & np.isin(digests, digests[~test]) & (digests != 0)
    if copies.any():
        Progress.write(f"left out: {copies.sum()} test images that are copies of training images")
    return images.subset(~copies)


def _cell(judged: Sequence[pd.DataFrame], resamples: int) -> dict[str, float]:
    """Return the mean AUC of the same images by several trainings; every resample draws the same groups of each."""
    scored = [scored_images(table)[0] for table in judged]
    each = [images.values(["auc"])["auc"] for images in scored]
    low, high = ends_of(
        np.mean([resample(one, ["auc"], resamples, 0)["auc"] for one in scored], axis=0), 0.95
    )
    n_fake = int((judged[0]["label"] == "fake").sum())
    counts = {"n": len(judged[0]), "n_real": len(judged[0]) - n_fake, "n_fake": n_fake}
    spread = float(np.std(each, ddof=1)) if len(each) > 1 else np.nan
    ends = {"auc": float(np.mean(each)), "auc_low": low, "auc_high": high}
    return {**counts, "n_groups": scored[0].n_groups, **ends, "auc_sd": spread, "seeds": len(each)}


def finding(table: pd.DataFrame, protocol: str) -> str:
    """Say in a sentence what a table of `generalise` shows."""
    new, seen = table[table["relation"].isin(["unseen", "next"])], table[table["relation"] == "seen"]
    worst, chance = new.loc[new["auc"].idxmin()], int((new["auc_low"] <= 0.5).sum())
    return (
        f"On {_NEW[protocol]} a detector has a mean AUC of {new['auc'].mean():.3f}, against {seen['auc'].mean():.3f} on "
        f"what it was trained on; {chance} of {len(new)} intervals do not lie above 0.5, and the lowest AUC is {worst['auc']:.3f} "
        f"[{worst['auc_low']:.3f}, {worst['auc_high']:.3f}] (trained on {worst['trained_on']}, tested on "
        f"{worst['tested_on']})."
    )
