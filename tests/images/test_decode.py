"""Decoding: the right pixels for every kind of file, or an error that names it."""

import contextlib
import io
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from image_corpus import NEW_PILLOW
from PIL import Image, features

from dfdlib import DfdError
from dfdlib.core.errors import ImageError
from dfdlib.images import jpeg
from dfdlib.images.decode import decode_image, read_image, write_image

RNG = np.random.default_rng(0)
SMOOTH = cv2.resize(RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8), (50, 40), interpolation=cv2.INTER_CUBIC)
RGB = Image.fromarray(SMOOTH)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


LOSSLESS = [
    ("PNG", {}),
    ("BMP", {}),
    ("TIFF", {}),
    ("PPM", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {"compression": "tiff_lzw"}),
]


@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
def test_lossless_formats_give_the_exact_pixels(kind, options):
    decoded = decode_image(encoded(RGB, kind, **options), "x")
    assert np.array_equal(decoded, SMOOTH)
    assert decoded.dtype == np.uint8
    assert decoded.flags["C_CONTIGUOUS"]
    assert decoded.flags["WRITEABLE"]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}])
def test_jpeg_is_what_pillow_says(options):
    data = encoded(RGB, "JPEG", quality=95, **options)
    assert np.array_equal(decode_image(data, "x"), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow cannot write AVIF")
def test_avif_is_read():
    decoded = decode_image(encoded(RGB, "AVIF", quality=95), "x")
    assert np.abs(decoded.astype(int) - SMOOTH).mean() < 4


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "LAB", *(["YCbCr"] if NEW_PILLOW else [])])
def test_other_modes_become_rgb(mode):
    converted = RGB.convert("LAB") if mode == "LAB" else RGB.convert(mode)
    kind = {"CMYK": "TIFF", "YCbCr": "TIFF", "LAB": "TIFF"}.get(mode, "PNG")
    decoded = decode_image(encoded(converted, kind), "x")
    expected = np.asarray(Image.open(io.BytesIO(encoded(converted, kind))).convert("RGB"))
    assert np.array_equal(decoded, expected)


def test_cmyk_jpeg_keeps_its_colours():
    decoded = decode_image(encoded(RGB.convert("CMYK"), "JPEG", quality=98), "x")
    assert np.abs(decoded.astype(int) - SMOOTH).mean() < 6


def test_transparency_is_laid_over_white():
    alpha = np.dstack([SMOOTH, np.zeros((40, 50), np.uint8)])
    alpha[:, 25:, 3] = 255
    decoded = decode_image(encoded(Image.fromarray(alpha), "PNG"), "x")
    assert (decoded[:, :25] == 255).all()
    assert np.array_equal(decoded[:, 25:], SMOOTH[:, 25:])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_scaled_not_saturated(kind):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    decoded = decode_image(encoded(Image.fromarray(ramp), kind), "x")
    assert np.abs(decoded[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_floats_in_the_unit_range_are_scaled():
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(4, 0)
    decoded = decode_image(encoded(Image.fromarray(ramp), "TIFF"), "x")
    assert np.abs(decoded[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_other_ranges_are_scaled_by_their_ends():
    floats = np.array([[np.nan, -50, 0, 50]], np.float32)
    assert decode_image(encoded(Image.fromarray(floats), "TIFF"), "x")[0, :, 0].tolist() == [0, 0, 128, 255]
    whole = np.array([[-1, 99_999, 199_999]], np.int32)
    assert decode_image(encoded(Image.fromarray(whole), "TIFF"), "x")[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("mode", ["LA", "PA"])
def test_grey_and_palette_with_transparency_are_laid_over_white(mode):
    image = Image.new("RGBA", (8, 4), (200, 200, 200, 0))
    image.paste((200, 200, 200, 255), (4, 0, 8, 4))
    image = image.convert("P").convert("PA") if mode == "PA" else image.convert("LA")
    if mode == "PA":
        image.putalpha(Image.fromarray(np.repeat(np.uint8([[0] * 4 + [255] * 4]), 4, 0)))
    decoded = decode_image(encoded(image, "TIFF" if mode == "PA" else "PNG"), "x")
    assert (decoded[:, :4] == 255).all()
    assert np.abs(decoded[:, 4:].astype(int) - 200).max() <= 6


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(RGB, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    turned = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
    }
    turned |= {
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a),
    }
    assert np.array_equal(decode_image(data, "x"), turned.get(orientation, lambda a: a)(SMOOTH))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_frame_of_several_is_taken(kind):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options), "x")
    assert decoded.shape == (10, 20, 3)
    assert (decoded == (255, 0, 0)).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_truncated_files_are_refused(kind):
    noise = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    for part in np.linspace(0.02, 0.9, 12):
        with pytest.raises(ImageError, match=r"holiday\.x"):
            decode_image(data[: int(len(data) * part)], "holiday.x")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_flipped_bytes_end_in_pixels_or_our_error(kind):
    for broken in with_flipped_bytes(encoded(RGB, kind)):
        try:
            assert decode_image(broken, "x").dtype == np.uint8
        except ImageError as error:
            assert str(error).startswith("x ")  # noqa: PT017 - either way is right


def with_flipped_bytes(data, n=60):
    rng = np.random.default_rng(1)
    for _ in range(n):
        broken = bytearray(data)
        broken[rng.integers(len(data))] ^= 1 << rng.integers(8)
        yield bytes(broken)


def test_damaged_files_cause_no_warning(tmp_path):
    tiny, told = encoded(RGB.resize((4, 4)), "TIFF"), 0
    for i, broken in enumerate(with_flipped_bytes(tiny)):
        (tmp_path / f"{i}.tif").write_bytes(broken)
        with warnings.catch_warnings(record=True) as found, contextlib.suppress(Exception):
            warnings.simplefilter("always")
            Image.open(io.BytesIO(broken)).load()
        told += len(found)
    assert told, "Pillow by itself warns of some"
    code = (
        "import sys, contextlib, pathlib\n"
        "from dfdlib.images.decode import read_image, ImageError\n"
        "for path in pathlib.Path(sys.argv[1]).iterdir():\n"
        "    with contextlib.suppress(ImageError):\n"
        "        read_image(path)\n"
    )
    command = [sys.executable, "-W", "always::UserWarning", "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Warning" not in done.stderr


def test_a_png_with_a_wrong_checksum_is_refused():
    data = bytearray(encoded(RGB, "PNG"))
    place = data.index(b"IDAT") + 40
    data[place] ^= 0xFF
    with pytest.raises(ImageError, match="is damaged"):
        decode_image(bytes(data), "x")


def test_a_png_whose_end_is_zeros_is_refused():
    data = encoded(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), "PNG")
    for part in np.linspace(0.1, 0.95, 12):
        n = int(len(data) * part)
        with pytest.raises(ImageError, match=r"x is damaged .*wrong checksum"):
            decode_image(data[:n] + bytes(len(data) - n), "x")


def test_every_single_flip_in_a_png_is_noticed_or_harmless():
    data = encoded(RGB, "PNG")
    rng = np.random.default_rng(2)
    for place in rng.choice(len(data), 300, replace=False):
        broken = bytearray(data)
        broken[place] ^= 1 << rng.integers(8)
        try:
            decoded = decode_image(bytes(broken), "x")
        except ImageError:
            continue
        assert np.array_equal(decoded, SMOOTH), place


def test_bytes_after_the_end_of_a_png_are_no_damage():
    assert np.array_equal(decode_image(encoded(RGB, "PNG") + b"garbage " * 9, "x"), SMOOTH)


def test_threads_leave_the_filters_of_warnings_alone():
    noise = encoded(Image.fromarray(RNG.integers(0, 256, (400, 400, 3), dtype=np.uint8)), "PNG")
    small = encoded(RGB, "JPEG")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: decode_image(noise if i % 3 else small, "x"), range(120)))
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


def test_large_dimensions_are_refused_before_decoding():
    data = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(data) < 100_000
    with pytest.raises(ImageError, match=r"bomb\.png has more than 100,000,000 pixels"):
        decode_image(data, "bomb.png")
    with pytest.raises(ImageError, match="more than 178,956,970 pixels"):
        decode_image(data, "bomb.png", max_pixels=10**10)
    with pytest.raises(ImageError, match="50 × 40 pixels, more than 1,000"):
        decode_image(encoded(RGB, "PNG"), "x", max_pixels=1000)


def test_a_forged_header_is_refused():
    data = bytearray(encoded(RGB, "PNG"))
    data[16:24] = b"\x7f\xff\xff\xff\x7f\xff\xff\xff"
    with pytest.raises(ImageError):
        decode_image(bytes(data), "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, I am a text", "not an image in a known format"),
        (b"\xff\xd8\xff", "not an image|damaged"),
    ],
)
def test_files_that_are_no_images_say_so(content, message, tmp_path):
    (tmp_path / "a b.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        read_image(tmp_path / "a b.jpg")
    assert "a b.jpg" in str(caught.value)


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / "no.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_and_an_impossible_name_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="is no regular file"):
        read_image(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="is not the name of a file"):
        read_image("a\0b.jpg")


def test_a_file_without_permission_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"x")

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(ImageError, match=r"a\.jpg cannot be opened: Permission denied"):
        read_image(tmp_path / "a.jpg")


def test_the_ending_does_not_matter(tmp_path):
    (tmp_path / "liar.jpg").write_bytes(encoded(RGB, "PNG"))
    assert np.array_equal(read_image(tmp_path / "liar.jpg"), SMOOTH)


def test_written_images_come_back(tmp_path):
    write_image(tmp_path / "a.png", SMOOTH)
    write_image(tmp_path / "a.jpg", SMOOTH, quality=95)
    assert np.array_equal(read_image(tmp_path / "a.png"), SMOOTH)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - SMOOTH).mean() < 4


def test_masks_are_written_as_grey(tmp_path):
    write_image(tmp_path / "mask.png", SMOOTH[..., 0])
    assert np.array_equal(read_image(tmp_path / "mask.png"), SMOOTH[..., :1].repeat(3, 2))


@pytest.mark.parametrize("name", ["a.xyz", "a"])
def test_an_ending_that_is_no_format_is_refused(name, tmp_path):
    with pytest.raises(DfdError, match=r"take \.jpg or \.png"):
        write_image(tmp_path / name, SMOOTH)
    assert not list(tmp_path.iterdir())


def test_pixels_of_another_type_or_shape_are_refused(tmp_path):
    for pixels in (SMOOTH.astype(np.float32), np.zeros((4, 4, 4), np.uint8)):
        with pytest.raises(DfdError, match="needs uint8 pixels"):
            write_image(tmp_path / "a.png", pixels)


def pillow_alone(data, monkeypatch):
    """Return what Pillow makes of a file, or the error as text."""
    with monkeypatch.context() as patch:
        patch.setattr(jpeg, "_IN_RGB", None)
        return decoded_or_error(data)


def decoded_or_error(data):
    try:
        return decode_image(data, "x")
    except ImageError as error:
        return str(error)


@pytest.fixture
def by_opencv(monkeypatch):
    """Collect what OpenCV decodes."""
    calls, decode = [], cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *given: calls.append(1) or decode(*given))
    return calls


@pytest.mark.skipif(jpeg._IN_RGB is None, reason="this OpenCV decodes to BGR alone")
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"optimize": True}, {"restart_marker_rows": 1}])
def test_opencv_decodes_a_plain_jpeg_and_nothing_odd(options, by_opencv, monkeypatch):
    plain = encoded(RGB, "JPEG", quality=90, **options)
    assert np.abs(decode_image(plain, "x").astype(int) - pillow_alone(plain, monkeypatch)).max() <= 1
    assert len(by_opencv) == 1
    turn = Image.Exif()
    turn[0x0112] = 6
    middle = plain.index(b"\xff\xda") + 100
    odd = [
        plain[:-2],
        plain[:middle],
        plain[:middle] + b"\xff\xd8" + plain[middle:],
        plain[:2] + b"\0" + plain[2:],
        encoded(RGB, "JPEG", progressive=True),
        encoded(RGB, "JPEG", exif=turn),
        encoded(RGB.convert("L"), "JPEG"),
        encoded(RGB.convert("CMYK"), "JPEG"),
        encoded(RGB, "PNG"),
    ]
    for data in odd:
        decoded_or_error(data)
    assert len(by_opencv) == 1


def test_a_damaged_jpeg_is_what_pillow_says(by_opencv, monkeypatch):
    noise = Image.fromarray(RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    rng, refused = np.random.default_rng(3), 0
    files = [encoded(noise, "JPEG", quality=90, restart_marker_rows=rows) for rows in (0, 1)]
    for i in range(300):
        broken = bytearray(files[i % 2])
        start = int(rng.integers(len(broken)))
        broken[start : start + 3] = rng.choice(np.uint8([0, 63, 196, 216, 217, 218, 255]), 3).tobytes()
        ours, theirs = decoded_or_error(bytes(broken)), pillow_alone(bytes(broken), monkeypatch)
        assert type(ours) is type(theirs), i
        if isinstance(ours, str):
            refused += 1
        else:
            assert np.abs(ours.astype(int) - theirs).max() <= 1, i
    assert refused > 20
    assert len(by_opencv) > 100 or jpeg._IN_RGB is None
