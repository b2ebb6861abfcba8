"""What users said of verdicts, in one SQLite file that survives crashes and many writers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd

from dfdlib.core.errors import DfdError
from dfdlib.core.files import atomic_path
from dfdlib.core.paths import remedy

_SCHEMA = """
CREATE TABLE IF NOT EXISTS feedback (
    id INTEGER PRIMARY KEY,
    time TEXT NOT NULL,
    image_sha256 TEXT NOT NULL,
    label TEXT NOT NULL CHECK (label IN ('real', 'fake')),
    predictions TEXT NOT NULL
);
DELETE FROM feedback WHERE id NOT IN (SELECT max(id) FROM feedback GROUP BY image_sha256);
CREATE UNIQUE INDEX IF NOT EXISTS one_per_image ON feedback (image_sha256);
CREATE TABLE IF NOT EXISTS images (
    image_sha256 TEXT PRIMARY KEY,
    data BLOB NOT NULL
) WITHOUT ROWID;
"""
_SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp", b"GIF8": ".gif", b"BM": ".bmp"}


class FeedbackStore:
    """Reports on verdicts; images only where their owner agreed. Safe to share between threads and processes."""

    def __init__(self, path: str | Path, max_image_bytes: int = 2**30) -> None:
        """Open the file, or make it.

        Args:
            path: The SQLite file.
            max_image_bytes: Room for the stored images in all; none is taken beyond it.

        Raises:
            DfdError: The file cannot be opened, or is no store of feedback.
        """
        self.path, self.max_image_bytes = Path(path), max_image_bytes
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._connection() as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            about = remedy(path) if isinstance(error, OSError | sqlite3.OperationalError) else ""
            raise DfdError(f"{path} cannot be used to store feedback: {error}.{about}") from error

    def add(
        self,
        image_sha256: str,
        label: str,
        predictions: Sequence[Mapping[str, Any]],
        image: bytes | None = None,
    ) -> None:
        """Keep what a user says an image is; it replaces what was said of this image before.

        Args:
            image_sha256: Of the file, in hex.
            label: `real` or `fake`.
            predictions: What the models had said: `model_name`, `label`, `p_fake`, `verdict` each.
            image: The file, where the user agreed to its being kept.

        Raises:
            DfdError: Another label, no room for a further image, or the file cannot be written.
        """
        if label not in ("real", "fake"):
            raise DfdError(f"`label` is {label!r}; it must be 'real' or 'fake'.")
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        try:
            with self._connection() as connection:
                connection.execute("BEGIN IMMEDIATE")
                if image is not None:
                    self._check_room(connection, len(image))
                    connection.execute("INSERT OR IGNORE INTO images VALUES (?, ?)", (image_sha256, image))
                connection.execute(
                    "INSERT OR REPLACE INTO feedback (time, image_sha256, label, predictions) VALUES (?, ?, ?, ?)",
                    (now, image_sha256, label, json.dumps(list(predictions))),
                )
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise DfdError(f"feedback cannot be written to {self.path}: {error}.") from error

    def summary(self) -> dict[str, Any]:
        """Return how often users found the models right.

        Returns:
            `reports` (number), `images` (stored ones), and `models`, by name: `n` (reports on a verdict of
            real or fake), `right`, `accuracy` (None for none), `cant_tell` (reports where it gave no verdict).
        """
        with self._connection() as connection:
            rows = connection.execute("SELECT label, predictions FROM feedback").fetchall()
            (n_images,) = connection.execute("SELECT count(*) FROM images").fetchone()
        models: dict[str, dict[str, Any]] = {}
        for label, predictions in rows:
            for one in json.loads(predictions):
                counts = models.setdefault(one["model_name"], {"n": 0, "right": 0, "cant_tell": 0})
                if one["verdict"] in ("real", "fake"):
                    counts["n"] += 1
                    counts["right"] += one["verdict"] == label
                else:
                    counts["cant_tell"] += 1
        for counts in models.values():
            counts["accuracy"] = counts["right"] / counts["n"] if counts["n"] else None
        return {"reports": len(rows), "images": n_images, "models": models}

    def save_images(self, folder: str | Path) -> pd.DataFrame:
        """Write the stored images to `<folder>/{real,fake}/<sha256>.<ending>`.

        Returns:
            Their manifest, all in the `train` split, each a group of its own.

        Raises:
            DfdError: No image is stored, or one cannot be written.
        """
        with self._connection() as connection:
            said = connection.execute(
                "SELECT image_sha256, label FROM images JOIN feedback USING (image_sha256) ORDER BY feedback.id"
            ).fetchall()
            rows = []
            for name, label in said:
                (data,) = connection.execute(
                    "SELECT data FROM images WHERE image_sha256 = ?", (name,)
                ).fetchone()
                suffix = next((end for start, end in _SUFFIXES.items() if data.startswith(start)), ".tif")
                path = f"{label}/{name}{suffix}"
                with atomic_path(Path(folder) / path) as temporary:
                    temporary.write_bytes(data)
                rows.append({"path": path, "label": label, "split": "train", "group": name})
        if not rows:
            raise DfdError(
                f"{self.path} holds no image that users agreed to share: nothing to learn from yet."
            )
        columns = ["path", "label", "category", "split", "group", "generator"]
        manifest = pd.DataFrame(rows, columns=columns).astype(object)
        manifest = manifest.where(manifest.notna(), None)
        return manifest.assign(root=str(folder))

    def _check_room(self, connection: sqlite3.Connection, size: int) -> None:
        (used,) = connection.execute("SELECT coalesce(sum(length(data)), 0) FROM images").fetchone()
        if used + size > self.max_image_bytes:
            raise DfdError("the room for stored images is used up; send the feedback without the image.")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection of this call alone; what was not committed is undone."""
        connection = sqlite3.connect(self.path, timeout=20, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()
