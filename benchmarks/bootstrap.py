"""How long do all metrics with their intervals take, and do the intervals hold the truth?

Draws predictions of a detector that is too sure of itself, in groups of images, and prints the seconds of
`bootstrap.bootstrap_metrics` and how many of the 95 % intervals hold the value of a very large sample.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from scipy.special import expit

from dfdlib.evaluation.bootstrap import bootstrap_metrics, scored_images
from dfdlib.evaluation.metrics import METRICS


def predictions(n: int, group_size: int, seed: int) -> pd.DataFrame:
    """Draw predictions; images of a group share a part of their score, and their label."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) // group_size
    fake = rng.random(group.max() + 1)[group] < 0.4
    score = fake + 0.7 * rng.normal(size=group.max() + 1)[group] + 0.7 * rng.normal(size=n)
    labels = np.where(fake, "fake", "real")
    return pd.DataFrame({"label": labels, "group": group.astype(str), "p_fake": expit(3 * (score - 0.5))})


def coverage(n: int, group_size: int, n_tables: int, n_resamples: int) -> pd.DataFrame:
    """Return the share of intervals that hold the truth: of groups, and as if every image stood alone."""
    truth = pd.Series(scored_images(predictions(400_000, group_size, seed=0))[0].values(tuple(METRICS)))
    held = {"groups": [], "images": []}
    for seed in range(1, n_tables + 1):
        table = predictions(n, group_size, seed)
        for name, resampled in (("groups", table), ("images", table.assign(group=None))):
            ends = bootstrap_metrics(resampled, n_resamples=n_resamples)
            held[name].append((ends["low"] <= truth) & (truth <= ends["high"]))
    return pd.DataFrame({f"resampling {name}": pd.DataFrame(rows).mean() for name, rows in held.items()})


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--tables", type=int, default=200, help="tables for the coverage; 0 leaves it out")
    options = parser.parse_args()
    for group_size in (1, 5):
        table = predictions(options.images, group_size, seed=1)
        started = time.perf_counter()
        bootstrap_metrics(table, n_resamples=options.resamples)
        seconds = time.perf_counter() - started
        print(
            f"{len(METRICS)} metrics, {options.images:,} images in groups of {group_size}, "
            f"{options.resamples:,} resamples: {seconds:.2f} s"
        )
    if options.tables:
        print(f"\nShare of {options.tables} intervals (95 %) that hold the truth, 600 images in groups of 5:")
        print(coverage(600, 5, options.tables, 300).round(2).to_string())


if __name__ == "__main__":
    main()
