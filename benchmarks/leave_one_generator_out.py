"""How well are fakes found whose family of manipulation was never seen in training?

Trains the detector of notebook 04 on the demo set, once with all families and once without each, and
prints the AUC of each family on the test images: one row per training and family.
"""

from __future__ import annotations

import argparse
import tempfile

import pandas as pd

from dfdlib import create_detector, fit, predict
from dfdlib.core import machine
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import categories_of
from dfdlib.demo.sets import DEMO_IMAGES, demo_manifest
from dfdlib.evaluation.generalisation import NOTHING, leave_one_out
from dfdlib.images.forge import FAMILIES
from dfdlib.training.settings import TrainConfig

SWITCHES = {"residual": True, "stem_stride": 1}
"""Those of notebook 04."""


def test_predictions(images: ImageDataset, left_out: str, config: TrainConfig) -> pd.DataFrame:
    """Train without one family, in validation too, and return the predictions of all test images."""
    kept = images.subset((images.manifest["generator"] != left_out).to_numpy())
    detector = create_detector(
        "tf_efficientnetv2_b0", images.size, images.categories, "none", seed=config.seed, **SWITCHES
    )
    with tempfile.TemporaryDirectory() as out_dir:
        fit(detector, kept.split("train"), kept.split("val"), config, out_dir)
    return predict(detector, images.split("test"))


def main() -> None:
    """Print the matrix, and draw it where a file is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=DEMO_IMAGES, help="size of the demo set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--figure", help="draw the table as a matrix")
    options = parser.parse_args()
    machine.setup(options.seed)
    manifest = demo_manifest(options.images)
    images = ImageDataset(manifest, 128, categories_of(manifest))
    config = TrainConfig(
        epochs=options.epochs,
        batch_size=16,
        learning_rate=2e-3,
        category_loss_weight=0.7,
        colour_jitter=0.1,
        seed=options.seed,
    )
    left_out = [NOTHING, *options.families]
    table = leave_one_out({name: test_predictions(images, name, config) for name in left_out})
    print(table.round(3).to_string(index=False))
    if options.figure:
        from dfdlib import plots

        plots.generalisation_matrix(table).savefig(options.figure, dpi=150)


if __name__ == "__main__":
    main()
