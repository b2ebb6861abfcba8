"""Networks: images or clips in, logits out; each normalises its own input."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers.cbam import CbamModule
from torch import Tensor, nn

from dfdlib.core.errors import DfdError
from dfdlib.models.backbones import last_map, set_stem_stride, widen_stem
from dfdlib.models.weights import IMAGENET, new_model


class Logits(NamedTuple):
    """What every network returns."""

    fake: Tensor
    """float [B]; positive means fake."""
    category: Tensor | None
    """float [B, C], in the order of the detector's categories; None without a category head."""
    novelty: Tensor | None = None
    """float [B], see `Familiarity.novelty`; None where it was not asked for, or is not known."""


def unit_range(images: Tensor) -> Tensor:
    """Return images of any shape, uint8 or float in [0, 1], as float in [0, 1]."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


class HighPassResidual(nn.Module):
    """What a 3×3 high-pass filter leaves of each colour, clipped, as extra channels.

    The second-order "square 3×3" filter of the steganalysis rich model (Fridrich & Kodovský 2012), used on
    manipulated images by Zhou et al. 2018 (arXiv:1805.04953). Content is large and traces are small, so the
    residual is brought to unit scale and clipped.
    """

    def __init__(self, scale: float = 4.0, clip: float = 3.0) -> None:
        """Set the scale (grey levels of 255 that become 1) and the bound after scaling."""
        super().__init__()
        kernel = torch.tensor([[-1.0, 2, -1], [2, -4, 2], [-1, 2, -1]]) / 4
        self.register_buffer("kernel", (kernel * 255 / scale).expand(3, 1, 3, 3).clone(), persistent=False)
        self.clip = clip

    def forward(self, images: Tensor) -> Tensor:
        """Map float [B, 3, H, W] in [0, 1] to float [B, 3, H, W] in [-clip, clip]."""
        padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, self.kernel, groups=3).clamp(-self.clip, self.clip)


class Normalize(nn.Module):
    """Pixels to network input: mean and standard deviation per colour, then the residual if wanted."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], residual: bool) -> None:
        """Set mean and standard deviation of pixels in [0, 1]."""
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.residual = HighPassResidual() if residual else None

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 or float [0, 1] images [B, 3, H, W] to float [B, 3 or 6, H, W]."""
        # Filters at the scale of single grey levels need full precision whatever the backbone runs in.
        with torch.autocast(images.device.type, enabled=False):
            if self.residual is None:  # each pass over the pixels costs as much as a small layer
                scale, shift = 1 / self.std, -self.mean / self.std
                if images.dtype == torch.uint8:
                    return _scaled(images, scale / 255, shift)
                return images.float() * scale + shift
            pixels = unit_range(images)
            return torch.cat([(pixels - self.mean) / self.std, self.residual(pixels)], 1)


def _scaled(images: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Map uint8 images [B, C, H, W] to float32 `images * scale + shift`; these are [1, C, 1, 1].

    Where the colours lie side by side, whole rows are scaled in one pass: a loop over three colours takes five
    times as long.
    """
    pixels = images.permute(0, 2, 3, 1).float()
    if not pixels.is_contiguous():
        return images.float() * scale + shift
    rows, width = pixels.flatten(2), images.shape[3]
    torch.addcmul(shift.flatten().repeat(width), rows, scale.flatten().repeat(width), out=rows)
    return pixels.permute(0, 3, 1, 2)


class Heads(nn.Module):
    """A real/fake head and, given categories, a category head beside it, each one linear layer."""

    def __init__(self, n_features: int, n_categories: int = 0, drop_rate: float = 0.1) -> None:
        """Set the sizes; `drop_rate` is the dropout of the features."""
        super().__init__()
        self.dropout = nn.Dropout(drop_rate)
        self.fake = nn.Linear(n_features, 1)
        self.category = nn.Linear(n_features, n_categories) if n_categories else None

    def forward(self, features: Tensor) -> Logits:
        """Map features [B, F] to `Logits`."""
        features = self.dropout(features)
        category = self.category(features).float() if self.category is not None else None
        return Logits(self.fake(features).squeeze(1).float(), category)


class TimmNetwork(nn.Module):
    """A timm backbone with a real/fake head and, given categories, a category head."""

    def __init__(
        self,
        backbone: str,
        n_categories: int = 0,
        residual: bool = False,
        stem_stride: int = 0,
        attention: bool = False,
        mean: Sequence[float] = IMAGENET.mean,
        std: Sequence[float] = IMAGENET.std,
        drop_rate: float = 0.1,
        image_size: int = 0,
        module: nn.Module | None = None,
    ) -> None:
        """Build the network.

        Args:
            backbone: Any timm model name.
            n_categories: Size of the category head; 0 for none.
            residual: Add `HighPassResidual` channels to RGB.
            stem_stride: Stride of the first convolution; 0 leaves it.
            attention: Weigh channels and places of the last feature map by CBAM (Woo et al. 2018,
                arXiv:1807.06521).
            mean: Mean of RGB pixels in [0, 1].
            std: Their standard deviation.
            drop_rate: Dropout before the heads.
            image_size: Side of the images, where it is not the own one of a backbone that is built for one size.
            module: The backbone with trained weights, see `weights.create_backbone`; a new one when not given.

        Raises:
            DfdError: Unknown backbone, weights that do not fit, or a switch that it cannot have.
        """
        super().__init__()
        self.backbone = new_model(backbone, image_size) if module is None else module
        if hasattr(self.backbone, "patch_embed") and (attention or stem_stride):
            raise DfdError(
                f"{backbone} cuts images into patches, and takes neither `attention` nor `stem_stride`; leave them "
                "out, or take a convolutional backbone."
            )
        if stem_stride:
            set_stem_stride(self.backbone, stem_stride)
        if residual:
            widen_stem(self.backbone, extra_channels=3, trained=module is not None)
        self.normalize = Normalize(mean, std, residual)
        self.attention = CbamModule(self.backbone.num_features) if attention else None
        n_features = getattr(self.backbone, "head_hidden_size", None) or self.backbone.num_features
        self.heads = Heads(n_features, n_categories, drop_rate)

    @property
    def target_layer(self) -> str:
        """Dotted name of the last feature map whose places reach the heads."""
        return "attention" if self.attention is not None else f"backbone.{last_map(self.backbone)}"

    def embed(self, images: Tensor) -> Tensor:
        """Map images [B, 3, H, W], uint8 or float in [0, 1], to features [B, F], as the heads take them."""
        features = self.backbone.forward_features(self.normalize(images))
        return self.backbone.forward_head(features if self.attention is None else self.attention(features))

    def forward(self, images: Tensor) -> Logits:
        """Map images [B, 3, H, W], uint8 or float in [0, 1], to `Logits`."""
        return self.heads(self.embed(images))


class CustomCnn(nn.Module):
    """A small network from scratch on raw pixels: three convolutions, global pooling, 64 hidden units."""

    target_layer = "maps.2"

    def __init__(self, n_categories: int = 0, drop_rate: float = 0.3) -> None:
        """Build the network; `n_categories` 0 makes no category head."""
        super().__init__()
        blocks = [
            nn.Sequential(nn.Conv2d(narrow, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU())
            for narrow, wide in pairwise([3, 32, 64, 128])
        ]
        self.maps = nn.ModuleList(blocks)
        self.hidden = nn.Linear(128, 64)
        self.heads = Heads(64, n_categories, drop_rate)

    def forward(self, images: Tensor) -> Logits:
        """Map images [B, 3, H, W], uint8 or float in [0, 1], to `Logits`."""
        features = unit_range(images)
        for block in self.maps:
            features = block(features)
            if block is not self.maps[-1]:
                features = F.max_pool2d(features, 2)
        return self.heads(self.hidden(features.mean((2, 3))).relu())
