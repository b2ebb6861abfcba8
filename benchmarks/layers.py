"""What do dfdlib's quicker layers save of a training step in bf16?

The same networks on the same batch, forward and backward, in turns: as timm builds them, in bf16 and in float32, and
with `dfdlib.quick`, in bf16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import timm
import torch
from _paired import as_table, draw_pixels, in_turns, make_parser, show, show_machine, use_cores
from torch import Tensor, nn

from dfdlib.optimization import keep_inputs
from dfdlib.quick import quicken
from dfdlib.runtime import keep_freed_memory

HALF, FULL, OURS = "timm in bf16", "timm in float32", "dfdlib in bf16"


def step(network: nn.Module, images: Tensor, half: bool) -> Callable[[], None]:
    """Return a forward and a backward pass over the images."""
    network = network.train().to(memory_format=torch.channels_last)

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            value = network(images).float().square().mean()
        value.backward()
        network.zero_grad(set_to_none=True)

    return run


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table a backbone."""
    parser = make_parser(__doc__, repeats=5, cores=0)
    parser.add_argument("--images", type=int, default=16, help="images a batch")
    parser.add_argument("--size", type=int, default=224, help="side of an image in pixels")
    parser.add_argument(
        "--backbones",
        nargs="+",
        default=["efficientnet_b0", "mobilenetv2_100", "tf_efficientnetv2_b0", "tf_efficientnetv2_s"],
    )
    options = parser.parse_args(arguments)
    cores = use_cores(options.cores)
    keep_freed_memory()
    images = draw_pixels(options.images, options.size).float() / 255
    images = images.contiguous(memory_format=torch.channels_last)
    for backbone in options.backbones:
        plain, quick = (timm.create_model(backbone, num_classes=1) for _ in range(2))
        quicken(quick)
        keep_inputs(quick)
        ways = {
            HALF: step(plain, images, half=True),
            FULL: step(plain, images, half=False),
            OURS: step(quick, images, half=True),
        }
        seconds = in_turns(ways, options.repeats, options.clock)
        table = as_table(seconds, HALF, options.images, "images")
        show(f"{backbone}, a step on {options.images} images of {options.size} px", table)
    show_machine(options, cores, ("torch", "timm"))


if __name__ == "__main__":
    main()
