"""What the commands of `dfd` do, each a thin call into the library. Imports wait until a command runs."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import glob
import os
import sys
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import TrainConfig
from .errors import DfdError

if TYPE_CHECKING:
    import pandas as pd

    from .datasets import ImageDataset
    from .models import Detector

_COLUMNS = ["path", "label", "category", "split", "group", "generator"]


def demo_data(options: argparse.Namespace) -> str:
    """Draw the demo set; return its manifest file."""
    from .demo import demo_manifest
    from .manifest import root_of

    manifest = demo_manifest(options.images, options.seed, options.size, options.workers)
    return str(root_of(manifest) / "manifest.csv")


def scan(options: argparse.Namespace) -> str:
    """Write the manifest of a folder into it; return the file."""
    from .manifest import scan, summary, write_manifest

    labels = dict(pair.split("=", 1) for pair in options.label)
    manifest = scan(options.path, labels, require_labels=not options.unlabelled)
    print(summary(manifest).to_string(), file=sys.stderr)
    for reason, count in manifest.attrs["skipped"].items():
        print(f"skipped: {count} {reason}", file=sys.stderr)
    file = Path(options.path) / "manifest.csv"
    write_manifest(manifest, file)
    return str(file)


def split(options: argparse.Namespace) -> str:
    """Share images out to the splits; return the manifest file."""
    from .manifest import open_raw, root_of, summary, write_manifest
    from .splits import assert_disjoint, assign_splits

    manifest = open_raw(options.path)
    fractions = {"train": 1 - options.val - options.test, "val": options.val, "test": options.test}
    kept = {name: share for name, share in fractions.items() if share > 0}
    manifest = assign_splits(manifest, kept, options.seed)
    assert_disjoint(manifest)
    print(summary(manifest).to_string(), file=sys.stderr)
    file = root_of(manifest) / "manifest.csv"
    write_manifest(manifest, file)
    return str(file)


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Train a detector; return its file and metrics."""
    from . import metrics, models, runtime
    from .datasets import ImageDataset
    from .demo import demo_manifest
    from .inference import predict
    from .manifest import categories_of, open_data
    from .training import BEST, fit

    settings = {name: getattr(options, name) for name in setting_types()}
    config = TrainConfig(**settings)
    runtime.setup(config.seed)
    manifest = open_data(options.data, config.seed, options.max_images) if options.data else demo_manifest()
    images = ImageDataset(manifest, options.image_size, categories_of(manifest), config.workers)
    _report_unreadable(images.unreadable["error"])
    switches = {}
    if options.backbone != "cnn":
        switches = {
            name: getattr(options, name) for name in ("residual", "stem_stride", "stages", "attention")
        }
    detector = models.create_detector(
        options.backbone,
        options.image_size,
        images.categories,
        options.pretrained,
        options.weights,
        config.seed,
        **switches,
    )
    with contextlib.redirect_stdout(sys.stderr):
        fit(detector, images.split("train"), images.split("val"), config, options.out)
    scores = {
        name: metrics.binary_metrics(predict(detector, images.split(name)))
        for name in ("val", "test")
        if images.split(name).manifest["label"].notna().any()
    }
    return _plain({"model": str(Path(options.out) / BEST), "metrics": scores})


def evaluate(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Judge detectors on labelled data sets; return a row a data set."""
    from . import metrics
    from .files import write_csv
    from .inference import predict_ensemble

    detectors = _detectors(options.model)
    rows = []
    for path in options.data:
        images = _labelled_images(path, options.split, detectors[0])
        _report_unreadable(images.unreadable["error"])
        predictions = predict_ensemble(detectors, images, tta=options.tta)
        scores, interval = metrics.binary_metrics(predictions), metrics.auc_interval(predictions)
        rows.append({"data": str(path), "auc_low": interval[0], "auc_high": interval[1], **scores})
    if options.out:
        import pandas as pd

        write_csv(pd.DataFrame(rows), options.out)
    return _plain(rows)


def finetune(options: argparse.Namespace) -> dict[str, Any]:
    """Learn from the failures on the validation images, or from what users reported; return what changed."""
    from . import runtime
    from .datasets import ImageDataset
    from .feedback import FeedbackStore
    from .finetune import FINETUNED, before_and_after, failures, finetune, save_failures, with_feedback
    from .inference import predict
    from .manifest import open_data

    runtime.setup(options.seed)
    (detector,) = _detectors([options.model])
    images = ImageDataset(open_data(options.data, options.seed), detector.image_size, detector.categories)
    _report_unreadable(images.unreadable["error"])
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
        finetune(detector, images, wrong, config, out, options.replay)
    after = {name: predict(detector, part) for name, part in parts.items()}
    unseen = {"test": (before["test"], after["test"])} if before["test"]["label"].notna().any() else {}
    table = before_and_after(before["val"], after["val"], wrong, unseen)
    return _plain({"model": str(out / FINETUNED), "learned": len(wrong), "sets": table.to_dict("records")})


def predict(options: argparse.Namespace) -> str | dict[str, Any]:
    """Judge images and videos; return the verdict of one, or the CSV of many."""
    from .faces import FaceDetector
    from .streaming import predict_files
    from .tta import DEFAULT_VIEWS
    from .videos import VIDEO_SUFFIXES

    detectors = _detectors(options.model)
    settings = {
        "tta": DEFAULT_VIEWS if options.tta == [] else options.tta or (),
        "n_frames": options.frames,
        "faces": FaceDetector("" if options.faces == "cascade" else options.faces) if options.faces else None,
    }
    manifest = _manifest_of(options.paths)
    alone = len(manifest) == 1 and not Path(options.paths[0]).is_dir()
    video = alone and Path(options.paths[0]).suffix.lower() in VIDEO_SUFFIXES
    if options.heatmap and (not alone or video):
        raise DfdError("--heatmap is for one image; name a single file. `dfd explain` takes many.")
    if options.timeline and not video:
        raise DfdError("--timeline is for one video; name a single file.")
    if alone and not options.out:
        verdict = _judge_one(detectors, manifest, options.threshold, settings)
        if options.heatmap:
            verdict["heatmap"] = _draw_heatmap(detectors, options.paths[0], options.heatmap)
        if options.timeline:
            verdict["timeline"] = _draw_timeline(detectors, options.paths[0], options.timeline, settings)
        return verdict
    csv = options.out or ("test_tta_confidence.csv" if settings["tta"] else "test.csv")
    done = predict_files(
        detectors, manifest, csv, threshold=options.threshold, workers=options.workers, **settings
    )
    _report_unreadable(done.unreadable)
    judged = done.n - len(done.unreadable)
    print(f"{done.n} files, {done.n_fake} called fake of {judged} judged now or before", file=sys.stderr)
    return str(done.csv)


def _judge_one(
    detectors: Sequence[Detector], manifest: pd.DataFrame, threshold: float | None, settings: dict[str, Any]
) -> dict[str, Any]:
    import tempfile

    import pandas as pd

    from .streaming import predict_files

    with tempfile.TemporaryDirectory() as folder:
        done = predict_files(
            detectors, manifest, Path(folder) / "one.csv", threshold=threshold, workers=1, **settings
        )
        row = pd.read_csv(done.csv).iloc[0]
    if done.unreadable:
        raise DfdError(done.unreadable[0])
    result = {"decision": row["prediction"].upper(), "probability": float(row["p_fake"])}
    result["verdict"] = row["verdict"]
    if "category" in row and isinstance(row["category"], str):
        result |= {"category": row["category"], "category_confidence": float(row["category_confidence"])}
    return result


def _draw_heatmap(detectors: Sequence[Detector], path: str, folder: str) -> str:
    """Write the heatmap of the surest detector's verdict over the image; return the file."""
    from .explain import confident_explanation, overlay
    from .imageio import fit_image, read_image, write_image

    image = read_image(path)
    fitted = [fit_image(image, detector.image_size) for detector in detectors]
    _, explanation = confident_explanation(detectors, fitted)
    file = Path(folder) / "gradcam.png"
    write_image(file, overlay(image, explanation.heatmap[0]))
    return str(file)


def _draw_timeline(detectors: Sequence[Detector], path: str, folder: str, settings: dict[str, Any]) -> str:
    """Draw the score of each frame of a video; return the file."""
    from .files import atomic_path
    from .plots_clips import timeline
    from .streaming import frame_scores

    figure = timeline(frame_scores(detectors, path, **settings))
    file = Path(folder) / "timeline.png"
    with atomic_path(file) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
    return str(file)


def explain(options: argparse.Namespace) -> str:
    """Write heatmaps over images; return the CSV that lists them."""
    from .explain import explain_files
    from .files import write_csv
    from .report import safe_table

    manifest = _manifest_of(options.paths, videos=False)
    table = explain_files(_detectors(options.model), manifest, options.out, options.target, options.method)
    _report_unreadable([error for error in table["error"] if error])
    file = Path(options.out) / "explanations.csv"
    write_csv(safe_table(table), file)
    return str(file)


def serve(options: argparse.Namespace) -> None:
    """Serve detectors until interrupted."""
    try:
        from .serve import Service, create_app, run_server
    except ImportError as error:
        raise DfdError(f"serving needs the package {error.name}; `pip install 'dfdlib[serve]'`.") from error
    from . import paths
    from .feedback import FeedbackStore

    files, notice = [Path(file) for file in options.model], ""
    if files:
        names = _model_names(files)
    else:
        from .serve.demo import NOTICE, demo_detectors

        with contextlib.redirect_stdout(sys.stderr):
            found = demo_detectors()
        names, files, notice = list(found), list(found.values()), NOTICE
    models = dict(zip(names, _detectors(map(str, files)), strict=True))
    folders = {name: file.parent for name, file in zip(names, files, strict=True)}
    store = FeedbackStore(options.feedback or paths.data_root() / "feedback.db")
    app = create_app(Service(models, folders, notice), store, options.origin, options.max_mb * 2**20)
    print(f"serving {', '.join(names)} on http://{options.host}:{options.port}", file=sys.stderr)
    run_server(app, options.host, options.port)


def report(options: argparse.Namespace) -> str:
    """Run the notebooks and build the page over all runs; return its file."""
    from . import paths
    from .series import notebook_files, run_notebook
    from .site import build_site

    root, executed = paths.reports_root(), []
    for file in [] if options.build_only else notebook_files(options.only):
        print(f"running {file.stem}", file=sys.stderr, flush=True)
        executed.append(run_notebook(file, root / file.stem))
        print(f"  {executed[-1].error or 'done'}, {executed[-1].seconds:.0f} s", file=sys.stderr, flush=True)
    page = build_site(root, options.out or "", executed)
    failed = [one.name for one in executed if one.error]
    if failed:
        raise DfdError(f"{', '.join(failed)} failed; {page} shows the rest and says why.")
    return str(page)


def _model_names(files: Sequence[Path]) -> list[str]:
    """Name detectors by their file, or by its folder where the file is a mere best_model.pt; all different."""
    plain = [
        file.resolve().parent.name if file.stem.startswith("best_model") else file.stem for file in files
    ]
    return [name if plain.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(plain)]


def export(options: argparse.Namespace) -> str:
    """Write a detector as ONNX; return the file."""
    from .export import export_onnx

    (detector,) = _detectors([options.model])
    out = options.out or str(Path(options.model).with_suffix(".onnx"))
    export_onnx(detector, out)
    return out


def _detectors(paths: Iterable[str]) -> list[Detector]:
    from .checkpoint import load_detector

    return [load_detector(path) for path in paths]


def _labelled_images(path: str, split: str, detector: Detector) -> ImageDataset:
    """Return the labelled images of a data set: of one split, or by default of `test` where it has one."""
    from .datasets import ImageDataset
    from .manifest import open_raw

    manifest = open_raw(path)
    known = manifest["label"].notna()
    in_test = known & (manifest["split"] == "test")
    chosen = known & (manifest["split"] == split) if split else (in_test if in_test.any() else known)
    if not chosen.any():
        raise DfdError(f"{path} has no labelled image{f' in its {split} split' if split else ''}.")
    return ImageDataset(manifest[chosen], detector.image_size, detector.categories)


def _manifest_of(paths: Sequence[str], videos: bool = True) -> pd.DataFrame:
    """Make a manifest of files, folders and patterns; folders can hold videos too."""
    import pandas as pd

    from .manifest import root_of, scan
    from .videos import video_files

    tables = []
    for given in paths:
        found = [given] if Path(given).exists() else sorted(glob.glob(given, recursive=True))  # noqa: PTH207
        if not found:
            raise DfdError(f"{given} is no file, no folder, and no pattern that matches any; check the path.")
        for path in map(Path, found):
            single = [path]
            if path.is_dir():
                single = video_files(path) if videos else []
                if not single or _holds_images(path):
                    table = scan(path, require_labels=False)
                    tables.append(
                        table.assign(path=[str((root_of(table) / name).absolute()) for name in table["path"]])
                    )
            rows = [{"path": str(file.absolute()), "group": str(file)} for file in single]
            tables.append(pd.DataFrame(rows, columns=_COLUMNS))
    manifest = pd.concat([table.astype(object) for table in tables], ignore_index=True).drop_duplicates(
        "path"
    )
    root = os.path.commonpath([Path(path).parent for path in manifest["path"]])
    manifest["path"] = [os.path.relpath(path, root) for path in manifest["path"]]
    manifest.attrs = {"root": root}
    return manifest.reset_index(drop=True)


def _holds_images(folder: Path) -> bool:
    from .imageio import IMAGE_SUFFIXES

    return any(file.suffix.lower() in IMAGE_SUFFIXES for file in folder.rglob("*"))


def _report_unreadable(errors: Sequence[str]) -> None:
    for error in list(errors)[:20]:
        print(f"unreadable: {error}", file=sys.stderr)
    if len(errors) > 20:
        print(f"… and {len(errors) - 20} more", file=sys.stderr)


def _plain(value: Any) -> Any:
    from .report import plain

    return plain(value)


def setting_types() -> dict[str, Any]:
    """Return the type of each training setting."""
    hints = typing.get_type_hints(TrainConfig)
    return {field.name: hints[field.name] for field in dataclasses.fields(TrainConfig)}
