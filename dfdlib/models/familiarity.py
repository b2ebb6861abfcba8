"""What a detector knows: how far an image lies from those that it was trained on.

Fine-tuning for real or fake forgets what images show, so the distance is taken elsewhere: in the features of a
frozen EfficientNet-Lite0, which know content, and in the mean and deviation of its early maps, which know texture
and noise. In each view it is the Mahalanobis distance (Lee et al. 2018, arXiv:1807.03888) to the training images,
in their principal components and what these leave over.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfdlib.core.machine import best_device
from dfdlib.models.networks import unit_range
from dfdlib.models.weights import FALLBACK, SCRATCH, create_backbone

INPUT_SIZE = 128
"""Images are brought to this side first; larger ones tell no better."""
_COMPONENTS = 96
_LIMIT, _JOINT_LIMIT = 0.99, 0.975
"""Shares of the validation images within the limits: of each view, and of both."""
_BLOCKS = (1, 2, 3)
"""Blocks whose maps are summed up."""


class ReferenceNetwork(nn.Module):
    """The frozen network that sees images as ImageNet's classes: two views of each."""

    def __init__(self, backbone: nn.Module) -> None:
        """Take timm's EfficientNet-Lite0 with its ImageNet weights."""
        super().__init__()
        self.backbone = backbone.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images [B, 3, S, S], uint8 or float in [0, 1], to views [B, 1280] and [B, 288].

        Clips [B, T, 3, S, S] are represented by their middle frames.
        """
        pixels = unit_range(images if images.ndim == 4 else images[:, images.shape[1] // 2])
        if pixels.shape[-1] != INPUT_SIZE:
            pixels = F.interpolate(pixels, (INPUT_SIZE, INPUT_SIZE), mode="bilinear", antialias=True)
        maps, statistics = self.backbone.bn1(self.backbone.conv_stem(2 * pixels - 1)), []
        for i, block in enumerate(self.backbone.blocks):
            maps = block(maps)
            if i in _BLOCKS:
                statistics += [maps.mean((2, 3)), maps.flatten(2).std(2)]
        features = self.backbone.forward_head(self.backbone.bn2(self.backbone.conv_head(maps)))
        return features, torch.cat(statistics, 1)

    @torch.inference_mode()
    def views(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute them on the fastest device; they come back to the CPU."""
        device = best_device()
        return tuple(view.cpu() for view in self.to(device)(images.to(device)))


@functools.cache
def reference_network() -> ReferenceNetwork | None:
    """Return the reference network; None where its weights are not to be had."""
    found = create_backbone(FALLBACK, "package")
    if found.origin == SCRATCH:
        return None
    return ReferenceNetwork(found.module).to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Cloud:
    """The training images in one view: where they lie, and how far they reach."""

    mean: Tensor
    """[F]."""
    scale: Tensor
    """[F], standard deviation of each feature."""
    components: Tensor
    """[K, F], principal components of the scaled features."""
    variances: Tensor
    """[K]."""
    rest: Tensor
    """Scalar: mean variance of what the components leave over."""
    limit: Tensor
    """Scalar: the distance that nearly all validation images keep."""

    def distance(self, view: Tensor) -> Tensor:
        """Return the squared distances, [B], of features [B, F]."""
        scaled = (view - self.mean) / self.scale
        along = scaled @ self.components.T
        over = scaled.square().sum(1) - along.square().sum(1)
        return (along.square() / self.variances).sum(1) + over / self.rest


@dataclass(frozen=True)
class Familiarity:
    """How familiar an image looks, beside the training images."""

    clouds: tuple[Cloud, ...]
    """One for each view of the reference network."""

    def novelty(self, views: tuple[Tensor, ...]) -> Tensor:
        """Return how far images lie out, [B]: above 1 further than nearly all validation images, in either view."""
        parts = [cloud.distance(view) / cloud.limit for cloud, view in zip(self.clouds, views, strict=True)]
        return torch.stack(parts).amax(0)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return its tensors, for a detector file."""
        return {str(i): dict(vars(cloud)) for i, cloud in enumerate(self.clouds)}

    @classmethod
    def from_state(cls, state: Mapping[str, Mapping[str, Tensor]]) -> Familiarity:
        """Put together what `state` returned."""
        return cls(tuple(Cloud(**state[str(i)]) for i in range(len(state))))


def fit_familiarity(train: tuple[Tensor, ...], val: tuple[Tensor, ...]) -> Familiarity:
    """Learn what training images look like.

    Args:
        train: Views of the reference network of training images, float32 [N, F] each.
        val: The same of validation images, which set the limits.
    """
    clouds = []
    for known, held_out in zip(train, val, strict=True):
        mean, scale = known.mean(0), known.std(0).clamp(min=1e-6)
        scaled = (known - mean) / scale
        _, sizes, directions = torch.linalg.svd(scaled, full_matrices=False)
        k = min(_COMPONENTS, max(1, len(known) // 4))
        variances = sizes.square() / len(known)
        rest = variances[k:].sum() / max(1, known.shape[1] - k)
        cloud = Cloud(
            mean, scale, directions[:k].clone(), variances[:k] + 1e-6, rest.clamp(min=1e-6), torch.ones(())
        )
        clouds.append(replace(cloud, limit=torch.quantile(cloud.distance(held_out), _LIMIT)))
    both = torch.quantile(Familiarity(tuple(clouds)).novelty(val), _JOINT_LIMIT)
    return Familiarity(tuple(replace(cloud, limit=cloud.limit * both) for cloud in clouds))
