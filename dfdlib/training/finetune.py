"""Learning from failures: what a detector got wrong, mixed with a replay of what it knew."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.core.files import write_json
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import files_of
from dfdlib.evaluation import bootstrap
from dfdlib.models.checkpoint import save_detector
from dfdlib.models.detector import Detector
from dfdlib.training.loop import BEST, fit
from dfdlib.training.memory import learn_familiarity
from dfdlib.training.settings import TrainConfig

FINETUNED = "best_model_finetuned.pth"
_RATES = {
    "auc": "auc",
    "accuracy": "accuracy",
    "fake_accuracy": "fake_recall",
    "real_accuracy": "real_recall",
}


def failures(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the labelled images that were called wrongly, the most confident mistakes first."""
    wrong = predictions[predictions["label"].notna() & (predictions["predicted"] != predictions["label"])]
    return wrong.iloc[np.argsort(-np.abs(wrong["logit"].to_numpy()), kind="stable")]


def save_failures(predictions: pd.DataFrame, path: str | Path) -> pd.DataFrame:
    """Write the failures as JSON and return them: `file`, `true_label`, `predicted_label`, `probability`.

    `probability` is that of the predicted label, 0 to 1.
    """
    wrong = failures(predictions)
    said_fake = wrong["predicted"] == "fake"
    table = pd.DataFrame(
        {
            "file": wrong["path"],
            "true_label": wrong["label"],
            "predicted_label": wrong["predicted"],
            "probability": wrong["p_fake"].where(said_fake, 1 - wrong["p_fake"]).round(6),
        }
    )
    write_json(path, table.to_dict("records"))
    return table


def learn_from_failures(
    detector: Detector,
    dataset: ImageDataset,
    failed: pd.DataFrame,
    config: TrainConfig,
    out_dir: str | Path,
    replay: float = 4.0,
) -> pd.DataFrame:
    """Train a detector further on its failures and on a sample of its training images.

    The failures are mixed with `replay` times as many training images, drawn evenly over labels, so that
    the rest is not forgotten (experience replay, Rolnick et al. 2019, arXiv:1811.11682). The validation
    images whose groups hold no failure choose the best epoch.

    Args:
        detector: A trained detector; its weights are changed.
        dataset: The data set with `train` and `val` splits; the failures are among its images.
        failed: The failures, by `path`, see `failures`; none of the test split.
        config: How to train; a tenth of the first learning rate or less.
        out_dir: Folder of `best_model_finetuned.pth`.
        replay: Training images for each failure.

    Returns:
        The history, see `loop.fit`.

    Raises:
        DfdError: No failure is among the images, one is of the test split, or as `loop.fit`.
    """
    out_dir, manifest = Path(out_dir), dataset.manifest
    wanted = manifest["path"].isin(failed["path"])
    if not wanted.any():
        raise DfdError("there is no failure to learn from among these images.")
    if (manifest.loc[wanted, "split"] == "test").any():
        raise DfdError("a failure of the test split is to be learned; the test split must teach nothing.")
    rest = (manifest["split"] == "train") & ~wanted
    chosen = wanted | manifest.index.isin(_sample(manifest[rest], round(replay * wanted.sum()), config.seed))
    kept = (manifest["split"] == "val") & ~manifest["group"].isin(manifest.loc[wanted, "group"])
    history = fit(detector, dataset.subset(chosen), dataset.subset(kept), config, out_dir / "finetune")
    everything = (manifest["split"] == "train") | wanted
    learn_familiarity(detector, dataset.subset(everything), dataset.split("val"))  # not of the failures alone
    save_detector(detector, out_dir / FINETUNED)
    (out_dir / "finetune" / BEST).unlink()
    return history


def with_feedback(dataset: ImageDataset, reported: pd.DataFrame) -> tuple[ImageDataset, pd.DataFrame]:
    """Put images that users reported among the training images of a data set.

    Args:
        dataset: The data set that the detector was trained on.
        reported: Their manifest, see `feedback.FeedbackStore.save_images`.

    Returns:
        The data set of both, and the reported images by their `path` in it, to be learned by `learn_from_failures`.
        Images of the validation and test splits are left out of what is learned.

    Raises:
        DfdError: All of them are.
    """
    held_out = dataset.manifest[dataset.manifest["split"].isin(["val", "test"])]
    known = {_digest(file) for file in files_of(held_out)}
    new = reported[[_digest(file) not in known for file in files_of(reported)]]
    if new.empty:
        raise DfdError(
            "every image that users reported is a validation or test image; there is nothing to learn."
        )
    new = new.assign(split="train")
    both = pd.concat([dataset.manifest.astype(object), new.astype(object)], ignore_index=True)
    return ImageDataset(both, dataset.fit, dataset.categories), new


def before_and_after(
    before: pd.DataFrame,
    after: pd.DataFrame,
    failed: pd.DataFrame,
    unseen: dict[str, tuple[pd.DataFrame, pd.DataFrame]],
) -> pd.DataFrame:
    """Compare predictions before and after fine-tuning: what was learned, and what forgotten.

    Args:
        before: Predictions of the validation images by the first detector.
        after: The same by the fine-tuned one.
        failed: The failures that were learned, by `path`.
        unseen: Predictions before and after on images that neither training has seen, by name.

    Returns:
        One row per set and moment: `set`, `detector`, `n` and, with the ends of their 95 % intervals as
        `<name>_low` and `<name>_high`, `auc`, `accuracy`, `fake_recall`, `real_recall` (NaN where a class is
        missing).
    """
    learned = before["path"].isin(failed["path"]).to_numpy()
    sets = {
        "failures": (before[learned], after[learned]),
        "validation without them": (before[~learned], after[~learned]),
        "validation": (before, after),
        **unseen,
    }
    rows = []
    for name, tables in sets.items():
        for moment, table in zip(("before", "after"), tables, strict=True):
            judged = bootstrap.bootstrap_metrics(table, list(_RATES)).rename(index=_RATES)
            about = {"set": name, "detector": moment, "n": int(judged["n"].iloc[0])}
            rows.append(about | bootstrap.with_ends(judged))
    return pd.DataFrame(rows)


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _sample(manifest: pd.DataFrame, n: int, seed: int) -> pd.Index:
    """Draw `n` rows, half of each label where there are so many."""
    rng = np.random.default_rng(seed)
    order = manifest.index[rng.permutation(len(manifest))]
    rank = manifest.loc[order].groupby("label").cumcount()
    return rank.sort_values(kind="stable").index[:n]
