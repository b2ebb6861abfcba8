"""Images in shards, Parquet tables and WebDataset tars, written out once as the files that they hold.

All that looks at an image takes a file: decoders that check it first, digests, caches, masks, links to it. So the bytes
of a shard are copied, unchanged, into `.unpacked/` beside it, and a manifest's `path` means there what it means elsewhere.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Set
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.core.files import alone_in, atomic_folder, write_csv
from dfdlib.core.progress import Progress
from dfdlib.data.layouts import LABEL_WORDS, SPLIT_WORDS
from dfdlib.data.manifest import COLUMNS
from dfdlib.images.decode import IMAGE_SUFFIXES
from dfdlib.images.video import VIDEO_SUFFIXES

UNPACKED = ".unpacked"
_SHARDS = (".parquet", ".tar")
_NAMES = {
    "label": ("label", "labels", "is_fake", "fake", "target", "class", "cls"),
    "generator": ("generator", "model", "method"),
    "category": ("category",),
    "split": ("split",),
    "group": ("group", "video"),
}
"""Columns of a manifest, and what those of shards are called, in lower case."""
_YES_NO = {"0": "real", "1": "fake", "false": "real", "true": "fake"}
"""Values of `is_fake`."""
_Fields = dict[str, Any]


def find_shards(root: Path) -> list[Path]:
    """Return the shards below a folder, sorted; none where images or videos lie beside them."""
    shards = []
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in files:
            suffix = "" if name.startswith(".") else PurePosixPath(name).suffix.lower()
            if suffix in IMAGE_SUFFIXES or suffix in VIDEO_SUFFIXES:
                return []
            if suffix in _SHARDS:
                shards.append(Path(folder, name))
    return sorted(shards)


def read_shards(root: Path, shards: list[Path], labels: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """Unpack the shards that are new or have changed; return a manifest of their images, and the labels that they state.

    Columns are told by their names, see `_NAMES`; numbers of the classes of Hugging Face data sets are turned into
    names. Without such a column the name of a generator tells a fake, and else the folder, in a tar or of a shard; the
    split comes from the names of the shards, unless all are `train`: so the hub calls what is not split.

    Args:
        root: The folder.
        shards: See `find_shards`.
        labels: Values that mean `real` or `fake` beyond the known words, in lower case; of several that mean `fake` each
            is a generator.

    Raises:
        DfdError: A shard that cannot be read, or holds no image; or pyarrow is missing.
    """
    homes = [root / UNPACKED / shard.relative_to(root) for shard in shards]
    if not all(map(_is_unpacked, shards, homes)):
        with alone_in(root / UNPACKED):
            _unpack_all(shards, homes)
    tables = []
    for home in homes:
        table = pd.read_csv(home / "images.csv", dtype=str, keep_default_na=False)
        place = home.relative_to(root).as_posix()
        tables.append(table.assign(path=f"{place}/" + table["path"], shard=place))
    table = pd.concat(tables, ignore_index=True).reindex(columns=["path", "shard", "folder", *_NAMES])
    table = table.astype(object).where(table.notna() & (table != ""), None)
    words = {**LABEL_WORDS, **labels}
    fakes = {word for word in labels if labels[word] == "fake"}
    generators = fakes if len(fakes) > 1 else set()
    rows = [_row(fields, words, generators) for fields in table.to_dict("records")]
    manifest = pd.DataFrame(rows, columns=COLUMNS, dtype=object).assign(root=str(root))
    if set(manifest["split"]) == {"train"}:
        manifest["split"] = None
    said = table["label"].dropna().unique().tolist()
    return manifest.sort_values("path", ignore_index=True), said


def _row(fields: _Fields, words: Mapping[str, str], generators: Set[str]) -> _Fields:
    """Return the row of the manifest that is said of an image; `words` mean a label, `generators` are some of them."""
    generator = fields["generator"]
    folders = re.split(r"[^a-z]+", f"{fields['shard']}/{fields['folder'] or ''}".lower())
    value = (fields["label"] or "").lower()
    label, named = words.get(value), words.get((generator or "").lower())
    if not value:
        label = named or ("fake" if generator else next(filter(None, map(words.get, folders)), None))
    if value in generators:
        generator = generator or fields["label"]
    split = (fields["split"] or "").lower()
    return {
        "path": fields["path"],
        "label": label,
        "category": fields["category"],
        "split": SPLIT_WORDS.get(split) or next(filter(None, map(SPLIT_WORDS.get, folders)), None),
        "group": fields["group"] or fields["path"],
        "generator": generator if label == "fake" and not named else None,
    }


def _unpack_all(shards: list[Path], homes: list[Path]) -> None:
    """Unpack each shard that is new or has changed; what a killed run left half done is removed."""
    progress = Progress(shards, "unpacking", len(shards), unit="shard", disable=len(shards) < 2)
    for shard, home in zip(progress, homes, strict=True):
        for unfinished in home.parent.glob(f".????????-{home.name[-50:]}"):
            shutil.rmtree(unfinished)
        if not _is_unpacked(shard, home):
            if home.is_dir():
                shutil.rmtree(home)
            with atomic_folder(home) as unfinished:
                _unpack(shard, unfinished)
            os.utime(home, ns=(shard.stat().st_mtime_ns,) * 2)


def _is_unpacked(shard: Path, home: Path) -> bool:
    """Return whether a folder holds the images of a shard as it is now; it bears the shard's time."""
    return home.is_dir() and home.stat().st_mtime_ns >= shard.stat().st_mtime_ns


def _unpack(shard: Path, home: Path) -> None:
    """Write the images of a shard into a folder, and what is said of them into `images.csv` there."""
    read = _parquet if shard.suffix.lower() == ".parquet" else _tar
    rows = []
    try:
        for number, (name, content, fields) in enumerate(read(shard)):
            suffix = PurePosixPath(name).suffix.lower()
            file = f"{number:06d}{suffix if suffix in IMAGE_SUFFIXES else _suffix(content)}"
            (home / file).write_bytes(content)
            lower = {key.lower(): value for key, value in fields.items() if value is not None}
            said = {
                column: next((str(lower[own]) for own in names if own in lower), None)
                for column, names in _NAMES.items()
            }
            for own in ("is_fake", "fake"):
                if "label" not in lower and own in lower:
                    said["label"] = _YES_NO.get(str(lower[own]).lower(), said["label"])
            rows.append({"path": file, "folder": str(PurePosixPath(name).parent), **said})
    except (tarfile.TarError, ValueError, EOFError) as error:  # pyarrow's errors are ValueErrors
        raise DfdError(f"{shard} cannot be read ({error}); fetch it again.") from error
    if not rows:
        raise DfdError(f"{shard} holds no image; move it out of the data.")
    write_csv(pd.DataFrame(rows), home / "images.csv")


def _parquet(shard: Path) -> Iterator[tuple[str, bytes, _Fields]]:
    """Yield the name, the bytes and the other columns of each image of a table."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DfdError(f"{shard} needs the library pyarrow; run: pip install 'dfdlib[fetch]'.") from None

    table = pq.ParquetFile(shard)
    schema = table.schema_arrow
    image = next(
        (
            field
            for field in schema
            if (pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)
            or (field.name.lower() in ("image", "img") and pa.types.is_binary(field.type))
        ),
        None,
    )
    if image is None:
        return
    wanted = {own for names in _NAMES.values() for own in names}
    plain = [
        field.name for field in schema if field.name.lower() in wanted and not pa.types.is_nested(field.type)
    ]
    classes = _classes(schema.metadata or {})
    for batch in table.iter_batches(64, columns=[image.name, *plain]):
        for row in batch.to_pylist():
            cell = row.pop(image.name)
            cell = cell if isinstance(cell, dict) else {"bytes": cell}
            if cell.get("bytes") is None:
                raise ValueError("it names images that lie elsewhere")
            named = {
                name: classes[name][value]
                if name in classes and isinstance(value, int) and value >= 0
                else value
                for name, value in row.items()
            }
            yield cell.get("path") or "", cell["bytes"], named


def _classes(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Return the names of the classes of each column, as the library `datasets` writes them."""
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return {name: one["names"] for name, one in features.items() if isinstance(one, dict) and "names" in one}


def _tar(shard: Path) -> Iterator[tuple[str, bytes, _Fields]]:
    """Yield the name, the bytes and the fields of each sample: files that share a name up to its first dot."""
    name, content, fields, key = "", b"", {}, None
    with tarfile.open(shard) as archive:
        for member in archive:
            if not member.isfile():
                continue
            path = PurePosixPath(member.name)
            stem, _, kind = path.name.partition(".")
            if (path.parent, stem) != key:
                if content:
                    yield name, content, fields
                name, content, fields, key = "", b"", {}, (path.parent, stem)
            data = archive.extractfile(member).read()
            if path.suffix.lower() in IMAGE_SUFFIXES and not content:
                name, content = member.name, data
            elif kind.lower() == "json":
                fields |= json.loads(data)
            elif kind.lower() in _NAMES["label"]:
                fields["cls"] = data.decode().strip()
    if content:
        yield name, content, fields


def _suffix(content: bytes) -> str:
    """Return the ending of an image that has no name."""
    return ".png" if content.startswith(b"\x89PNG") else ".webp" if content[8:12] == b"WEBP" else ".jpg"
