"""What computing the features of a frozen backbone once saves, and whether anything is lost by it.

Trains the head of notebook 02 on the demo set in two ways, in turns: the backbone run in every epoch, as the
usual loop does (fp32, channels first), and `frozen.fit_frozen`. Prints the times, their ratio and the AUC.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import pandas as pd
import torch

from dfdlib import create_detector, predict
from dfdlib.core import machine
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import subsample
from dfdlib.demo.sets import demo_manifest
from dfdlib.evaluation import metrics
from dfdlib.training.frozen import fit_frozen
from dfdlib.training.settings import TrainConfig


def usual_loop(images: ImageDataset, config: TrainConfig, backbone: str, weights: str) -> float:
    """Run the frozen backbone in every epoch, train the head; return the AUC on validation images."""
    network = create_detector(backbone, images.size, pretrained="none", weights=weights).network
    for parameter in network.backbone.parameters():
        parameter.requires_grad = False
    optimizer = torch.optim.AdamW(network.heads.parameters(), config.learning_rate)
    train, val = images.split("train"), images.split("val")
    for epoch in range(config.epochs):
        network.eval()
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(epoch))
        for places in order.split(config.batch_size):
            batch = train.batch(places.numpy())
            pixels = batch["image"].contiguous()
            pixels = pixels.flip(-1) if epoch % 2 else pixels
            logits = network.heads(network.embed(pixels))
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.fake, batch["fake"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            batches = [val.batch(range(i, min(i + 32, len(val)))) for i in range(0, len(val), 32)]
            scores = torch.cat([network(batch["image"].contiguous()).fake for batch in batches])
    return metrics.auc(val.fake.numpy(), scores.numpy())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--weights", default="")
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    machine.setup(0)
    images = ImageDataset(subsample(demo_manifest(), options.images, 0), options.size)
    config = TrainConfig(epochs=options.epochs, learning_rate=1e-3, balance="none", colour_jitter=0.1)
    rows = {}
    started = time.perf_counter()
    score = usual_loop(images, config, options.backbone, options.weights)
    rows["backbone every epoch"] = {"seconds": time.perf_counter() - started, "val AUC": score}
    for views in (1, 2, 5):
        detector = create_detector(options.backbone, options.size, pretrained="none", weights=options.weights)
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as out_dir:
            fit_frozen(detector, images.split("train"), images.split("val"), config, out_dir, views)
        seconds = time.perf_counter() - started
        val = predict(detector, images.split("val"))
        rows[f"features once, {views} views"] = {
            "seconds": seconds,
            "val AUC": metrics.binary_metrics(val)["auc"],
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table["times faster"] = table.loc["backbone every epoch", "seconds"] / table["seconds"]
    n_train = len(images.split("train"))
    print(f"{n_train} training images of {options.size} px, {options.epochs} epochs, {options.backbone}")
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
