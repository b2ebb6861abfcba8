"""Folded detectors: the same verdicts and heatmaps, and the original left alone."""

import numpy as np
import pytest
import torch
from torch import nn

from dfdlib import create_detector
from dfdlib.explain.heatmaps import explain_images
from dfdlib.models.fold_batchnorm import folded
from dfdlib.models.forward import judge

BACKBONES = {
    "cnn": {},
    "resnet10t": {},
    "efficientnet_b0": {"residual": True},
    "tf_efficientnetv2_b0": {"attention": True},
    "mobilenetv3_small_050": {"residual": True},
    "densenet121": {},
}


def spread(detector, images):
    """Give the normalisation statistics of its own, so that folding has something to move."""
    generator = torch.Generator().manual_seed(0)
    for module in detector.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.weight.data = 1 + 0.3 * torch.randn(module.weight.shape, generator=generator)
            module.bias.data = 0.3 * torch.randn(module.bias.shape, generator=generator)
    with torch.no_grad():
        detector.network.train()(images)
    detector.network.eval()
    return detector


def norms(detector):
    return sum(isinstance(module, nn.BatchNorm2d) for module in detector.network.modules())


@pytest.fixture
def images():
    return torch.randint(
        0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


@pytest.mark.parametrize("backbone", BACKBONES)
def test_verdicts_and_heatmaps_stay_the_same(backbone, images):
    detector = spread(
        create_detector(backbone, 64, ("a", "b"), pretrained="none", **BACKBONES[backbone]), images
    )
    before = {name: tensor.clone() for name, tensor in detector.network.state_dict().items()}
    quick = folded(detector)
    assert norms(quick) < 0.6 * norms(detector), "a dense network has half of them before its convolutions"
    ours, theirs = judge(quick, images), judge(detector, images)
    assert torch.allclose(ours.fake, theirs.fake, atol=1e-4)
    assert torch.allclose(ours.category, theirs.category, atol=1e-4)
    assert theirs.fake.std() > 1e-3, "else any network would agree"
    gap = explain_images(quick, images).heatmap - explain_images(detector, images).heatmap
    assert np.abs(gap).max() < 2e-3
    after = detector.network.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_clips_are_folded_too():
    clips = torch.randint(
        0, 256, (2, 3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    detector = spread(create_detector("resnet10t", 32, pretrained="none", n_frames=3), clips)
    quick = folded(detector)
    assert norms(quick) == 0
    assert torch.allclose(judge(quick, clips).fake, judge(detector, clips).fake, atol=1e-4)


def test_a_convolution_that_feeds_more_than_its_normalisation_stays(images):
    detector = create_detector("cnn", 64, pretrained="none")

    class Both(nn.Module):
        def __init__(self, conv, norm):
            super().__init__()
            self.conv, self.norm = conv, norm

        def forward(self, pixels):
            made = self.conv(pixels)
            return made + self.norm(made)

    conv, norm, _ = detector.network.maps[0]
    detector.network.maps[0] = Both(conv, norm)
    spread(detector, images)
    quick = folded(detector)
    assert norms(quick) == norms(detector)
    assert torch.allclose(judge(quick, images).fake, judge(detector, images).fake, atol=1e-5)


def test_without_batch_normalisation_there_is_nothing_to_fold():
    detector = create_detector("vit_tiny_patch16_224", 32, pretrained="none")
    assert folded(detector) is detector
