"""The decision rule: the one place where a score becomes a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit

CANT_TELL = "can't tell"
UNLIKE = "can't tell: unlike anything it was trained on"


@dataclass(frozen=True)
class Decision:
    """How a detector's logit becomes a probability and a verdict; fitted on validation images."""

    threshold: float = 0.5
    """An image is called fake from this `p_fake` on; above 0, at most 1."""
    temperature: float = 1.0
    """Divides the logit before the sigmoid (Guo et al. 2017); above 0."""
    band: tuple[float, float] | None = None
    """From the first up to the second `p_fake` the verdict is "can't tell"; None where no band was fitted."""
    real_logits: tuple[float, ...] = field(default=(), repr=False)
    """Logits of real validation images, see `calibration.calibrate`; empty where they are not known."""

    def p_fake(self, logits: np.ndarray) -> np.ndarray:
        """Return the probability of fake, float64 [N] from 0 to 1, of raw logits [N]."""
        return expit(np.asarray(logits, np.float64) / self.temperature)

    def reals_as_high(self, p_fake: float) -> float | None:
        """Return the share of real validation images that score at least `p_fake`; None where it is not known."""
        return float((self.p_fake(self.real_logits) >= p_fake).mean()) if self.real_logits else None

    def is_fake(self, p_fake: np.ndarray) -> np.ndarray:
        """Return which scores call an image fake, bool [N]."""
        return np.asarray(p_fake, np.float64) >= self.threshold

    def labels(self, p_fake: np.ndarray) -> np.ndarray:
        """Return `real` or `fake` for each score, [N]."""
        return np.where(self.is_fake(p_fake), "fake", "real").astype(object)

    def verdicts(self, p_fake: np.ndarray, novelty: np.ndarray | None = None) -> np.ndarray:
        """Return `real` or `fake` for each score, or that it can't be told, [N].

        Args:
            p_fake: [N], 0 to 1.
            novelty: [N], see `Familiarity.novelty`: above 1 an image is unlike anything in training.
        """
        verdicts = self.labels(p_fake)
        if self.band is not None:
            low, high = self.band
            verdicts[(np.asarray(p_fake) >= low) & (np.asarray(p_fake) < high)] = CANT_TELL
        if novelty is not None:
            verdicts[np.asarray(novelty) > 1] = UNLIKE
        return verdicts
