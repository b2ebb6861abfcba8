"""What the commands of `dfd` do, each a thin call into the library. Imports wait until a command runs."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfdlib.core.errors import DfdError
from dfdlib.training.settings import TrainConfig

if TYPE_CHECKING:
    import pandas as pd

    from dfdlib.data.dataset import ImageDataset
    from dfdlib.models.detector import Detector


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Train a detector; return its file and metrics."""
    from dfdlib.cli.outcome import save_outcome
    from dfdlib.core import machine
    from dfdlib.data.dataset import ImageDataset
    from dfdlib.data.manifest import categories_of
    from dfdlib.data.scan import open_data
    from dfdlib.demo.sets import demo_manifest
    from dfdlib.models import detector
    from dfdlib.training.loop import BEST, fit

    settings = {name: getattr(options, name) for name in setting_types()}
    config = TrainConfig(**settings)
    machine.setup(config.seed)
    manifest = open_data(options.data, config.seed, options.max_images) if options.data else demo_manifest()
    images = ImageDataset(manifest, options.image_size, categories_of(manifest), config.workers)
    tell_unreadable(images.unreadable["error"])
    switches = {}
    if options.backbone != "cnn":
        switches = {
            name: getattr(options, name) for name in ("residual", "stem_stride", "stages", "attention")
        }
    detector = detector.create_detector(
        options.backbone,
        options.image_size,
        images.categories,
        options.pretrained,
        options.weights,
        config.seed,
        **switches,
    )
    with contextlib.redirect_stdout(sys.stderr):
        history = fit(detector, images.split("train"), images.split("val"), config, options.out)
        scores = save_outcome("dfd train", config, options.out, detector, images, history)["metrics"]
    return {"model": str(Path(options.out) / BEST), "metrics": scores}


def evaluate(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Judge detectors on labelled data sets; return a row a detector and data set."""
    from dfdlib.core.files import safe_table
    from dfdlib.evaluation.predictions import predict, predict_ensemble

    detectors = dict(
        zip(model_names([Path(file) for file in options.model]), load_detectors(options.model), strict=True)
    )
    rows = []
    for path in options.data:
        if options.ensemble:
            images = _labelled_images(path, options.split, next(iter(detectors.values())))
            judged = {"ensemble": predict_ensemble(list(detectors.values()), images, tta=options.tta)}
        else:
            judged = {}
            for name, detector in detectors.items():
                images = _labelled_images(path, options.split, detector)
                judged[name] = predict(detector, images, tta=options.tta)
        tell_unreadable(images.unreadable["error"])
        rows += [{"detector": name, "data": str(path), **_scores(table)} for name, table in judged.items()]
    if options.out:
        import pandas as pd

        from dfdlib.core.files import write_csv

        write_csv(safe_table(pd.DataFrame(rows)), options.out)
    return _plain(rows)


def _scores(predictions: pd.DataFrame) -> dict[str, Any]:
    """Return the metrics of a predictions table with their intervals, and warn of images that were learned."""
    from dfdlib.evaluation import bootstrap, metrics

    scores = metrics.binary_metrics(predictions)
    scores |= bootstrap.with_ends(bootstrap.bootstrap_metrics(predictions))
    seen = int(predictions.loc[predictions["label"].notna(), "in_training"].sum())
    if seen:
        print(f"warning: {seen} of {scores['n']} images were seen in training or validation", file=sys.stderr)
    return scores | {"n_seen": seen}


def calibrate(options: argparse.Namespace) -> dict[str, Any]:
    """Fit temperature, threshold and band to labelled images; return what they are worth there."""
    from dfdlib.evaluation.calibration import calibrate
    from dfdlib.evaluation.predictions import predict
    from dfdlib.evaluation.tables import with_decision
    from dfdlib.models.checkpoint import save_detector
    from dfdlib.models.decision import CANT_TELL

    (detector,) = load_detectors([options.model])
    images = _labelled_images(options.data, options.split, detector)
    tell_unreadable(images.unreadable["error"])
    judged = predict(detector, images)
    decision = calibrate(
        images.fake.numpy(), judged["logit"].to_numpy(), options.false_alarms, options.min_accuracy
    )
    detector.decision = decision
    save_detector(detector, options.out)
    judged = with_decision(judged, decision)
    given = judged[judged["verdict"] != CANT_TELL]
    right = float((given["verdict"] == given["label"]).mean())
    worth = {"n": len(judged), "verdicts_given": len(given) / len(judged), "accuracy_of_these": right}
    fitted = {"temperature": decision.temperature, "threshold": decision.threshold, "band": decision.band}
    return _plain({"model": options.out, **fitted, **worth})


def finetune(options: argparse.Namespace) -> dict[str, Any]:
    """Learn from the failures on the validation images, or from what users reported; return what changed."""
    from dfdlib.core import machine
    from dfdlib.data.dataset import ImageDataset
    from dfdlib.data.scan import open_data
    from dfdlib.evaluation.predictions import predict
    from dfdlib.serve.feedback import FeedbackStore
    from dfdlib.training.finetune import (
        FINETUNED,
        before_and_after,
        failures,
        learn_from_failures,
        save_failures,
        with_feedback,
    )

    machine.setup(options.seed)
    (detector,) = load_detectors([options.model])
    images = ImageDataset(open_data(options.data, options.seed), detector.image_size, detector.categories)
    tell_unreadable(images.unreadable["error"])
    out = Path(options.out)
    held_out = images.split("val")
    if options.feedback:
        reported = FeedbackStore(options.feedback).save_images(out / "feedback")
        images, wrong = with_feedback(images, reported)
        shown = (images.manifest["split"] == "val") | images.manifest["path"].isin(wrong["path"])
        held_out = images.subset(shown)
    parts = {"val": held_out, "test": images.split("test")}
    before = {name: predict(detector, part) for name, part in parts.items()}
    if not options.feedback:
        wrong = failures(before["val"])
        save_failures(before["val"], out / "failures.json")
    config = TrainConfig(epochs=options.epochs, learning_rate=options.learning_rate, seed=options.seed)
    with contextlib.redirect_stdout(sys.stderr):
        learn_from_failures(detector, images, wrong, config, out, options.replay)
    after = {name: predict(detector, part) for name, part in parts.items()}
    unseen = {"test": (before["test"], after["test"])} if before["test"]["label"].notna().any() else {}
    table = before_and_after(before["val"], after["val"], wrong, unseen)
    return _plain({"model": str(out / FINETUNED), "learned": len(wrong), "sets": table.to_dict("records")})


def load_detectors(paths: Iterable[str]) -> list[Detector]:
    """Load detectors, in order."""
    from dfdlib.models.checkpoint import load_detector

    return [load_detector(path) for path in paths]


def _labelled_images(path: str, split: str, detector: Detector) -> ImageDataset:
    """Return the labelled images of a data set: of one split, or by default of `test` where it has one."""
    from dfdlib.data.dataset import ImageDataset
    from dfdlib.data.scan import open_raw

    manifest = open_raw(path)
    known = manifest["label"].notna()
    in_test = known & (manifest["split"] == "test")
    chosen = known & (manifest["split"] == split) if split else (in_test if in_test.any() else known)
    if not chosen.any():
        raise DfdError(f"{path} has no labelled image{f' in its {split} split' if split else ''}.")
    return ImageDataset(manifest[chosen], detector.image_size, detector.categories)


def tell_unreadable(errors: Sequence[str]) -> None:
    """Name files that could not be read on the standard error."""
    for error in list(errors)[:20]:
        print(f"unreadable: {error}", file=sys.stderr)
    if len(errors) > 20:
        print(f"… and {len(errors) - 20} more", file=sys.stderr)


def _plain(value: Any) -> Any:
    from dfdlib.core.files import plain

    return plain(value)


def setting_types() -> dict[str, Any]:
    """Return the type of each training setting."""
    hints = typing.get_type_hints(TrainConfig)
    return {field.name: hints[field.name] for field in dataclasses.fields(TrainConfig)}


def model_names(files: Sequence[Path]) -> list[str]:
    """Name detectors by their file, or by its folder where the file is a mere best_model.pt; all different."""
    plain = [
        file.resolve().parent.name if file.stem.startswith("best_model") else file.stem for file in files
    ]
    return [name if plain.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(plain)]
