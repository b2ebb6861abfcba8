"""Cross-validation: every image judged by a detector that was not trained on it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dfdlib.core.files import write_csv
from dfdlib.core.progress import Progress
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import fingerprint
from dfdlib.data.splits import kfold
from dfdlib.evaluation import metrics
from dfdlib.evaluation.predictions import predict
from dfdlib.evaluation.tables import calibrated, joint_decision, with_decision
from dfdlib.models.checkpoint import load_detector
from dfdlib.models.detector import Detector
from dfdlib.models.forward import check_views
from dfdlib.training.loop import BEST, LOG, fit
from dfdlib.training.settings import TrainConfig

_SCORES = ("auc", "ap", "eer", "accuracy", "balanced_accuracy", "f1", "n", "n_fake")


@dataclass
class CrossValidation:
    """What the folds have shown."""

    folds: pd.DataFrame
    """One row per fold: `fold`, `best_epoch`, `epochs`, and metrics on the images that it held out."""
    out_of_fold: pd.DataFrame
    """Predictions of every image by the fold that held it out, with a `fold` column."""
    detectors: list[Detector]
    """The detector of each fold, for `predictions.predict_ensemble`."""
    histories: list[pd.DataFrame]
    """The history of each fold, see `loop.fit`."""

    def summary(self) -> pd.DataFrame:
        """Return mean, standard deviation, smallest and largest of each metric over the folds."""
        scores = self.folds.set_index("fold").drop(columns=["best_epoch", "epochs", "n", "n_fake"])
        return scores.agg(["mean", "std", "min", "max"]).T


def cross_validate(
    new_detector: Callable[..., Detector],
    dataset: ImageDataset,
    config: TrainConfig,
    out_dir: str | Path,
    n_splits: int = 5,
    tta: Sequence[str] = (),
) -> CrossValidation:
    """Train one detector per fold, on the images of the other folds (`StratifiedGroupKFold`, see `splits.kfold`).

    A fold whose `best_model_fold<i>.pth` is there already, from the same data and settings, is not trained
    again. The best epoch of a fold is chosen on the images that it holds out, which flatters the
    out-of-fold metrics a little; a test set that no fold has seen is not flattered.

    Each fold starts from weights of its own: where networks start is most of what makes an ensemble of them
    better than one (Lakshminarayanan et al. 2017, arXiv:1612.01474).

    Args:
        new_detector: Makes an untrained detector, given a `seed`.
        dataset: All images but the test set.
        config: How to train each fold; the seed of fold i is `config.seed + i`.
        out_dir: Folder of `best_model_fold<i>.pth` and `training_log_fold<i>.csv`.
        n_splits: Number of folds.
        tta: Views that predictions are averaged over, see `forward.VIEWS`; training knows nothing of them.

    Raises:
        DfdError: Fewer groups than folds, an unknown view, or as `loop.fit`.
    """
    check_views(tta)
    out_dir = Path(out_dir)
    fold_of = kfold(dataset.manifest, n_splits, config.seed).to_numpy()
    detectors, histories, tables = [], [], []
    for fold in range(n_splits):
        train, held_out = dataset.subset(fold_of != fold), dataset.subset(fold_of == fold)
        own = dataclasses.replace(config, seed=config.seed + fold)
        fresh = new_detector(seed=own.seed)
        detector, history = train_or_load(fresh, train, held_out, own, out_dir, f"fold {fold}")
        detectors.append(detector)
        histories.append(history)
        tables.append(calibrated(predict(detector, held_out, tta=tta), detector).assign(fold=fold))
    rows = [
        {"fold": fold, "best_epoch": int(np.argmax(history["best"])) + 1, "epochs": len(history)}
        | {name: scores[name] for name in _SCORES}
        for fold, (history, scores) in enumerate(
            zip(histories, map(metrics.binary_metrics, tables), strict=True)
        )
    ]
    together = with_decision(pd.concat(tables, ignore_index=True), joint_decision(detectors))
    return CrossValidation(pd.DataFrame(rows), together, detectors, histories)


def compare(
    detectors: Mapping[str, Detector],
    train: ImageDataset,
    held_out: ImageDataset,
    config: TrainConfig,
    out_dir: str | Path,
    tta: Sequence[str] = (),
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Train several detectors on the same images and judge them on the same others.

    Args:
        detectors: Untrained detectors by name.
        train: Images to train on.
        held_out: Images that choose the best epoch and judge it.
        config: How to train each.
        out_dir: Each detector gets a folder in it.
        tta: See `cross_validate`.

    Returns:
        What was trained, one row per detector (`parameters`, `weights` (their origin), `seconds` of training),
        and its predictions of the held-out images, by name.
    """
    rows, judged = {}, {}
    for name, detector in detectors.items():
        Progress.write(f"{name}:")
        history = fit(detector, train, held_out, config, Path(out_dir) / name)
        size = sum(parameter.numel() for parameter in detector.network.parameters())
        seconds = round(history["seconds"].sum(), 1)
        rows[name] = {"parameters": size, "weights": detector.origin, "seconds": seconds}
        judged[name] = predict(detector, held_out, tta=tta)
    return pd.DataFrame.from_dict(rows, orient="index"), judged


def train_or_load(
    detector: Detector,
    train: ImageDataset,
    val: ImageDataset,
    config: TrainConfig,
    out_dir: Path,
    name: str,
) -> tuple[Detector, pd.DataFrame]:
    """Train a detector, or load it where it was trained already on the same data with the same settings.

    Args:
        detector: See `loop.fit`.
        train: See `loop.fit`.
        val: See `loop.fit`.
        config: See `loop.fit`.
        out_dir: Folder of `best_model_<name>.pth` and `training_log_<name>.csv`.
        name: What to call the training; its letters, digits and dashes name the files.

    Returns:
        The trained detector and its history.

    Raises:
        DfdError: See `loop.fit`.
    """
    key = re.sub(r"[^\w-]", "", name)
    weights, log = out_dir / f"best_model_{key}.pth", out_dir / f"training_log_{key}.csv"
    if weights.exists() and log.exists():
        finished = load_detector(weights)
        if (
            finished.provenance.get("settings") == dataclasses.asdict(config)
            and finished.provenance.get("data") == fingerprint(train.manifest)
            and finished.provenance.get("validation") == fingerprint(val.manifest)
            and (finished.kind, finished.arguments) == (detector.kind, detector.arguments)
            and (finished.fit, finished.n_frames) == (detector.fit, detector.n_frames)
            and finished.origin == detector.origin
        ):
            Progress.write(f"{name}: trained already, taken from {weights}")
            return finished, pd.read_csv(log)
        Progress.write(f"{name}: {weights} is of other data or settings; training it again")
    else:
        Progress.write(f"{name}: {len(train)} images to train on, {len(val)} held out")
    working = out_dir / key
    history = fit(detector, train, val, config, working)
    write_csv(history, log)
    (working / LOG).unlink()
    (working / BEST).replace(weights)
    working.rmdir()
    return detector, history
