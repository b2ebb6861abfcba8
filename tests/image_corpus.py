"""Image files to break a reader with: every format and mode that Pillow writes, and ways to damage each.

All of it is small (48 × 32 pixels) and drawn from seeds, so that a failure can be made again from its name.
What a file should show is computed from the pixels it was made of, never by decoding it.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import PIL
from PIL import Image

WIDTH, HEIGHT = 48, 32
ORIENTATIONS = range(1, 9)


@dataclass(frozen=True)
class Case:
    """A file and what it should show."""

    name: str
    """Label of the format, mode, orientation and ending, e.g. `jpeg-progressive.RGB.6.jpg`."""
    data: bytes
    pixels: np.ndarray
    """uint8 [H, W, 3], upright."""
    tolerance: float = 0.0
    """Largest allowed mean absolute difference, of 255; 0 allows a difference of 1 by rounding."""

    @property
    def label(self) -> str:
        """Format and options, e.g. `jpeg-progressive`."""
        return self.name.split(".", 1)[0]


COLOUR = "L LA P RGB RGBA CMYK YCbCr"
NEW_PILLOW = int(PIL.__version__.split(".")[0]) >= 13
"""Older ones write YCbCr TIFFs that they cannot read again, and refuse grey ones of premultiplied alpha."""
PAGE = "1 L LA P PA RGB RGBA CMYK I;16 I F" + " YCbCr" * NEW_PILLOW


@dataclass(frozen=True)
class Format:
    """A way to write files with Pillow."""

    label: str
    suffix: str
    kind: str
    modes: str
    """Modes that Pillow writes in it without a loss of range or colour of its own."""
    options: dict = field(default_factory=dict)
    tolerance: float = 0.0
    exif: bool = False
    frames: int = 1


def _jpeg(label: str, suffix: str, tolerance: float = 6, **options: object) -> Format:
    return Format(
        label, suffix, "JPEG", "1 L RGB CMYK YCbCr", {"quality": 95} | options, tolerance, exif=True
    )


def _tiff(label: str, suffix: str, modes: str = PAGE, frames: int = 1, **options: object) -> Format:
    return Format(label, suffix, "TIFF", modes, options, 8 * ("quality" in options), True, frames)


FORMATS = (
    Format("png", "png", "PNG", "1 L LA P RGB RGBA I;16", exif=True),
    Format("apng", "png", "PNG", "1 L LA P RGB RGBA I;16", {"save_all": True}, frames=3),
    _jpeg("jpeg", "jpg"),
    _jpeg("jpeg-progressive", "jpeg", progressive=True),
    _jpeg("jpeg-444", "jfif", 4, subsampling=0),
    _jpeg("jpeg-restart", "jpe", restart_marker_rows=1),
    Format("mpo", "jpg", "MPO", "1 L RGB CMYK", {"quality": 95, "save_all": True}, 6, exif=True, frames=2),
    Format("webp", "webp", "WEBP", COLOUR, {"quality": 95}, 8, exif=True),
    Format("webp-lossless", "webp", "WEBP", COLOUR, {"lossless": True, "exact": True}, exif=True),
    Format(
        "webp-animated", "webp", "WEBP", COLOUR, {"lossless": True, "save_all": True}, exif=True, frames=3
    ),
    Format("gif", "gif", "GIF", "1 L P RGB RGBA"),
    Format("gif-plain", "gif", "GIF", "1 L P RGB RGBA", {"interlace": 0}),
    Format("gif-animated", "gif", "GIF", "1 L P RGB RGBA", {"save_all": True}, frames=3),
    _tiff("tiff", "tif"),
    _tiff("tiff-big", "tiff", big_tiff=True),
    _tiff("tiff-lzw", "tif", compression="tiff_lzw"),
    _tiff("tiff-deflate", "TIF", compression="tiff_adobe_deflate"),
    _tiff("tiff-packbits", "tif", compression="packbits"),
    _tiff("tiff-group4", "tif", "1", compression="group4"),
    _tiff("tiff-jpeg", "tif", "L RGB CMYK YCbCr", compression="jpeg", quality=95),
    _tiff("tiff-pages", "tif", frames=3, save_all=True),
    Format("bmp", "bmp", "BMP", "1 L P RGB"),
    Format("dib", "dib", "DIB", "1 L P RGB"),
    Format("ppm", "ppm", "PPM", "1 L RGB I;16 I F"),
    Format("avif", "avif", "AVIF", COLOUR, {"quality": 95}, 6, exif=True),
    Format("avif-animated", "avif", "AVIF", COLOUR, {"quality": 95, "save_all": True}, 6, frames=3),
    Format("jp2", "jp2", "JPEG2000", "L LA RGB RGBA CMYK YCbCr I;16"),
    Format("jp2-lossy", "jp2", "JPEG2000", "L RGB", {"irreversible": True}, 3),
    Format("j2k", "jp2", "JPEG2000", "L LA RGB RGBA I;16", {"no_jp2": True}),
)


def scene(seed: int = 0) -> np.ndarray:
    """Draw uint8 [32, 48, 4]: coloured blobs with a little noise, and an alpha of 0 and 255.

    No turn or mirror image of it is near to it.
    """
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8))
    blobs = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(int)
    colour = (blobs + rng.integers(-4, 5, blobs.shape)).clip(0, 255).astype(np.uint8)
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[: HEIGHT // 2, : WIDTH // 3] = 0
    return np.concatenate([colour, alpha], 2)


def in_mode(mode: str, drawn: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """Return an image in a Pillow mode, of uint8 [H, W, 4], and the uint8 [H, W, 3] that it should show."""
    colour, alpha, grey = drawn[..., :3], drawn[..., 3:], drawn[..., 1]
    grey3 = grey[..., None].repeat(3, 2)
    over_white = np.where(alpha == 255, colour, 255)
    if mode == "1":
        shown = np.where(grey3 > 127, 255, 0)
        image = Image.fromarray(shown[..., 0].astype(np.uint8)).convert("1")
    elif mode in ("P", "PA"):
        palette = np.uint8([(17 * i, 255 - 17 * i, 8 * i) for i in range(16)])
        image = Image.fromarray(grey // 16)
        image.putpalette(palette.tobytes())  # makes it P
        shown = palette[grey // 16]
        if mode == "PA":
            image = image.convert("PA")
            image.putalpha(Image.fromarray(alpha[..., 0]))
            shown = np.where(alpha == 255, shown, 255)
    elif mode == "CMYK":
        image = Image.merge("CMYK", [Image.fromarray(drawn[..., i] // 2) for i in (0, 1, 2, 0)])
        ink = np.asarray(image).astype(float)
        shown = (255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255
    elif mode == "I;16":
        image, shown = Image.fromarray(grey.astype(np.uint16) * 257), grey3
    elif mode == "I":
        image, shown = Image.fromarray(grey.astype(np.int32) * 257), grey3
    elif mode == "F":
        image, shown = Image.fromarray(grey.astype(np.float32) / 255), grey3
    else:
        simple = {"L": (grey, grey3), "RGB": (colour, colour), "RGBA": (drawn, over_white)}
        simple["LA"] = (np.dstack([grey, alpha]), np.where(alpha == 255, grey3, 255))
        pixels, shown = simple.get(mode, (colour, colour))
        image = Image.fromarray(pixels)
        image = image.convert(mode) if image.mode != mode else image
    return image, np.rint(shown).astype(np.uint8)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return how pixels [H, W, …] are shown that are stored with an EXIF orientation 1…8."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    return np.ascontiguousarray(np.flip(pixels, flips))


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of an image in a format. Raises what Pillow raises where it cannot write that."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.save(buffer, kind, **options)
    return buffer.getvalue()


def whole_cases(formats: tuple[Format, ...] = FORMATS, orientations: range = ORIENTATIONS) -> Iterator[Case]:
    """Yield sound files: each format, each mode that it holds, each orientation that it can state.

    Formats that this Pillow cannot write are left out.
    """
    Image.init()
    for form in formats:
        for mode in form.modes.split() if form.kind in Image.SAVE else ():
            for orientation in orientations if form.exif else (1,):
                yield _whole(form, mode, orientation)


def _whole(form: Format, mode: str, orientation: int) -> Case:
    image, shown = in_mode(mode, scene())
    options = dict(form.options)
    if form.frames > 1:
        drawn = [scene(seed) for seed in range(1, form.frames)]
        options["append_images"] = [in_mode(mode, other)[0] for other in drawn]
    if orientation > 1:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    quantised = form.kind == "GIF" and mode in ("RGB", "RGBA")
    tolerance = max(form.tolerance, 12 * quantised, 2 * (mode == "YCbCr"))
    name = f"{form.label}.{mode.replace(';', '_')}.{orientation}.{form.suffix}"
    return Case(name, encode(image, form.kind, **options), turned(shown, orientation), tolerance)


def cut(data: bytes, places: int = 20) -> Iterator[tuple[str, bytes]]:
    """Yield a file without its end, cut at evenly spaced places; the last cut takes one byte."""
    for end in sorted({int(place) for place in np.linspace(1, len(data) - 1, places)}):
        yield f"cut at {end}", data[:end]


def flipped(data: bytes, seed: int, n: int = 50) -> Iterator[tuple[str, bytes]]:
    """Yield a file with one byte changed, `n` times; half of the changes hit the first 256 bytes."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        place = int(rng.integers(min(256, len(data)) if i % 2 else len(data)))
        change = int(rng.integers(1, 256))
        yield f"byte {place} ^ {change}", data[:place] + bytes([data[place] ^ change]) + data[place + 1 :]


def zeroed(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a file with zeros where its start, its middle or its end should be, and zeros alone."""
    n = len(data)
    for name, start, stop in (
        ("start", 0, 16),
        ("middle", n // 3, n // 2),
        ("end", n // 2, n),
        ("all", 0, n),
    ):
        stop = min(stop, n)
        yield f"zero {name}", data[:start] + bytes(stop - start) + data[stop:]


FORGED_SIZES = ((0, 0), (1, 1), (24, 16), (96, 64), (WIDTH, 2000), (65535, 65535), (2**31 - 1, 2**31 - 1))


def forged(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a file whose header states other dimensions; a PNG has a right checksum over them."""
    place, layout = _size_field(data)
    if data[:1] == b"P":
        for width, height in FORGED_SIZES:
            yield f"forged {width}x{height}", data.replace(b"48 32", b"%d %d" % (width, height), 1)
    for width, height in FORGED_SIZES if place else ():
        size = (height, width) if layout in (">HH", ">LL") else (width, height)
        if max(size) < 256 ** (struct.calcsize(layout) // 2):
            stated = struct.pack(layout, *size)
            made = data[:place] + stated + data[place + len(stated) :]
            if made[1:4] == b"PNG":
                made = made[:29] + struct.pack(">I", zlib.crc32(made[12:29])) + made[33:]
            yield f"forged {width}x{height}", made


def _size_field(data: bytes) -> tuple[int, str]:
    """Return where a file states its width and height, and how; `>HH` and `>LL` have the height first."""
    known = {b"\x89PN": (16, ">II"), b"GIF": (6, "<HH"), b"BM": (18, "<II"), b"\x28\0\0": (4, "<II")}
    for start, found in known.items():
        if data.startswith(start):
            return found
    searches = {
        rb"\xff[\xc0-\xc2]\x00[\x0b-\x14]\x08": (5, ">HH"),
        rb"ihdr": (4, ">LL"),
        rb"\xff\x4f\xff\x51": (8, ">II"),
        rb"ispe\0\0\0\0": (8, ">II"),
        rb"VP8 ....\S?..\x9d\x01\*": (14, "<HH"),
    }
    for pattern, (offset, layout) in searches.items():
        if not data.startswith(b"II*") and (found := re.search(pattern, data, re.DOTALL)):
            return found.start() + offset, layout
    return 0, ""


def mutant(cases: list[Case], seed: int) -> tuple[str, bytes]:
    """Return a file that was damaged in one to four random ways, and its name, which holds the seed."""
    rng = np.random.default_rng([seed, 77])
    case = cases[rng.integers(len(cases))]
    other = cases[rng.integers(len(cases))].data
    data = bytearray(case.data)
    for _ in range(rng.integers(1, 5)):
        start, stop = sorted(int(place) for place in rng.integers(0, len(data) + 1, 2))
        stop = min(stop, start + int(2 ** rng.uniform(0, 10)))
        piece = bytes(data[start:stop])
        ways = [
            bytes(len(piece)),
            b"\xff" * len(piece),
            b"",
            piece * 2,
            rng.bytes(len(piece)),
            other[start:stop],
            bytes(byte ^ (1 << int(rng.integers(8))) for byte in piece[:4]) + piece[4:],
            struct.pack("<I", int(rng.choice([0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1]))) + piece[4:],
        ]
        data[start:stop] = ways[rng.integers(len(ways))]
        if rng.random() < 0.1:
            del data[int(rng.integers(len(data) + 1)) :]
    return f"fuzz-{seed}-{case.name}", bytes(data)


def png(rows: np.ndarray, interlaced: bool = False, chunks: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """Return a PNG of uint8 or uint16 [H, W, 1…4], with further chunks before its pixels.

    Interlacing is Adam7, as in section 8.2 of the PNG specification.
    """
    height, width, channels = rows.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8 * rows.itemsize, kind, 0, 0, interlaced)
    passes = [rows]
    if interlaced:
        steps = (
            (0, 8, 0, 8),
            (0, 8, 4, 8),
            (4, 8, 0, 4),
            (0, 4, 2, 4),
            (2, 4, 0, 2),
            (0, 2, 1, 2),
            (1, 2, 0, 1),
        )
        passes = [rows[top::down, left::right] for top, down, left, right in steps]
    big = ">u2" if rows.itemsize == 2 else "u1"
    raw = b"".join(b"\0" + row.astype(big).tobytes() for part in passes for row in part)
    return png_of_chunks((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b""))


def png_of_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of (name, content) chunks with right lengths and checksums."""
    parts = [
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(raw: bytes, **changes: int | list[int]) -> bytes:
    """Return a little-endian TIFF of one strip of 48 × 32 grey bytes, with tags `t<number>` changed or added."""
    tags = {256: WIDTH, 257: HEIGHT, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: HEIGHT, 279: len(raw)}
    tags |= {int(name[1:]): value for name, value in changes.items()}
    start = 8 + len(raw) + len(raw) % 2
    fields, tail = b"", b""
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, list) else [value]
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(packed) > 4:
            packed, tail = struct.pack("<I", start + 6 + 12 * len(tags) + len(tail)), tail + packed
        fields += struct.pack("<HHI", tag, 4, len(values)) + packed
    body = raw + bytes(len(raw) % 2)
    return (
        b"II*\0" + struct.pack("<I", start) + body + struct.pack("<H", len(tags)) + fields + bytes(4) + tail
    )


def bmp(raw: bytes, bits: int, height: int = HEIGHT, compression: int = 0, extra: bytes = b"") -> bytes:
    """Return a BMP 48 pixels wide of rows as they are stored, with masks or a palette in `extra`."""
    header = struct.pack("<IiiHHIIiiII", 40, WIDTH, height, 1, bits, compression, len(raw), 2835, 2835, 0, 0)
    start = 14 + len(header) + len(extra)
    return b"BM" + struct.pack("<IHHI", start + len(raw), 0, 0, start) + header + extra + raw


def run_length(rows: np.ndarray) -> bytes:
    """Return uint8 [H, W] as the runs of an 8-bit BMP, rows from the top, each ended."""
    out = b""
    for row in rows[::-1]:
        ends = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
        out += b"".join(bytes([stop - start, row[start]]) for start, stop in pairwise(ends)) + b"\0\0"
    return out + b"\0\1"


def exif(*tags: tuple[int, int, int, bytes]) -> bytes:
    """Return an EXIF block of (tag, type, count, four bytes) fields, whatever they claim."""
    fields = b"".join(struct.pack("<HHI", *tag[:3]) + tag[3] for tag in sorted(tags))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + fields + bytes(64)


def many_scans(width: int, height: int, scans: int) -> bytes:
    """Return a small progressive JPEG of one colour whose last scan stands in it so many times more."""
    data = encode(Image.new("L", (width, height), 128), "JPEG", progressive=True, quality=20)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + data[-2:]
