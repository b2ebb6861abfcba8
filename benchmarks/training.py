"""How long does an epoch of training take, from files to updated weights?

Trains the same backbones from scratch on the same JPEGs in turns: the usual loop (torchvision's ImageFolder and v1
transforms on Pillow, a DataLoader, NCHW in fp32, `loss.item()` every step) and `dfdlib.fit`, whose second epoch is
taken, when the decoded images are in its cache. A third row is the forward and backward passes of dfdlib's network
alone, on a batch that is in memory: what the loop could at best reach.
"""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pandas as pd
import timm
import torch
from _paired import as_table, draw_jpegs, make_parser, scratch, show, show_machine, use_cores, write_folder
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from dfdlib import create_detector, fit
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.scan import scan_images
from dfdlib.training.optim import train_mode
from dfdlib.training.settings import TrainConfig

USUAL, OURS, STEP = "the usual loop", "dfdlib.fit", "dfdlib's forward and backward alone"
GOALS = {
    "resnet18": 2.7,
    "efficientnet_b0": 3.3,
    "tf_efficientnetv2_b0": 1.5,
    "tf_efficientnetv2_s": 2.3,
}
"""Times faster than the usual loop wanted on a CPU with AMX, by backbone."""


def usual(backbone: str, root: Path, size: int, batch_size: int, workers: int) -> Callable[[], None]:
    """Return an epoch of the usual loop."""
    pipeline = transforms.Compose(
        [
            transforms.Resize(size),
            transforms.CenterCrop(size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    loader = DataLoader(
        ImageFolder(str(root), pipeline), batch_size, shuffle=True, num_workers=workers, drop_last=True
    )
    network = timm.create_model(backbone, num_classes=1)
    optimizer, criterion = torch.optim.AdamW(network.parameters(), 1e-4), nn.BCEWithLogitsLoss()

    def epoch() -> None:
        network.train()
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(network(images).squeeze(1), labels.float())
            loss.backward()
            optimizer.step()
            total += loss.item()

    return epoch


def ours(backbone: str, images: ImageDataset, batch_size: int, folder: Path) -> Iterator[tuple[float, str]]:
    """Yield the seconds of a second epoch of `fit`, and the precision that it chose."""
    val = images.subset(images.manifest.groupby("label").cumcount() < 2)
    for run in itertools.count():
        detector = create_detector(backbone, images.size, pretrained="none")
        config = TrainConfig(epochs=2, batch_size=batch_size, learning_rate=1e-4)
        with redirect_stdout(StringIO()):
            history = fit(detector, images, val, config, folder / f"{backbone}-{run}")
        yield float(history["seconds"].iloc[-1]), history["precision"].iloc[-1]


def step(backbone: str, images: ImageDataset, batch_size: int, precision: str) -> Callable[[], None]:
    """Return as many forward and backward passes as an epoch has, on one batch in memory."""
    network = create_detector(backbone, images.size, pretrained="none").network
    network = network.to(memory_format=torch.channels_last)
    train_mode(network)
    batch = images.batch(range(batch_size))["image"].contiguous(memory_format=torch.channels_last)

    def epoch() -> None:
        for _ in range(len(images) // batch_size):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = network(batch).fake.mean()
            loss.backward()

    return epoch


def prepare(backbone: str, root: Path, size: int, batch_size: int, workers: int, cores: int) -> None:
    """Build the usual loop in a process of its own: `dfdlib.fit` changes how its process keeps memory."""
    torch.set_num_threads(cores)
    globals()["usual_epoch"] = usual(backbone, root, size, batch_size, workers)


def timed_epoch() -> float:
    """Return the seconds of an epoch of the usual loop that `prepare` built."""
    return timed(globals()["usual_epoch"])


def timed(run: Callable[[], None]) -> float:
    """Return how long a call takes, in seconds."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table a backbone."""
    parser = make_parser(__doc__, repeats=3, cores=0)
    parser.add_argument("--images", type=int, default=192, help="images an epoch, whole batches")
    parser.add_argument("--side", type=int, default=256, help="side of the JPEGs")
    parser.add_argument("--size", type=int, default=224, help="side of the input")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=0, help="worker processes of the usual loop")
    parser.add_argument("--backbones", nargs="+", default=list(GOALS))
    options = parser.parse_args(arguments)
    cores = use_cores(options.cores)
    with scratch() as folder:
        write_folder(folder / "files", draw_jpegs(options.images, options.side))
        images = ImageDataset(scan_images(folder / "files"), options.size)
        for backbone in options.backbones:
            settings = (backbone, folder / "files", options.size, options.batch_size, options.workers, cores)
            runs, rows = ours(backbone, images, options.batch_size, folder), []
            with multiprocessing.get_context("spawn").Pool(1, prepare, settings) as other:
                other.apply(timed_epoch)
                for _ in range(options.repeats):
                    seconds, precision = next(runs)
                    alone = step(backbone, images, options.batch_size, precision)
                    rows.append({USUAL: other.apply(timed_epoch), OURS: seconds, STEP: timed(alone)})
            goals = {OURS: GOALS[backbone]} if backbone in GOALS else {}
            table = as_table(pd.DataFrame(rows), USUAL, options.images, "images", goals)
            show(f"{backbone}, {options.images} images of {options.size} px, {precision}", table)
    show_machine(options, cores, ("torch", "timm", "torchvision", "accelerate"))


if __name__ == "__main__":
    main()
