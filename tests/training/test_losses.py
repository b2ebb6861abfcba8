"""Losses: weights that undo imbalance, and smoothed targets."""

import numpy as np
import pytest
import torch

from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import categories_of
from dfdlib.models.networks import Logits
from dfdlib.training.losses import Losses
from dfdlib.training.settings import TrainConfig


@pytest.fixture
def images(demo):
    return ImageDataset(demo, 32, categories_of(demo))


def test_class_weights_undo_imbalance(images):
    fakes = np.flatnonzero(images.manifest["label"] == "fake")[:20]
    chosen = (images.manifest["label"] == "real").to_numpy().copy()
    chosen[fakes] = True
    part = images.subset(chosen)
    losses = Losses.of(part, TrainConfig())
    totals = [float(losses.fake_class_weights[c] * (part.fake == c).sum()) for c in (0, 1)]
    assert totals[0] == pytest.approx(totals[1])
    shares = [float(losses.category_class_weights[c] * (part.category == c).sum()) for c in range(3)]
    assert shares == pytest.approx([shares[0]] * 3)
    assert torch.equal(Losses.of(part, TrainConfig(balance="none")).fake_class_weights, torch.ones(2))


def test_label_smoothing_moves_the_targets():
    logits = Logits(torch.tensor([2.0]), None)
    batch = {"fake": torch.tensor([1.0]), "category": torch.tensor([-1])}
    _, smooth, _ = Losses(1.0, 0.0, torch.ones(2), torch.ones(2), fake_smoothing=0.2)(logits, batch)
    assert float(smooth) == pytest.approx(0.9 * np.log1p(np.exp(-2)) + 0.1 * np.log1p(np.exp(2)), rel=1e-5)
    logits = Logits(torch.tensor([2.0]), torch.tensor([[3.0, 0.0]]))
    batch = {"fake": torch.tensor([1.0]), "category": torch.tensor([0])}
    _, plain, smooth = Losses(1.0, 1.0, torch.ones(2), torch.ones(2), category_smoothing=0.2)(logits, batch)
    assert float(plain) == pytest.approx(np.log1p(np.exp(-2)), rel=1e-5)
    assert float(smooth) == pytest.approx(0.9 * np.log1p(np.exp(-3)) + 0.1 * np.log1p(np.exp(3)), rel=1e-5)
