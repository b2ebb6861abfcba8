"""Reading what no one would write: the right pixels, or an error that names the file; never a crash or a hang.

Files are decoded in a process of their own, so that a crash or a hang of a decoder is a finding about one file
and not the end of the tests. `DFD_FUZZ` sets the number of random mutants (200).
"""

import contextlib
import io
import multiprocessing
import os
import struct
import tempfile
import time
import warnings
import zlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from image_corpus import (
    FORMATS,
    HEIGHT,
    NEW_PILLOW,
    WIDTH,
    Case,
    bmp,
    cut,
    encode,
    exif,
    flipped,
    forged,
    many_scans,
    mutant,
    png,
    png_of_chunks,
    run_length,
    scene,
    tiff,
    turned,
    whole_cases,
    zeroed,
)
from PIL import Image, ImageCms, ImageOps

from dfdlib import DfdError
from dfdlib.core.errors import ImageError
from dfdlib.data.manifest import fingerprint, read_manifest, write_manifest
from dfdlib.data.scan import count_skipped, scan_images
from dfdlib.images.decode import MAX_PIXELS, decode_image, read_image
from dfdlib.images.picture import read_picture

resource = pytest.importorskip("resource", reason="limits of memory need a Unix system")

SECONDS = 15
"""Longer than this for one file is a hang, even on a busy machine."""
STDERR_LINES = 20
"""Decoders in C may say why a file is damaged, but not at length."""
MEMORY = 6 * 2**30
"""Address space of the process that decodes, in bytes: more than 100 megapixels need, less than a bomb."""

PIXELS = scene()[..., :3]
GREY = PIXELS[..., 1]
GREY3 = GREY[..., None].repeat(3, 2)


@dataclass
class Outcome:
    """What became of a file."""

    kind: str
    """`decoded`, `refused`, `raised` (another error), `crashed` or `hung`."""
    message: str = ""
    pixels: np.ndarray | None = None
    shape: tuple = ()
    wrong: str = ""
    """What an array from a decoder must not be."""
    warned: list[str] = field(default_factory=list)
    printed: str = ""
    seconds: float = 0.0
    memory: int = 0
    """Bytes by which the process grew beyond all before."""


def decode(name, source, max_pixels):
    """Decode bytes or a file and note all that happens."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", module=r"PIL\.")  # as `images.decode` says where it is imported
        try:
            read = read_image if isinstance(source, Path) else decode_image
            made = read(*([source] if isinstance(source, Path) else [source, name]), max_pixels)
            outcome = Outcome("decoded", "", made if made.size < 2**20 else None, made.shape)
            if made.dtype != np.uint8 or made.ndim != 3 or made.shape[2] != 3 or made.size == 0:
                outcome.wrong = f"made {made.dtype} {made.shape}"
            elif not (made.flags["C_CONTIGUOUS"] and made.flags["WRITEABLE"]):
                outcome.wrong = "not contiguous and writable"
        except ImageError as error:
            outcome = Outcome("refused", str(error))
        except Exception as error:
            outcome = Outcome("raised", repr(error))
    outcome.warned = [str(warning.message) for warning in warned]
    outcome.seconds = time.monotonic() - started
    outcome.memory = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return outcome


def serve(pipe, log):
    """Decode files until the pipe closes; what is printed goes to a file."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with contextlib.suppress(EOFError), open(log) as printed:  # noqa: PTH123
        pipe.send("ready")
        while True:
            outcome = decode(*pipe.recv())
            outcome.printed = printed.read()
            pipe.send(outcome)


class Decoder:
    """A process that decodes files, started again when it crashes or hangs."""

    def __init__(self, patience=4 * SECONDS):
        self.counts, self._patience = Counter(), patience
        self._process = None

    def __call__(self, name, source, max_pixels=MAX_PIXELS):
        """Return the `Outcome` of bytes or of a path."""
        self._process or self._start()
        self._pipe.send((name, source, max_pixels))
        try:
            outcome = self._pipe.recv() if self._pipe.poll(self._patience) else Outcome("hung")
        except EOFError:
            outcome = Outcome("crashed")
        if outcome.kind in ("hung", "crashed"):
            self.close()
        self.counts[outcome.kind] += 1
        return outcome

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._log = tempfile.NamedTemporaryFile(suffix=".log")  # noqa: SIM115 - lives as long as the process
        self._process = context.Process(target=serve, args=(theirs, self._log.name), daemon=True)
        self._process.start()
        theirs.close()
        assert self._pipe.recv() == "ready"

    def close(self):
        if self._process:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._log.close()
            self._process = None


@pytest.fixture(scope="module")
def decoder():
    decoder = Decoder()
    yield decoder
    decoder.close()


def complaint(outcome, name, want="either", pixels=None, tolerance=0.0):
    """Return what is wrong with an outcome, or an empty string; `want` is `decoded`, `refused` or `either`."""
    wrong = [outcome.wrong]
    if outcome.kind not in ("decoded", "refused"):
        wrong.append(f"{outcome.kind} {outcome.message}")
    elif want not in ("either", outcome.kind):
        wrong.append(f"{outcome.kind}, not {want} {outcome.message}")
    if outcome.kind == "refused" and (not outcome.message.startswith(f"{name} ") or "\n" in outcome.message):
        wrong.append(f"refused in other words: {outcome.message!r}")
    if outcome.kind == "decoded" and pixels is not None:
        wrong.append(difference(outcome, pixels, tolerance))
    if outcome.warned or outcome.printed.count("\n") > STDERR_LINES:
        wrong.append(f"said {outcome.warned or outcome.printed!r}")
    if outcome.seconds > SECONDS:
        wrong.append(f"took {outcome.seconds:.1f} s")
    return f"{name}: {'; '.join(filter(None, wrong))}" if any(wrong) else ""


def difference(outcome, pixels, tolerance=0.0):
    """Return how the pixels differ from those wanted, or an empty string."""
    if outcome.shape != pixels.shape:
        return f"has shape {outcome.shape}, not {pixels.shape}"
    gap = np.abs(outcome.pixels.astype(int) - pixels)
    if tolerance:
        return f"differs by {gap.mean():.1f} on average" if gap.mean() > tolerance else ""
    return f"differs by up to {gap.max()}" if gap.max() > 1 else ""


def say(complaints):
    """Return the complaints as one text, for an assertion; empty where there is none."""
    wrong = [line for line in complaints if line]
    return "\n".join([f"{len(wrong)} files", *wrong[:20]]) if wrong else ""


@cache
def corpus(label, turns=True):
    """Return the sound files of a format, in each mode and, where wanted, each orientation."""
    form = next(form for form in FORMATS if form.label == label)
    return list(whole_cases((form,), range(1, 9 if turns else 2)))


def judge_damaged(decoder, case, seed, flips=50):
    """Yield complaints about all damaged copies of a file.

    A file without its end must be refused or show what the whole one does (where its pixels were complete),
    and so must a PNG with a changed byte: every chunk of it has a checksum.
    """
    whole = decoder(case.name, case.data).pixels
    checked = case.label in ("png", "apng")
    copies = [(how, data, True) for how, data in cut(case.data)]
    copies += [(how, data, checked) for how, data in flipped(case.data, seed, flips)]
    copies += [(how, data, False) for how, data in (*zeroed(case.data), *forged(case.data))]
    for how, data, same in copies:
        name = f"{case.name} {how}"
        yield complaint(decoder(name, data, 4_000_000), name, "either", whole if same else None)


# --- sound files -----------------------------------------------------------------------------------------


def test_the_corpus_is_large_and_no_turn_of_its_scene_passes_for_another():
    """Otherwise the tests below could not fail."""
    cases = [case for form in FORMATS for case in corpus(form.label, turns=False)]
    assert len(cases) >= 150
    assert len({case.label for case in cases}) >= 25
    turns = [turned(PIXELS, orientation).astype(int) for orientation in range(1, 9)]
    for i, first in enumerate(turns):
        gaps = [np.abs(first - other).mean() for other in turns[:i] if other.shape == first.shape]
        assert min(gaps, default=255) > 3 * max(form.tolerance for form in FORMATS)


@dataclass
class Deadly:
    """Bytes whose decoding ends or stops the process."""

    way: str

    def __bool__(self):
        return os._exit(9) if self.way == "crashed" else time.sleep(600) or True


def test_a_crash_and_a_hang_are_noticed_and_the_next_file_is_decoded():
    decoder = Decoder(patience=2)
    for way in ("crashed", "hung"):
        assert way in complaint(decoder("x", Deadly(way)), "x")
    assert not complaint(decoder("x", png(PIXELS)), "x", "decoded", PIXELS)
    assert decoder.counts == {"crashed": 1, "hung": 1, "decoded": 1}
    decoder.close()


@pytest.mark.parametrize("label", [form.label for form in FORMATS])
def test_every_mode_and_orientation_gives_the_right_pixels(label, decoder):
    """The pixels that the file was made of, and those of Pillow where its own conversion is right."""
    wrong = []
    for case in corpus(label):
        outcome = decoder(case.name, case.data)
        wrong.append(complaint(outcome, case.name, "decoded", case.pixels, case.tolerance))
        if case.name.split(".")[1] in ("1", "L", "P", "RGB", "CMYK", "YCbCr"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pillows = ImageOps.exif_transpose(Image.open(io.BytesIO(case.data))).convert("RGB")
            wrong.append(complaint(outcome, case.name, "decoded", np.asarray(pillows)))
    assert not say(wrong)
    assert wrong or label.startswith("avif")  # which an old Pillow lacks


def _profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


RGB16 = PIXELS.astype(np.uint16) * 257
GREY_ALPHA = np.dstack([GREY, scene()[..., 3]])
OVER_WHITE = np.where(scene()[..., 3:] == 255, PIXELS, 255)
GREY_OVER_WHITE = np.where(scene()[..., 3:] == 255, GREY3, 255)
BGR = np.ascontiguousarray(PIXELS[..., ::-1])
BITS565 = (PIXELS >> np.uint8([3, 2, 3])).astype("<u2") @ np.uint16([2048, 32, 1])
BITS555 = (PIXELS >> 3).astype("<u2") @ np.uint16([1024, 32, 1])
RAMP = bytes(value for i in range(256) for value in (i, i, i, 0))
SOUND = {
    "16-bit-rgb.png": (png(RGB16), PIXELS),
    "16-bit-rgba.png": (png(np.dstack([RGB16, GREY_ALPHA[..., 1] * np.uint16(257)])), OVER_WHITE),
    "16-bit-grey-alpha.png": (png(GREY_ALPHA * np.uint16(257)), GREY_OVER_WHITE),
    "interlaced-rgb.png": (png(PIXELS, True), PIXELS),
    "interlaced-rgba.png": (png(scene(), True), OVER_WHITE),
    "interlaced-16-bit.png": (png(RGB16, True), PIXELS),
    "interlaced-grey.png": (png(GREY[..., None], True), GREY3),
    "profile.png": (png(PIXELS, chunks=((b"iCCP", b"sRGB\0\0" + zlib.compress(_profile())),)), PIXELS),
    "bad-profile.png": (png(PIXELS, chunks=((b"iCCP", b"sRGB\0\0" + b"nonsense"),)), PIXELS),
    "long-text.png": (png(PIXELS, chunks=((b"tEXt", b"workflow\0" + b"x" * 5_000_000),)), PIXELS),
    "many-texts.png": (png(PIXELS, chunks=((b"tEXt", b"a\0b"),) * 20_000), PIXELS),
    "gamma.png": (png(PIXELS, chunks=((b"gAMA", struct.pack(">I", 1)),)), PIXELS),
    "upside-down.bmp": (bmp(BGR.tobytes(), 24, -HEIGHT), PIXELS),
    "32-bit.bmp": (bmp(np.dstack([BGR, GREY])[::-1].tobytes(), 32), PIXELS),
    "565.bmp": (
        bmp(BITS565[::-1].tobytes(), 16, HEIGHT, 3, struct.pack("<III", 0xF800, 0x7E0, 0x1F)),
        PIXELS,
    ),
    "555.bmp": (bmp(BITS555[::-1].tobytes(), 16), PIXELS),
    "runs.bmp": (bmp(run_length(GREY), 8, HEIGHT, 1, RAMP), GREY3),
    "white-is-zero.tif": (tiff((255 - GREY).tobytes(), t262=0), GREY3),
    "16-bit-rgb.tif": (tiff(RGB16.astype("<u2").tobytes(), t258=[16] * 3, t262=2, t277=3), PIXELS),
    "planes.tif": (
        tiff(
            PIXELS.transpose(2, 0, 1).tobytes(),
            t258=[8] * 3,
            t262=2,
            t273=[8, 8 + GREY.size, 8 + 2 * GREY.size],
            t277=3,
            t279=[GREY.size] * 3,
            t284=2,
        ),
        PIXELS,
    ),
    "alpha.tif": (tiff(GREY_ALPHA.tobytes(), t258=[8, 8], t277=2, t338=2), GREY_OVER_WHITE),
    "after-the-end.jpg": (encode(Image.fromarray(GREY), "JPEG", quality=100) + b"more " * 99, GREY3),
}


@pytest.mark.parametrize("name", SOUND)
def test_variants_that_pillow_does_not_write_are_read(name, decoder):
    data, pixels = SOUND[name]
    tolerance = 8 if name in ("565.bmp", "555.bmp", "after-the-end.jpg") else 0
    assert not complaint(decoder(name, data), name, "decoded", pixels, tolerance)


TEXT = b"workflow\0\0" + zlib.compress(b"x" * 2_000_000)
UPRIGHT = (0x0112, 3, 1, struct.pack("<HH", 6, 0))
ODD_TAG = (0x011A, 2, 4, b"abc\0")  # a resolution in letters
RGB = Image.fromarray(PIXELS)
INVERSE16 = (65535 - GREY.astype("<u2") * 257).astype("<u2").tobytes()
NIBBLES = GREY // 16
FOUR_BITS = png_of_chunks(
    (b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 4, 0, 0, 0, 0)),
    (b"tRNS", b"\0\x07"),
    (b"IDAT", zlib.compress(b"".join(b"\0" + (16 * row[::2] + row[1::2]).tobytes() for row in NIBBLES))),
    (b"IEND", b""),
)
ODD = {
    "4-bit-transparent.png": (FOUR_BITS, np.where(NIBBLES == 7, 255, 17 * NIBBLES)[..., None].repeat(3, 2)),
    "long-compressed-text.png": (png(PIXELS, chunks=((b"zTXt", TEXT),)), PIXELS),
    "bad-exif.png": (png(PIXELS, chunks=((b"eXIf", b"garbage!"),)), PIXELS),
    "bad-exif.webp": (encode(RGB, "WEBP", lossless=True, exif=b"Exif\0\0garbage!"), PIXELS),
    "odd-exif.webp": (encode(RGB, "WEBP", lossless=True, exif=exif(UPRIGHT, ODD_TAG)), turned(PIXELS, 6)),
    "16-bit-white-is-zero.tif": (tiff(INVERSE16, t258=16, t262=0), GREY3),
}
if NEW_PILLOW:
    ODD["premultiplied.tif"] = (tiff(GREY_ALPHA.tobytes(), t258=[8, 8], t277=2, t338=1), GREY_OVER_WHITE)


@pytest.mark.parametrize("name", ODD)
def test_odd_but_whole_files_are_read(name, decoder):
    data, pixels = ODD[name]
    assert not complaint(decoder(name, data), name, "decoded", pixels)


# --- damaged files ---------------------------------------------------------------------------------------

SAMPLE = (
    "png",
    "apng",
    "jpeg",
    "jpeg-progressive",
    "webp",
    "webp-lossless",
    "gif",
    "tiff",
    "tiff-lzw",
    "bmp",
    "ppm",
)


@pytest.mark.parametrize("label", [*SAMPLE, "avif", "jp2"])
def test_damaged_files_end_in_pixels_or_our_error(label, decoder):
    cases = [case for case in corpus(label, turns=False) if case.name.split(".")[1] in ("RGB", "P")]
    for case in cases:
        assert not say(judge_damaged(decoder, case, seed=len(label)))


def test_forged_tags_of_a_tiff_end_in_pixels_or_our_error(decoder):
    wrong = []
    for tag in (256, 257, 258, 259, 262, 273, 277, 278, 279, 317, 322, 324, 338, 339):
        for value in (0, 1, 2, 5, 7, 32, 64, 65535, 2**31, 2**32 - 1, [8] * 5, [2**32 - 1] * 300):
            name = f"tag {tag} = {value}"
            wrong.append(
                complaint(decoder(name, tiff(GREY.tobytes(), **{f"t{tag}": value}), 4_000_000), name)
            )
    assert not say(wrong)


@pytest.mark.parametrize(
    "data", [b"", b"\0", bytes(5000), b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF", b"II*\0"]
)
def test_what_holds_no_image_is_refused(data, decoder):
    assert not complaint(decoder("holiday.jpg", data), "holiday.jpg", "refused")


def large_png(side):
    """Return a PNG of `side` × `side` white or black pixels, a bit each."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side * (1 + side // 8)))
    return png_of_chunks((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))


FEW_ROWS = png(PIXELS).replace(struct.pack(">II", WIDTH, HEIGHT), struct.pack(">II", WIDTH, 2 * HEIGHT))


def large_tile(side):
    """Return a TIFF of 48 × 32 pixels in one tile of `side` × `side`."""
    packed = zlib.compress(bytes(side * side), 1)
    return tiff(packed, t259=8, t322=side, t323=side, t324=8, t325=len(packed))


BOMBS = {
    "large.png": lambda: large_png(20_000),
    "100-megapixels-and-more.png": lambda: large_png(10_008),  # which Pillow decodes
    "large.gif": lambda: encode(RGB, "GIF").replace(
        struct.pack("<HH", WIDTH, HEIGHT), b"\x20\x4e\x20\x4e", 1
    ),
    "large.ppm": lambda: b"P6 20000 20000 255 " + PIXELS.tobytes(),
    "large.tif": lambda: tiff(zlib.compress(bytes(10**7)), t256=20_000, t257=20_000, t259=8),
    "long-profile.png": lambda: png(PIXELS, chunks=((b"iCCP", b"n\0\0" + zlib.compress(bytes(10**8))),)),
    "tags.tif": lambda: tiff(bytes(200_000), **{f"t{1000 + i}": [8] * 50 for i in range(3000)}),
    "large-tile.tif": lambda: large_tile(12_000),
    "scans.jpg": lambda: many_scans(300, 300, 2000),
    "few-rows.png": lambda: FEW_ROWS[:29] + struct.pack(">I", zlib.crc32(FEW_ROWS[12:29])) + FEW_ROWS[33:],
}


@pytest.mark.parametrize(
    "name",
    BOMBS,
)
def test_bombs_are_refused_in_little_memory(name, decoder):
    outcome = decoder(name, BOMBS[name]())
    assert not complaint(outcome, name, "either" if name in ("tags.tif", "long-profile.png") else "refused")
    assert outcome.memory < 300 * 2**20  # beyond what earlier files took


def test_a_file_larger_than_memory_is_refused(decoder, tmp_path):
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(64 * 2**30)  # takes no room on the disk
    assert not complaint(decoder(str(path), path), str(path), "refused")


def test_random_mutants_end_in_pixels_or_our_error(decoder):
    """As many as `DFD_FUZZ` says; the name of a mutant holds the seed that makes it again."""
    cases = [case for form in FORMATS for case in corpus(form.label, turns=False)]
    cases += [Case(name, data, pixels) for name, (data, pixels) in SOUND.items() if len(data) < 10**5]
    wrong = []
    for seed in range(int(os.environ.get("DFD_FUZZ", "200"))):
        name, data = mutant(cases, seed)
        wrong.append(complaint(decoder(name, data, 4_000_000), name))
    assert not say(wrong)


# --- names, links and folders ----------------------------------------------------------------------------

NAMES = (
    *(
        "plain.jpg",
        "UPPER.JPG",
        "two words.jpg",
        " lead.jpg",
        "trail .jpg",
        "=1+1.jpg",
        "=cmd|' 'A0.jpg",
        "-rf.jpg",
    ),
    *(
        "--help.jpg",
        "@x.jpg",
        "+1.jpg",
        "it's.jpg",
        '"said".jpg',
        "a,b;c.jpg",
        "tab\t.jpg",
        "line\n.jpg",
    ),
    *(
        "日本語.jpg",
        "é.jpg",
        "e\u0301.jpg",
        "👁.jpg",
        "\u202egpj.jpg",
        "x" * 196 + ".jpg",
        "%s%d%n.jpg",
        "$HOME.jpg",
    ),
    *(
        "*?.jpg",
        "[0-9].jpg",
        "NA.jpg",
        "nan.jpg",
        "null.jpg",
        "1.0.jpg",
        "007.jpg",
        "a..b.jpg",
        "CON.jpg",
        "~.jpg",
    ),
    *("#.jpg", "a:b.jpg", "a\\b.jpg", "{}.jpg", "<b>.jpg", "&amp;.jpg"),
)
HIDDEN = (
    *(".DS_Store", "Thumbs.db", "._plain.jpg", ".jpg", "..jpg", "../real/.x.jpg", "desktop.ini", "no ending"),
    *("x.jpg ", "x.jpg~", "x.jpg.part", "__MACOSX/x.jpg", ".git/x.jpg", "@eaDir/x.jpg", "$RECYCLE.BIN/x.jpg"),
)


def photograph(seed):
    return encode(Image.fromarray(scene(seed)[..., :3]), "JPEG", quality=95)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Images of odd names in `real` and `fake`, beside what an operating system leaves."""
    monkeypatch.chdir(tmp_path)
    for seed, (label, name) in enumerate(
        (label, name) for label in ("real", "fake") for name in NAMES + HIDDEN
    ):
        path = tmp_path / "data" / label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photograph(seed))
    return tmp_path / "data"


def test_odd_names_are_scanned_and_system_files_are_not(tree):
    manifest = scan_images(tree)
    assert set(manifest["path"]) == {f"{label}/{name}" for label in ("real", "fake") for name in NAMES}
    assert manifest["label"].tolist() == [path[:4] for path in manifest["path"]]
    assert sum(count_skipped(tree).values()) >= 2 * (len(HIDDEN) - 4)  # of folders, they alone are counted


def test_odd_names_of_folders_are_scanned(tmp_path):
    for seed, name in enumerate(NAMES):
        for label in ("real", "fake"):
            path = tmp_path / label / name.rsplit(".", 1)[0] / "a.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photograph(seed))
    manifest = scan_images(tmp_path)
    assert manifest["label"].tolist() == [path[:4] for path in manifest["path"]]
    write_manifest(manifest, tmp_path / "manifest.csv")
    assert read_manifest(tmp_path / "manifest.csv").equals(manifest)


def test_odd_names_survive_a_manifest_and_a_data_set(tree):
    from dfdlib.data.dataset import ImageDataset

    manifest = scan_images(tree)
    write_manifest(manifest, tree / "manifest.csv")
    again = read_manifest(tree / "manifest.csv")
    assert again.equals(manifest)
    assert fingerprint(again) == fingerprint(manifest)
    data = ImageDataset(again, 32)
    assert data.unreadable.empty
    shown = data.batch(range(len(data)))["image"].movedim(1, -1).numpy()
    for path, image in zip(again["path"], shown, strict=True):
        assert np.array_equal(image, read_picture(tree / path).fitted(32)), path


@pytest.mark.parametrize(
    "name", ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "C:\\x.jpg", "..\\x.jpg", "\\\\host\\x.jpg"]
)
def test_a_manifest_cannot_lead_out_of_its_folder(name, tree):
    manifest = scan_images(tree)
    manifest.loc[0, ["path", "group"]] = name
    (tree.parent / "x.jpg").write_bytes(photograph(0))
    write_manifest(manifest, tree / "manifest.csv")
    with pytest.raises(DfdError, match="leaves its root"):
        read_manifest(tree / "manifest.csv")


@pytest.mark.parametrize("name", ["c:x.jpg", "a\\..\\b.jpg", "cr\r.jpg"])
def test_what_was_scanned_can_be_read_again(name, tmp_path):
    for path in (name, "fake/a.jpg", "real/a.jpg", f"real/{name}"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(photograph(0))
    manifest = scan_images(tmp_path, require_labels=False)
    write_manifest(manifest, tmp_path / "manifest.csv")
    assert read_manifest(tmp_path / "manifest.csv").equals(manifest)


@pytest.mark.parametrize("name", ["fake/\0.jpg", "fake/\ud800.jpg"])
def test_a_row_that_is_no_file_name_is_left_out(name, tree):
    from dfdlib.data.dataset import ImageDataset

    manifest = scan_images(tree)
    manifest.loc[0, ["path", "group"]] = name
    assert ImageDataset(manifest, 16).unreadable["path"].tolist() == [name]
    assert fingerprint(manifest)


def test_links_stay_in_the_folder_and_no_file_hangs(tree, decoder):
    outside = tree.parent / "outside"
    outside.mkdir()
    (outside / "x.jpg").write_bytes(photograph(0))
    links = {
        "out.jpg": outside / "x.jpg",
        "chain.jpg": "out.jpg",
        "up.jpg": "../../outside/x.jpg",
        "device.jpg": "/dev/zero",
        "gone.jpg": "nowhere.jpg",
        "self.jpg": "self.jpg",
        "in.jpg": "plain.jpg",
        "folder": outside,
        "around": tree,
    }
    for name, target in links.items():
        (tree / "fake" / name).symlink_to(target)
    os.mkfifo(tree / "fake" / "pipe.jpg")
    (tree / "fake" / "folder.jpg").mkdir()
    listed = {
        path.removeprefix("fake/") for path in scan_images(tree)["path"] if path.startswith("fake/")
    } - set(NAMES)
    assert listed == {"gone.jpg", "self.jpg", "in.jpg", "pipe.jpg"}
    for name in listed | {"folder.jpg"}:
        path = str(tree / "fake" / name)
        assert not complaint(decoder(path, Path(path)), path, "decoded" if name == "in.jpg" else "refused")


def test_wrong_endings_and_broken_files_in_a_data_set(tmp_path, decoder):
    from dfdlib.data.dataset import ImageDataset

    cases = [case for label in SAMPLE for case in corpus(label, turns=False)]
    endings = [case.name.rsplit(".", 1)[1] for case in cases]
    broken = set()
    for i, case in enumerate(cases):
        path = tmp_path / ("real", "fake")[i % 2] / f"{case.name}.{endings[(i * 7) % len(cases)]}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(case.data if i % 5 else case.data[: len(case.data) // 3])
        broken |= set() if i % 5 else {str(path.relative_to(tmp_path))}
        outcome = decoder(str(path), path)
        wanted = ("decoded", case.pixels) if i % 5 else ("refused", None)
        assert not complaint(outcome, str(path), *wanted, case.tolerance)
    data = ImageDataset(scan_images(tmp_path), 32)
    assert set(data.unreadable["path"]) == broken
    assert all(path in error for path, error in data.unreadable.itertuples(index=False))


# --- the long part ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def counts(request):
    """Counts of outcomes, printed when the long part has ended."""
    counts = Counter()
    yield counts
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        outcomes = ", ".join(
            f"{name} {counts[name]:,}" for name in ("decoded", "refused", "raised", "crashed", "hung")
        )
        print(f"\nhard images: {sum(counts.values()):,} files tried, {outcomes}")


@pytest.mark.hard
@pytest.mark.parametrize("label", [form.label for form in FORMATS])
def test_every_damaged_copy_of_every_file(label, decoder, counts):
    before = Counter(decoder.counts)
    wrong = [line for seed, case in enumerate(corpus(label)) for line in judge_damaged(decoder, case, seed)]
    counts.update(decoder.counts - before)
    assert not say(wrong)
