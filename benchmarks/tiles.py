"""Tiles of native pixels against the fitted middle square, on photographs with forged regions.

Forges the photographs of a folder that are large enough (`forge_folder`, families that touch a region), trains a
detector that looks at the fitted middle square (`resize`) and one that looks at native squares, the same way on the
same pairs (its squares of fakes hold some of the region; not so with `--blind`), and judges both on the test part: AUC, and where the heatmaps of its fakes point, against the masks. Maps
and masks are compared over the whole photograph; what a detector did not look at has no heat. `forge_folder` puts
regions about the middle, so a hill there (`centre`) points well without looking.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from _paired import machine, scratch, show, use_cores
from PIL import Image

from dfdlib import DfdError, create_detector, fit, forge_folder, predict
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import files_of
from dfdlib.evaluation.comparison import paired_bootstrap
from dfdlib.evaluation.tables import as_text, auc_table
from dfdlib.explain.faithfulness import localisation_table
from dfdlib.explain.heatmaps import explain_picture
from dfdlib.images.decode import IMAGE_SUFFIXES, read_image
from dfdlib.images.picture import place_heatmap, read_picture
from dfdlib.images.tiles import parse_fit
from dfdlib.models.detector import Detector
from dfdlib.training.settings import TrainConfig

FAMILIES = ("face_swap_blending", "splicing", "inpainting")
"""Those of a region."""
WAYS = {
    "resize": ("resize", "resize"),
    "the middle native square": ("tiles", "crop"),
    "tiles, mean": ("tiles", "tiles"),
    "tiles, highest quarter": ("tiles", "tiles, top=0.25"),
}
"""What was trained, and how it is judged."""
_SIDE = 256
"""Of the grids that maps and masks are compared on."""


def forge(options: argparse.Namespace, folder: Path) -> pd.DataFrame:
    """Forge the photographs that are large enough; return their manifest."""
    (folder / "photos").mkdir()
    found = sorted(file for file in Path(options.photos).rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    rng = np.random.default_rng(options.seed)
    large = 0
    for file in (found[i] for i in rng.permutation(len(found))):
        with Image.open(file) as image:
            enough = max(image.size) >= options.min_side
        if enough and (not options.max_photos or large < options.max_photos):
            shutil.copy(file, folder / "photos" / f"{large:05}{file.suffix}")
            large += 1
    print(
        f"{len(found)} photographs, {large} taken of those with {options.min_side} pixels or more on their longer side"
    )
    if large < 2:
        raise DfdError(
            f"{options.photos} has fewer than two such photographs; name others, or lower --min-side."
        )
    settings = {"families": FAMILIES, "longest_side": options.longest_side, "workers": 1}
    return forge_folder(folder / "photos", folder / "forged", options.seed, **settings)


def train(options: argparse.Namespace, table: pd.DataFrame, text: str, folder: Path) -> Detector:
    """Train a detector that looks at what `text` says."""
    settings = {"pretrained": options.pretrained, "seed": options.seed, "native": parse_fit(text)}
    detector = create_detector(options.backbone, options.size, **settings)
    images = ImageDataset(table.drop(columns="mask") if options.blind else table, detector.fit)
    config = TrainConfig(
        epochs=options.epochs, batch_size=16, learning_rate=options.learning_rate, seed=options.seed
    )
    fit(detector, images.split("train"), images.split("val"), config, folder / text)
    return detector


def maps_of(detector: Detector, fakes: pd.DataFrame) -> np.ndarray:
    """Return what speaks for fake in each photograph, float32 [N, 256, 256] over all of it."""
    maps = []
    for file in files_of(fakes):
        picture = read_picture(file)
        height, width = picture.pixels.shape[:2]
        found, square = explain_picture(detector, picture, "fake")
        whole = np.zeros((height, width), np.float32)
        seen, heat = place_heatmap(found.heatmap[0], height, width, square)
        whole[seen] = heat
        maps.append(cv2.resize(whole, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA))
    return np.stack(maps)


def masks_of(fakes: pd.DataFrame) -> np.ndarray:
    """Return the forged regions, bool [N, 256, 256]."""
    masks = (read_image(file)[..., 0] for file in files_of(fakes, "mask"))
    return np.stack([cv2.resize(mask, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) > 127 for mask in masks])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print AUC and localisation of each way, side by side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("photos", help="folder of photographs")
    parser.add_argument(
        "--min-side", type=int, default=1000, help="take photographs whose longer side is at least this"
    )
    parser.add_argument("--longest-side", type=int, default=1600, help="larger ones are reduced to it first")
    parser.add_argument("--max-photos", type=int, default=0, help="at most this many, drawn; 0 for all")
    parser.add_argument("--size", type=int, default=224, help="side of the square that detectors see")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--pretrained", default="auto")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument(
        "--blind", action="store_true", help="draw training squares without knowing the masks"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=1, help="cores to use; 0 for all")
    options = parser.parse_args(arguments)
    cores = use_cores(options.cores)
    judged, maps, started = {}, {}, time.process_time()
    with scratch() as folder:
        table = forge(options, folder)
        trained = {text: train(options, table, text, folder) for text in ("resize", "tiles")}
        test = table[table["split"] == "test"]
        fakes = test[test["label"] == "fake"]
        for way, (text, how) in WAYS.items():
            detector = replace(trained[text], native=parse_fit(how))
            judged[way] = predict(detector, ImageDataset(test, detector.fit))
            if way != "tiles, highest quarter":  # its heatmaps are those of the mean
                maps[way] = maps_of(detector, fakes)
        places = localisation_table(maps, masks_of(fakes))
    scores = auc_table(judged)
    scores["AUC"] = [as_text(row.auc, (row.low, row.high)) for row in scores.itertuples()]
    show(
        f"AUC after {options.epochs} epochs on {(table['split'] == 'train').sum()} images",
        scores[["name", "n", "AUC"]],
    )
    for name in ("pointing", "iou", "inside"):
        ends = zip(places[name], places[f"{name}_low"], places[f"{name}_high"], strict=True)
        places[name] = [as_text(float(value), (low, high)) for value, low, high in ends]
    show("Heatmaps of the fakes against the masks", places[["method", "n", "pointing", "iou", "inside"]])
    for way in list(WAYS)[1:]:
        print(f"\nresize → {way}: {paired_bootstrap(judged['resize'], judged[way])}")
    used = f"{time.process_time() - started:.0f} s of processor time"
    print(f"\n{used}; {machine(cores, ('torch', 'timm', 'opencv-python-headless'))}.")


if __name__ == "__main__":
    main()
