"""What a training run has reached: one row per epoch, and what follows from it."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

_STALLED_EPOCHS = 2


class History:
    """The epochs of a run so far."""

    def __init__(self, monitor: str) -> None:
        """Start empty; the best epoch is best at `monitor`, `auc` or `loss`, on validation."""
        self.monitor = monitor
        self.rows: list[dict[str, Any]] = []

    def __len__(self) -> int:
        """Return the number of whole epochs."""
        return len(self.rows)

    @property
    def best(self) -> int:
        """Position of the best epoch; of equal AUC the one with the smaller loss, then the first."""
        return max(range(len(self.rows)), key=lambda i: (self._score(self.rows[i]), -i))

    def add(self, row: dict[str, Any]) -> bool:
        """Add an epoch; say whether it is the best one so far."""
        self.rows.append({"epoch": len(self.rows) + 1, **row, "best": False})
        for i, done in enumerate(self.rows):
            done["best"] = i == self.best
        return self.rows[-1]["best"]

    def epochs_since_best(self) -> int:
        """Return how many epochs came after the best one."""
        return len(self.rows) - 1 - self.best

    def halvings(self) -> int:
        """Return how often the validation loss went two epochs without falling."""
        lowest, waited, count = math.inf, 0, 0
        for row in self.rows:
            waited = 0 if row["val_loss"] < lowest else waited + 1
            lowest = min(lowest, row["val_loss"])
            if waited == _STALLED_EPOCHS:
                waited, count = 0, count + 1
        return count

    def table(self) -> pd.DataFrame:
        """Return one row per epoch."""
        return pd.DataFrame(self.rows)

    def last_line(self, epochs: int) -> str:
        """Describe the last epoch in one line."""
        row = self.rows[-1]
        category = row.get("val_category_accuracy")
        return (
            f"epoch {row['epoch']:3d}/{epochs}  loss {row['train_loss']:.4f}  val loss {row['val_loss']:.4f}  "
            f"AUC {row['val_auc']:.4f}  accuracy {row['val_accuracy']:.3f}"
            + (f"  category {category:.3f}" if category is not None else "")
            + f"  {row['seconds']:.0f} s ({row['images_per_second']:.0f} images/s)"
            + ("  best" if row["best"] else "")
        )

    def _score(self, row: dict[str, Any]) -> tuple[float, float]:
        return (
            (-row["val_loss"], 0.0)
            if self.monitor == "loss"
            else (round(row["val_auc"], 4), -row["val_loss"])
        )
