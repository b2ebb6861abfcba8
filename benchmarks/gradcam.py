"""What does a heatmap cost, beside pytorch-grad-cam and beside the prediction alone?

Explains the same batches by the same random weights in turns: by pytorch-grad-cam, one batch at once and as it
comes (fp32, channels first, gradients to every weight); by `heatmaps.explain_images`, whose gradient stops at the target
layer, on a detector that `fold_batchnorm.folded` prepared once; and by no heatmap at all, `forward.judge` on the same.
pytorch-grad-cam runs twice: in a process of its own, as users run it, and in this one, whose memory
`machine.keep_freed_memory` keeps, which it gains by too. Prints images a second and how far the heatmaps differ.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd
from _paired import (
    as_table,
    draw_pixels,
    in_turns,
    make_parser,
    random_detector,
    ratios,
    show,
    show_machine,
    use_cores,
    verdict,
)
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import BinaryClassifierOutputTarget
from torch import Tensor, nn

from dfdlib.core.machine import keep_freed_memory
from dfdlib.explain.heatmaps import explain_images
from dfdlib.models.detector import Detector
from dfdlib.models.fold_batchnorm import folded
from dfdlib.models.forward import judge

USUAL, SINGLE = "pytorch-grad-cam, batched", "pytorch-grad-cam, one by one"
KEPT = "pytorch-grad-cam, batched, memory kept"
OURS, PLAIN = "dfdlib, heatmaps and logits", "dfdlib, logits alone"
GOALS = {OURS: 8.0}
"""Times faster than pytorch-grad-cam wanted."""
PLAIN_GOAL = 0.85
"""Speed relative to the plain forward pass wanted."""


class FakeLogit(nn.Module):
    """The one output [B] that pytorch-grad-cam looks at."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap a network that returns `Logits`."""
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, 3, S, S] in [0, 1] to the logits [B]."""
        return self.network(images).fake


def usual(detector: Detector, pixels: Tensor, batch_size: int) -> Callable[[], np.ndarray]:
    """Return a function that explains images [N, 3, S, S] by pytorch-grad-cam: float32 [N, S, S]."""
    model = FakeLogit(copy.deepcopy(detector.network)).eval()
    layers = [model.network.get_submodule(detector.target_layer)]
    images = (pixels.float() / 255).contiguous()

    def run() -> np.ndarray:
        with GradCAM(model, layers) as cam:
            parts = images.split(batch_size)
            return np.concatenate(
                [cam(part, [BinaryClassifierOutputTarget(1)] * len(part)) for part in parts]
            )

    return run


_HERE: dict[int, Callable[[], np.ndarray]] = {}
"""In the process of pytorch-grad-cam: its ways to explain the batch, by the size of the parts."""


def _start(backbone: str, n: int, size: int, cores: int) -> None:
    use_cores(cores)
    detector, pixels = set_up(backbone, n, size)
    _HERE.update({batch_size: usual(detector, pixels, batch_size) for batch_size in (1, n)})


def _explain(batch_size: int) -> np.ndarray:
    return _HERE[batch_size]()


def set_up(backbone: str, n: int, size: int) -> tuple[Detector, Tensor]:
    """Return a detector of random weights and images for it; the same in every process."""
    pixels = draw_pixels(n, size)
    return random_detector(backbone, pixels), pixels


def compare(n: int, options: argparse.Namespace) -> None:
    """Print the tables of a batch of n images."""
    spawn = multiprocessing.get_context("spawn")  # so that the memory allocator is as it comes
    set_up_of = (options.backbone, n, options.size)
    with ProcessPoolExecutor(1, spawn, initializer=_start, initargs=(*set_up_of, options.cores)) as other:
        detector, pixels = set_up(*set_up_of)
        quick = folded(detector)
        ways = {
            USUAL: lambda: other.submit(_explain, n).result(),
            SINGLE: lambda: other.submit(_explain, 1).result(),
            KEPT: usual(detector, pixels, n),
            OURS: lambda: explain_images(quick, pixels),
            PLAIN: lambda: judge(quick, pixels),
        }
        gap = np.abs(ways[USUAL]() - ways[OURS]().heatmap)
        seconds = in_turns(ways, options.repeats, options.clock)
    title = f"{n} images of {options.size} px, {options.backbone}"
    show(title, as_table(seconds, USUAL, n, "images", GOALS))
    low, middle, high = ratios(seconds, OURS, PLAIN)
    row = {"speed of heatmaps": f"{middle:.2f} ({low:.2f}–{high:.2f})", "goal": verdict(middle, PLAIN_GOAL)}
    show(f"Beside `{PLAIN}`", pd.DataFrame([row]))
    print(f"\nDifference of the heatmaps, of 1: {gap.mean():.1e} on average, {gap.max():.1e} at most.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of each size of batch."""
    parser = make_parser(__doc__, repeats=5)
    parser.add_argument("--images", type=int, nargs="+", default=[16, 32, 64], help="images a batch")
    parser.add_argument("--size", type=int, default=128, help="side of the images")
    parser.add_argument("--backbone", default="efficientnet_b0")
    options = parser.parse_args(arguments)
    if options.clock == "cpu":
        parser.error("--clock cpu does not see the other process.")
    cores = use_cores(options.cores)
    keep_freed_memory()
    for n in options.images:
        compare(n, options)
    show_machine(options, cores, ("torch", "timm", "grad-cam"))


if __name__ == "__main__":
    main()
