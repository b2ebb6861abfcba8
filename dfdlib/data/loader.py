"""Batches of a data set, in an order that keeps the images of a group together."""

from __future__ import annotations

from collections.abc import Iterator

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
            balance: `oversample`, `downsample` or anything else for neither.
            batch_size: The images of an epoch are cut to whole batches, unless there is less than one.
        """
        self._codes = pd.factorize(dataset.manifest["group"])[0]
        self._classes = [np.flatnonzero(dataset.fake.numpy() == label) for label in (0, 1)]
        self._seed, self.epoch = seed, 0
        sizes = [len(members) for members in self._classes]
        self._size = {"oversample": max(sizes), "downsample": min(sizes)}.get(balance)
        drawn = len(self._codes) if self._size is None else 2 * self._size
        self._length = drawn - drawn % batch_size or drawn

    def __len__(self) -> int:
        """Return the number of images per epoch."""
        return self._length

    def __iter__(self) -> Iterator[int]:
        """Yield positions in the data set."""
        rng = np.random.default_rng([self._seed, self.epoch])
        order = rng.permutation(self._codes.max() + 1)
        chosen = np.arange(len(self._codes))
        if self._size is not None:
            chosen = np.concatenate([self._draw(members, rng) for members in self._classes])
        places = np.lexsort((rng.random(len(chosen)), order[self._codes[chosen]]))[: self._length]
        return iter(chosen[places].tolist())

    def _draw(self, members: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw `_size` of the members: each once before any is repeated."""
        rounds = -(-self._size // len(members))
        return np.concatenate([rng.permutation(members) for _ in range(rounds)])[: self._size]


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
