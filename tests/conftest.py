"""A small demo set and a small data set in folders, made once for all tests."""

import cv2
import numpy as np
import pandas as pd
import pytest

from dfdlib.data.scan import scan_images
from dfdlib.demo.sets import demo_manifest
from dfdlib.images.faces import parse_faces


@pytest.fixture(autouse=True)
def _own_caches(tmp_path_factory, monkeypatch):
    """Keep decoded images of the tests out of the user's cache."""
    monkeypatch.setenv("DFD_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """A demo set of 240 images of 64 pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DFD_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        return demo_manifest(n_images=240, size=64, workers=1)


def _find_green(image):
    green = (image == (0, 255, 0)).all(2).astype(np.uint8)
    return [tuple(map(float, row[:4])) for row in cv2.connectedComponentsWithStats(green)[2][1:]]


@pytest.fixture
def green_file(tmp_path, monkeypatch):
    """A file in place of YuNet's, which takes each pure green rectangle for a face."""
    monkeypatch.setattr("dfdlib.images.faces.face_finder", lambda _: _find_green)
    (tmp_path / "green.onnx").write_bytes(b"green")
    return tmp_path / "green.onnx"


@pytest.fixture
def green_faces(green_file):
    """Return `parse_faces` for such a file and any further words."""
    return lambda *words: parse_faces(", ".join([str(green_file), *words]))


@pytest.fixture
def crowd(tmp_path):
    """A folder with an image of two green faces, one of a single face, and one of none."""
    boxes = {"a two": [(4, 5, 10, 10), (50, 20, 20, 16)], "b one": [(30, 20, 12, 12)], "c none": []}
    (tmp_path / "crowd").mkdir()
    for name, of_image in boxes.items():
        image = np.random.default_rng(len(name)).integers(0, 200, (60, 90, 3)).astype(np.uint8)
        for left, top, width, height in of_image:
            image[top : top + height, left : left + width] = (0, 255, 0)
        cv2.imwrite(str(tmp_path / "crowd" / f"{name}.png"), image)
    return scan_images(tmp_path / "crowd", require_labels=False)


@pytest.fixture
def wide(tmp_path):
    """A folder of eight wide smooth pictures of 96 × 320 pixels; of each a copy with grain near its right edge."""
    rng, rows = np.random.default_rng(0), []
    for i in range(8):
        sky = cv2.resize(
            rng.integers(40, 216, (4, 10, 3), dtype=np.uint8), (320, 96), interpolation=cv2.INTER_CUBIC
        )
        mask = np.zeros((96, 320), np.uint8)
        mask[30 + 2 * i : 62 + 2 * i, 270:310] = 255
        grain = rng.integers(-40, 41, sky.shape) * (mask[..., None] > 0)
        images = {"real": sky, "fake": np.clip(sky + grain, 0, 255).astype(np.uint8), "masks": mask}
        for folder, image in images.items():
            (tmp_path / "wide" / folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "wide" / folder / f"{i}.png"), image)
        about = {"category": None, "split": "train" if i < 5 else "val", "group": f"{i}", "generator": None}
        rows += [{"path": f"real/{i}.png", "label": "real", "mask": None, **about}]
        rows += [{"path": f"fake/{i}.png", "label": "fake", "mask": f"masks/{i}.png", **about}]
    return pd.DataFrame(rows).assign(root=str(tmp_path / "wide"))


@pytest.fixture
def predictions():
    """Predictions of four images, two of them mistaken."""
    return pd.DataFrame(
        {
            "path": ["a.png", "=b.png", "c.png", "d.png"],
            "label": ["real", "real", "fake", "fake"],
            "category": ["animals", None, "animals", "vehicles"],
            "split": "test",
            "group": ["1", "2", "1", "3"],
            "generator": [None, None, "splicing", "splicing"],
            "p_fake": [0.1, 0.7, 0.8, 0.2],
            "predicted": ["real", "fake", "fake", "real"],
            "predicted_category": ["animals", "animals", "vehicles", "vehicles"],
            "category_confidence": [0.9, 0.5, 0.6, 0.8],
            "threshold": 0.5,
        }
    )


@pytest.fixture
def write_images(tmp_path):
    """Return a function that writes small images to the named files below a folder, and the folder."""

    def write(names):
        rng = np.random.default_rng(0)
        for name in names:
            path = tmp_path / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
        return tmp_path / "images"

    return write
