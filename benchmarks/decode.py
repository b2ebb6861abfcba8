"""How fast does a JPEG file become the normalised input of a network, and is it the same input?

Decodes JPEG bytes to float32 [B, 3, 224, 224], ImageNet-normalised, in two ways in turns: as the usual loop does
(Pillow, torchvision's transforms v1, one image after another, then stacked) and as dfdlib does (`imageio`, the
uint8 batch of `datasets`, the network's own `Normalize`). Prints images a second and the mean and largest
difference of the pixels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from _paired import as_table, draw_jpegs, in_turns, make_parser, show, show_machine, use_cores, verdict
from PIL import Image
from torch import Tensor
from torchvision import transforms

from dfdlib.images.picture import Picture
from dfdlib.models.networks import Normalize
from dfdlib.models.weights import IMAGENET

GOALS = {256: 1.8, 1024: 2.4}
"""Times faster wanted, by the side of the JPEG."""
USUAL, OURS = "torchvision v1 on PIL", "dfdlib"

_normalize = Normalize(IMAGENET.mean, IMAGENET.std, residual=False)


def usual(files: Sequence[bytes], size: int) -> Tensor:
    """Decode a batch as the usual loop does; return float32 [B, 3, size, size]."""
    pipeline = transforms.Compose(
        [
            transforms.Resize(size),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET.mean, IMAGENET.std),
        ]
    )
    return torch.stack([pipeline(Image.open(io.BytesIO(data)).convert("RGB")) for data in files])


def ours(files: Sequence[bytes], size: int) -> Tensor:
    """Decode a batch as dfdlib does; return float32 [B, 3, size, size], channels-last in memory."""
    pixels = np.stack([Picture(data, "a JPEG").fitted(size) for data in files])
    return _normalize(torch.from_numpy(pixels).permute(0, 3, 1, 2))


def pixel_difference(files: Sequence[bytes], size: int) -> tuple[float, float]:
    """Return the mean and the largest absolute difference of the two, in grey levels of 255."""
    gap = (usual(files, size) - ours(files, size)).abs() * torch.tensor(IMAGENET.std)[:, None, None] * 255
    return float(gap.mean()), float(gap.max())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = make_parser(__doc__, repeats=9)
    parser.add_argument("--images", type=int, default=32, help="images a batch")
    parser.add_argument("--sides", type=int, nargs="+", default=list(GOALS), help="sides of the JPEGs")
    parser.add_argument("--size", type=int, default=224, help="side of the result")
    options = parser.parse_args(arguments)
    cores = use_cores(options.cores)
    differences = []
    for side in options.sides:
        files = draw_jpegs(options.images, side)
        seconds = in_turns(
            {USUAL: lambda f=files: usual(f, options.size), OURS: lambda f=files: ours(f, options.size)},
            options.repeats,
            options.clock,
        )
        goals = {OURS: GOALS[side]} if side in GOALS else None
        kilobytes = sum(map(len, files)) / len(files) / 1000
        title = f"{len(files)} JPEGs of {side} px ({kilobytes:.0f} kB) to {options.size} px"
        show(title, as_table(seconds, USUAL, len(files), "images", goals))
        mean, largest = pixel_difference(files, options.size)
        row = {"JPEG": f"{side} px", "mean": f"{mean:.2f}", "largest": f"{largest:.0f}"}
        differences.append(row | {"goal of the mean": verdict(mean, 1, at_most=True)})
    show("Difference of the pixels, in grey levels of 255", pd.DataFrame(differences))
    packages = ("torch", "torchvision", "pillow", "opencv-python-headless")
    show_machine(options, cores, packages)


if __name__ == "__main__":
    main()
