"""How fast is a folder of images judged, decoding and CSV included?

Judges the same files by the same random weights in turns: one image at a time in PyTorch with Pillow, as most
scripts do; by `predict_files.predict_files` in PyTorch; by `predict_files.predict_files` with the exported ONNX model; and
by both with four views (test-time augmentation). Prints images a second and how far the probabilities differ.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import onnxruntime
import pandas as pd
import torch
from _paired import (
    as_table,
    draw_jpegs,
    draw_pixels,
    in_turns,
    make_parser,
    random_detector,
    ratios,
    scratch,
    show,
    show_machine,
    use_cores,
    verdict,
    write_folder,
)
from PIL import Image
from torchvision import transforms

from dfdlib.data.manifest import files_of
from dfdlib.data.scan import scan_images
from dfdlib.evaluation.files import predict_files
from dfdlib.models.detector import Detector
from dfdlib.models.forward import DEFAULT_VIEWS
from dfdlib.models.onnx import export_onnx, load_onnx

USUAL, TORCH, ONNX = "one image at a time, PIL", "dfdlib, PyTorch", "dfdlib, ONNX"
GOALS = {TORCH: 2.7, ONNX: 2.7}
"""Times faster wanted."""
TTA_GOAL = 4.2
"""Times the cost of one view that four views may have."""


def usual(network: torch.nn.Module, files: Sequence[Path], size: int, csv: Path) -> None:
    """Judge files one after another as most scripts do, and write a table of `path` and `p_fake`."""
    pipeline = transforms.Compose(
        [transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor()]
    )
    rows = []
    with torch.no_grad():
        for file in files:
            pixels = pipeline(Image.open(file).convert("RGB"))[None]  # the network normalises
            rows.append((file.name, torch.sigmoid(network(pixels).fake).item()))
    pd.DataFrame(rows, columns=["path", "p_fake"]).to_csv(csv, index=False)


def load_limited(path: Path, threads: int) -> Detector:
    """Load an ONNX detector that computes in so many threads; by itself it takes one for every core there is."""
    unlimited = onnxruntime.SessionOptions

    def options() -> onnxruntime.SessionOptions:
        chosen = unlimited()
        chosen.intra_op_num_threads = threads
        return chosen

    with mock.patch.object(onnxruntime, "SessionOptions", options):
        return load_onnx(path)


def ways_of(
    detector: Detector, manifest: pd.DataFrame, out: Path, cores: int
) -> dict[str, Callable[[], object]]:
    """Return what to time; each way writes `<its name>.csv` into `out`."""
    export_onnx(detector, out / "model.onnx")
    engines = {TORCH: detector, ONNX: load_limited(out / "model.onnx", cores)}
    files = files_of(manifest)
    network = copy.deepcopy(detector.network).eval()
    ways: dict[str, Callable[[], object]] = {
        USUAL: partial(usual, network, files, detector.image_size, out / f"{USUAL}.csv")
    }
    for views in ((), DEFAULT_VIEWS):
        for name, engine in engines.items():
            name += ", 4 views" if views else ""
            ways[name] = partial(
                predict_files, [engine], manifest, out / f"{name}.csv", tta=views, workers=cores
            )
    return ways


def tta_table(seconds: pd.DataFrame) -> pd.DataFrame:
    """Return what four views cost, as a multiple of one."""
    rows = []
    for name in (TORCH, ONNX):
        low, middle, high = ratios(seconds, name, f"{name}, 4 views")
        row = {"way": name, "cost of 4 views": f"{middle:.2f} ({low:.2f}–{high:.2f})"}
        rows.append(row | {"goal": verdict(middle, TTA_GOAL, at_most=True)})
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--side", type=int, default=256, help="side of the JPEGs")
    parser.add_argument("--size", type=int, default=224, help="side of the detector's input")
    parser.add_argument("--backbone", default="efficientnet_b0")
    options = parser.parse_args(arguments)
    cores = use_cores(options.cores)
    with scratch() as root:
        write_folder(root / "images", draw_jpegs(options.images, options.side))
        manifest = scan_images(root / "images")
        detector = random_detector(options.backbone, draw_pixels(6, options.size))
        ways = ways_of(detector, manifest, root, cores)
        seconds = in_turns(ways, options.repeats, options.clock)
        scores = {name: pd.read_csv(root / f"{name}.csv")["p_fake"].to_numpy() for name in ways}
    title = f"{options.images} JPEGs of {options.side} px, {options.backbone} at {options.size} px"
    show(title, as_table(seconds, USUAL, options.images, "images", GOALS))
    show("What four views cost", tta_table(seconds))
    show(
        "The same answers?",
        pd.DataFrame(
            {"way": name, "p_fake": f"{score.min():.3f} to {score.max():.3f}"}
            | {
                f"largest difference to {one}": f"{np.abs(score - scores[one]).max():.6f}"
                for one in (USUAL, TORCH)
            }
            for name, score in scores.items()
        ),
    )
    packages = ("torch", "torchvision", "timm", "pillow", "opencv-python-headless", "onnxruntime")
    show_machine(options, cores, packages)


if __name__ == "__main__":
    main()
