"""The setting that has a detector look at native pixels; a detector file keeps it, `images.tiles` does it."""

from __future__ import annotations

from dataclasses import dataclass

from dfdlib.core.faces import Faces


@dataclass(frozen=True)
class Native:
    """That a detector sees squares of an image's own pixels; `images.tiles.parse_fit` makes one."""

    tiles: bool = False
    """Overlapping squares over the whole image are judged; else the one in its middle."""
    most: int = 32
    """Tiles of an image at most: a larger image is first shrunk."""
    top: float = 1.0
    """The verdict is that on the mean of this share of the tiles' logits, the highest; 1 is the mean of all."""

    def __str__(self) -> str:
        """Return the setting as `parse_fit` reads it."""
        return f"tiles, most={self.most}, top={self.top:g}" if self.tiles else "crop"


Part = Faces | Native | None
"""What of an image a detector sees: squares around faces, native squares, or the middle square, fitted."""
