"""Does `dfdlib.fit` learn as well as the usual loop, which takes several times as long?

Both train the same network from the same first weights on the same demo images, with the same optimizer, schedule and
flips, a seed after the other: the usual loop in fp32 and channels first, `dfdlib.fit` as it comes. Prints the AUC of
the last epoch on the validation images, and the difference with the 95 % interval of Student's t over the seeds.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Sequence

import pandas as pd
import torch
from _paired import machine, show, use_cores
from scipy import stats
from torch import nn
from torch.utils.data import DataLoader, RandomSampler

from dfdlib import create_detector, fit
from dfdlib.data.dataset import Batch, ImageDataset
from dfdlib.demo.sets import DEMO_SIZE, demo_manifest
from dfdlib.evaluation.metrics import auc
from dfdlib.training.optim import learning_rate_at
from dfdlib.training.settings import TrainConfig

USUAL, OURS = "the usual loop", "dfdlib.fit"


def whole(batch: Batch) -> Batch:
    """Leave a batch as `ImageDataset` gives it."""
    return batch


def usual(network: nn.Module, train: ImageDataset, config: TrainConfig) -> None:
    """Train a network with the usual loop."""
    torch.manual_seed(config.seed)
    loader = DataLoader(
        train, config.batch_size, sampler=RandomSampler(train), drop_last=True, collate_fn=whole
    )
    optimizer = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    criterion, total = nn.BCEWithLogitsLoss(), config.epochs * len(loader)
    network.to(memory_format=torch.contiguous_format).train()
    for epoch in range(config.epochs):
        for step, batch in enumerate(loader):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at((epoch * len(loader) + step) / total, config, 0)
            images = batch["image"].contiguous()
            flipped = torch.rand(len(images)) < 0.5
            images[flipped] = images[flipped].flip(-1)
            optimizer.zero_grad()
            loss = criterion(network(images).fake, batch["fake"])
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
            optimizer.step()
            loss.item()


@torch.no_grad()
def auc_of(network: nn.Module, val: ImageDataset) -> float:
    """Return the AUC of a network in fp32 on validation images."""
    network.eval()
    logits = [network(batch["image"]).fake for batch in DataLoader(val, 64, collate_fn=whole)]
    return auc(val.fake.numpy(), torch.cat(logits).numpy())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row per seed, and the difference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1500, help="demo images, 70 %% of them to train on")
    parser.add_argument("--size", type=int, default=DEMO_SIZE, help="side of an image in pixels")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0 on")
    parser.add_argument("--backbone", default="efficientnet_b0")
    parser.add_argument("--cores", type=int, default=0, help="cores to use; 0 for all")
    options = parser.parse_args(arguments)
    cores = use_cores(options.cores)
    images = ImageDataset(demo_manifest(options.images, size=options.size), options.size)
    train, val = images.split("train"), images.split("val")
    rows = []
    for seed in range(options.seeds):
        config = TrainConfig(epochs=options.epochs, batch_size=16, learning_rate=1e-3, seed=seed)
        detector = create_detector(
            options.backbone, options.size, pretrained="none", seed=seed, residual=True
        )
        network = copy.deepcopy(detector.network)
        with tempfile.TemporaryDirectory() as folder:
            history = fit(detector, train, val, config, folder)
        usual(network, train, config)
        rows.append({"seed": seed, USUAL: auc_of(network, val), OURS: history["val_auc"].iloc[-1]})
    table = pd.DataFrame(rows)
    show(f"AUC on {len(val)} images after {options.epochs} epochs on {len(train)}", table.round(3))
    gap = (table[OURS] - table[USUAL]).to_numpy()
    print(f"\nDifference: {gap.mean():+.3f}.")
    if len(gap) > 1:
        reach = stats.t.ppf(0.975, len(gap) - 1) * stats.sem(gap)
        print(f"95 % interval: [{gap.mean() - reach:+.3f}, {gap.mean() + reach:+.3f}].")
    print(f"\n{machine(cores, ('torch', 'timm', 'accelerate'))}.")


if __name__ == "__main__":
    main()
