"""Where a detector looks: heatmaps for any detector, either head, any class."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfdlib.core.errors import DfdError, ImageError, did_you_mean, unknown
from dfdlib.core.machine import keep_freed_memory
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import files_of
from dfdlib.images.decode import write_image
from dfdlib.images.faces import Square
from dfdlib.images.picture import Picture, overlay, read_picture
from dfdlib.images.tiles import judged_shape, stitch, tile_squares
from dfdlib.models.detector import Detector
from dfdlib.models.fold_batchnorm import folded
from dfdlib.models.forward import judge, pooled
from dfdlib.models.networks import Logits

METHODS = {
    "gradcam": "",
    "gradcam++": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "eigencam": "EigenCAM",
}
"""Methods by name; all but `gradcam` are those of pytorch-grad-cam, by its class names."""
_REGISTERING = threading.Lock()
"""PyTorch may give hooks that two threads register at once the same number, and drop one of them."""


class Explanation(NamedTuple):
    """Heatmaps and what was decided."""

    heatmap: np.ndarray
    """float32 [B, S, S] from 0 (does not matter) to 1; of the tiles of an image [1, C, C], as they lie."""
    logits: Logits
    """What the network said, without gradient."""


def explain_images(
    detector: Detector,
    images: Tensor | np.ndarray,
    target: str = "fake",
    method: str = "gradcam",
    layer: str = "",
    together: bool = False,
) -> Explanation:
    """Show which places of images speak for a verdict.

    Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) costs little more than a forward pass here: the
    gradient is taken with respect to the target layer and goes no further down.

    Args:
        detector: A trained detector for images; threads may share it.
        images: uint8 [B, 3, S, S] tensor, or uint8 [B, S, S, 3] array, at the detector's size.
        target: What to look for evidence of: `fake`, `real`, `predicted`, or the name of a category.
        method: One of `METHODS`.
        layer: Dotted name of the layer; the last feature map when not given.
        together: The images are parts of one, and their heatmaps get a common scale.

    Raises:
        DfdError: Unknown target, method or layer, or one that cannot explain several images together.
    """
    if together and method != "gradcam":
        raise DfdError(f"the heatmaps that `{method}` makes of tiles have no common scale; take gradcam.")
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(images).permute(0, 3, 1, 2)
    layer = layer or detector.target_layer
    _check_layer(detector, layer)
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    _check_target(detector, target)
    keep_freed_memory()
    detector.network.eval()
    images = images.to(detector.device, memory_format=torch.channels_last)
    if method == "gradcam":
        maps, logits = _grad_cam(detector, layer, images, target, together)
    else:
        maps, logits = _by_library(detector, layer, images, target, METHODS[method])
    if (maps.max((1, 2)) == 0).any():
        warnings.warn(
            f"some heatmaps are empty: at `{layer}` no place speaks for `{target}` more than another; take another "
            "target, larger images, or an earlier `layer`.",
            stacklevel=2,
        )
    return Explanation(maps, Logits(*(None if part is None else part.detach().cpu() for part in logits)))


def pick_samples(predictions: pd.DataFrame, n: int = 8) -> np.ndarray:
    """Choose images worth explaining: the most confident right and wrong ones of both labels, as far as there are.

    Args:
        predictions: Predictions of labelled images.
        n: How many to choose.

    Returns:
        bool [N].
    """
    sure = (predictions["p_fake"] - 0.5).abs()
    right = predictions["predicted"] == predictions["label"]
    kind = predictions["label"].fillna("") + right.map({True: "+", False: "-"})
    rank = sure.groupby(kind).rank(ascending=False, method="first")
    chosen = pd.DataFrame({"rank": rank, "sure": -sure}).sort_values(["rank", "sure"]).index[:n]
    return predictions.index.isin(chosen)


def most_confident(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Take for each image the prediction of the model that is most confident of its verdict.

    Args:
        tables: Predictions of the same images in the same order, by the name of their model.

    Returns:
        The predictions, with the column `model`.
    """
    sure = np.stack([(table["p_fake"] - 0.5).abs() for table in tables.values()])
    rows = pd.concat([table.assign(model=name) for name, table in tables.items()], ignore_index=True)
    n = sure.shape[1]
    return rows.iloc[sure.argmax(0) * n + np.arange(n)].reset_index(drop=True)


def save_samples(
    detector: Detector, dataset: ImageDataset, out_dir: str | Path, target: str = "predicted"
) -> pd.DataFrame:
    """Write overlays of a few images to `gradcam_outputs/sample_<row>_<label>_<verdict>.png`.

    Args:
        detector: A trained detector.
        dataset: The images, such as a `subset` by `pick_samples`.
        out_dir: Folder of `gradcam_outputs`.
        target: See `explain_images`.

    Returns:
        One row per image: `path`, `file` (the overlay), `p_fake`.
    """
    rows = []
    for row in range(len(dataset)):
        batch = dataset.batch([row])
        found = explain_images(detector, batch["image"], target)
        p_fake, verdict = _said(detector, found)
        label = dataset.manifest["label"].iloc[row] or "unlabelled"
        image = batch["image"][0].permute(1, 2, 0).numpy()
        file = Path(out_dir) / "gradcam_outputs" / f"sample_{row}_{label}_{verdict}.png"
        write_image(file, overlay(np.ascontiguousarray(image), found.heatmap[0]))
        rows.append({"path": dataset.manifest["path"].iloc[row], "file": file.name, "p_fake": p_fake})
    return pd.DataFrame(rows)


def explain_files(
    detectors: Sequence[Detector],
    manifest: pd.DataFrame,
    out_dir: str | Path,
    target: str = "predicted",
    method: str = "gradcam",
) -> pd.DataFrame:
    """Write the heatmap of each image over it, at its own resolution, by the detector that is most confident of its verdict.

    Args:
        detectors: The detectors that judge; each gets its own image size.
        manifest: The images.
        out_dir: Folder of the overlays, `<row>_<name>_<verdict>.png`.
        target: See `explain_images`.
        method: See `explain_images`.

    Returns:
        One row per image: `file`, `overlay` (the name in `out_dir`), `detector` (its position), `p_fake`,
        `prediction`, and `error`, which is empty or says why the file could not be read.
    """
    rows = []
    detectors = [folded(detector, len(manifest)) for detector in detectors]
    for i, (path, file) in enumerate(zip(manifest["path"], files_of(manifest), strict=True)):
        row = {"file": path, "overlay": "", "detector": None, "p_fake": np.nan, "prediction": "", "error": ""}
        rows.append(row)
        try:
            picture = read_picture(file)
            image = picture.pixels
            chosen, found, square = confident_explanation(detectors, picture, target, method)
        except ImageError as error:
            row["error"] = str(error)
            continue
        p_fake, verdict = _said(detectors[chosen], found)
        name = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in Path(path).stem)[:80]
        row |= {"overlay": f"{i:05}_{name}_{verdict}.png", "detector": chosen, "p_fake": round(p_fake, 6)}
        row["prediction"] = verdict
        write_image(Path(out_dir) / row["overlay"], overlay(image, found.heatmap[0], square=square))
    return pd.DataFrame(rows)


def _said(detector: Detector, found: Explanation) -> tuple[float, str]:
    """Return `p_fake` and the verdict on the first image that was explained."""
    p_fake = detector.decision.p_fake(found.logits.fake[:1].numpy())
    return float(p_fake[0]), detector.decision.labels(p_fake)[0]


def _grad_cam(
    detector: Detector, layer: str, images: Tensor, target: str, together: bool
) -> tuple[np.ndarray, Logits]:
    """Compute Grad-CAM with nothing recorded below the layer."""
    kept: list[Tensor] = []
    thread = threading.get_ident()

    def cut(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        if threading.get_ident() != thread:  # a forward pass elsewhere goes through unharmed
            return output
        if not isinstance(output, Tensor):
            raise _no_map(layer)
        torch.set_grad_enabled(True)
        kept[:] = [output.detach().requires_grad_()]
        return kept[0].clone()  # what follows may work in place

    with _REGISTERING:
        hook = detector.network.get_submodule(layer).register_forward_hook(cut)
    try:
        with torch.no_grad():
            logits = detector.network(images)
            if not kept:
                raise _no_map(layer)
            (gradient,) = torch.autograd.grad(_score(detector, logits, target).sum(), kept)
    finally:
        hook.remove()
    features, gradient = (_as_maps(detector, layer, tensor) for tensor in (kept[0].detach(), gradient))
    weights = gradient.mean((2, 3), keepdim=True)
    return _scaled((weights * features).sum(1).relu(), images.shape[-1], together), logits


def _by_library(
    detector: Detector, layer: str, images: Tensor, target: str, name: str
) -> tuple[np.ndarray, Logits]:
    """Compute another method by pytorch-grad-cam, which wants one table of outputs.

    Its hooks see every forward pass, and it lets all weights have gradients: it gets a copy of the network.
    """
    import pytorch_grad_cam

    network = copy.deepcopy(detector.network)

    class Score(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: Tensor) -> Tensor:
            return _score(detector, self.network(pixels), target)[:, None]

    def reshape(tensor: Tensor) -> Tensor:
        return _as_maps(detector, layer, tensor)

    pixels, modules = images.float() / 255, [network.get_submodule(layer)]
    with torch.enable_grad(), getattr(pytorch_grad_cam, name)(Score(), modules, reshape) as cam:
        maps = cam(input_tensor=pixels, targets=[lambda output: output[0]] * len(images))
    with torch.no_grad():
        return maps.astype(np.float32), detector.network(images)


def _score(detector: Detector, logits: Logits, target: str) -> Tensor:
    """Return what the heatmap shows evidence of, [B]."""
    if target == "fake":
        return logits.fake
    if target == "real":
        return -logits.fake
    if target == "predicted":
        is_fake = detector.decision.is_fake(detector.decision.p_fake(logits.fake.detach().cpu().numpy()))
        return torch.where(torch.from_numpy(is_fake).to(logits.fake.device), logits.fake, -logits.fake)
    return logits.category[:, detector.categories.index(target)]


def _check_target(detector: Detector, target: str) -> None:
    known = ("fake", "real", "predicted", *detector.categories)
    if target not in known:
        raise unknown("target", target, known)


def _no_map(layer: str) -> DfdError:
    return DfdError(f"`{layer}` gives no feature map that heatmaps can be drawn from; name another `layer`.")


def _check_layer(detector: Detector, name: str) -> None:
    try:
        detector.network.get_submodule(name)
    except AttributeError:
        names = [known for known, _ in detector.network.named_modules()]
        raise DfdError(f"the network has no layer `{name}`{did_you_mean(name, names) or '.'}") from None


def _as_maps(detector: Detector, layer: str, tensor: Tensor) -> Tensor:
    """Bring features to [B, C, h, w]: tokens of a transformer stand in a square, after those of no place."""
    if tensor.ndim == 3:
        for prefix in (getattr(detector.network.backbone, "num_prefix_tokens", 0), 0, 1):
            side = round((tensor.shape[1] - prefix) ** 0.5)
            if side * side == tensor.shape[1] - prefix:
                return tensor[:, prefix:].transpose(1, 2).unflatten(2, (side, side))
        raise _no_map(layer)
    if tensor.shape[1] == tensor.shape[2] != tensor.shape[3]:  # channels last, as in Swin
        return tensor.permute(0, 3, 1, 2)
    return tensor


def _scaled(maps: Tensor, size: int, together: bool) -> np.ndarray:
    """Enlarge maps [B, h, w] to [B, size, size], and stretch each, or all `together`, over 0 to 1."""
    large = F.interpolate(maps[:, None].float(), (size, size), mode="bilinear", align_corners=False)[:, 0]
    over = (0, 1, 2) if together else (1, 2)
    large = large - large.amin(over, keepdim=True)
    highest = large.amax(over, keepdim=True)
    return torch.where(highest > 0, large / highest, large).cpu().numpy()


def confident_explanation(
    detectors: Sequence[Detector], picture: Picture, target: str = "predicted", method: str = "gradcam"
) -> tuple[int, Explanation, Square | None]:
    """Explain one image by the detector that is most confident of its verdict.

    Args:
        detectors: The detectors that judged it.
        picture: The image.
        target: See `explain_images`.
        method: See `explain_images`.

    Returns:
        The position of that detector, and what `explain_picture` returns for it.

    Raises:
        ImageError: The image cannot be decoded, or shows no face to a detector that refuses such images.
    """
    found = [explain_picture(detector, picture, target, method) for detector in detectors]
    sure = [abs(_said(detector, one)[0] - 0.5) for detector, (one, _) in zip(detectors, found, strict=True)]
    return int(np.argmax(sure)), *found[int(np.argmax(sure))]


def explain_picture(
    detector: Detector, picture: Picture, target: str = "predicted", method: str = "gradcam"
) -> tuple[Explanation, Square | None]:
    """Explain one image; of several faces, the one that is most probably fake; of tiles, all as one.

    Returns:
        The explanation, and the square that its heatmap covers, see `picture.overlay`.

    Raises:
        ImageError: See `confident_explanation`.
    """
    if detector.native:
        return _explain_squares(detector, picture, target, method)
    found = explain_images(detector, picture.views(*detector.fit), target, method)
    chosen = int(found.logits.fake.argmax())
    one = Logits(*(None if part is None else part[chosen : chosen + 1] for part in found.logits))
    return Explanation(found.heatmap[chosen : chosen + 1], one), picture.squares(detector.faces)[chosen]


def _explain_squares(
    detector: Detector, picture: Picture, target: str, method: str
) -> tuple[Explanation, Square]:
    """Explain an image by its native squares, whose maps become one; `predicted` is what they said together."""
    views, whole = picture.views(*detector.fit), picture.pixels.shape[:2]
    count = [len(views)]
    if target == "predicted":
        seen = judge(detector, torch.from_numpy(views).permute(0, 3, 1, 2))
        p_fake = detector.decision.p_fake(pooled(seen, count, detector.top).fake.numpy())
        target = detector.decision.labels(p_fake)[0]
    found = explain_images(detector, views, target, method, together=len(views) > 1)
    shape = judged_shape(*whole, detector.image_size, detector.native)
    squares = tile_squares(*shape, detector.image_size, detector.native)
    heatmap, square = stitch(found.heatmap, squares)
    left, top, side = (round(value * whole[0] / shape[0]) for value in square)
    return Explanation(heatmap[None], pooled(found.logits, count, detector.top)), (left, top, side)
