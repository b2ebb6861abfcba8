"""The training loop: one for a CPU, a GPU, or many processes (`accelerate launch`; without a GPU `torchrun`).

`fit` sees the training and the validation split only. After every epoch it writes `last.pt`, from which
an interrupted run resumes exactly, and, when validation improved, `best_model.pt`, ready for use.
"""

from __future__ import annotations

import dataclasses
import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.state import PartialState
from accelerate.utils import DataLoaderConfiguration
from timm.utils import ModelEmaV3
from torch import Tensor

from dfdlib.core.errors import DfdError
from dfdlib.core.files import alone_in, write_csv
from dfdlib.core.machine import keep_freed_memory, versions
from dfdlib.core.progress import Progress
from dfdlib.data.dataset import Batch, ImageDataset
from dfdlib.data.loader import GroupShuffle, make_loader
from dfdlib.data.manifest import fingerprint
from dfdlib.evaluation import metrics
from dfdlib.evaluation.calibration import calibrate
from dfdlib.evaluation.predictions import check_fit
from dfdlib.evaluation.tables import predictions_table
from dfdlib.models.backbones import overruns_onednn, without_onednn
from dfdlib.models.checkpoint import load_checked, load_detector, save_checked, save_detector
from dfdlib.models.detector import Detector
from dfdlib.models.forward import pooled
from dfdlib.models.networks import Logits
from dfdlib.training.augment import AugmentedBatch, AugmentedImages, augment
from dfdlib.training.history import History
from dfdlib.training.losses import Losses
from dfdlib.training.memory import learn_familiarity, remember
from dfdlib.training.optim import freeze_stages, learning_rate_at, parameter_groups, train_mode
from dfdlib.training.precision import choose_precision
from dfdlib.training.settings import TrainConfig

BEST, LAST, LOG = "best_model.pt", "last.pt", "training_log.csv"


def fit(
    detector: Detector,
    train: ImageDataset,
    val: ImageDataset,
    config: TrainConfig,
    out_dir: str | Path,
) -> pd.DataFrame:
    """Train a detector; its best epoch on validation, with threshold and temperature, stays in it.

    A run that was interrupted in `out_dir` resumes after its last whole epoch, and ends as if it had never been
    interrupted.

    Args:
        detector: A new detector; its weights are changed.
        train: Labelled training images.
        val: Labelled validation images: they choose the best epoch, threshold and temperature.
        config: How to train.
        out_dir: Folder of `best_model.pt`, `training_log.csv` and, until the end, `last.pt`.

    Returns:
        The history, one row per epoch: losses, validation metrics, learning rate, `precision`, time, and `best`.

    Raises:
        DfdError: A class is missing, `out_dir` holds an unfinished run with other settings, or the loss is
            not finite (the last good checkpoint stays), or another run is writing into `out_dir`; images that
            are not fitted as the detector's, or an ONNX graph.
    """
    out_dir = Path(out_dir)
    check_trainable(detector, train, val)
    alone = alone_in(out_dir) if _processes().is_main_process else nullcontext()
    with alone, without_onednn() if overruns_onednn(detector.network) else nullcontext():
        return _train(_Run(detector, train, val, config, out_dir))


def _train(run: _Run) -> pd.DataFrame:
    """Train to the end, from where an interrupted run stopped."""
    config = run.config
    run.resume()
    with run.progress() as bar:
        for epoch in range(len(run.history), config.epochs):
            row = run.train_one_epoch(epoch, bar)
            row |= run.evaluate()
            run.save(improved=run.record(row))
            if config.patience and run.history.epochs_since_best() >= config.patience:
                run.say(f"no better validation for {config.patience} epochs: stopped early")
                break
    return run.finish()


class _Run:
    """One training run: the wrapped model, its optimizer and what it has reached so far."""

    def __init__(
        self, detector: Detector, train: ImageDataset, val: ImageDataset, config: TrainConfig, out_dir: Path
    ) -> None:
        keep_freed_memory()
        torch.backends.cudnn.deterministic = True  # a seed gives one detector
        self.detector, self.config, self.out_dir = detector, config, out_dir
        self.train, self.val, self.val_views = train, val, val.judged().n_views
        freeze_stages(detector.network, config.freeze)
        self.identity = {
            **_identity(config),
            "data": fingerprint(train.manifest),
            "validation": fingerprint(val.manifest),
            "network": detector.arguments,
            "input": [*detector.fit[:2], detector.n_frames],
            "faces": detector.faces and repr(detector.faces),
            "native": detector.native and repr(detector.native),
        }
        remember(detector, train, val)
        detector.provenance |= {"versions": versions()}
        self.unfinished = self._read_unfinished()
        self.accelerator = Accelerator(
            dataloader_config=DataLoaderConfiguration(split_batches=True, non_blocking=True)
        )
        self.device = self.accelerator.device
        self.losses = Losses.of(train, config, self.device)
        self.val_losses = dataclasses.replace(self.losses, fake_smoothing=0.0, category_smoothing=0.0)
        wanted = self.unfinished["precision"] if self.unfinished else config.precision
        self.precision = choose_precision(self.device, wanted)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision.name == "fp16")
        self.say(f"precision: {self.precision.name} ({self.precision.reason})")
        self._check_batch_size()

        self.sampler = GroupShuffle(train, config.seed, config.balance, config.batch_size)
        self.augmented = AugmentedImages(train, config)
        network = detector.network.to(memory_format=torch.channels_last)
        groups = parameter_groups(network, config.weight_decay, config.layer_decay)
        fused = self.device.type in ("cpu", "cuda")  # one kernel: a few percent of a step
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, fused=fused)
        self.network, self.train_loader, self.val_loader = self.accelerator.prepare(
            network,
            make_loader(self.augmented, config.batch_size // config.accumulate, self.sampler, config.workers),
            make_loader(val.judged(), 2 * config.batch_size, workers=config.workers),
        )
        self.ema = (
            ModelEmaV3(detector.network, config.ema_decay, use_warmup=True) if config.ema_decay else None
        )
        self.history = History(config.monitor)
        self.tensorboard = _tensorboard(out_dir) if config.tensorboard and self.is_main else None

    @property
    def is_main(self) -> bool:
        return self.accelerator.is_main_process

    def say(self, text: str) -> None:
        if self.is_main:
            Progress.write(text)

    def progress(self) -> Progress:
        total = self.config.epochs * len(self.train_loader)
        done = len(self.history) * len(self.train_loader)
        return Progress(total=total, initial=done, unit="step", disable=not self.is_main)

    def train_one_epoch(self, epoch: int, bar: Progress) -> dict[str, float]:
        """Train on every image once; return the mean losses, the learning rate and the time."""
        started = time.perf_counter()
        torch.manual_seed(_dropout_seed(self.config.seed, epoch, self.accelerator.process_index))
        self.sampler.epoch = self.augmented.epoch = epoch
        bar.set_description(f"epoch {epoch + 1}/{self.config.epochs}", refresh=False)
        train_mode(self.network)
        sums, n_steps = torch.zeros(3, device=self.device), len(self.train_loader)
        for step, batch in enumerate(self.train_loader):
            self._set_learning_rate((epoch * n_steps + step) / (self.config.epochs * n_steps))
            whole = (step + 1) % self.config.accumulate == 0 or step == n_steps - 1
            losses = self.train_one_step(batch, update=whole)
            sums += torch.stack(losses).detach()
            if step % 16 == 0 or step == n_steps - 1:  # reading the loss waits for the device
                self._check_finite(sums[0], epoch, step)
                bar.set_postfix_str(f"loss {sums[0] / (step + 1):.2f}", refresh=False)
            bar.update()
        means = self.accelerator.reduce(sums, "mean") / n_steps
        names = ("train_loss", "train_fake_loss", "train_category_loss")
        row = dict(zip(names, means.tolist(), strict=True))
        row["learning_rate"] = max(group["lr"] for group in self.optimizer.param_groups)
        row["train_seconds"] = time.perf_counter() - started
        return row

    def train_one_step(self, batch: AugmentedBatch, update: bool) -> list[Tensor]:
        """Add the gradients of one batch, update the weights if it is time to, and return the three losses."""
        augmented = augment(batch, self.config)
        with self.precision.autocast(self.device):
            logits = self.network(augmented.images)
        parts = [[w * loss for loss in self.losses(logits, part)] for w, part in augmented.targets]
        losses = [sum(terms) for terms in zip(*parts, strict=True)]
        self.scaler.scale(losses[0] / self.config.accumulate).backward()
        if update:
            if self.config.clip_norm:
                self.scaler.unscale_(self.optimizer)
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad(set_to_none=True)
            if self.ema is not None:
                self.ema.update(self.accelerator.unwrap_model(self.network))
        return losses

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Predict the validation images; fit temperature and threshold to them; return their metrics."""
        started = time.perf_counter()
        network = self.ema.module if self.ema is not None else self.network
        network.eval()
        sums, gathered = torch.zeros(2, device=self.device), []
        for batch in self.val_loader:
            with self.precision.autocast(self.device):
                logits = self._pooled(network, batch)
            sums += torch.stack(
                [self.val_losses(logits, batch)[0] * len(batch["fake"]), sums.new_tensor(len(batch["fake"]))]
            )
            category = logits.category if logits.category is not None else logits.fake[:, None]
            gathered.append(self.accelerator.gather_for_metrics((logits.fake, category)))
        fake, category = (torch.cat(parts).cpu().numpy() for parts in zip(*gathered, strict=True))
        loss = self.accelerator.reduce(sums, "sum").tolist()
        scores = calibrated_scores(
            self.detector, self.val, fake, category if self.detector.categories else None
        )
        return {"val_loss": loss[0] / loss[1], **scores, "val_seconds": time.perf_counter() - started}

    def _pooled(self, network: torch.nn.Module, batch: Batch) -> Logits:
        """Return the logits of validation images, from those of their tiles where they are judged by tiles."""
        if self.detector.most_views == 1:
            return network(batch["image"])
        parts = [network(part) for part in batch["image"].split(2 * self.config.batch_size)]
        logits = Logits(*(None if one[0] is None else torch.cat(one) for one in zip(*parts, strict=True)))
        return pooled(logits, self.val_views[batch["index"].cpu().numpy()].tolist(), self.detector.top)

    def record(self, row: dict[str, float]) -> bool:
        """Add an epoch to the history; say whether it is the best one so far."""
        row["seconds"] = row.pop("train_seconds") + row.pop("val_seconds")
        row["precision"] = self.precision.name
        row["images_per_second"] = len(self.sampler) / max(row["seconds"], 1e-9)
        improved = self.history.add(row)
        self.say(self.history.last_line(self.config.epochs))
        return improved

    def save(self, improved: bool) -> None:
        """Write the log, the best detector when it improved, and what a resumed run needs, in this order."""
        if not self.is_main:
            return
        network = self.ema.module if self.ema is not None else self.accelerator.unwrap_model(self.network)
        if improved:
            about = {
                "settings": dataclasses.asdict(self.config),
                "epoch": len(self.history),
                "data": self.identity["data"],
                "validation": self.identity["validation"],
            }
            self.detector.provenance |= about | {"precision": self.precision.name}
            save_detector(dataclasses.replace(self.detector, network=network), self.out_dir / BEST)
        write_csv(self.history.table(), self.out_dir / LOG)
        if self.tensorboard is not None:
            for name, value in self.history.rows[-1].items():
                if not isinstance(value, str):
                    self.tensorboard.add_scalar(name, value, len(self.history))
        state = {
            "identity": self.identity,
            "precision": self.precision.name,
            "history": self.history.rows,
            "network": self.accelerator.unwrap_model(self.network).state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.module.state_dict() if self.ema is not None else {},
            "scaler": self.scaler.state_dict(),
        }
        save_checked(state, self.out_dir / LAST)

    def resume(self) -> None:
        """Go back to the end of the last whole epoch of an unfinished run, if there is one."""
        state = self.unfinished
        if state is None:
            return
        self.accelerator.unwrap_model(self.network).load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema is not None:
            self.ema.module.load_state_dict(state["ema"])
        self.scaler.load_state_dict(state["scaler"])
        self.history.rows = state["history"]
        self.unfinished = None
        self.say(
            f"resuming after epoch {len(self.history)} of {self.config.epochs} from {self.out_dir / LAST}"
        )

    def finish(self) -> pd.DataFrame:
        """Put the best epoch into the detector, remove `last.pt`, and return the history."""
        self.accelerator.wait_for_everyone()
        best = load_detector(self.out_dir / BEST)
        if self.is_main:
            learn_familiarity(best, self.train, self.val)
            save_detector(best, self.out_dir / BEST)
        self.accelerator.wait_for_everyone()
        best = load_detector(self.out_dir / BEST)
        self.detector.network.load_state_dict(best.network.state_dict())
        self.detector.decision, self.detector.familiarity = best.decision, best.familiarity
        self.detector.provenance = best.provenance
        self.accelerator.wait_for_everyone()
        if self.is_main:
            (self.out_dir / LAST).unlink(missing_ok=True)
        if self.tensorboard is not None:
            self.tensorboard.close()
        return self.history.table()

    def _read_unfinished(self) -> dict[str, Any] | None:
        file = self.out_dir / LAST
        if not file.exists():
            return None
        state = load_checked(file)
        theirs, ours = state["identity"], self.identity
        changed = [name for name in ours if theirs.get(name) != ours[name]]
        if changed:
            shown = ", ".join(f"{name}: {theirs.get(name)} there, {ours[name]} here" for name in changed)
            raise DfdError(
                f"{self.out_dir} holds an unfinished run with other settings ({shown}). Resume it with its "
                f"own settings, choose another out_dir, or delete {file} to start anew."
            )
        return state

    def _check_batch_size(self) -> None:
        processes = self.accelerator.num_processes
        if self.config.batch_size % processes:
            raise DfdError(
                f"`batch_size` is {self.config.batch_size}; make it a multiple of the {processes} processes."
            )

    def _set_learning_rate(self, progress: float) -> None:
        rate = learning_rate_at(progress, self.config, self.history.halvings())
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]

    def _check_finite(self, loss: Tensor, epoch: int, step: int) -> None:
        if not torch.isfinite(loss):
            raise DfdError(
                f"the loss is not finite at epoch {epoch + 1}, step {step + 1}: the learning rate "
                f"{self.config.learning_rate:g} may be too high, or `precision` needs to be fp32. "
                f"Checkpoints of the epochs before are in {self.out_dir}."
            )


def calibrated_scores(
    detector: Detector, val: ImageDataset, fake: np.ndarray, category: np.ndarray | None
) -> dict[str, float]:
    """Fit the decision of a detector to the logits of validation images; return their metrics, `val_…`."""
    detector.decision = calibrate(val.fake.numpy(), fake)
    scores = metrics.binary_metrics(predictions_table(detector, val.manifest, fake, category))
    names = ("auc", "ap", "eer", "accuracy", "category_accuracy")
    return {f"val_{name}": scores[name] for name in names if name in scores}


def _processes() -> PartialState:
    """Return what is known of the processes that train together.

    Without a GPU they find each other only if told that they are on CPUs.
    """
    return PartialState(cpu="LOCAL_RANK" in os.environ and not torch.cuda.is_available())


def check_trainable(detector: Detector, train: ImageDataset, val: ImageDataset) -> None:
    """Refuse a detector or splits that cannot be trained. Raises `DfdError` that says what is missing."""
    if not detector.explainable:
        raise DfdError("an ONNX graph cannot be trained; take the .pt file that it was exported from.")
    for dataset in (train, val):
        check_fit(detector, dataset)
    for name, dataset in (("training", train), ("validation", val)):
        counts = dataset.manifest["label"].value_counts()
        missing = [label for label in ("real", "fake") if not counts.get(label)]
        if missing:
            raise DfdError(
                f"the {name} split has no {' and no '.join(missing)} image; add some, or split again."
            )
        if dataset.fake.isnan().any():
            raise DfdError(f"the {name} split has images without a label; label them, or leave them out.")
    if len(train) < 2:
        raise DfdError("the training split has fewer than two images.")


def _identity(config: TrainConfig) -> dict[str, Any]:
    """The settings that make a run what it is; where its data is decoded and logged is not among them."""
    settings = dataclasses.asdict(config)
    return {name: value for name, value in settings.items() if name not in ("workers", "tensorboard")}


def _dropout_seed(seed: int, epoch: int, process: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, process]).generate_state(1)[0])


def _tensorboard(out_dir: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise DfdError(
            "TensorBoard is not installed; `pip install tensorboard`, or set tensorboard=False."
        ) from error
    return SummaryWriter(out_dir / "tensorboard")
