"""Backbones: a wider stem and a finer one."""

import pytest
import timm
import torch

from dfdlib.models.backbones import (
    first_convolution,
    last_map,
    overruns_onednn,
    set_stem_stride,
    stage_of,
    widen_stem,
)
from dfdlib.models.weights import create_backbone

BACKBONES = [
    "tf_efficientnetv2_b0",
    "resnet18",
    "mobilenetv3_small_050",
    "convnext_atto",
    "vit_tiny_patch16_224",
]


@pytest.mark.parametrize("name", BACKBONES)
def test_the_stem_takes_more_channels_and_starts_as_it_was(name):
    torch.manual_seed(0)
    backbone, *_ = create_backbone(name)
    backbone.eval()
    images, residual = torch.randn(2, 3, 224, 224), torch.randn(2, 3, 224, 224)
    before = backbone(images)
    widen_stem(backbone, 3, trained=True)
    assert torch.allclose(backbone(torch.cat([images, residual], 1)), before, atol=1e-4)


def test_a_smaller_stem_stride_doubles_the_maps():
    backbone, *_ = create_backbone("tf_efficientnetv2_b0")
    images = torch.zeros(1, 3, 64, 64)
    before = backbone.forward_features(images).shape
    set_stem_stride(backbone, 1)
    assert first_convolution(backbone).stride == (1, 1)
    assert backbone.forward_features(images).shape[-1] == 2 * before[-1]


def test_a_backbone_whose_maps_timm_does_not_name_is_one_stage():
    with torch.device("meta"):
        backbone = timm.create_model("coat_tiny")
    if hasattr(backbone, "feature_info"):
        del backbone.feature_info
    assert last_map(backbone).startswith("parallel_blocks.")
    assert set(stage_of(backbone).values()) == {0}


@pytest.mark.parametrize(
    ("backbone", "unsafe"), [("mobileone_s0", True), ("repvgg_a0", True), ("resnet18", False)]
)
def test_strided_pointwise_convolutions_of_few_channels_are_found(backbone, unsafe):
    with torch.device("meta"):
        assert overruns_onednn(timm.create_model(backbone)) == unsafe
