"""Training on a frozen backbone: its features are computed once, and the heads alone train."""

from __future__ import annotations

import copy
import dataclasses
import time
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from dfdlib.core.errors import DfdError
from dfdlib.core.files import alone_in, write_csv
from dfdlib.core.machine import best_device, keep_freed_memory, versions
from dfdlib.core.progress import Progress
from dfdlib.data.dataset import Batch, ImageDataset
from dfdlib.data.loader import GroupShuffle, make_loader
from dfdlib.data.manifest import fingerprint
from dfdlib.models.checkpoint import save_detector
from dfdlib.models.decision import Decision
from dfdlib.models.detector import Detector
from dfdlib.models.fold_batchnorm import folded
from dfdlib.models.forward import pooled
from dfdlib.models.networks import Heads
from dfdlib.training.augment import AugmentedImages, augment, mixup, mixup_share, operations
from dfdlib.training.history import History
from dfdlib.training.loop import BEST, LOG, calibrated_scores, check_trainable
from dfdlib.training.losses import Losses
from dfdlib.training.memory import learn_familiarity, remember
from dfdlib.training.optim import keep_inputs, learning_rate_at, parameter_groups
from dfdlib.training.precision import Precision, choose_precision
from dfdlib.training.settings import TrainConfig

_BATCH = 64
_LOSSES = ("train_loss", "train_fake_loss", "train_category_loss")


def fit_frozen(
    detector: Detector,
    train: ImageDataset,
    val: ImageDataset,
    config: TrainConfig,
    out_dir: str | Path,
    views: int = 2,
) -> pd.DataFrame:
    """Train the heads of a detector on the features of its frozen backbone; else like `loop.fit`.

    The backbone, including its batch-norm statistics, does not change, and neither do its features of an image.
    So they are computed once, of `views` variations of each training image, instead of in every epoch.

    Args:
        detector: A detector over a timm backbone; its heads are changed.
        train: See `fit`.
        val: See `fit`; never varied.
        config: See `fit`; `precision` is that of the backbone, `mixup` blends features. `freeze`, `layer_decay`,
            `accumulate`, `ema_decay` and `tensorboard` do not matter.
        out_dir: Folder of `best_model.pt` and `training_log.csv`; an interrupted run starts anew.
        views: Variations of each training image; the first one is the unmodified image.

    Returns:
        The history, see `fit`.

    Raises:
        DfdError: As `fit`, or the detector's heads look at more than its features, or `config` asks for
            self-blended images, whose labels differ from those of the images that they are made of. If the
            loss is not finite, the detector stays unchanged.
    """
    network, out_dir = detector.network, Path(out_dir)
    if not hasattr(network, "embed"):
        raise DfdError("frozen features need a timm backbone; use dfdlib.fit for this detector.")
    if operations(config).self_blend:
        raise DfdError("frozen features cannot be self-blended; set self_blend=0, or use dfdlib.fit.")
    check_trainable(detector, train, val)
    network.to(best_device())
    keep_freed_memory()
    with alone_in(out_dir):
        precision = choose_precision(detector.device, config.precision)
        backbone = folded(detector, views * len(train) + len(val))
        if precision.name != "fp32" and backbone is not detector:
            keep_inputs(backbone.network)
        judged = val.judged()
        features = _features(backbone, train, config, views, precision)
        val_features = _features(backbone, judged, config, 1, precision)[:, 0]
        heads, decision, history = _fit_heads(detector, train, features, judged, val_features, config)
        network.heads.load_state_dict(heads.state_dict())
        detector.decision = decision
        remember(detector, train, val)
        learn_familiarity(detector, train, val)
        about = {"settings": dataclasses.asdict(config), "epoch": history.best + 1, "versions": versions()}
        about |= {"data": fingerprint(train.manifest), "precision": precision.name, "frozen_views": views}
        detector.provenance |= about
        table = history.table().assign(precision=precision.name)
        save_detector(detector, out_dir / BEST)
        write_csv(table, out_dir / LOG)
    return table


def _fit_heads(
    detector: Detector,
    train: ImageDataset,
    features: Tensor,
    val: ImageDataset,
    val_features: Tensor,
    config: TrainConfig,
) -> tuple[Heads, Decision, History]:
    """Train a copy of the heads on features [N, V, F] of training images, validate on [M, F], one row per view; all on the CPU.

    Returns:
        The heads of the best epoch, the decision fitted to them, and all epochs.
    """
    heads, current = copy.deepcopy(detector.network.heads).cpu(), dataclasses.replace(detector)
    optimizer = torch.optim.AdamW(parameter_groups(heads, config.weight_decay), lr=0.0)
    losses = Losses.of(train, config)
    val_losses = dataclasses.replace(losses, fake_smoothing=0.0, category_smoothing=0.0)
    sampler = GroupShuffle(train, config.seed, config.balance, config.batch_size)
    history = History(config.monitor)
    torch.manual_seed(config.seed)
    for epoch in range(config.epochs):
        started = time.perf_counter()
        sampler.epoch = epoch
        steps = torch.tensor(list(sampler)).split(config.batch_size)
        halvings, sums = history.halvings(), torch.zeros(3)
        for step, places in enumerate(steps):
            rate = learning_rate_at((epoch + step / len(steps)) / config.epochs, config, halvings)
            for group in optimizer.param_groups:
                group["lr"] = rate
            view = torch.randint(features.shape[1], (len(places),))
            batch = _batch(train, features[places, view], places)
            sums += _train_one_step(heads, optimizer, losses, batch, config)
            if not torch.isfinite(sums[0]):
                raise DfdError(
                    f"the loss is not finite at epoch {epoch + 1}, step {step + 1}: the learning rate "
                    f"{config.learning_rate:g} may be too high. The detector is unchanged."
                )
        row = dict(zip(_LOSSES, (sums / len(steps)).tolist(), strict=True)) | {"learning_rate": rate}
        with torch.no_grad():
            logits = pooled(heads.eval()(val_features), val.n_views.tolist(), detector.top)
            row["val_loss"] = val_losses(logits, _batch(val, val_features, slice(None)))[0].item()
        category = None if logits.category is None else logits.category.numpy()
        row |= calibrated_scores(current, val, logits.fake.numpy(), category)
        row["seconds"] = time.perf_counter() - started
        row["images_per_second"] = len(sampler) / max(row["seconds"], 1e-9)
        if history.add(row):
            best = copy.deepcopy(heads), current.decision
        Progress.write(history.last_line(config.epochs))
        if config.patience and history.epochs_since_best() >= config.patience:
            Progress.write(f"no better validation for {config.patience} epochs: stopped early")
            break
    return *best, history


def _train_one_step(
    heads: Heads, optimizer: torch.optim.Optimizer, losses: Losses, batch: Batch, config: TrainConfig
) -> Tensor:
    """Update the heads by one batch of features; return the three losses, float [3]."""
    features, targets = batch["image"], ((1.0, batch),)
    if config.mixup:
        share = torch.tensor(mixup_share(torch.rand(()).item(), config.mixup))
        features, targets = mixup(features, batch, share)
    logits = heads.train()(features)
    total = sum(weight * torch.stack(losses(logits, part)) for weight, part in targets)
    optimizer.zero_grad()
    total[0].backward()
    if config.clip_norm:
        torch.nn.utils.clip_grad_norm_(heads.parameters(), config.clip_norm)
    optimizer.step()
    return total.detach()


def _batch(dataset: ImageDataset, features: Tensor, places: Tensor | slice) -> Batch:
    """Return features [B, F] with the labels of the images that they are of."""
    index = torch.arange(len(dataset))[places]
    return Batch(image=features, fake=dataset.fake[index], category=dataset.category[index], index=index)


@torch.no_grad()
def _features(
    detector: Detector, dataset: ImageDataset, config: TrainConfig, views: int, precision: Precision
) -> Tensor:
    """Return features, float32 [N, V, F] on the CPU: of the images, then of variations of them."""
    network, device = detector.network, detector.device
    config = dataclasses.replace(config, mixup=0.0)  # features are blended later, with their labels
    progress = Progress(desc="features", total=views * len(dataset), unit="image", disable=len(dataset) < 500)
    computed = []
    with progress, precision.autocast(device):
        for view in range(views):
            parts = []
            varied = AugmentedImages(dataset, config, view) if view else dataset
            for batch in make_loader(varied, _BATCH, workers=config.workers):
                images = augment(batch, config).images if view else batch["image"]
                parts.append(network.embed(images.to(device)).float().cpu())
                progress.update(len(images))
            computed.append(torch.cat(parts))
    return torch.stack(computed, 1)
