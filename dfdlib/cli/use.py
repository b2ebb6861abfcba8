"""The commands of `dfd` that use a detector. Imports wait until a command runs."""

from __future__ import annotations

import atexit
import glob
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dfdlib.cli.learn import load_detectors, model_names, tell_unreadable
from dfdlib.cli.options import Names, Paths, Repeated, UsageError, require
from dfdlib.core.errors import DfdError

if TYPE_CHECKING:
    import pandas as pd

    from dfdlib.models.detector import Detector
    from dfdlib.serve.service import Service

_COLUMNS = ["path", "label", "category", "split", "group", "generator"]


def predict(
    paths: Paths,
    /,
    *,
    model: Repeated,
    tta: Names = None,
    heatmap: str | None = None,
    timeline: str | None = None,
    frames: int = 32,
    faces: str = "",
    threshold: float | None = None,
    out: str | None = None,
    workers: int = 0,
) -> str | dict[str, Any]:
    """Judge images and videos: print the verdict on one, and of many the path of a CSV.

    Args:
        paths: Files, folders, patterns.
        model: A .pt, .pth or .onnx file; again for an ensemble.
        tta: Average over views: flip, turn, crop, shrink; alone for flip, crop and shrink.
        heatmap: Write gradcam.png of a single image into this folder.
        timeline: Write timeline.png of a single video into this folder, one score per frame.
        frames: Frames of a video to judge; detectors of clips state theirs.
        faces: Crop to faces in another way than in training, see `dfd train`.
        threshold: Fake from this probability on; the model's own by default.
        out: The CSV; by default test.csv, or test_tta_confidence.csv with --tta.
        workers: Threads that decode; 0 for one per core.
    """
    require({"a path": paths, "--model": model})
    _check_threshold(threshold)
    from dfdlib.data.manifest import files_of
    from dfdlib.evaluation.files import predict_files
    from dfdlib.images.video import VIDEO_SUFFIXES
    from dfdlib.models.forward import DEFAULT_VIEWS

    detectors = load_detectors(model, faces)
    settings = {
        "tta": DEFAULT_VIEWS if tta == () else tta or (),
        "n_frames": frames,
    }
    manifest = _manifest_of(paths)
    alone = len(manifest) == 1 and not Path(paths[0]).is_dir()
    first = files_of(manifest)[0]
    video = alone and first.suffix.lower() in VIDEO_SUFFIXES
    _check_pictures(heatmap, timeline, out, alone, video)
    if alone and not out:
        verdict = _judge_one(detectors, manifest, threshold, settings)
        if heatmap:
            verdict["heatmap"] = _draw_heatmap(detectors, first, heatmap)
        if timeline:
            title = f"{first.name}: {verdict['verdict']}, p(fake) {verdict['probability']:.2f}"
            verdict["timeline"] = _draw_timeline(detectors, first, timeline, threshold, settings, title)
        return verdict
    csv = out or ("test_tta_confidence.csv" if settings["tta"] else "test.csv")
    done = predict_files(detectors, manifest, csv, threshold=threshold, workers=workers, **settings)
    tell_unreadable(done.unreadable)
    counts = ", ".join(f"{n} {verdict}" for verdict, n in done.verdicts.items())
    print(f"{done.n} files: {counts}", file=sys.stderr)
    return str(done.csv)


def _check_threshold(threshold: float | None) -> None:
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"--threshold is {threshold}; it must be from 0 to 1.")


def _check_pictures(
    heatmap: str | None, timeline: str | None, out: str | None, alone: bool, video: bool
) -> None:
    if heatmap and (not alone or video):
        raise DfdError("--heatmap is for one image; name a single file. `dfd explain` takes many.")
    if timeline and not video:
        raise DfdError("--timeline is for one video; name a single file.")
    if out and (heatmap or timeline):
        raise UsageError("--out writes a table; leave it out with --heatmap or --timeline.")


def _judge_one(
    detectors: Sequence[Detector], manifest: pd.DataFrame, threshold: float | None, settings: dict[str, Any]
) -> dict[str, Any]:
    from dfdlib.evaluation.files import judge_files
    from dfdlib.images.video import VIDEO_SUFFIXES

    (table,) = judge_files(detectors, manifest, threshold=threshold, workers=1, **settings)
    row = table.iloc[0]
    if row["error"]:
        raise DfdError(row["error"])
    p_fake = round(row["p_fake"], 6)
    result = {"file": row["path"], "verdict": row["verdict"], "p_fake": p_fake}
    result |= {"decision": row["predicted"].upper(), "probability": p_fake}
    limits = " ".join(sorted({detector.limits for detector in detectors if detector.limits}))
    if limits:
        result["notice"] = limits
    if "predicted_category" in row:
        confidence = round(row["category_confidence"], 6)
        result |= {"category": row["predicted_category"], "category_confidence": confidence}
    if "faces" in row and Path(row["path"]).suffix.lower() not in VIDEO_SUFFIXES:
        result["faces"] = row["faces"]
    return result


def _draw_heatmap(detectors: Sequence[Detector], path: Path, folder: str) -> str:
    """Write the heatmap of the most confident detector's verdict over the image; return the file."""
    from dfdlib.explain.heatmaps import confident_explanation
    from dfdlib.images.decode import write_image
    from dfdlib.images.picture import overlay, read_picture

    picture = read_picture(path)
    _, explanation, square = confident_explanation(detectors, picture)
    file = Path(folder) / "gradcam.png"
    write_image(file, overlay(picture.pixels, explanation.heatmap[0], square=square))
    return str(file)


def _draw_timeline(
    detectors: Sequence[Detector],
    path: Path,
    folder: str,
    threshold: float | None,
    settings: dict[str, Any],
    title: str,
) -> str:
    """Draw the score of each frame of a video; return the file."""
    from dfdlib.core.files import atomic_path
    from dfdlib.evaluation.files import frame_scores
    from dfdlib.evaluation.tables import joint_decision
    from dfdlib.plots.predictions import timeline

    band = joint_decision(detectors).band if threshold is None else None
    frames = frame_scores(detectors, path, threshold=threshold, **settings)
    figure = timeline(frames, band=band, title=title)
    file = Path(folder) / "timeline.png"
    with atomic_path(file) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
    return str(file)


def explain(
    paths: Paths,
    /,
    *,
    model: Repeated,
    out: str,
    target: str = "predicted",
    method: str = "gradcam",
) -> str:
    """Write heatmaps over images; print the CSV that lists them.

    Args:
        paths: Files, folders, patterns.
        model: Again for several: the most confident one explains.
        out: Folder of the overlays.
        target: Predicted, fake, real, or the name of a category.
        method: One of gradcam, gradcam++, hirescam, xgradcam, layercam, eigencam.
    """
    require({"a path": paths, "--model": model})
    from dfdlib.core.files import safe_table, write_csv
    from dfdlib.explain.heatmaps import explain_files

    manifest = _manifest_of(paths, videos=False)
    table = explain_files(load_detectors(model), manifest, out, target, method)
    tell_unreadable([error for error in table["error"] if error])
    file = Path(out) / "explanations.csv"
    write_csv(safe_table(table), file)
    return str(file)


def serve(
    *,
    model: Repeated = (),
    host: str = "127.0.0.1",
    port: int = 8000,
    origin: Repeated = (),
    feedback: str | None = None,
    max_mb: int = 16,
    faces: str = "",
) -> None:
    """Serve a page and a REST interface for detectors.

    Args:
        model: Again for several; small demo detectors when not given.
        host: Address to listen on; by default this machine alone.
        port: From 1 to 65535.
        origin: Another web origin that may call it.
        feedback: SQLite file of users' reports; by default data/feedback.db.
        max_mb: Largest upload in MB.
        faces: Crop to faces in another way than in training, see `dfd train`; needs --model.
    """
    if not 0 < port < 65536:
        raise UsageError(f"--port is {port}; it must be from 1 to 65535.")
    try:
        from dfdlib.serve import Service, create_app, run_server
    except ImportError as error:
        raise DfdError(f"serving needs the package {error.name}; `pip install 'dfdlib[serve]'`.") from error
    from dfdlib.core import paths
    from dfdlib.serve.feedback import FeedbackStore

    service = Service({}, preparing="The demo detectors are being prepared; this takes a minute or two.")
    if faces and not model:
        raise UsageError("--faces needs --model: the demo detectors look at whole images.")
    if model:
        service.ready(*_named(model, faces))
    else:
        _prepare_demo(service)
    store = FeedbackStore(feedback or paths.data_root() / "feedback.db")
    print(f"serving {', '.join(service.models) or 'demo detectors'} on http://{host}:{port}", file=sys.stderr)
    run_server(create_app(service, store, origin, max_mb * 2**20), host, port)


def _named(model: Sequence[str], faces: str) -> tuple[dict[str, Detector], dict[str, Path]]:
    """Return detectors and their files by the names that users see."""
    files = [Path(file) for file in model]
    names = model_names(files)
    return dict(zip(names, load_detectors(model, faces), strict=True)), dict(zip(names, files, strict=True))


def _prepare_demo(service: Service) -> None:
    """Train the demo detectors in a process of their own, whose last line the page shows, and serve them then."""
    command = [sys.executable, "-u", "-m", "dfdlib.cli.demo_detectors"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def follow() -> None:
        last, files = "no reason given", {}
        for line in process.stdout or ():
            print(line, end="", file=sys.stderr)
            if line.startswith("{"):
                files = {name: Path(file) for name, file in json.loads(line).items()}
            elif line.strip():
                last = line.strip()
                service.preparing = f"The demo detectors are being prepared: {last}."
        try:
            if process.wait() or not files:
                raise DfdError(last)
            detectors = dict(zip(files, load_detectors([str(file) for file in files.values()]), strict=True))
        except DfdError as error:
            service.preparing = f"The demo detectors could not be prepared: {error}"
            return
        service.ready(detectors, files)

    atexit.register(process.terminate)
    threading.Thread(target=follow, daemon=True).start()


def report(*, only: Names = None, build_only: bool = False, out: str = "") -> str:
    """Run the notebooks, and build a page over all runs; print its path.

    Args:
        only: Notebooks, such as 04 06.
        build_only: Build the page from what is there.
        out: The page; by default reports/index.html.
    """
    if only == ():
        raise UsageError("--only needs the name of a notebook, such as 04.")
    from dfdlib.core import paths
    from dfdlib.reports.notebooks import notebook_files, run_notebook
    from dfdlib.reports.site import build_site

    root, executed = paths.reports_root(), []
    for file in [] if build_only else notebook_files(only or ()):
        print(f"running {file.stem}", file=sys.stderr, flush=True)
        executed.append(run_notebook(file))
        print(f"  {executed[-1].error or 'done'}, {executed[-1].seconds:.0f} s", file=sys.stderr, flush=True)
    page = build_site(root, out, executed)
    failed = [one.name for one in executed if one.error]
    if failed:
        raise DfdError(f"{', '.join(failed)} failed; {page} shows the rest and says why.")
    return str(page)


def export(*, model: str, format: Literal["onnx"] = "onnx", out: str | None = None) -> str:  # noqa: ARG001
    """Write a detector as ONNX; print the path.

    Args:
        model: The detector.
        format: The only one for now.
        out: By default beside the model.
    """
    from dfdlib.models.onnx import export_onnx

    (detector,) = load_detectors([model])
    out = out or str(Path(model).with_suffix(".onnx"))
    export_onnx(detector, out)
    return out


def _manifest_of(paths: Sequence[str], videos: bool = True) -> pd.DataFrame:
    """Make a manifest of files, folders and patterns; folders can hold videos too."""
    import pandas as pd

    from dfdlib.data.manifest import files_of
    from dfdlib.data.scan import scan_images, video_files

    tables = []
    for given in paths:
        found = [given] if Path(given).exists() else sorted(glob.glob(given, recursive=True))  # noqa: PTH207
        if not found:
            raise DfdError(f"{given} is no file, no folder, and no pattern that matches any; check the path.")
        for path in map(Path, found):
            single = [path]
            if path.is_dir():
                single = video_files(path)
                if single and not videos:
                    print(f"left out: {len(single)} videos in {path}", file=sys.stderr)
                    single = []
                if not single or _holds_images(path):
                    table = scan_images(path, require_labels=False)
                    tables.append(table.assign(path=[str(file.absolute()) for file in files_of(table)]))
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
