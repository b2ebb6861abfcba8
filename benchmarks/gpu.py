"""How fast does a GPU train, and how long does it wait?

Trains the same backbones from scratch on the same JPEGs in turns: timm's way (its dataset, its loader with worker
processes and prefetcher, bf16, channels-last, fused AdamW, as its `train.py` does by these options) and `dfdlib.fit`,
whose second epoch is taken, when the decoded images are in its cache; once as it is by default, once with `forensic`
augmentation, which runs in worker processes. `busy` compares them with the same steps on one batch that stays on the
device: the share of an epoch that the device computes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pandas as pd
import timm
import torch
from _paired import draw_jpegs, machine, make_parser, scratch, show, write_folder
from timm.data import create_dataset, create_loader
from torch import nn

from dfdlib import create_detector, fit
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.scan import scan_images
from dfdlib.training.precision import choose_precision
from dfdlib.training.settings import TrainConfig

BACKBONES = ("resnet18", "efficientnet_b0", "tf_efficientnetv2_s", "vit_base_patch16_224")
DEVICE = torch.device("cuda")


def trainer(backbone: str, size: int) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Return a plain training step on the device: bf16 or fp16, channels-last, fused AdamW, clipped gradients."""
    network = timm.create_model(backbone, num_classes=1, **({"img_size": size} if "vit" in backbone else {}))
    network = network.to(DEVICE, memory_format=torch.channels_last).train()
    optimizer, criterion = torch.optim.AdamW(network.parameters(), 1e-4, fused=True), nn.BCEWithLogitsLoss()
    precision = choose_precision(DEVICE)

    def step(images: torch.Tensor, labels: torch.Tensor) -> None:
        with precision.autocast(DEVICE):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        criterion(logits.squeeze(1).float(), labels.float()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def timm_rate(backbone: str, root: Path, size: int, batch_size: int, workers: int) -> float:
    """Return images per second of a second epoch of timm's loader."""
    loader = create_loader(
        create_dataset("", root=str(root)),
        (3, size, size),
        batch_size,
        is_training=True,
        no_aug=True,
        num_workers=workers,
        persistent_workers=True,
    )
    step = trainer(backbone, size)
    for _ in range(2):
        torch.cuda.synchronize()
        started, n = time.perf_counter(), 0
        for images, labels in loader:
            step(images, labels)
            n += len(images)
        torch.cuda.synchronize()
    return n / (time.perf_counter() - started)


def device_rate(backbone: str, size: int, batch_size: int, n_steps: int) -> float:
    """Return images per second of steps on one batch that stays on the device."""
    step = trainer(backbone, size)
    images = torch.rand(batch_size, 3, size, size, device=DEVICE)
    labels = torch.arange(batch_size, device=DEVICE) % 2
    for repeat in range(2):
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(n_steps if repeat else 5):
            step(images, labels)
        torch.cuda.synchronize()
    return batch_size * n_steps / (time.perf_counter() - started)


def our_rate(backbone: str, images: ImageDataset, batch_size: int, augment: str, folder: Path) -> float:
    """Return images per second of the second epoch of `dfdlib.fit`."""
    val = images.subset(images.manifest.groupby("label").cumcount() < 2)
    detector = create_detector(backbone, images.size, pretrained="none")
    config = TrainConfig(epochs=2, batch_size=batch_size, learning_rate=1e-4, augment=augment)
    with redirect_stdout(StringIO()):
        history = fit(detector, images, val, config, folder)
    return float(history["images_per_second"].iloc[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row per backbone and way."""
    parser = make_parser(__doc__, repeats=2, cores=None)
    parser.add_argument("--images", type=int, default=8192, help="images of an epoch")
    parser.add_argument("--files", type=int, default=512, help="different JPEGs among them")
    parser.add_argument("--size", type=int, default=224, help="side of the input")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=16, help="worker processes of timm's loader")
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES))
    options = parser.parse_args(arguments)
    rows = []
    with scratch() as folder:
        files = draw_jpegs(options.files, 256)
        write_folder(folder / "files", files * -(-options.images // options.files))
        images = ImageDataset(scan_images(folder / "files"), options.size)
        for backbone in options.backbones:
            at_best = device_rate(backbone, options.size, options.batch_size, 60)
            ways: dict[str, Callable[[], float]] = {
                "timm": lambda b=backbone: timm_rate(
                    b, folder / "files", options.size, options.batch_size, options.workers
                )
            }
            for augment in ("light", "forensic"):
                ways[f"dfdlib.fit, {augment}"] = lambda b=backbone, a=augment: our_rate(
                    b, images, options.batch_size, a, folder / f"{b}-{a}-{time.time_ns()}"
                )
            for way, rate in ways.items():
                best = max(rate() for _ in range(options.repeats))
                rows.append({"backbone": backbone, "way": way, "images / s": f"{best:,.0f}"})
                rows[-1]["busy"] = f"{best / at_best:.0%}"
                print(rows[-1], flush=True)
    show(f"{options.images} images of {options.size} px, batches of {options.batch_size}", pd.DataFrame(rows))
    print(f"\n{torch.cuda.get_device_name()}; {machine(0, ('torch', 'timm', 'torchvision', 'accelerate'))}.")


if __name__ == "__main__":
    main()
