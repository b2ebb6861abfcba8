"""The setting that says how images are cropped to faces; a detector file keeps it, `images.faces` does it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Faces:
    """Which faces of an image a detector sees; `images.faces.parse_faces` makes one."""

    detector: str
    """Name of YuNet's file, which finds them."""
    margin: float = 0.3
    """Added on each side of a face, as a fraction of the longer side of its box."""
    which: str = "largest"
    """`largest`, or `all`: each is judged, and the image is as fake as the face that is most probably fake."""
    missing: str = "refuse"
    """An image without a face is refused (`refuse`), or judged as a whole (`whole`)."""
    digest: str = ""
    """SHA-256 of `model`, in hex."""
    model: bytes = field(default=b"", repr=False, compare=False)
    """What is in YuNet's file, so that a detector file needs no other."""

    def __str__(self) -> str:
        """Return the setting as `parse_faces` reads it."""
        return f"{self.detector}, {self.which}, margin={self.margin:g}, {self.missing}"

    def plain(self) -> dict[str, Any]:
        """Return it in plain types, for `from_plain`."""
        return asdict(self) | {"model": base64.b64encode(self.model).decode()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Faces:
        """Return what `plain` described."""
        return cls(**{**plain, "model": base64.b64decode(plain["model"])})
