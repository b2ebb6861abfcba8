"""What the server does with an image, apart from HTTP."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from dfdlib.core.errors import DfdError, ImageError, TooLargeError, UnknownFormatError
from dfdlib.data.manifest import files_of
from dfdlib.demo.sets import demo_manifest
from dfdlib.evaluation.files import Source, judge_files
from dfdlib.explain.heatmaps import explain_picture
from dfdlib.images.faces import Square
from dfdlib.images.picture import Picture, centre_square, overlay, part_inside, reduce_image
from dfdlib.images.video import read_frames
from dfdlib.models.decision import UNLIKE
from dfdlib.models.detector import Detector
from dfdlib.models.fold_batchnorm import folded

MAX_PIXELS, MAX_VIDEO_PIXELS = 40_000_000, 10_000_000
"""Larger images and frames are refused before they are decoded."""
_SHOWN_SIDE = 640
"""Longest side of the overlay that is sent back, in pixels."""
_HEAT_SIDE = 256
"""Longest side of the colours alone, which are smooth: pages enlarge them at no loss."""
_FAST_PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG),
)
_PAGES_SHOW = ("AVIF", "BMP", "GIF", "JPEG", "MPO", "PNG", "WEBP")
_FRAMES = 8
"""Frames of a video that are judged, each in memory at its full size."""
_DEMO_SET, _DEMO_SEED, _EXAMPLES = 30, 2026, (0, 1, 13, 12, 24, 25)
"""Images to try: pairs of a face, an animal and a vehicle out of a small demo set that nobody trains on."""
_REMEMBERED = 2000
"""Verdicts that feedback can refer to."""
_SPLITS = {"test": "test images that it had never seen", "val": "validation images that chose its settings"}
FIGURES = ("roc", "confusion_real_fake", "learning_curves", "generators")
"""Figures of a detector's own report that the dashboard shows."""
_ONE = pd.DataFrame({"path": ["the image"]})


class UploadError(DfdError):
    """An upload that cannot be judged; `status` is the HTTP status that says so."""

    def __init__(self, message: str, status: int) -> None:
        """Set the sentence for the user and the status."""
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Upload:
    """An image as it came in."""

    picture: Picture
    """The image, known to be sound."""
    sha256: str
    """Of the bytes, in hex."""
    notes: tuple[str, ...] = ()
    """What the user should know of how it was read."""
    video: bytes | None = None
    """The video whose frame `picture` is."""
    shown_by_browsers: bool = True


class Service:
    """Detectors that threads may share."""

    def __init__(
        self, models: Mapping[str, Detector], files: Mapping[str, Path] | None = None, preparing: str = ""
    ) -> None:
        """Take the detectors.

        Args:
            models: Detectors for images, by the name that users see.
            files: The file of each detector, where it has one; its report is looked for beside it.
            preparing: What is going on while there is no detector yet; `ready` brings them later.

        Raises:
            DfdError: No detector and none that is prepared, or one for clips.
        """
        self.models: dict[str, Detector] = {}
        self.files: dict[str, Path] = {}
        self.preparing = preparing
        if models:
            self.ready(models, files)
        elif not preparing:
            raise DfdError("there is no detector to serve; name at least one.")
        self._recent: OrderedDict[str, list[dict[str, Any]]] = OrderedDict()
        self._lock, self._drawing = threading.Lock(), threading.Lock()

    def ready(self, models: Mapping[str, Detector], files: Mapping[str, Path] | None = None) -> None:
        """Serve these detectors from now on. Raises `DfdError` for one for clips."""
        for name, detector in models.items():
            if detector.n_frames:
                raise DfdError(f"{name} is a detector for clips; the page judges single images.")
        self.files = dict(files or {})
        self._digests = {
            name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in self.files.items()
        }
        self.models = {name: folded(detector) for name, detector in models.items()}
        self.preparing = ""

    @property
    def notice(self) -> str:
        """What the page says above all: what is going on, or what the detectors do not know."""
        limits = {name: detector.limits for name, detector in self.models.items() if detector.limits}
        return self.preparing or " ".join(f"{name}: {text}" for name, text in limits.items())

    def read(self, data: bytes) -> Upload:
        """Decode an image or video. Raises `UploadError` with a sentence for the user."""
        try:
            if _is_video(data):
                return self._read_video(data)
            picture = Picture(data, "the image", MAX_PIXELS)
            _ = picture.pixels  # where anything is wrong with them, it is to be said now
        except UnknownFormatError as error:
            raise UploadError("The file is not an image or video in a known format.", 415) from error
        except ImageError as error:
            status = 400 if not data else 413 if isinstance(error, TooLargeError) else 422
            raise UploadError(_sentence(str(error)), status) from error
        with Image.open(io.BytesIO(data)) as image:
            moving = getattr(image, "is_animated", False) and image.format != "MPO"
            shown = image.format in _PAGES_SHOW
        notes = ("Only the first frame of this animation was judged.",) if moving else ()
        return Upload(picture, hashlib.sha256(data).hexdigest(), notes, shown_by_browsers=shown)

    def _read_video(self, data: bytes) -> Upload:
        """Take the middle one of a video's frames as its picture."""
        with _video_file(data) as file:
            try:
                frame = read_frames(file, 3, MAX_VIDEO_PIXELS).images[1]
            except ImageError as error:
                raise ImageError(str(error).replace(str(file), "the video")) from error
        png = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), _FAST_PNG)[1].tobytes()
        notes = (f"{_FRAMES} frames of this video were judged; the picture is the one in its middle.",)
        return Upload(Picture(png, "the video"), hashlib.sha256(data).hexdigest(), notes, data, False)

    def predict(self, upload: Upload) -> dict[str, Any]:
        """Judge an image by every detector, and explain it by the most confident one that can be explained.

        Returns:
            `predictions`: for each detector `model_name`, `label`, `verdict` (label, or `can't tell`),
            `confidence` (probability of the label), `p_fake`, `threshold`, `band`, and `category` where it
            names one; `faces` where it crops to them, see `files.judge_files`; `square`, what of the image it looked
            at; `reals_as_high`, see `Decision.reals_as_high`. `verdict` is that of the most confident.
            `grad_cam_model_name`, `dynamic_grad_cam` (overlay) and `heatmap` (colours alone, transparent where the
            detector did not look), as data URLs or None; `picture` too, where browsers cannot show the upload.
            `image_size`: width and height in pixels.

        Raises:
            UploadError: There is no detector yet, or one that refuses an image without a face.
        """
        if not self.models:
            raise UploadError(f"There is no detector yet: {self.preparing}", 503)
        predictions = [_prediction(name, detector, upload) for name, detector in self.models.items()]
        by_confidence = sorted(predictions, key=lambda one: -abs(one["p_fake"] - 0.5))
        names = [one["model_name"] for one in by_confidence]
        explained = next((name for name in names if self.models[name].explainable), None)
        with self._lock:
            self._recent[upload.sha256] = predictions
            self._recent.move_to_end(upload.sha256)
            while len(self._recent) > _REMEMBERED:
                self._recent.popitem(last=False)
        answer = {
            "predictions": predictions,
            "verdict": by_confidence[0]["verdict"],
            "grad_cam_model_name": explained,
            "dynamic_grad_cam": None,
            "heatmap": None,
            "image_sha256": upload.sha256,
            "image_size": upload.picture.pixels.shape[1::-1],
            "picture": None,
            "video": upload.video is not None,
            "notes": [*upload.notes, *self._notes_on_size(upload)],
        }
        if not upload.shown_by_browsers:
            answer["picture"] = _data_url(reduce_image(upload.picture.pixels, _SHOWN_SIDE))
        if explained is not None:
            try:
                found, square = explain_picture(self.models[explained], upload.picture)
            except ImageError:  # the frame of a video that shows no face
                return answer | {"grad_cam_model_name": None}
            pictures = _pictures(upload.picture.pixels, found.heatmap[0], square)
            answer["dynamic_grad_cam"], answer["heatmap"] = pictures
        return answer

    def said(self, sha256: str) -> list[dict[str, Any]]:
        """Return what was predicted for an image. Raises `UploadError` where that is not known any more."""
        with self._lock:
            if sha256 in self._recent:
                return self._recent[sha256]
        raise UploadError("This image has not been judged since the server started; judge it again.", 409)

    def about(self) -> list[dict[str, Any]]:
        """Describe each detector, with the metrics of its report where there is one."""
        return [
            {
                "model_name": name,
                "architecture": detector.arguments.get("backbone", detector.kind),
                "image_size": detector.image_size,
                "categories": list(detector.categories),
                "faces": str(detector.faces or ""),
                "threshold": detector.decision.threshold,
                "band": list(detector.decision.band) if detector.decision.band else None,
                "origin": detector.origin,
                "sha256": self._digests.get(name),
                "card": _card(detector, report := self._report(name)),
                "report": report,
            }
            for name, detector in self.models.items()
        ]

    def examples(self) -> list[dict[str, Any]]:
        """Return drawn images to try, `label`, `generator` and `file` each; the first call draws them."""
        with self._drawing:
            manifest = demo_manifest(_DEMO_SET, _DEMO_SEED, workers=1).iloc[list(_EXAMPLES)]
        rows = manifest[["label", "generator"]].assign(file=files_of(manifest))
        return rows.to_dict("records")

    def figure(self, index: int, name: str) -> Path:
        """Return a figure of a detector's report. Raises `UploadError` where there is none."""
        names = list(self.models)
        if not 0 <= index < len(names) or name not in FIGURES or names[index] not in self.files:
            raise UploadError("There is no such figure.", 404)
        file = self.files[names[index]].with_name(f"{name}.png")
        if not file.is_file():
            raise UploadError("There is no such figure.", 404)
        return file.resolve()

    def _notes_on_size(self, upload: Upload) -> list[str]:
        small, wanted = (
            min(upload.picture.pixels.shape[:2]),
            max(one.image_size for one in self.models.values()),
        )
        if small >= wanted / 2:
            return []
        return [
            f"This image is small: it was enlarged to {wanted} pixels, and what a detector looks for may be missing."
        ]

    def _report(self, name: str) -> dict[str, Any] | None:
        if name not in self.files or not self.files[name].with_name("metrics.json").is_file():
            return None
        folder = self.files[name].parent
        try:
            report = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
            kept = {key: report.get(key) for key in ("data", "metrics", "by_generator", "versions")}
        except (OSError, ValueError, AttributeError):
            return None
        return kept | {"figures": [figure for figure in FIGURES if (folder / f"{figure}.png").is_file()]}


def _prediction(name: str, detector: Detector, upload: Upload) -> dict[str, Any]:
    """Return what a detector says of an image."""
    with _source(upload) as source:
        (table,) = judge_files([detector], _ONE, [source], workers=1, n_frames=_FRAMES)
    row, decision = table.iloc[0], detector.decision
    if row["error"]:
        raise UploadError(_sentence(row["error"]), 422)
    p_fake = float(row["p_fake"])
    prediction = {
        "model_name": name,
        "label": row["predicted"],
        "verdict": row["verdict"],
        "confidence": p_fake if row["predicted"] == "fake" else 1 - p_fake,
        "p_fake": p_fake,
        "threshold": decision.threshold,
        "band": list(decision.band) if decision.band else None,
        "square": _square(row, upload, detector),
        "reals_as_high": None if row["verdict"] == UNLIKE else decision.reals_as_high(p_fake),
        "n_reals": len(decision.real_logits),
    }
    if detector.categories:
        prediction |= {
            "category": row["predicted_category"],
            "category_confidence": float(row["category_confidence"]),
        }
    if detector.faces and upload.video is None:
        prediction["faces"] = row["faces"]
    return prediction


def _square(row: pd.Series, upload: Upload, detector: Detector) -> Square | None:
    """Return what of the picture a prediction is about; None where a face was followed through a video."""
    if len(row.get("faces", ())):
        return max(row["faces"], key=lambda face: face["p_fake"])["square"]
    if detector.faces and upload.video is not None:
        return None
    return centre_square(*upload.picture.pixels.shape[:2])


def _is_video(data: bytes) -> bool:
    """Tell MP4, QuickTime, WebM, Matroska and AVI by their first bytes; AVIF and HEIC begin like the first two."""
    if data[4:8] == b"ftyp":
        return not data[8:12].startswith((b"avif", b"avis", b"hei", b"hev", b"mif1", b"msf1"))
    return data[:4] == b"\x1aE\xdf\xa3" or (data[:4] == b"RIFF" and data[8:12] == b"AVI ")


@contextmanager
def _video_file(data: bytes) -> Iterator[Path]:
    """Yield a file that holds a video while it is read; FFmpeg tells the kind by the bytes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "video.mp4"
        file.write_bytes(data)
        yield file


@contextmanager
def _source(upload: Upload) -> Iterator[Source]:
    if upload.video is None:
        yield upload.picture
    else:
        with _video_file(upload.video) as file:
            yield file


def _card(detector: Detector, report: Mapping[str, Any] | None) -> list[str]:
    """Say in plain words what a detector is, what it was trained on and how good it is."""
    side = detector.image_size
    looks_at = "the faces in an image" if detector.faces else "the square in the middle of an image"
    card = [
        f"It looks at {looks_at}, at {side} × {side} pixels ({detector.arguments.get('backbone', detector.kind)})."
    ]
    sources = ", ".join(detector.provenance.get("sources", ()))
    if sources and detector.training_digests is not None:
        held_out = 0 if detector.validation_digests is None else len(detector.validation_digests)
        card.append(f"It was trained on {len(detector.training_digests) - held_out:,} images of {sources}.")
    if detector.limits:
        card.append(detector.limits)
    for split, images in _SPLITS.items():
        try:
            found = report["metrics"][split]
            n, pairs, right = found["n"], 100 * found["auc"], 100 * found["accuracy"]
        except (KeyError, TypeError):  # no report, no such split, or one class alone
            continue
        card.append(
            f"On {n} {images} it called {right:.0f} of 100 right, and scored a fake above a real one in {pairs:.0f} "
            "of 100 pairs. That says nothing of images of another kind."
        )
        return card
    return [*card, "How good it is, is not known: there is no report beside its file."]


def _pictures(image: np.ndarray, heat: np.ndarray, square: Square | None) -> tuple[str, str]:
    """Return the overlay and the colours alone, as data URLs, reduced to what a page shows."""
    square = square or centre_square(*image.shape[:2])
    (small, there), (shown, here) = (_reduced(image, side, square) for side in (_HEAT_SIDE, _SHOWN_SIDE))
    colours = np.zeros((*small.shape[:2], 4), np.uint8)
    seen = part_inside(there, *small.shape[:2])
    colours[seen][..., :3] = overlay(small, heat, 1, there)[seen]
    colours[seen][..., 3] = 255
    return _data_url(overlay(shown, heat, square=here)), _data_url(colours)


def _reduced(image: np.ndarray, longest_side: int, square: Square) -> tuple[np.ndarray, Square]:
    """Reduce an image, and with it the square that a detector saw."""
    small = reduce_image(image, longest_side)
    left, top, side = (round(value * len(small) / len(image)) for value in square)
    return small, (left, top, max(1, side))


def _data_url(image: np.ndarray) -> str:
    """Encode uint8 [H, W, 3 or 4] as a PNG; fast rather than small."""
    order = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    _, data = cv2.imencode(".png", cv2.cvtColor(image, order), _FAST_PNG)
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
