"""What the server does with an image, apart from HTTP."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from dfdlib.core.errors import DfdError, ImageError, TooLargeError, UnknownFormatError
from dfdlib.evaluation.files import judge_files
from dfdlib.explain.heatmaps import explain_picture
from dfdlib.images.faces import Square
from dfdlib.images.picture import Picture, centre_square, overlay, part_inside, reduce_image
from dfdlib.models.detector import Detector
from dfdlib.models.fold_batchnorm import folded

MAX_PIXELS = 40_000_000
"""Larger uploads are refused before they are decoded."""
_SHOWN_SIDE = 640
"""Longest side of the overlay that is sent back, in pixels."""
_HEAT_SIDE = 256
"""Longest side of the colours alone, which are smooth: pages enlarge them at no loss."""
_FAST_PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG),
)
_REMEMBERED = 2000
"""Verdicts that feedback can refer to."""
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


class Service:
    """Detectors that threads may share."""

    def __init__(
        self, models: Mapping[str, Detector], folders: Mapping[str, Path] | None = None, preparing: str = ""
    ) -> None:
        """Take the detectors.

        Args:
            models: Detectors for images, by the name that users see.
            folders: Folder of each detector's report, where it has one.
            preparing: What is going on while there is no detector yet; `ready` brings them later.

        Raises:
            DfdError: No detector and none that is prepared, or one for clips.
        """
        self.models: dict[str, Detector] = {}
        self.folders: dict[str, Path] = {}
        self.preparing = preparing
        if models:
            self.ready(models, folders)
        elif not preparing:
            raise DfdError("there is no detector to serve; name at least one.")
        self._recent: OrderedDict[str, list[dict[str, Any]]] = OrderedDict()
        self._lock = threading.Lock()

    def ready(self, models: Mapping[str, Detector], folders: Mapping[str, Path] | None = None) -> None:
        """Serve these detectors from now on. Raises `DfdError` for one for clips."""
        for name, detector in models.items():
            if detector.n_frames:
                raise DfdError(f"{name} is a detector for clips; the page judges single images.")
        self.folders = dict(folders or {})
        self.models = {name: folded(detector) for name, detector in models.items()}
        self.preparing = ""

    @property
    def notice(self) -> str:
        """What the page says above all: what is going on, or what the detectors do not know."""
        limits = {name: detector.limits for name, detector in self.models.items() if detector.limits}
        return self.preparing or " ".join(f"{name}: {text}" for name, text in limits.items())

    def read(self, data: bytes) -> Upload:
        """Decode an upload. Raises `UploadError` with a sentence for the user."""
        try:
            picture = Picture(data, "the image", MAX_PIXELS)
            _ = picture.pixels  # where anything is wrong with them, it is to be said now
        except ImageError as error:
            status = 400 if not data else 422
            if isinstance(error, TooLargeError):
                status = 413
            elif isinstance(error, UnknownFormatError):
                status = 415
            raise UploadError(_sentence(str(error)), status) from error
        with Image.open(io.BytesIO(data)) as image:
            moving = getattr(image, "is_animated", False) and image.format != "MPO"
        notes = ("Only the first frame of this animation was judged.",) if moving else ()
        return Upload(picture, hashlib.sha256(data).hexdigest(), notes)

    def predict(self, upload: Upload) -> dict[str, Any]:
        """Judge an image by every detector, and explain it by the most confident one that can be explained.

        Returns:
            `predictions`: for each detector `model_name`, `label`, `verdict` (label, or `can't tell`),
            `confidence` (probability of the label), `p_fake`, `threshold`, `band`, and `category` where it
            names one; `faces` where it crops to them, see `files.judge_files`. `verdict` is that of the most
            confident. `grad_cam_model_name`, `dynamic_grad_cam` (overlay) and `heatmap` (colours alone, transparent
            where the detector did not look), as data URLs or None. `image_size`: width and height in pixels.

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
            "notes": list(upload.notes),
        }
        if explained is not None:
            detector = self.models[explained]
            found, square = explain_picture(detector, upload.picture)
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
                "report": self._report(name),
            }
            for name, detector in self.models.items()
        ]

    def figure(self, index: int, name: str) -> Path:
        """Return a figure of a detector's report. Raises `UploadError` where there is none."""
        names = list(self.models)
        if not 0 <= index < len(names) or name not in FIGURES or names[index] not in self.folders:
            raise UploadError("There is no such figure.", 404)
        file = self.folders[names[index]] / f"{name}.png"
        if not file.is_file():
            raise UploadError("There is no such figure.", 404)
        return file.resolve()

    def _report(self, name: str) -> dict[str, Any] | None:
        folder = self.folders.get(name)
        if folder is None or not (folder / "metrics.json").is_file():
            return None
        try:
            report = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
            kept = {key: report.get(key) for key in ("data", "metrics", "by_generator", "versions")}
        except (OSError, ValueError, AttributeError):
            return None
        return kept | {"figures": [figure for figure in FIGURES if (folder / f"{figure}.png").is_file()]}


def _prediction(name: str, detector: Detector, upload: Upload) -> dict[str, Any]:
    """Return what a detector says of an image."""
    (table,) = judge_files([detector], _ONE, [upload.picture], workers=1)
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
    }
    if detector.categories:
        prediction |= {
            "category": row["predicted_category"],
            "category_confidence": float(row["category_confidence"]),
        }
    if detector.faces:
        prediction["faces"] = row["faces"]
    return prediction


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
