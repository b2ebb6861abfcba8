"""Do two processes train twice as many images a second as one?

Each process has one thread and batches of its own, of the same size; images a second are of the second epoch, when the
decoded images are in the cache.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from _paired import as_table, draw_jpegs, make_parser, scratch, show, show_machine, verdict, write_folder

GOAL = 0.9
"""Efficiency wanted: speed of n processes over n times the speed of one."""


def work(root: str, backbone: str, size: int, batch_size: int) -> None:
    """Train for two epochs, as one of the processes, and print the seconds of the second."""
    import torch

    from dfdlib import create_detector, fit
    from dfdlib.data.dataset import ImageDataset
    from dfdlib.data.scan import scan_images
    from dfdlib.training.settings import TrainConfig

    torch.set_num_threads(1)
    images = ImageDataset(scan_images(root), size)
    val = images.subset(images.manifest.groupby("label").cumcount() < 2)
    detector = create_detector(backbone, size, pretrained="none")
    config = TrainConfig(epochs=2, batch_size=batch_size, precision="bf16")
    history = fit(detector, images, val, config, os.environ["OUT"])
    print("SECONDS", history["seconds"].iloc[-1], flush=True)


def seconds_of(processes: int, options: argparse.Namespace, root: Path) -> float:
    """Start the processes; return the seconds of their second epoch."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(launch if processes > 1 else []), __file__, "--worker", str(root)]
    settings = {
        "backbone": options.backbone,
        "size": options.size,
        "batch-size": options.batch_size * processes,
    }
    command += [str(part) for name, value in settings.items() for part in (f"--{name}", value)]
    with tempfile.TemporaryDirectory() as out:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OUT": out}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    found = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("SECONDS")]
    if done.returncode or not found:
        raise SystemExit(done.stderr[-2000:])
    return max(map(float, found))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = make_parser(__doc__, repeats=3, cores=None)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--images", type=int, default=1536, help="images an epoch, whole batches")
    parser.add_argument("--size", type=int, default=224, help="side of the images and of the input")
    parser.add_argument("--batch-size", type=int, default=32, help="images a step of each process")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--worker", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        work(options.worker, options.backbone, options.size, options.batch_size)
        return
    if options.clock == "cpu":
        parser.error("--clock cpu does not see the other processes.")
    one, many = "one process", f"{options.processes} processes"
    with scratch() as folder:
        write_folder(folder / "files", draw_jpegs(options.images, options.size))
        counts = {one: 1, many: options.processes}
        rows = [
            {name: seconds_of(n, options, folder / "files") for name, n in counts.items()}
            for _ in range(options.repeats)
        ]
    seconds = pd.DataFrame(rows)
    show(
        f"{options.backbone}, {options.images} images of {options.size} px",
        as_table(seconds, one, options.images, "images"),
    )
    efficiency = float((seconds[one] / seconds[many]).median()) / options.processes
    print(f"\nEfficiency: {efficiency:.2f} ({verdict(efficiency, GOAL)}).")
    show_machine(options, options.processes, ("torch", "timm", "accelerate"))


if __name__ == "__main__":
    main()
