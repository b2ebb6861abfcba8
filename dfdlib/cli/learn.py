"""The commands of `dfd` that make and judge a detector. Imports wait until a command runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from dfdlib.cli.options import Repeated, UsageError, require
from dfdlib.core.errors import DfdError
from dfdlib.training.settings import TrainConfig

if TYPE_CHECKING:
    import pandas as pd

    from dfdlib.data.dataset import ImageDataset
    from dfdlib.models.detector import Detector


def train(
    *,
    out: str,
    data: str = "",
    backbone: str = "tf_efficientnetv2_b0",
    image_size: int = 0,
    pretrained: Literal["auto", "none"] = "auto",
    weights: str = "",
    fallback: str = "tf_efficientnet_lite0",
    max_images: int = 0,
    residual: bool = False,
    stem_stride: int = 0,
    attention: bool = False,
    faces: str = "",
    config: tyro.conf.OmitArgPrefixes[TrainConfig] = TrainConfig(),  # noqa: B008 (it is frozen)
) -> dict[str, Any]:
    """Train a detector; print its metrics.

    Args:
        out: Folder of the results.
        data: Folder of images or manifest, or several as a,b; the demo set when not given.
        backbone: Any timm model, or cnn.
        image_size: Side of the input in pixels; 0 for what the weights were trained at, or the images' own size.
        pretrained: ImageNet weights where they can be had, or none.
        weights: File of backbone weights.
        fallback: Backbone to take where ImageNet weights of the wanted one cannot be had.
        max_images: Use at most this many; 0 for all.
        residual: High-pass residual beside RGB.
        stem_stride: Stride of the first convolution; 0 leaves it unchanged.
        attention: CBAM on the last feature map.
        faces: Crop to faces, and later judge crops: yunet or its file, and as yunet,all,whole,margin=0.5.
        config: How to train.
    """
    switches = {"residual": residual, "stem_stride": stem_stride, "attention": attention}
    check_network(backbone, image_size, [weights, *switches.values()])
    from dfdlib.cli.outcome import save_outcome
    from dfdlib.core import machine
    from dfdlib.data import ImageDataset, categories_of, typical_side
    from dfdlib.data.scan import open_data
    from dfdlib.demo.sets import demo_manifest
    from dfdlib.images.faces import parse_faces
    from dfdlib.models.detector import create_detector
    from dfdlib.training.loop import BEST, fit

    machine.setup(config.seed)
    manifest = open_data(data, config.seed, max_images) if data else demo_manifest()
    given = {"fallback": fallback, "largest_side": typical_side(manifest), "faces": parse_faces(faces)}
    given |= {} if backbone == "cnn" else switches
    first = backbone, image_size, categories_of(manifest), pretrained, weights, config.seed
    detector = create_detector(*first, **given)
    images = ImageDataset(manifest, detector.fit, detector.categories, config.workers)
    tell_unreadable(images.unreadable["error"])
    with contextlib.redirect_stdout(sys.stderr):
        history = fit(detector, images.split("train"), images.split("val"), config, out)
        scores = save_outcome("dfd train", config, out, detector, images, history)["metrics"]
    return {"model": str(Path(out) / BEST), "metrics": scores}


def check_network(backbone: str, image_size: int, of_backbones: Sequence[Any]) -> None:
    """Raise `UsageError` for options that a network does not take."""
    if backbone == "cnn" and any(of_backbones):
        raise UsageError("--backbone cnn takes no --weights, --residual, --stem-stride or --attention.")
    if image_size and image_size < 16:
        raise UsageError(f"--image-size is {image_size}; it must be at least 16, or 0.")


def evaluate(
    *,
    model: Repeated,
    data: Repeated,
    ensemble: bool = False,
    split: Literal["train", "val", "test"] | None = None,
    tta: tuple[str, ...] = (),
    out: str | None = None,
) -> list[dict[str, Any]]:
    """Judge a detector on labelled data sets; print its metrics.

    Args:
        model: Again for several.
        data: Again for several data sets; of a,b the metrics of both together and of each.
        ensemble: Judge the models together.
        split: By default test where there is one.
        tta: Average over views: flip, turn, crop, shrink.
        out: Write the table as CSV too.
    """
    require({"--model": model, "--data": data})
    from dfdlib.core.files import safe_table
    from dfdlib.evaluation.metrics import parts
    from dfdlib.evaluation.predictions import predict, predict_ensemble

    detectors = dict(zip(model_names([Path(file) for file in model]), load_detectors(model), strict=True))
    rows = []
    for path in data:
        if ensemble:
            images = _labelled_images(path, split, next(iter(detectors.values())))
            judged = {"ensemble": predict_ensemble(list(detectors.values()), images, tta=tta)}
        else:
            judged = {}
            for name, detector in detectors.items():
                images = _labelled_images(path, split, detector)
                judged[name] = predict(detector, images, tta=tta)
        tell_unreadable(images.unreadable["error"])
        for name, table in judged.items():
            asked = detectors.values() if ensemble else [detectors[name]]
            known = all(detector.training_digests is not None for detector in asked)
            about = {"detector": name, "data": path}
            rows.append(about | _scores(table, known))
            _warn(rows[-1])
            several = parts(table, "source") if "source" in table else ()
            rows += [about | {"source": source} | _scores(part, known) for source, part, _ in several]
    if out:
        import pandas as pd

        from dfdlib.core.files import write_csv

        write_csv(safe_table(pd.DataFrame(rows)), out)
    return _plain(rows)


def _scores(predictions: pd.DataFrame, known: bool) -> dict[str, Any]:
    """Return the metrics of a predictions table with their intervals, and the number of images that were learned.

    Args:
        predictions: See `predictions.predict`.
        known: Whether the detectors know their training images; an ONNX graph does not.
    """
    from dfdlib.evaluation import bootstrap, metrics

    scores = metrics.binary_metrics(predictions)
    scores |= bootstrap.with_ends(bootstrap.bootstrap_metrics(predictions))
    seen = int(predictions.loc[predictions["label"].notna(), "in_training"].sum())
    return scores | {"n_seen": seen if known else None}


def _warn(scores: dict[str, Any]) -> None:
    """Say what must be known of scores: which there are not, and whether images were learned."""
    import numpy as np

    from dfdlib.evaluation.metrics import METRICS

    lacking = [metric.title for name, metric in METRICS.items() if np.isnan(scores[name])]
    if lacking:
        print(f"note: with images of one label alone, there is no {', '.join(lacking)}", file=sys.stderr)
    if scores["n_seen"] is None:
        print("warning: this model does not say which images it was trained on", file=sys.stderr)
    elif scores["n_seen"]:
        seen = f"{scores['n_seen']} of {scores['n']} images"
        print(f"warning: {seen} were seen in training or validation", file=sys.stderr)


def calibrate(
    *,
    model: str,
    data: str,
    out: str,
    split: Literal["train", "val", "test"] = "val",
    false_alarms: float | None = None,
    min_accuracy: float = 0.9,
) -> dict[str, Any]:
    """Fit temperature, threshold and band to labelled images; print what they are.

    `false_alarms_below` is the upper end of the rate of false alarms (Clopper-Pearson, 95 %).

    Args:
        model: The detector.
        data: Labelled images that nobody tests on.
        out: The file of the calibrated detector.
        split: The images to fit to; val means the detector's own validation images where they are there.
        false_alarms: Call at most this share of real images fake; needs about 3 real images for each in it.
        min_accuracy: Least accuracy of the verdicts beyond the band.
    """
    from dfdlib.evaluation.calibration import calibrate, false_alarms_below
    from dfdlib.evaluation.predictions import predict
    from dfdlib.evaluation.tables import with_decision
    from dfdlib.models.checkpoint import save_detector

    (detector,) = load_detectors([model])
    images = _labelled_images(data, split, detector, held_out=True)
    tell_unreadable(images.unreadable["error"])
    judged = predict(detector, images)
    groups = judged["group"].to_numpy()
    decision = calibrate(images.fake.numpy(), judged["logit"].to_numpy(), false_alarms, min_accuracy, groups)
    detector.decision = decision
    save_detector(detector, out)
    judged = with_decision(judged, decision)
    given = judged[judged["verdict"].isin(["real", "fake"])]
    right = float((given["verdict"] == given["label"]).mean())
    worth = {"n": len(judged), "verdicts_given": len(given) / len(judged), "accuracy_of_these": right}
    real = judged[judged["label"] == "real"]
    if len(real):
        called = real.loc[real["predicted"] == "fake", "group"].nunique()
        worth["false_alarms_below"] = false_alarms_below(called, real["group"].nunique())
    fitted = {"temperature": decision.temperature, "threshold": decision.threshold, "band": decision.band}
    return _plain({"model": out, **fitted, **worth})


def finetune(
    *,
    model: str,
    data: str,
    out: str,
    epochs: int = 3,
    learning_rate: float = 1e-4,
    replay: float = 4.0,
    seed: int = 0,
    feedback: str | None = None,
) -> dict[str, Any]:
    """Learn from the failures on the validation images.

    Args:
        model: The best_model.pt to start from.
        data: The data set that it was trained on.
        out: Folder of best_model_finetuned.pth and failures.json.
        epochs: Passes over the failures and their replay.
        learning_rate: Peak learning rate.
        replay: Training images per failure.
        seed: That of the training: it makes the same splits. Seeds the fine-tuning too.
        feedback: Learn from images that users of `dfd serve` reported, not from failures.
    """
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

    machine.setup(seed)
    (detector,) = load_detectors([model])
    images = ImageDataset(open_data(data, seed), detector.fit, detector.categories)
    tell_unreadable(images.unreadable["error"])
    out = Path(out)
    held_out = images.split("val")
    if feedback:
        reported = FeedbackStore(feedback).save_images(out / "feedback")
        images, wrong = with_feedback(images, reported)
        shown = (images.manifest["split"] == "val") | images.manifest["path"].isin(wrong["path"])
        held_out = images.subset(shown)
    parts = {"val": held_out, "test": _never_learned(detector, images.split("test"))}
    before = {name: predict(detector, part) for name, part in parts.items()}
    if not feedback:
        wrong = failures(before["val"])
        save_failures(before["val"], out / "failures.json")
    config = TrainConfig(epochs=epochs, learning_rate=learning_rate, seed=seed)
    with contextlib.redirect_stdout(sys.stderr):
        learn_from_failures(detector, images, wrong, config, out, replay)
    after = {name: predict(detector, part) for name, part in parts.items()}
    unseen = {"test": (before["test"], after["test"])} if before["test"]["label"].notna().any() else {}
    table = before_and_after(before["val"], after["val"], wrong, unseen)
    return _plain({"model": str(out / FINETUNED), "learned": len(wrong), "sets": table.to_dict("records")})


def _never_learned(detector: Detector, test: ImageDataset) -> ImageDataset:
    from dfdlib.evaluation.predictions import in_training

    learned = in_training(detector, test.manifest)
    if learned.any():
        print(
            f"warning: {learned.sum()} of {len(test)} test images were learned before, and are left out; "
            "was --seed another one then?",
            file=sys.stderr,
        )
    return test.subset(~learned)


def load_detectors(paths: Iterable[str], faces: str = "") -> list[Detector]:
    """Load detectors, in order; say what their user must know before all else.

    Args:
        paths: Their files.
        faces: How they are to crop to faces, see `parse_faces`; as in training when empty.
    """
    from dfdlib.images.faces import parse_faces

    if sys.stderr.isatty():
        print("loading the detector …", file=sys.stderr, flush=True)
    from dfdlib.models.checkpoint import load_detector

    given, detectors = parse_faces(faces), []
    for path in paths:
        detectors.append(load_detector(path))
        detectors[-1].faces = given or detectors[-1].faces
        if detectors[-1].limits:
            print(f"note: {path}: {detectors[-1].limits}", file=sys.stderr)
    return detectors


def _labelled_images(
    path: str, split: str | None, detector: Detector, held_out: bool = False
) -> ImageDataset:
    """Return the labelled images of a data set: of one split, or by default of `test` where it has one.

    A data set that states no splits is split as the detector's training did. With `held_out` images that the detector
    has learned from are left out, and `val` means its own validation images where they are there.
    """
    from dfdlib.data.dataset import ImageDataset
    from dfdlib.data.layouts import LABEL_WORDS
    from dfdlib.data.manifest import prepare
    from dfdlib.data.scan import open_raw
    from dfdlib.evaluation.predictions import in_training, in_validation

    manifest = open_raw(path, require_labels=False)
    if manifest["label"].isna().all():
        manifest["label"] = LABEL_WORDS.get(Path(path).resolve().name.lower())
    own = held_out & in_validation(detector, manifest) & manifest["label"].notna()
    if split == "val" and own.any():
        return ImageDataset(manifest[own], detector.fit, detector.categories)
    if split and manifest["split"].isna().all():
        manifest = prepare(manifest, detector.provenance.get("settings", {}).get("seed", 0))
    known = manifest["label"].notna()
    if known.any() and not known.all():
        print(f"left out: {(~known).sum()} images without a label", file=sys.stderr)
    in_test = known & (manifest["split"] == "test")
    chosen = known & (manifest["split"] == split) if split else (in_test if in_test.any() else known)
    if held_out and detector.validation_digests is None:
        print("warning: this model does not say which images it learned from", file=sys.stderr)
    elif held_out:
        learned = chosen & in_training(detector, manifest) & ~in_validation(detector, manifest)
        chosen &= ~learned
        if learned.any():
            print(f"left out: {learned.sum()} images that the detector has learned from", file=sys.stderr)
    if not chosen.any():
        which = (f" in its {split} split" if split else "") + (
            " that the detector has not learned from" * held_out
        )
        raise DfdError(
            f"{path} has no labelled image{which}; pass others, or call the folders real and fake."
        )
    return ImageDataset(manifest[chosen], detector.fit, detector.categories)


def tell_unreadable(errors: Sequence[str]) -> None:
    """Name files that could not be read on the standard error."""
    for error in list(errors)[:20]:
        print(f"unreadable: {error}", file=sys.stderr)
    if len(errors) > 20:
        print(f"… and {len(errors) - 20} more", file=sys.stderr)


def _plain(value: Any) -> Any:
    from dfdlib.core.files import plain

    return plain(value)


def model_names(files: Sequence[Path]) -> list[str]:
    """Name detectors by their file, or by its folder where the file is a mere best_model.pt; all different."""
    plain = [
        file.resolve().parent.name if file.stem.startswith("best_model") else file.stem for file in files
    ]
    return [name if plain.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(plain)]
