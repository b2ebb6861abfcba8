"""Detectors: one registry, one output contract, and everything that is needed to use one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbones import SCRATCH, Truncated, create_backbone, set_stem_stride, widen_stem
from .errors import DfdError, did_you_mean

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Logits(NamedTuple):
    """What every network returns."""

    fake: Tensor
    """float [B]; positive means fake."""
    category: Tensor | None
    """float [B, C], in the order of the detector's categories; None without a category head."""


@dataclass
class Detector:
    """A network and all that is needed to use it; `checkpoint` writes it to one file."""

    network: nn.Module
    """Images [B, 3, H, W], uint8 or float in [0, 1], to `Logits`. Normalises them itself."""
    name: str
    """The network's key in `NETWORKS`."""
    arguments: dict[str, Any]
    """The network's arguments; with `name` they rebuild it."""
    image_size: int
    """Side of the square that images are fitted to, in pixels."""
    categories: tuple[str, ...] = ()
    threshold: float = 0.5
    """An image is called fake from this `p_fake` on; chosen on validation images."""
    temperature: float = 1.0
    """Divides the fake logit before the sigmoid (Guo et al. 2017); fitted on validation images."""
    origin: str = SCRATCH
    """Where the backbone's first weights came from."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Training settings, data and versions; for the record only."""

    @property
    def target_layer(self) -> str:
        """Dotted name of the network's last feature map, which Grad-CAM looks at."""
        return self.network.target_layer


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
        if images.dtype == torch.uint8:
            images = images.float() / 255
        # Filters at the scale of single grey levels need full precision whatever the backbone runs in.
        with torch.autocast(images.device.type, enabled=False):
            normal = (images - self.mean) / self.std
            return normal if self.residual is None else torch.cat([normal, self.residual(images)], 1)


class ContextHead(nn.Module):
    """A category head on an early feature map, whose units see too little to know an object.

    Three strided convolutions widen what is seen to the whole image at little cost; the image itself,
    reduced to the size of the map, stands beside features that were learned for traces.
    """

    def __init__(self, n_features: int, n_categories: int) -> None:
        """Map features [B, F, h, w] and images [B, C, H, W] to logits."""
        super().__init__()
        layers: list[nn.Module] = []
        for narrow, wide in pairwise([n_features + 3, 128, 192, 256]):
            layers += [
                nn.Conv2d(narrow, wide, 3, 2, 1, bias=False),
                nn.BatchNorm2d(wide),
                nn.SiLU(inplace=True),
            ]
        self.widen = nn.Sequential(*layers)
        self.classify = nn.Sequential(nn.Dropout(0.2), nn.Linear(256, n_categories))

    def forward(self, features: Tensor, images: Tensor) -> Tensor:
        """Return logits [B, n_categories]; of the images, the first three channels are looked at."""
        small = F.adaptive_avg_pool2d(images[:, :3], features.shape[-2:])
        return self.classify(self.widen(torch.cat([features, small], 1)).mean((2, 3)))


class TimmNetwork(nn.Module):
    """A timm backbone with a real/fake head and, given categories, a category head beside it."""

    def __init__(
        self,
        backbone: str,
        n_categories: int = 0,
        residual: bool = False,
        stem_stride: int = 0,
        stages: int = 0,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        drop_rate: float = 0.1,
        pretrained: str = "none",
        weights: str = "",
    ) -> None:
        """Build the network.

        Args:
            backbone: Any timm model name.
            n_categories: Size of the category head; 0 for none.
            residual: Add `HighPassResidual` channels to RGB.
            stem_stride: Stride of the first convolution; 0 leaves it.
            stages: Feature maps of the backbone to keep, see `Truncated`; 0 keeps all of it.
            mean: Mean of RGB pixels in [0, 1].
            std: Their standard deviation.
            drop_rate: Dropout before the heads.
            pretrained: See `create_backbone`.
            weights: See `create_backbone`.
        """
        super().__init__()
        self.backbone, self.origin = create_backbone(backbone, pretrained, weights)
        if stem_stride:
            set_stem_stride(self.backbone, stem_stride)
        if residual:
            widen_stem(self.backbone, extra_channels=3, trained=self.origin != SCRATCH)
        if stages:
            self.backbone = Truncated(self.backbone, stages)
        self.normalize = Normalize(mean, std, residual)
        n_features = getattr(self.backbone, "head_hidden_size", None) or self.backbone.num_features
        self.dropout = nn.Dropout(drop_rate)
        self.fake_head = nn.Linear(n_features, 1)
        self.category_head = None
        if n_categories:
            head = ContextHead if stages else nn.Linear
            self.category_head = head(n_features, n_categories)

    @property
    def target_layer(self) -> str:
        """Dotted name of the last feature map."""
        if isinstance(self.backbone, Truncated):
            return f"backbone.model.{self.backbone.last_module}"
        return f"backbone.{self.backbone.feature_info[-1]['module']}"

    def forward(self, images: Tensor) -> Logits:
        """Map images [B, 3, H, W], uint8 or float in [0, 1], to `Logits`."""
        inputs = self.normalize(images)
        features = self.backbone(inputs)
        truncated = isinstance(self.backbone, Truncated)
        pooled = self.dropout(features.mean((2, 3)) if truncated else features)
        fake = self.fake_head(pooled).squeeze(1).float()
        if self.category_head is None:
            return Logits(fake, None)
        category = self.category_head(features, inputs) if truncated else self.category_head(pooled)
        return Logits(fake, category.float())


NETWORKS: dict[str, Callable[..., nn.Module]] = {"timm": TimmNetwork}
"""Every kind of network, by the name that checkpoints know it by."""


def create_network(name: str, **arguments: Any) -> nn.Module:
    """Build a network by name. Raises `DfdError` for an unknown name or arguments that do not fit it."""
    if name not in NETWORKS:
        raise DfdError(
            f"unknown network `{name}`{did_you_mean(name, NETWORKS) or '.'} Known: {', '.join(NETWORKS)}."
        )
    try:
        return NETWORKS[name](**arguments)
    except TypeError as error:
        raise DfdError(f"the network `{name}` cannot be built from {arguments}: {error}.") from error


def create_detector(
    backbone: str,
    image_size: int,
    categories: Sequence[str] = (),
    pretrained: str = "auto",
    weights: str = "",
    seed: int = 0,
    **switches: Any,
) -> Detector:
    """Build a detector over a timm backbone: real/fake, and the category too where categories are given.

    Args:
        backbone: Any timm model name; `tf_efficientnetv2_b0` is small enough for a CPU.
        image_size: Side of the square input in pixels.
        categories: Names of the categories; fewer than two make a detector without a category head.
        pretrained: `auto` or `none`, see `backbones.create_backbone`.
        weights: A local file of backbone weights.
        seed: Draws the weights that start at random.
        switches: Further arguments of `TimmNetwork`, such as `residual` and `stem_stride`.

    Raises:
        DfdError: Unknown backbone, or weights that do not fit.
    """
    categories = tuple(categories) if len(categories) > 1 else ()
    arguments = {"backbone": backbone, "n_categories": len(categories), **switches}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = create_network("timm", **arguments, pretrained=pretrained, weights=weights)
    return Detector(network, "timm", arguments, image_size, categories, origin=network.origin)
