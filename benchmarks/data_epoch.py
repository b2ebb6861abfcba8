"""How long does an epoch take to read its images, once they have been read before?

Passes over a folder of JPEG files in three ways in turns: as the usual loop does (torchvision's `ImageFolder`,
Pillow, transforms v1, `DataLoader`: every epoch decodes anew), by dfdlib's memory-mapped cache (uint8 batches of
`loader.make_loader`, which the network normalises itself), and by the cache with that normalisation counted in.
The first epoch of dfdlib, which decodes, is counted separately: what is compared is every later one. All ways keep freed
memory in the process, as dfdlib's training does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from _paired import (
    as_table,
    draw_jpegs,
    in_turns,
    make_parser,
    scratch,
    show,
    show_machine,
    use_cores,
    write_folder,
)
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from dfdlib.core.machine import keep_freed_memory
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.loader import GroupShuffle, make_loader
from dfdlib.data.scan import scan_images
from dfdlib.models.networks import Normalize
from dfdlib.models.weights import IMAGENET

GOALS = {256: 8.0, 1024: 60.0}
"""Times faster wanted, by the side of the JPEGs."""
USUAL, CACHE, NORMALISED = "PIL files, transforms v1", "dfdlib's cache", "dfdlib's cache, normalised too"


def usual_epoch(root: Path, size: int, batch_size: int, workers: int) -> Callable[[], int]:
    """Return a function that passes over a folder once as the usual loop does, and counts the images."""
    pipeline = transforms.Compose(
        [
            transforms.Resize(size),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET.mean, IMAGENET.std),
        ]
    )
    loader = DataLoader(ImageFolder(str(root), pipeline), batch_size, shuffle=True, num_workers=workers)
    return lambda: sum(len(images) for images, _ in loader)


def cached_epoch(images: ImageDataset, batch_size: int, normalised: bool) -> Callable[[], int]:
    """Return a function that passes over the cache once in a new order, as training does, and counts."""
    order = GroupShuffle(images, seed=0)
    loader = make_loader(images, batch_size, order)
    normalize = Normalize(IMAGENET.mean, IMAGENET.std, residual=False)

    def run() -> int:
        order.epoch += 1
        n = 0
        for batch in loader:
            n += len(normalize(batch["image"]) if normalised else batch["image"])
        return n

    return run


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = make_parser(__doc__, repeats=5)
    parser.add_argument("--images", type=int, default=128, help="images of the folder, whole batches")
    parser.add_argument("--sides", type=int, nargs="+", default=list(GOALS), help="sides of the JPEGs")
    parser.add_argument("--size", type=int, default=224, help="side of the images that come out")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=0, help="worker processes of the usual loop")
    options = parser.parse_args(arguments)
    if options.images % options.batch_size:
        parser.error("--images must be a multiple of --batch-size: training leaves out a broken batch.")
    cores = use_cores(options.cores)
    keep_freed_memory()
    for side in options.sides:
        with scratch() as root:
            write_folder(root / "images", draw_jpegs(options.images, side))
            started = time.perf_counter()
            images = ImageDataset(scan_images(root / "images"), options.size, workers=cores)
            first = time.perf_counter() - started
            ways = {
                USUAL: usual_epoch(root / "images", options.size, options.batch_size, options.workers),
                CACHE: cached_epoch(images, options.batch_size, normalised=False),
                NORMALISED: cached_epoch(images, options.batch_size, normalised=True),
            }
            assert {way() for way in ways.values()} == {options.images}, "a way left images out"
            seconds = in_turns(ways, options.repeats, options.clock)
            goals = {CACHE: GOALS[side]} if side in GOALS else None
            title = (
                f"{options.images} JPEGs of {side} px, batches of {options.batch_size} at {options.size} px"
            )
            show(title, as_table(seconds, USUAL, options.images, "images", goals))
            print(f"\nThe cache was made in {first:.2f} s, once.")
            del images, ways  # closes the map
    show_machine(options, cores, ("torch", "torchvision", "pillow", "numpy"))


if __name__ == "__main__":
    main()
