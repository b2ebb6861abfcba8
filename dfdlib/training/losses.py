"""The training objective."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dfdlib.data.dataset import Batch, ImageDataset
from dfdlib.models.networks import Logits
from dfdlib.training.settings import TrainConfig


@dataclass(frozen=True)
class Losses:
    """The training objective: weighted real/fake loss plus weighted category loss."""

    fake_weight: float
    category_weight: float
    fake_class_weights: Tensor
    """float [2]: weights of real and fake images."""
    category_class_weights: Tensor
    """float [C]: inverse class frequencies, of mean 1 over the images, or ones."""
    fake_smoothing: float = 0.0
    """Part of each real/fake target that is spread evenly over both classes."""
    category_smoothing: float = 0.0
    """Part of each category target that is spread evenly over the categories."""

    @classmethod
    def of(cls, dataset: ImageDataset, config: TrainConfig, device: torch.device | None = None) -> Losses:
        """Weigh the classes by their inverse frequency in the training images, if the settings say so."""
        weighted = config.balance == "weights"
        fake = _inverse_frequency(dataset.fake.long(), 2) if weighted else torch.ones(2)
        n_categories = len(dataset.categories)
        category = (
            _inverse_frequency(dataset.category, n_categories) if weighted else torch.ones(n_categories)
        )
        return cls(
            config.fake_loss_weight,
            config.category_loss_weight,
            fake.to(device),
            category.to(device),
            config.label_smoothing,
            config.category_smoothing,
        )

    def __call__(self, logits: Logits, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the objective, the real/fake loss and the category loss, each a scalar."""
        weights = self.fake_class_weights[batch["fake"].long()]
        targets = batch["fake"] * (1 - self.fake_smoothing) + self.fake_smoothing / 2
        fake = F.binary_cross_entropy_with_logits(logits.fake, targets, weight=weights)
        category = logits.fake.new_zeros(())
        if logits.category is not None:
            known, classes = batch["category"] >= 0, self.category_class_weights.to(logits.category)
            total = F.cross_entropy(
                logits.category,
                batch["category"],
                weight=classes,
                ignore_index=-1,
                label_smoothing=self.category_smoothing,
                reduction="sum",
            )
            weight = (classes[batch["category"].clamp(min=0)] * known).sum()
            category = total / weight.clamp(
                min=1e-6
            )  # 0 where no category is known, and nothing is read back
        return self.fake_weight * fake + self.category_weight * category, fake, category


def _inverse_frequency(classes: Tensor, n: int) -> Tensor:
    """Weights that give each class that occurs the same share, of mean 1 over the images."""
    counts = torch.bincount(classes[classes >= 0], minlength=n).float()
    occurring = counts > 0
    weights = counts.sum() / (occurring.sum() * counts.clamp(min=1))
    return torch.where(occurring, weights, torch.ones(()))
