"""Batches of a data set, in an order that keeps the images of a group together."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Sampler

from dfdlib.core.parallel import worker_count
from dfdlib.data.dataset import Batch, ImageDataset


class GroupShuffle(Sampler):
    """A new order each epoch in which the images of a group stay together.

    A fake then meets its own original in one batch, which takes the content out of the comparison
    (Shiohara & Yamasaki 2022, arXiv:2204.08376, train on such pairs). Without groups it is a plain shuffle.
    The order depends on nothing but the seed and the epoch.
    """

    def __init__(self, dataset: ImageDataset, seed: int, balance: str = "none", batch_size: int = 1) -> None:
        """Order a data set.

        Args:
            dataset: The images.
            seed: Draws the order.
            balance: `oversample` or `downsample`: as many real as fake images. Where there are several sources, each
                gives the same share of a label's images, and of these each of its generators, unless it is `none`;
                images are repeated, or left out until another epoch, as that takes.
            batch_size: The images of an epoch are cut to whole batches, unless there is less than one.
        """
        self._codes = pd.factorize(dataset.manifest["group"])[0]
        classes = [np.flatnonzero(dataset.fake.numpy() == label) for label in (0, 1)]
        self._seed, self.epoch = seed, 0
        sizes = [len(members) for members in classes]
        size = {"oversample": max(sizes), "downsample": min(sizes)}.get(balance)
        several = (
            balance != "none" and "source" in dataset.manifest and dataset.manifest["source"].nunique() > 1
        )
        columns = ["source", "generator"] if several else []
        self._draws = [
            draw
            for members in (classes if several or size is not None else ())
            for draw in _even(dataset.manifest, members, columns, size or len(members))
        ]
        drawn = sum(n for _, n in self._draws) or len(self._codes)
        self._length = drawn - drawn % batch_size or drawn

    def __len__(self) -> int:
        """Return the number of images per epoch."""
        return self._length

    def __iter__(self) -> Iterator[int]:
        """Yield positions in the data set."""
        rng = np.random.default_rng([self._seed, self.epoch])
        order = rng.permutation(self._codes.max() + 1)
        chosen = np.arange(len(self._codes))
        if self._draws:
            chosen = np.concatenate([_draw(members, n, rng) for members, n in self._draws])
        places = np.lexsort((rng.random(len(chosen)), order[self._codes[chosen]]))[: self._length]
        return iter(chosen[places].tolist())


def _even(
    manifest: pd.DataFrame, members: np.ndarray, columns: list[str], n: int
) -> list[tuple[np.ndarray, int]]:
    """Return parts of the members, one for each value of the first column, of these of the second, …, and how
    many to draw of each: all as many as can be, `n` together."""
    if not columns:
        return [(members, n)]
    codes = pd.factorize(manifest[columns[0]].iloc[members].fillna(""), sort=True)[0]
    shares = np.diff(np.linspace(0, n, codes.max(initial=-1) + 2).round().astype(int))
    return [
        draw
        for code, share in enumerate(shares)
        for draw in _even(manifest, members[codes == code], columns[1:], int(share))
    ]


def _draw(members: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `n` of the members: each once before any is repeated."""
    rounds = -(-n // len(members))
    return np.concatenate([members[:0], *(rng.permutation(members) for _ in range(rounds))])[:n]


def make_loader(
    dataset: ImageDataset, batch_size: int, sampler: Sampler | None = None, workers: int = 0
) -> DataLoader:
    """Return a loader of `Batch`es.

    Given a sampler (training), a last batch that is not full is left out: batch normalisation cannot learn from one
    image. Worker processes, 0 for one per core, start where images are decoded each epoch, and beside a GPU, which
    would wait for this process; from the cache to a CPU they would cost time.
    """
    alone = dataset.is_cached and not torch.cuda.is_available()
    n_workers = 0 if alone else min(worker_count(workers), -(-len(dataset) // batch_size))
    if n_workers:
        cv2.setNumThreads(0)  # the processes would wait for threads of OpenCV that a fork does not copy
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=sampler is not None and len(sampler) >= batch_size,
        num_workers=n_workers,
        persistent_workers=n_workers > 0,
        collate_fn=_unchanged,
        pin_memory=torch.cuda.is_available(),
    )


def _unchanged(batch: Batch) -> Batch:
    return batch
