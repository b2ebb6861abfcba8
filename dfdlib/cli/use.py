"""What the commands of `dfd` that use a detector do. Imports wait until a command runs."""

from __future__ import annotations

import argparse
import contextlib
import glob
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfdlib.cli.learn import load_detectors, model_names, tell_unreadable
from dfdlib.core.errors import DfdError

if TYPE_CHECKING:
    import pandas as pd

    from dfdlib.models.detector import Detector

_COLUMNS = ["path", "label", "category", "split", "group", "generator"]


def predict(options: argparse.Namespace) -> str | dict[str, Any]:
    """Judge images and videos; return the verdict of one, or the CSV of many."""
    from dfdlib.evaluation.files import predict_files
    from dfdlib.images.faces import FaceDetector
    from dfdlib.images.video import VIDEO_SUFFIXES
    from dfdlib.models.forward import DEFAULT_VIEWS

    detectors = load_detectors(options.model)
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
    tell_unreadable(done.unreadable)
    judged = done.n - len(done.unreadable)
    print(f"{done.n} files, {done.n_fake} called fake of {judged} judged now or before", file=sys.stderr)
    return str(done.csv)


def _judge_one(
    detectors: Sequence[Detector], manifest: pd.DataFrame, threshold: float | None, settings: dict[str, Any]
) -> dict[str, Any]:
    from dfdlib.evaluation.files import judge_files

    (table,) = judge_files(detectors, manifest, threshold=threshold, workers=1, **settings)
    row = table.iloc[0]
    if row["error"]:
        raise DfdError(row["error"])
    result = {"decision": row["predicted"].upper(), "probability": round(row["p_fake"], 6)}
    result["verdict"] = row["verdict"]
    if "predicted_category" in row:
        confidence = round(row["category_confidence"], 6)
        result |= {"category": row["predicted_category"], "category_confidence": confidence}
    return result


def _draw_heatmap(detectors: Sequence[Detector], path: str, folder: str) -> str:
    """Write the heatmap of the surest detector's verdict over the image; return the file."""
    from dfdlib.explain.heatmaps import confident_explanation
    from dfdlib.images.decode import write_image
    from dfdlib.images.picture import overlay, read_picture

    picture = read_picture(path)
    fitted = [picture.fitted(detector.image_size) for detector in detectors]
    _, explanation = confident_explanation(detectors, fitted)
    file = Path(folder) / "gradcam.png"
    write_image(file, overlay(picture.pixels, explanation.heatmap[0]))
    return str(file)


def _draw_timeline(detectors: Sequence[Detector], path: str, folder: str, settings: dict[str, Any]) -> str:
    """Draw the score of each frame of a video; return the file."""
    from dfdlib.core.files import atomic_path
    from dfdlib.evaluation.files import frame_scores
    from dfdlib.plots.predictions import timeline

    figure = timeline(frame_scores(detectors, path, **settings))
    file = Path(folder) / "timeline.png"
    with atomic_path(file) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
    return str(file)


def explain(options: argparse.Namespace) -> str:
    """Write heatmaps over images; return the CSV that lists them."""
    from dfdlib.core.files import safe_table, write_csv
    from dfdlib.explain.heatmaps import explain_files

    manifest = _manifest_of(options.paths, videos=False)
    table = explain_files(
        load_detectors(options.model), manifest, options.out, options.target, options.method
    )
    tell_unreadable([error for error in table["error"] if error])
    file = Path(options.out) / "explanations.csv"
    write_csv(safe_table(table), file)
    return str(file)


def serve(options: argparse.Namespace) -> None:
    """Serve detectors until interrupted."""
    try:
        from dfdlib.serve import Service, create_app, run_server
    except ImportError as error:
        raise DfdError(f"serving needs the package {error.name}; `pip install 'dfdlib[serve]'`.") from error
    from dfdlib.core import paths
    from dfdlib.serve.feedback import FeedbackStore

    files, notice = [Path(file) for file in options.model], ""
    if files:
        names = model_names(files)
    else:
        from dfdlib.cli.demo_detectors import NOTICE, demo_detectors

        with contextlib.redirect_stdout(sys.stderr):
            found = demo_detectors()
        names, files, notice = list(found), list(found.values()), NOTICE
    models = dict(zip(names, load_detectors(map(str, files)), strict=True))
    folders = {name: file.parent for name, file in zip(names, files, strict=True)}
    store = FeedbackStore(options.feedback or paths.data_root() / "feedback.db")
    app = create_app(Service(models, folders, notice), store, options.origin, options.max_mb * 2**20)
    print(f"serving {', '.join(names)} on http://{options.host}:{options.port}", file=sys.stderr)
    run_server(app, options.host, options.port)


def report(options: argparse.Namespace) -> str:
    """Run the notebooks and build the page over all runs; return its file."""
    from dfdlib.core import paths
    from dfdlib.reports.notebooks import notebook_files, run_notebook
    from dfdlib.reports.site import build_site

    root, executed = paths.reports_root(), []
    for file in [] if options.build_only else notebook_files(options.only):
        print(f"running {file.stem}", file=sys.stderr, flush=True)
        executed.append(run_notebook(file))
        print(f"  {executed[-1].error or 'done'}, {executed[-1].seconds:.0f} s", file=sys.stderr, flush=True)
    page = build_site(root, options.out or "", executed)
    failed = [one.name for one in executed if one.error]
    if failed:
        raise DfdError(f"{', '.join(failed)} failed; {page} shows the rest and says why.")
    return str(page)


def export(options: argparse.Namespace) -> str:
    """Write a detector as ONNX; return the file."""
    from dfdlib.models.onnx import export_onnx

    (detector,) = load_detectors([options.model])
    out = options.out or str(Path(options.model).with_suffix(".onnx"))
    export_onnx(detector, out)
    return out


def _manifest_of(paths: Sequence[str], videos: bool = True) -> pd.DataFrame:
    """Make a manifest of files, folders and patterns; folders can hold videos too."""
    import pandas as pd

    from dfdlib.data.manifest import root_of
    from dfdlib.data.scan import scan_images, video_files

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
                    table = scan_images(path, require_labels=False)
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
    return manifest.assign(root=root).reset_index(drop=True)


def _holds_images(folder: Path) -> bool:
    from dfdlib.images.decode import IMAGE_SUFFIXES

    return any(file.suffix.lower() in IMAGE_SUFFIXES for file in folder.rglob("*"))
