"""What does a heatmap cost, beside pytorch-grad-cam and beside the prediction alone?

Explains the same batch by the same random weights in turns: by pytorch-grad-cam, one batch at once and as it
comes (fp32, channels first, gradients to every weight); by `explain.heatmaps`, whose gradient stops at the target
layer; and by no heatmap at all, `inference.judge`. Prints images a second and how far the heatmaps differ.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

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

from dfdlib.explain import heatmaps
from dfdlib.inference import judge
from dfdlib.models import Detector

USUAL, SINGLE = "pytorch-grad-cam, batched", "pytorch-grad-cam, one by one"
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = make_parser(__doc__, repeats=5)
    parser.add_argument("--images", type=int, default=16, help="images a batch")
    parser.add_argument("--size", type=int, default=128, help="side of the images")
    parser.add_argument("--backbone", default="efficientnet_b0")
    options = parser.parse_args(arguments)
    cores = use_cores(options.cores)
    pixels = draw_pixels(options.images, options.size)
    detector = random_detector(options.backbone, pixels)
    ways = {
        USUAL: usual(detector, pixels, options.images),
        SINGLE: usual(detector, pixels, 1),
        OURS: lambda: heatmaps(detector, pixels),
        PLAIN: lambda: judge(detector, pixels),
    }
    gap = np.abs(ways[USUAL]() - heatmaps(detector, pixels).heatmap)
    seconds = in_turns(ways, options.repeats, options.clock)
    title = f"{options.images} images of {options.size} px, {options.backbone}"
    show(title, as_table(seconds, USUAL, options.images, "images", GOALS))
    low, middle, high = ratios(seconds, OURS, PLAIN)
    row = {"speed of heatmaps": f"{middle:.2f} ({low:.2f}–{high:.2f})", "goal": verdict(middle, PLAIN_GOAL)}
    show(f"Beside `{PLAIN}`", pd.DataFrame([row]))
    print(f"\nDifference of the heatmaps, of 1: {gap.mean():.1e} on average, {gap.max():.1e} at most.")
    show_machine(options, cores, ("torch", "timm", "grad-cam"))


if __name__ == "__main__":
    main()
