"""Explanations judged: do heatmaps find the manipulated region, and does the verdict hang on what they mark?"""

from __future__ import annotations

import copy

import cv2
import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from torch import nn

from dfdlib.core.errors import DfdError, unknown
from dfdlib.explain.heatmaps import explain_images
from dfdlib.models.backbones import stage_of
from dfdlib.models.detector import Detector
from dfdlib.models.forward import judge

BASELINES = ("random", "centre")
_COARSE = 8
"""Cells a side of a random map: about as smooth as a heatmap."""


def baseline_maps(kind: str, n: int, size: int, seed: int = 0) -> np.ndarray:
    """Return maps that know nothing of the image, float32 [N, size, size] in [0, 1].

    Args:
        kind: `random`: smooth noise; `centre`: a hill in the middle, where photographers put their subject.
        n: Number of maps.
        size: Their side in pixels.
        seed: Draws the noise.

    Raises:
        DfdError: Another kind.
    """
    if kind == "random":
        noise = np.random.default_rng(seed).random((n, _COARSE, _COARSE), np.float32)
        return np.stack([cv2.resize(one, (size, size)) for one in noise]) if n else noise
    if kind == "centre":
        place = np.linspace(-2, 2, size, dtype=np.float32)
        hill = np.exp(-(place[:, None] ** 2 + place**2) / 2)
        return np.broadcast_to(hill, (n, size, size)).copy()
    raise unknown("baseline", kind, BASELINES)


def localisation(maps: np.ndarray, masks: np.ndarray, tolerance: float = 0.03) -> pd.DataFrame:
    """Compare heatmaps with the regions that were manipulated.

    Args:
        maps: float [N, S, S].
        masks: bool [N, S, S]; images with an empty mask are left out.
        tolerance: Distance from the region, as part of the side, at which the hottest point still hits (15
            pixels of some 500 in Zhang et al. 2018).

    Returns:
        One row per image that has a mask: `image` (its position), `pointing` (bool; the pointing game, Zhang et
        al. 2018, arXiv:1608.00507), `iou` (of the mask and as many of the hottest pixels as it has), `inside`
        (share of the heat, Wang et al. 2020, arXiv:1910.01279), `area` (share of the image that the mask
        covers, which is what guessing would get inside).
    """
    rows = []
    size = masks.shape[-1]
    reach = max(0, round(tolerance * size))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    for i in np.flatnonzero(masks.any((1, 2))):
        heat, mask = maps[i], masks[i]
        near = cv2.dilate(mask.astype(np.uint8), disc) > 0
        hottest = np.zeros(mask.size, bool)
        hottest[np.argsort(-heat, axis=None, kind="stable")[: mask.sum()]] = True
        common = (hottest.reshape(mask.shape) & mask).sum()
        total = heat.sum()
        rows.append(
            {
                "image": i,
                "pointing": bool(near.flat[heat.argmax()]) and total > 0,
                "iou": common / (2 * mask.sum() - common),
                "inside": float(heat[mask].sum() / total) if total > 0 else 0.0,
                "area": float(mask.mean()),
            }
        )
    return pd.DataFrame(rows, columns=["image", "pointing", "iou", "inside", "area"])


def localisation_table(maps: dict[str, np.ndarray], masks: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Judge several methods and the baselines on the same images.

    Args:
        maps: float [N, S, S] by method.
        masks: bool [N, S, S]; images with an empty mask are left out.
        seed: Of the random baseline and the resampling.

    Returns:
        One row per method: `method`, `n`, and mean and 95 % bootstrap interval over images of `pointing`, `iou`
        and `inside`, as `<measure>`, `<measure>_low`, `<measure>_high`.

    Raises:
        DfdError: No image has a mask.
    """
    if not masks.any():
        raise DfdError("no image has a known region; heatmaps can be judged by masks on the demo set.")
    n, size = masks.shape[:2]
    maps = maps | {kind: baseline_maps(kind, n, size, seed) for kind in BASELINES}
    rows = []
    for method, heat in maps.items():
        table = localisation(heat, masks)
        draws = np.random.default_rng(seed).integers(len(table), size=(1000, len(table)))
        row = {"method": method, "n": len(table)}
        for measure in ("pointing", "iou", "inside"):
            values = table[measure].to_numpy(float)
            low, high = np.quantile(values[draws].mean(1), [0.025, 0.975])
            row |= {measure: values.mean(), f"{measure}_low": low, f"{measure}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def deletion_insertion(
    detector: Detector, images: torch.Tensor, maps: dict[str, np.ndarray], steps: int = 12
) -> pd.DataFrame:
    """Take away what heatmaps mark, hottest first, and watch `p_fake`; then put it into a blurred image.

    The causal metrics of Petsiuk et al. 2018 (RISE, arXiv:1806.07421). What is taken away is replaced by a
    blurred image in both, since a grey patch would be a manipulation of its own. For maps that speak for
    `fake`, a good one makes the deletion curve fall early and the insertion curve rise early.

    Args:
        detector: A trained detector for images.
        images: uint8 [N, 3, S, S].
        maps: float [N, S, S] by method, evidence of `fake`.
        steps: Points of a curve beside the first.

    Returns:
        One row per method, curve (`deletion`, `insertion`) and share of the pixels: `method`, `curve`,
        `fraction`, `p_fake` (mean over images), `n`. `auc` holds the area under the curve it belongs to.
    """
    pixels = images.permute(0, 2, 3, 1).numpy()
    size = pixels.shape[1]
    blurred = np.stack([cv2.GaussianBlur(one, (0, 0), size / 24) for one in pixels])
    fractions = np.linspace(0, 1, steps + 1)
    rows = []
    for method, heat in maps.items():
        order = rankdata(-heat.reshape(len(heat), -1), method="ordinal", axis=1).reshape(heat.shape)
        for curve, start, end in (("deletion", pixels, blurred), ("insertion", blurred, pixels)):
            scores = []
            for fraction in fractions:
                changed = (order <= fraction * size * size)[..., None]
                batch = torch.from_numpy(np.where(changed, end, start)).permute(0, 3, 1, 2)
                scores.append(detector.decision.p_fake(judge(detector, batch).fake.numpy()).mean())
            area = float(np.trapezoid(scores, fractions))
            rows += [
                {"method": method, "curve": curve, "fraction": fraction, "p_fake": score, "auc": area}
                for fraction, score in zip(fractions, scores, strict=True)
            ]
    return pd.DataFrame(rows).assign(n=len(pixels))


def randomised_weights(
    detector: Detector, images: torch.Tensor, method: str = "gradcam", seed: int = 0
) -> pd.DataFrame:
    """Draw the weights anew from the heads down, stage by stage, and see how far the heatmaps follow.

    The sanity check of Adebayo et al. 2018 (arXiv:1810.03292): a map that stays the same when the network
    has forgotten what it learned shows edges of the image, not reasons of the detector.

    Args:
        detector: A trained detector for images; it is not changed.
        images: uint8 [N, 3, S, S].
        method: One of `heatmaps.METHODS`.
        seed: Draws the weights.

    Returns:
        One row per step: `randomised` (`nothing`, `heads`, `stage 5 and above`, …), `similarity` (mean over images
        of Spearman's rank correlation with the map of the trained network; 0 where one is flat).
    """
    shuffled = copy.copy(detector)
    shuffled.network = copy.deepcopy(detector.network)
    original = explain_images(detector, images, "fake", method).heatmap
    rows = [{"randomised": "nothing", "similarity": 1.0}]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, modules in _from_the_top(shuffled.network):
            for module in modules:
                module.reset_parameters()
            maps = explain_images(shuffled, images, "fake", method).heatmap
            similarity = [_rank_correlation(a, b) for a, b in zip(original, maps, strict=True)]
            rows.append({"randomised": name, "similarity": float(np.mean(similarity))})
    return pd.DataFrame(rows)


def _from_the_top(network: nn.Module) -> list[tuple[str, list[nn.Module]]]:
    """Group the modules that have weights of their own, heads first, then stages of the backbone downwards."""
    body = getattr(network, "backbone", None)
    stages = stage_of(body) if body is not None else {}
    numbered = {f"backbone.{name}": stage for name, stage in stages.items()}
    if body is None and hasattr(network, "maps"):
        numbered = {
            f"maps.{i}.{name}": i
            for i, block in enumerate(network.maps)
            for name, _ in block.named_parameters()
        }
    groups: dict[int, list[nn.Module]] = {}
    top = max(numbered.values(), default=-1) + 1
    for prefix, module in network.named_modules():
        names = [name for name, _ in module.named_parameters(prefix, recurse=False)]
        if names and hasattr(module, "reset_parameters"):
            groups.setdefault(numbered.get(names[0], top), []).append(module)
    label = {top: "heads"} | {stage: f"stage {stage + 1} and above" for stage in range(top)}
    return [(label[stage], groups[stage]) for stage in sorted(groups, reverse=True)]


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def sanity_verdict(table: pd.DataFrame, limit: float = 0.5) -> str:
    """Say in a sentence what `randomised_weights` found; `limit` is the similarity that still looks alike."""
    last = table.iloc[-1]
    if last["similarity"] < limit:
        return (
            f"With every weight replaced by a random one the maps are no longer alike (rank correlation "
            f"{last['similarity']:.2f}): they depend on what the network learned."
        )
    return (
        f"Even with every weight replaced by a random one the maps stay alike (rank correlation {last['similarity']:.2f}): "
        "they show the image more than the detector's reasons. Do not trust this method here."
    )
