"""Videos: which are found, which frames are read, and what is said of broken ones."""

import cv2
import numpy as np
import pytest

from dfdlib import DfdError
from dfdlib.core.errors import ImageError
from dfdlib.data.scan import scan_videos
from dfdlib.images.video import read_frames


def write_video(path, n_frames=10, size=64):
    """Write a clip whose grey level counts the frames: 20 a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (size, size))
    for i in range(n_frames):
        writer.write(np.full((size, size, 3), 20 * i % 256, np.uint8))
    writer.release()
    return path


def numbers(frames):
    return [round(float(frame.mean()) / 20) for frame in frames.images]


def test_frames_are_spread_over_the_whole_video(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    assert numbers(read_frames(path, 4)) == [0, 3, 6, 9]
    assert numbers(read_frames(path, 10)) == list(range(10))
    assert numbers(read_frames(path, 1)) == [0]
    frames = read_frames(path, 3)
    assert [image.shape for image in frames.images] == [(64, 64, 3)] * 3
    assert frames.seconds == pytest.approx([0, 0.4, 0.9])


def test_a_short_video_repeats_frames(tmp_path):
    assert numbers(read_frames(write_video(tmp_path / "a.mp4", 3), 6)) == [0, 0, 1, 1, 2, 2]


def test_colours_are_rgb(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "a.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 64))
    for _ in range(4):
        writer.write(np.full((64, 64, 3), (0, 0, 255), np.uint8))  # red in OpenCV's order
    writer.release()
    red, green, blue = np.mean(read_frames(tmp_path / "a.mp4", 2).images, (0, 1, 2))
    assert red > 200 > 60 > max(green, blue)


def test_a_folder_of_frames_is_read_in_natural_order(tmp_path):
    for i in range(12):
        cv2.imwrite(str(tmp_path / f"frame_{i}.png"), np.full((8, 8, 3), 20 * i, np.uint8))
    assert numbers(read_frames(tmp_path, 12)) == list(range(12))


def test_crops_of_a_folder_may_differ_in_size(tmp_path):
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.zeros((8 + i, 9, 3), np.uint8))
    assert [image.shape for image in read_frames(tmp_path, 3).images] == [(8, 9, 3), (9, 9, 3), (10, 9, 3)]


def test_broken_videos_are_named(tmp_path, capfd):
    whole = write_video(tmp_path / "whole.mp4").read_bytes()
    cases = {"empty.mp4": b"", "text.mp4": b"no video at all", "cut.mp4": whole[: len(whole) // 3]}
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=name):
            read_frames(tmp_path / name, 4)
    with pytest.raises(ImageError, match="does not exist"):
        read_frames(tmp_path / "none.mp4", 4)
    (tmp_path / "no_frames").mkdir()
    with pytest.raises(ImageError, match="holds no image"):
        read_frames(tmp_path / "no_frames", 4)
    assert "moov" not in capfd.readouterr().err


def test_large_frames_are_refused_before_they_are_decoded(tmp_path):
    with pytest.raises(ImageError, match="64 × 64 pixels, more than 1,000"):
        read_frames(write_video(tmp_path / "a.mp4"), 4, max_pixels=1000)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_a_folder_of_videos(tmp_path):
    touch(tmp_path, "Real/a.mp4", "Real/b.AVI", "FAKE/c.mov", "FAKE/notes.txt", "FAKE/.hidden.mp4")
    manifest = scan_videos(tmp_path)
    assert dict(zip(manifest["path"], manifest["label"], strict=True)) == {
        "FAKE/c.mov": "fake",
        "Real/a.mp4": "real",
        "Real/b.AVI": "real",
    }


def test_folders_of_frames(tmp_path):
    touch(
        tmp_path,
        *(
            f"{s}/{c}/clip_{i}/{f}.png"
            for s in ("train", "val")
            for i, c in enumerate(("real", "fake"))
            for f in (1, 2)
        ),
    )
    manifest = scan_videos(tmp_path)
    assert list(manifest["path"]) == [
        "train/fake/clip_1",
        "train/real/clip_0",
        "val/fake/clip_1",
        "val/real/clip_0",
    ]
    assert list(manifest["label"]) == ["fake", "real", "fake", "real"]
    assert list(manifest["split"]) == ["train", "train", "val", "val"]


def test_faceforensics(tmp_path):
    touch(
        tmp_path,
        *(f"original_sequences/youtube/c23/videos/{i}.mp4" for i in ("000", "003", "010", "011", "020")),
        "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4",
        "manipulated_sequences/FaceSwap/c23/videos/003_010.mp4",
        "manipulated_sequences/FaceSwap/c23/videos/011_020.mp4",
    )
    manifest = scan_videos(tmp_path).set_index("path")
    assert (
        manifest["label"] == ["fake" if "manipulated" in path else "real" for path in manifest.index]
    ).all()
    fake = manifest[manifest["label"] == "fake"]
    assert list(fake["generator"]) == ["Deepfakes", "FaceSwap", "FaceSwap"]
    groups = [{path.rsplit("/", 1)[1][:-4] for path in part.index} for _, part in manifest.groupby("group")]
    assert sorted(map(sorted, groups)) == [
        ["000", "000_003", "003", "003_010", "010"],
        ["011", "011_020", "020"],
    ]


def test_nothing_to_find_is_told(tmp_path):
    with pytest.raises(DfdError, match="holds no video"):
        scan_videos(tmp_path)
    with pytest.raises(DfdError, match="does not exist"):
        scan_videos(tmp_path / "none")


@pytest.mark.parametrize("stated", [0, 1000])
def test_a_header_that_counts_wrongly_is_not_believed(tmp_path, monkeypatch, stated):
    monkeypatch.setattr("dfdlib.images.video._stated_count", lambda *_: stated)
    assert numbers(read_frames(write_video(tmp_path / "a.mp4"), 4)) == [0, 3, 6, 9]
