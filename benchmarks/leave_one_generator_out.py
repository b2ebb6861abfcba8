"""How well are fakes found whose family of manipulation was never seen in training?

Trains the detector of notebook 04 on the demo set, once with all families and once without each, and
prints the AUC of each family on the test images when it was seen and when it was not.
"""

from __future__ import annotations

import argparse
import tempfile

import pandas as pd

from dfdlib import create_detector, fit, metrics, predict, runtime
from dfdlib.config import TrainConfig
from dfdlib.datasets import ImageDataset
from dfdlib.demo import demo_manifest
from dfdlib.demo.forgeries import FAMILIES
from dfdlib.manifest import categories_of

SWITCHES = {"residual": True, "stem_stride": 1, "stages": 3}
"""Those of notebook 04."""


def auc_by_family(images: ImageDataset, left_out: str | None, config: TrainConfig) -> pd.Series:
    """Train without one family and return the test AUC of every family against all real images."""
    kept = images.subset((images.manifest["generator"] != left_out).to_numpy())
    detector = create_detector(
        "tf_efficientnetv2_b0", images.size, images.categories, "none", seed=config.seed, **SWITCHES
    )
    with tempfile.TemporaryDirectory() as out_dir:
        fit(detector, kept.split("train"), kept.split("val"), config, out_dir)
    return metrics.by_generator(predict(detector, images.split("test")))["auc"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    options = parser.parse_args()
    runtime.setup(options.seed)
    manifest = demo_manifest()
    images = ImageDataset(manifest, 128, categories_of(manifest))
    config = TrainConfig(
        epochs=options.epochs,
        batch_size=16,
        learning_rate=2e-3,
        category_loss_weight=0.7,
        colour_jitter=0.1,
        seed=options.seed,
    )
    seen = auc_by_family(images, None, config)
    unseen = {family: auc_by_family(images, family, config)[family] for family in options.families}
    table = pd.DataFrame({"AUC, family seen": seen[list(unseen)], "AUC, family left out": pd.Series(unseen)})
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
