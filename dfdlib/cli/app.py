"""The command `dfd`: a thin shell over the library.

Results that a program may read go to the standard output, as JSON or the path of a file; all else goes to
the standard error. The exit code is 0 on success, 2 for wrong usage and 1 for any other failure.
"""

from __future__ import annotations

import argparse
import json
import sys
import typing
from collections.abc import Sequence
from typing import Any

from dfdlib import __version__
from dfdlib.cli import data, learn, use
from dfdlib.core.errors import DfdError
from dfdlib.training.settings import TrainConfig

_EXAMPLES = """examples:
  dfd demo-data                                   draw the demo set; prints its manifest
  dfd train --data photos --out run --epochs 10   train on a folder with real/ and fake/
  dfd predict new/ --model run/best_model.pt      judge every image of a folder: test.csv
  dfd predict one.jpg --model run/best_model.pt   judge one image: JSON
  dfd predict film.mp4 --model run/best_model.pt --timeline out
  dfd explain new/ --model run/best_model.pt --out heatmaps
  dfd serve --model run/best_model.pt             a page on http://127.0.0.1:8000
  dfd evaluate --model run/best_model.pt --data a --data b
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        result = options.run(options)
    except DfdError as error:
        print(f"dfd: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dfd: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    if result is not None:
        print(result if isinstance(result, str) else json.dumps(result, indent=2, ensure_ascii=False))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dfd",
        description="Train a detector of fake images, judge it, and use it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"dfdlib {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    for add in (
        _add_data_commands,
        _add_training,
        _add_learning_commands,
        _add_using_commands,
        _add_serving_commands,
    ):
        add(subparsers)
    return parser


def _add_data_commands(subparsers: Any) -> None:
    demo = subparsers.add_parser("demo-data", help="draw the demo set; print its manifest")
    demo.add_argument("--images", type=int, default=2700, help="images in all (default 2700)")
    demo.add_argument("--size", type=int, default=128, help="side of an image in pixels (default 128)")
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument("--workers", type=int, default=0, help="processes; 0 for one a core")
    demo.set_defaults(run=data.demo_data)

    scan = subparsers.add_parser("scan", help="write a manifest.csv into a folder of images; print its path")
    scan.add_argument("path", help="the folder")
    scan.add_argument(
        "--label",
        action="append",
        default=[],
        type=_label,
        metavar="FOLDER=LABEL",
        help="a folder name that means real or fake, e.g. 0_old=fake",
    )
    scan.add_argument("--unlabelled", action="store_true", help="the images need no labels")
    scan.set_defaults(run=data.scan)

    split = subparsers.add_parser(
        "split", help="share the images out to train, val and test; print the manifest"
    )
    split.add_argument("path", help="a folder of images, or a manifest")
    split.add_argument("--val", type=float, default=0.2, help="share of the validation images (default 0.2)")
    split.add_argument("--test", type=float, default=0.0, help="share of the test images (default 0)")
    split.add_argument("--seed", type=int, default=0)
    split.set_defaults(run=data.split)


def _add_training(subparsers: Any) -> None:
    train = subparsers.add_parser("train", help="train a detector; print its metrics as JSON")
    train.add_argument("--data", default="", help="folder of images or manifest; the demo set when not given")
    train.add_argument("--out", required=True, help="folder of the results")
    train.add_argument("--backbone", default="tf_efficientnetv2_b0", help="any timm model, or cnn")
    train.add_argument(
        "--image-size", type=int, default=128, help="side of the input in pixels (default 128)"
    )
    train.add_argument("--pretrained", choices=("auto", "none"), default="auto")
    train.add_argument("--weights", default="", help="file of backbone weights")
    train.add_argument("--max-images", type=int, default=0, help="use at most so many; 0 for all")
    train.add_argument(
        "--residual",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="high-pass residual beside RGB (default on)",
    )
    train.add_argument(
        "--stem-stride", type=int, default=1, help="stride of the first convolution; 0 leaves it"
    )
    train.add_argument("--stages", type=int, default=3, help="feature maps to keep; 0 for the whole backbone")
    train.add_argument("--attention", action="store_true", help="CBAM on the last feature map")
    settings = train.add_argument_group("training settings (see dfdlib.config.TrainConfig)")
    defaults = TrainConfig()
    for name, kind in learn.setting_types().items():
        option, default = f"--{name.replace('_', '-')}", getattr(defaults, name)
        if kind is bool:
            settings.add_argument(option, action=argparse.BooleanOptionalAction, default=default)
        elif typing.get_origin(kind) is typing.Literal:
            settings.add_argument(option, choices=typing.get_args(kind), default=default)
        else:
            settings.add_argument(
                option, type=kind, default=default, metavar=kind.__name__.upper(), help=f"default {default}"
            )
    train.set_defaults(run=learn.train)


def _add_learning_commands(subparsers: Any) -> None:
    tune = subparsers.add_parser("finetune", help="learn from the failures on the validation images")
    tune.add_argument("--model", required=True, help="the best_model.pt to start from")
    tune.add_argument("--data", required=True, help="the data set that it was trained on")
    tune.add_argument("--out", required=True, help="folder of best_model_finetuned.pth and failures.json")
    tune.add_argument("--epochs", type=int, default=3)
    tune.add_argument("--learning-rate", type=float, default=1e-4)
    tune.add_argument(
        "--replay", type=float, default=4.0, help="training images for each failure (default 4)"
    )
    tune.add_argument("--seed", type=int, default=0)
    tune.add_argument(
        "--feedback",
        metavar="FILE",
        help="learn from images that users of `dfd serve` reported, not from failures",
    )
    tune.set_defaults(run=learn.finetune)

    fit = subparsers.add_parser(
        "calibrate", help="fit temperature, threshold and band to labelled images; print what they are"
    )
    fit.add_argument("--model", required=True)
    fit.add_argument("--data", required=True, help="labelled images that nobody tests on")
    fit.add_argument("--split", choices=("train", "val", "test"), default="val")
    fit.add_argument("--out", required=True, help="the file of the calibrated detector")
    fit.add_argument(
        "--false-alarms", type=float, metavar="RATE", help="call at most this share of real images fake"
    )
    fit.add_argument(
        "--min-accuracy", type=float, default=0.9, help="of the verdicts beyond the band (default 0.9)"
    )
    fit.set_defaults(run=learn.calibrate)

    judge = subparsers.add_parser(
        "evaluate", help="judge a detector on labelled data sets; print a table as JSON"
    )
    judge.add_argument("--model", action="append", required=True, help="again for several")
    judge.add_argument("--ensemble", action="store_true", help="judge the models together")
    judge.add_argument("--data", action="append", required=True, help="again for several data sets")
    judge.add_argument(
        "--split", choices=("train", "val", "test"), default="", help="default: test where there is one"
    )
    judge.add_argument("--tta", nargs="*", default=[], metavar="VIEW", help="flip, turn, crop, shrink")
    judge.add_argument("--out", help="write the table as CSV too")
    judge.set_defaults(run=learn.evaluate)


def _add_using_commands(subparsers: Any) -> None:
    predict = subparsers.add_parser(
        "predict", help="judge images and videos: one as JSON, many as a CSV whose path is printed"
    )
    predict.add_argument("paths", nargs="+", help="files, folders, patterns")
    predict.add_argument(
        "--model", action="append", required=True, help=".pt, .pth or .onnx; again for an ensemble"
    )
    predict.add_argument(
        "--tta",
        nargs="*",
        metavar="VIEW",
        help="average over views: flip, turn, crop, shrink; alone for flip, crop and shrink",
    )
    predict.add_argument("--heatmap", metavar="DIR", help="write gradcam.png of a single image there")
    predict.add_argument(
        "--timeline", metavar="DIR", help="write timeline.png of a single video there, a score a frame"
    )
    predict.add_argument(
        "--frames", type=int, default=32, help="frames of a video to judge (default 32; clips state theirs)"
    )
    predict.add_argument(
        "--faces", metavar="FILE", help="crop videos to the main face: YuNet's .onnx file, or cascade"
    )
    predict.add_argument(
        "--threshold", type=float, help="fake from this probability on; the model's own by default"
    )
    predict.add_argument("--out", help="the CSV; test.csv, or test_tta_confidence.csv with --tta, by default")
    predict.add_argument("--workers", type=int, default=0, help="threads that decode; 0 for one a core")
    predict.set_defaults(run=use.predict)

    explain = subparsers.add_parser(
        "explain", help="write heatmaps over images; print the CSV that lists them"
    )
    explain.add_argument("paths", nargs="+", help="files, folders, patterns")
    explain.add_argument(
        "--model", action="append", required=True, help="again for several: the surest explains"
    )
    explain.add_argument("--out", required=True, help="folder of the overlays")
    explain.add_argument(
        "--target", default="predicted", help="predicted (default), fake, real, or the name of a category"
    )
    explain.add_argument(
        "--method",
        default="gradcam",
        help="gradcam (default), gradcam++, hirescam, xgradcam, layercam, eigencam",
    )
    explain.set_defaults(run=use.explain)


def _add_serving_commands(subparsers: Any) -> None:
    serve = subparsers.add_parser("serve", help="a page and a REST interface for detectors")
    serve.add_argument(
        "--model", action="append", default=[], help="again for several; small demo detectors when not given"
    )
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine alone)"
    )
    serve.add_argument("--port", type=_port, default=8000, help="default 8000")
    serve.add_argument(
        "--origin", action="append", default=[], metavar="URL", help="another web origin that may call it"
    )
    serve.add_argument(
        "--feedback", metavar="FILE", help="SQLite file of users' reports (default data/feedback.db)"
    )
    serve.add_argument("--max-mb", type=int, default=16, help="largest upload in MB (default 16)")
    serve.set_defaults(run=use.serve)

    report = subparsers.add_parser(
        "report", help="run the notebooks, and build a page over all runs; print its path"
    )
    report.add_argument("--only", nargs="+", default=[], metavar="NAME", help="notebooks, such as 04 06")
    report.add_argument("--build-only", action="store_true", help="build the page from what is there")
    report.add_argument("--out", metavar="FILE", help="the page (default reports/index.html)")
    report.set_defaults(run=use.report)

    export = subparsers.add_parser("export", help="write a detector as ONNX; print the path")
    export.add_argument("--model", required=True)
    export.add_argument("--format", choices=("onnx",), default="onnx")
    export.add_argument("--out", help="by default beside the model")
    export.set_defaults(run=use.export)


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number from 1 to 65535")
    return int(text)


def _label(text: str) -> str:
    if "=" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} must look like FOLDER=real or FOLDER=fake")
    return text
