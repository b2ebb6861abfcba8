"""Two small detectors of the demo set, for users without a model of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from dfdlib.cli.outcome import save_outcome
from dfdlib.core import paths
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import categories_of
from dfdlib.demo.sets import DEMO_SIZE, demo_manifest
from dfdlib.models.detector import create_detector
from dfdlib.models.weights import FALLBACK
from dfdlib.training.loop import BEST, fit
from dfdlib.training.settings import TrainConfig

_IMAGES = 1200
_VERSION = 2
"""Raised whenever the training below changes."""
_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "custom-cnn": ("cnn", {"epochs": 2, "learning_rate": 2e-3, "batch_size": 16}),
    "efficientnet-lite0": (FALLBACK, {"epochs": 1}),
}


def demo_detectors(images: int = _IMAGES, **changed: Any) -> dict[str, Path]:
    """Train a custom CNN and an EfficientNet-Lite0 on the demo set, or find those of an earlier call.

    Args:
        images: Size of the demo set.
        changed: Training settings other than the usual ones, such as `epochs=1`.

    Returns:
        The detector files by name; beside each `metrics.json` and the figures of its report.

    Raises:
        DfdError: A file cannot be written.
    """
    name = "-".join(["demo-detectors", f"v{_VERSION}", str(images), *(f"{k}{v}" for k, v in changed.items())])
    folders = {kind: paths.cache_root() / name / kind for kind in _KINDS}
    missing = [kind for kind, folder in folders.items() if not (folder / "metrics.json").is_file()]
    if missing:
        manifest = demo_manifest(images)
        for kind in missing:
            backbone, training = _KINDS[kind]
            print(f"training the demo detector {kind} (once; it is kept in {folders[kind]})")
            _train(manifest, backbone, TrainConfig(**training | changed), folders[kind])
    return {kind: folder / BEST for kind, folder in folders.items()}


def _train(manifest: pd.DataFrame, backbone: str, config: TrainConfig, folder: Path) -> None:
    """Train one detector and write its report."""
    categories = categories_of(manifest) if backbone != "cnn" else ()
    detector = create_detector(backbone, DEMO_SIZE, categories, "package")
    dataset = ImageDataset(manifest, detector.fit, categories)
    history = fit(detector, dataset.split("train"), dataset.split("val"), config, folder)
    save_outcome(folder.name, config, folder, detector, dataset, history)


if __name__ == "__main__":
    print(json.dumps({name: str(file) for name, file in demo_detectors().items()}))
