"""Explanations judged: do heatmaps find the manipulated region, and does the verdict hang on what they mark?"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from torch import nn

from dfdlib.core.errors import DfdError, unknown
from dfdlib.data.dataset import ImageDataset
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
        draws = np.random.default_rng(seed).multinomial(len(table), np.full(len(table), 1 / len(table)), 1000)
        row = {"method": method, "n": len(table)}
        for measure in ("pointing", "iou", "inside"):
            row |= _mean(measure, table[measure].to_numpy(float), draws)
        rows.append(row)
    return pd.DataFrame(rows)


def references(
    dataset: ImageDataset, predictions: pd.DataFrame, chosen: np.ndarray
) -> tuple[torch.Tensor, np.ndarray]:
    """Return what can take the place of fakes: the original of each, where the data has it, or else a blurred copy.

    Args:
        dataset: Real and fake images, N in all.
        predictions: Of the same images, in the same order.
        chosen: Positions of M fakes.

    Returns:
        uint8 [M, 3, S, S], and bool [M]: whether it is the original, a real image of the same group that is called
        real and shows the same (Pearson's correlation of the pixels above 0.5).
    """
    calm = ((predictions["label"] == "real") & (predictions["predicted"] == "real")).to_numpy()
    found, original = [], np.zeros(len(chosen), bool)
    for i, row in enumerate(chosen):
        related = calm & (predictions["group"] == predictions["group"].iloc[row]).to_numpy()
        image, *relatives = dataset.batch([row, *np.flatnonzero(related)[:16]])["image"].numpy()
        alike = [np.corrcoef(image.ravel(), one.ravel())[0, 1] for one in relatives]
        original[i] = max(alike, default=0) > 0.5
        blurred = cv2.GaussianBlur(image.transpose(1, 2, 0), (0, 0), image.shape[-1] / 24).transpose(2, 0, 1)
        found.append(relatives[np.argmax(alike)] if original[i] else blurred)
    return torch.from_numpy(np.stack(found)), original


def deletion_insertion(
    detector: Detector,
    images: torch.Tensor,
    maps: dict[str, np.ndarray],
    reference: torch.Tensor,
    groups: Sequence[str] = (),
    steps: int = 12,
    seed: int = 0,
) -> pd.DataFrame:
    """Take away what heatmaps mark, hottest first, and watch `p_fake`; then put it into the reference.

    The causal metrics of Petsiuk et al. 2018 (RISE, arXiv:1806.07421). What is taken away is replaced by the
    reference: a grey or blurred patch would be a manipulation of its own. For maps that speak for `fake`, a good
    one makes the deletion curve fall early and the insertion curve rise early.

    Args:
        detector: A trained detector for images.
        images: uint8 [N, 3, S, S].
        maps: float [N, S, S] by method, evidence of `fake`; a random order is added.
        reference: uint8 [N, 3, S, S], see `references`.
        groups: [N], images that are resampled together; each by itself when not given.
        steps: Points of a curve beside the first.
        seed: Of the random order and the resampling.

    Returns:
        One row per method, curve (`deletion`, `insertion`) and share of the pixels: `method`, `curve`,
        `fraction`, `n` and the means over images of `p_fake`, of `auc` (the area under the curve) and of `gain`
        (how much better that area is than the random order's), each with the ends of its 95 % bootstrap
        interval, `<name>_low` and `<name>_high`.
    """
    n, size = len(images), images.shape[-1]
    maps = maps | {"random": baseline_maps("random", n, size, seed)}
    codes = pd.factorize(np.asarray(groups if len(groups) else range(n)))[0]
    n_groups = codes.max() + 1
    draws = np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), 1000)[:, codes]
    fractions, scores = np.linspace(0, 1, steps + 1), {}
    for method, heat in maps.items():
        order = torch.from_numpy(rankdata(-heat.reshape(n, -1), method="ordinal", axis=1)).reshape(
            n, 1, size, size
        )
        for curve, start, end in (("deletion", images, reference), ("insertion", reference, images)):
            batches = (torch.where(order <= fraction * size * size, end, start) for fraction in fractions)
            scores[method, curve] = detector.decision.p_fake(
                np.stack([judge(detector, batch).fake.numpy() for batch in batches])
            )
    areas = {key: np.trapezoid(score, fractions, axis=0) for key, score in scores.items()}
    rows = []
    for (method, curve), score in scores.items():
        better = (areas[method, curve] - areas["random", curve]) * (-1 if curve == "deletion" else 1)
        about = {"method": method, "curve": curve, "n": n}
        about |= _mean("auc", areas[method, curve], draws) | _mean("gain", better, draws)
        rows += [
            about | {"fraction": fraction} | _mean("p_fake", values, draws)
            for fraction, values in zip(fractions, score, strict=True)
        ]
    return pd.DataFrame(rows)


def removal_verdict(table: pd.DataFrame) -> str:
    """Say in a line per method whether `deletion_insertion` found it better than the random order."""
    lines = ["Area against that of a random order, better where positive:"]
    ends = table[table["method"] != "random"].drop_duplicates(["method", "curve"])
    for method, curves in ends.groupby("method", sort=False):
        found = []
        for row in curves.itertuples():
            verdict = "better" if row.gain_low > 0 else "worse" if row.gain_high < 0 else "not told apart"
            found.append(
                f"{row.curve} {verdict} ({row.gain:+.2f} [{row.gain_low:+.2f}, {row.gain_high:+.2f}])"
            )
        lines.append(f"{method}: {', '.join(found)}")
    return "\n".join(lines)


def _mean(name: str, values: np.ndarray, draws: np.ndarray) -> dict[str, float]:
    """Return the mean of [N] and the ends of its 95 % interval over `draws` [R, N], how often each is drawn."""
    low, high = np.quantile(draws @ values / draws.sum(1), [0.025, 0.975])
    return {name: values.mean(), f"{name}_low": low, f"{name}_high": high}


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
    """Say in a sentence what `randomised_weights` found; `limit` is the rank correlation that still looks alike."""
    alike = table["similarity"].iloc[-1]
    if alike < limit:
        found = "are no longer alike ({:.2f}): they depend on what the network learned."
    else:
        found = (
            "stay alike ({:.2f}): they show the image more than its reasons. Do not trust this method here."
        )
    return f"With every weight random the maps {found.format(alike)}"
