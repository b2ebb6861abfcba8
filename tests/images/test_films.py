"""Films of every kind, decoded as FFmpeg's own program decodes them."""

import subprocess

import numpy as np
import pytest

from dfdlib.images.video import read_frames

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
INTERLACED = ["-flags", "+ilme+ildct"]
FILMS = {
    "h264.mp4": "-c:v libx264",
    "h264_444.mp4": "-c:v libx264 -pix_fmt yuv444p",
    "h264_10_bit.mp4": "-c:v libx264 -pix_fmt yuv420p10le",
    "h264_interlaced.mp4": "-c:v libx264 -flags +ilme+ildct -vf interlace",
    "h264_full_range.mp4": "-c:v libx264 -pix_fmt yuvj420p",
    "h264_bt709.mp4": "-c:v libx264 -vf scale=out_color_matrix=bt709 -colorspace bt709",
    "h264.ts": "-c:v libx264",
    "hevc.mp4": "-c:v libx265 -x265-params log-level=none",
    "hevc_10_bit.mkv": "-c:v libx265 -pix_fmt yuv420p10le -x265-params log-level=none",
    "vp8.webm": "-c:v libvpx",
    "vp9.webm": "-c:v libvpx-vp9",
    "av1.mp4": "-c:v libaom-av1 -cpu-used 8",
    "prores.mov": "-c:v prores_ks",
    "prores_interlaced.mov": "-c:v prores_ks -flags +ilme+ildct",
    "mpeg2.mpg": "-c:v mpeg2video -r 25",
    "mpeg2_interlaced.mpg": "-c:v mpeg2video -r 25 -flags +ilme+ildct",
    "mpeg2.mxf": "-c:v mpeg2video -r 25",
    "mpeg4.avi": "-c:v mpeg4",
    "motion_jpeg.avi": "-c:v mjpeg",
    "dv.avi": "-c:v dvvideo -s 720x576 -r 25 -pix_fmt yuv420p",
    "ffv1.mkv": "-c:v ffv1",
    "wmv.wmv": "-c:v wmv2",
    "flv.flv": "-c:v flv",
    "theora.ogv": "-c:v libtheora",
    "huffyuv.avi": "-c:v huffyuv",
    "raw.avi": "-c:v rawvideo -pix_fmt bgr24",
    "animation.mov": "-c:v qtrle",
    "animation.gif": "",
    "animation.png": "-f apng",
    "one_frame.mp4": "-c:v libx264 -frames:v 1",
    "odd.mp4": "-c:v libx264 -pix_fmt yuv444p -s 161x97",
    "odd.mkv": "-c:v ffv1 -s 163x99",
    "variable_rate.mkv": "-c:v libx264 -vf select=not(mod(n\\,3))+not(mod(n\\,5)) -fps_mode vfr",
    "square_not.mp4": "-c:v libx264 -aspect 4:3",
}
TURNED = {"90": "-display_rotation 90", "180": "-display_rotation 180", "270": "-display_rotation 270"}
TURNED |= {"mirrored": "-display_hflip", "upside_down": "-display_vflip"}


def run(*arguments):
    done = subprocess.run([FFMPEG, "-y", "-v", "error", *arguments], capture_output=True)
    if done.returncode < 0:
        pytest.skip("this build of FFmpeg's program crashes on it")
    done.check_returncode()
    return done.stdout


def film(path, options):
    run("-f", "lavfi", "-i", "testsrc2=size=160x96:rate=10:duration=1.2", *options.split(), str(path))
    return path


def reference(path, shape):
    raw = run(
        "-i",
        str(path),
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    )
    return np.frombuffer(raw, np.uint8).reshape(-1, *shape)


def check(path):
    frames = read_frames(path, 5)
    expected = reference(path, frames.images[0].shape)
    places = np.linspace(0, len(expected) - 1, 5).round().astype(int)
    for image, place in zip(frames.images, places, strict=True):
        assert np.abs(image.astype(int) - expected[place]).mean() < 2
    assert sorted(frames.seconds) == frames.seconds
    again = read_frames(path, 5)
    assert all(map(np.array_equal, frames.images, again.images))


@pytest.mark.parametrize("name", FILMS)
def test_a_film_is_decoded_as_by_ffmpeg(name, tmp_path):
    check(film(tmp_path / name, FILMS[name]))


@pytest.mark.parametrize("name", TURNED)
def test_a_film_is_turned_as_its_metadata_say(name, tmp_path):
    flat = film(tmp_path / "flat.mp4", "-c:v libx264")
    run(*TURNED[name].split(), "-i", str(flat), "-c", "copy", str(tmp_path / "turned.mp4"))
    check(tmp_path / "turned.mp4")


def test_a_film_that_breaks_off_is_read_until_there_and_told(tmp_path):
    whole = film(tmp_path / "whole.mp4", "-c:v libx264 -g 3 -movflags +faststart -t 1.2")
    long = tmp_path / "long.mp4"
    run("-stream_loop", "4", "-i", str(whole), "-c", "copy", "-movflags", "+faststart", str(long))
    data = long.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    with pytest.warns(UserWarning, match=r"cut\.mp4 breaks off after \d\.\d of 6\.0 seconds"):
        frames = read_frames(tmp_path / "cut.mp4", 4)
    expected = reference(long, frames.images[0].shape)
    nearest = [min(np.abs(image.astype(int) - one).mean() for one in expected) for image in frames.images]
    assert max(nearest) < 2, "no damaged frame is handed out"
    assert 1 < frames.seconds[-1] < 5
