"""PNG files checked before they are decoded: checksums, missing rows, chunks unrelated to the pixels."""

from __future__ import annotations

import struct
import zlib

from dfdlib.core.errors import ImageError

PNG_START = b"\x89PNG\r\n\x1a\n"
_ORIENTATION_TEXTS = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
"""Starts of the text chunks that may hold an orientation."""
_ADAM7 = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
"""First row, step of rows, first column and step of columns of each pass of an interlaced PNG."""


def sound_png(data: bytes, name: str) -> bytes:
    """Verify the checksums of a PNG and return it without the chunks that are unrelated to its pixels.

    Pillow does not verify them and may take zeros at a lost end for pixels; and it refuses an image for a long
    text or a damaged colour profile.
    """
    kept, place = [PNG_START], 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        kind = bytes(data[place + 4 : place + 8])
        if zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ImageError(f"{name} is damaged and cannot be decoded (wrong checksum).")
        grey_of_2_or_4_bits = data[24:26] in (b"\x02\0", b"\x04\0")
        if kind == b"tRNS" and grey_of_2_or_4_bits and end == place + 10:
            grey = data[place + 9] * (85 if data[24] == 2 else 17)  # Pillow compares it with 8 bits
            chunk = b"tRNS\0" + bytes([min(grey, 255)])
            kept.append(struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)))
        elif (
            kind[:1].isupper() or kind in (b"tRNS", b"eXIf") or data.startswith(_ORIENTATION_TEXTS, place + 8)
        ):
            kept.append(data[place : end + 4])
        if kind == b"IEND":
            break
        place = end + 4
    return b"".join(kept)


def check_rows(data: bytes, name: str) -> None:
    """Refuse a PNG that holds fewer rows than it states; Pillow leaves those black."""
    width, height, depth, kind = struct.unpack_from(">IIBB", data, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    steps = _ADAM7 if data[28] else ((0, 1, 0, 1),)
    wanted = 0
    for top, down, left, right in steps:
        columns, rows = max(0, -(-(width - left) // right)), max(0, -(-(height - top) // down))
        wanted += rows * (1 + -(-columns * bits // 8)) if columns else 0
    inflate, place = zlib.decompressobj(), 8
    while wanted > 0 and place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        rest = data[place + 8 : end] if data[place + 4 : place + 8] == b"IDAT" else b""
        while rest and wanted > 0:
            wanted -= len(inflate.decompress(rest, 2**20))
            rest = inflate.unconsumed_tail
        place = end + 4
    if wanted > 0:
        raise ImageError(f"{name} is damaged and cannot be decoded (it lacks rows).")
