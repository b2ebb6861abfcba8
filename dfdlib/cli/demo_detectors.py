"""Two small detectors of the demo set, for who has none yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dfdlib.cli.outcome import save_outcome
from dfdlib.core import paths
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import categories_of
from dfdlib.demo.sets import DEMO_IMAGES, DEMO_SIZE, demo_manifest
from dfdlib.models.detector import create_detector
from dfdlib.training.loop import BEST, fit
from dfdlib.training.settings import TrainConfig

NOTICE = "These are demo detectors: trained for minutes on drawn images, they know nothing of photographs."
_VERSION = 1
"""Raised whenever the training below changes."""
_KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "custom-cnn": ({"backbone": "cnn"}, {"epochs": 8, "learning_rate": 2e-3, "batch_size": 16}),
    "efficientnet-b0": (
        {"backbone": "efficientnet_b0", "residual": True, "stages": 3},
        {"epochs": 10, "learning_rate": 2e-3, "batch_size": 16, "category_loss_weight": 0.7},
    ),
}


def demo_detectors(images: int = DEMO_IMAGES, **changed: Any) -> dict[str, Path]:
    """Train a custom CNN and an EfficientNet-B0 on the demo set, or find the ones of an earlier call.

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
        dataset = ImageDataset(manifest, DEMO_SIZE, categories_of(manifest))
        for kind in missing:
            network, training = _KINDS[kind]
            print(f"training the demo detector {kind} (once; it is kept in {folders[kind]})")
            _train(dataset, network, TrainConfig(**training | changed), folders[kind])
    return {kind: folder / BEST for kind, folder in folders.items()}


def _train(dataset: ImageDataset, network: dict[str, Any], config: TrainConfig, folder: Path) -> None:
    """Train one detector and write its report."""
    detector = create_detector(
        image_size=dataset.size,
        categories=dataset.categories if network["backbone"] != "cnn" else (),
        pretrained="none",
        **network,
    )
    history = fit(detector, dataset.split("train"), dataset.split("val"), config, folder)
    save_outcome(folder.name, config, folder, detector, dataset, history)
