"""Training: it learns, it resumes exactly, it stops with a reason, and it does not depend on the machine."""

import dataclasses
import itertools
import json
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dfdlib import DfdError, create_detector, fit, load_detector, predict
from dfdlib.core.files import alone_in
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import categories_of, root_of
from dfdlib.evaluation import metrics
from dfdlib.images.tiles import parse_fit
from dfdlib.models.networks import Logits
from dfdlib.training.loop import BEST, LAST, _Run
from dfdlib.training.losses import Losses
from dfdlib.training.precision import Precision
from dfdlib.training.settings import TrainConfig

SETTINGS = TrainConfig(epochs=3, batch_size=16, learning_rate=3e-3, precision="fp32")


@pytest.fixture
def images(demo):
    return ImageDataset(demo, 32, categories_of(demo))


def new_detector(categories=("animals", "human_faces", "vehicles"), **switches):
    return create_detector("resnet10t", 32, categories, pretrained="none", **switches)


def train(images, out_dir, settings=SETTINGS, **changes):
    detector = new_detector()
    config = TrainConfig(**{**settings.__dict__, **changes})
    return detector, fit(detector, images.split("train"), images.split("val"), config, out_dir)


def weights(detector):
    return {name: tensor.cpu().clone() for name, tensor in detector.network.state_dict().items()}


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def test_it_learns_fakes_as_1_and_the_category(images, tmp_path):
    detector, history = train(images, tmp_path, epochs=6)
    assert history["train_loss"].iloc[-1] < 0.8 * history["train_loss"].iloc[0]
    assert history["val_category_accuracy"].max() > 0.5
    assert history["learning_rate"].max() > 10 * history["learning_rate"].iloc[-1]
    seen = predict(detector, images.split("train"))
    auc = metrics.binary_metrics(seen)["auc"]
    assert auc > 0.55
    seen["label"] = seen["label"].map({"real": "fake", "fake": "real"})
    assert metrics.binary_metrics(seen)["auc"] == pytest.approx(1 - auc)


def test_files_and_detector_agree(images, tmp_path):
    detector, history = train(images, tmp_path)
    log = pd.read_csv(tmp_path / "training_log.csv")
    assert list(log["epoch"]) == [1, 2, 3]
    assert history["best"].tolist() == log["best"].tolist()
    assert history["best"].sum() == 1
    assert set(history["precision"]) == {"fp32"}
    assert not (tmp_path / LAST).exists()
    loaded = load_detector(tmp_path / "best_model.pt")
    assert_same(weights(loaded), weights(detector))
    assert loaded.decision == detector.decision
    scores = metrics.binary_metrics(predict(loaded, images.split("val")))
    assert scores["auc"] == pytest.approx(log.loc[log["best"], "val_auc"].iloc[0], abs=1e-6)


def test_a_trained_detector_judges_in_full_precision_as_its_file_does(images, tmp_path):
    detector, _ = train(images, tmp_path, precision="bf16", epochs=1)
    ours, filed = (predict(one, images.split("val")) for one in (detector, load_detector(tmp_path / BEST)))
    assert np.allclose(ours["logit"], filed["logit"], rtol=0, atol=1e-6), "in bf16 they differ by 1e-3"


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(images, tmp_path):
    first, again, other = (
        train(images, tmp_path / str(i), epochs=1, seed=s)[0] for i, s in enumerate((0, 0, 1))
    )
    assert_same(weights(first), weights(again))
    assert not torch.equal(first.network.heads.fake.weight, other.network.heads.fake.weight)


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.9}, {"schedule": "one-cycle"}])
def test_a_resumed_run_equals_an_unbroken_one(images, tmp_path, monkeypatch, changes):
    changes |= {"epochs": 2}
    unbroken, history = train(images, tmp_path / "unbroken", **changes)
    from dfdlib.training import loop

    save = loop._Run.save

    def interrupted(self, improved):
        save(self, improved)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop._Run, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(images, tmp_path / "broken", **changes)
    assert (tmp_path / "broken" / LAST).exists()
    monkeypatch.undo()
    monkeypatch.setenv("DFD_CACHE_DIR", str(tmp_path / "cache"))
    resumed, again = train(images, tmp_path / "broken", **changes)
    assert_same(weights(resumed), weights(unbroken))
    timings = ["seconds", "images_per_second"]
    pd.testing.assert_frame_equal(again.drop(columns=timings), history.drop(columns=timings))


def test_an_unfinished_run_with_other_settings_is_not_overwritten(images, tmp_path, monkeypatch):
    from dfdlib.training import loop

    monkeypatch.setattr(loop._Run, "finish", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(images, tmp_path, epochs=1)
    before = (tmp_path / LAST).read_bytes()
    with pytest.raises(DfdError, match=r"unfinished run with other settings \(epochs: 1 there, 2 here\)"):
        train(images, tmp_path, epochs=2)
    assert (tmp_path / LAST).read_bytes() == before


def test_an_unfinished_run_of_another_input_size_is_not_resumed(images, demo, tmp_path, monkeypatch):
    from dfdlib.training import loop

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "finish", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(images, tmp_path, epochs=1)
    larger = ImageDataset(demo, 48, categories_of(demo))
    detector = create_detector("resnet10t", 48, categories_of(demo), pretrained="none")
    config = TrainConfig(**{**SETTINGS.__dict__, "epochs": 1})
    with pytest.raises(DfdError, match=r"input: \[32, 'bilinear', 0\] there, \[48, 'bilinear', 0\] here"):
        fit(detector, larger.split("train"), larger.split("val"), config, tmp_path)


def test_images_fitted_otherwise_and_onnx_graphs_are_not_trained(images, demo, tmp_path):
    bicubic = ImageDataset(demo, (32, "bicubic"), categories_of(demo))
    with pytest.raises(DfdError, match="fitted to 32 px, bicubic"):
        train(bicubic, tmp_path)
    graph = dataclasses.replace(new_detector(), kind="onnx")
    with pytest.raises(DfdError, match="an ONNX graph cannot be trained"):
        fit(graph, images.split("train"), images.split("val"), SETTINGS, tmp_path)


def test_two_runs_do_not_mix_in_one_folder(images, tmp_path):
    with alone_in(tmp_path / "run"), pytest.raises(DfdError, match="another run is writing into"):
        train(images, tmp_path / "run", epochs=1)
    assert not list((tmp_path / "run").glob("*.pt"))
    train(images, tmp_path / "run", epochs=1)
    assert not list((tmp_path / "run").glob(".*"))


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(images, tmp_path, monkeypatch):
    from dfdlib.training import loop

    original = loop._Run.train_one_step

    def broken(self, batch, update):
        losses = original(self, batch, update)
        return (losses[0] * float("nan"), *losses[1:]) if self.augmented.epoch == 1 else losses

    monkeypatch.setattr(loop._Run, "train_one_step", broken)
    with pytest.raises(DfdError, match="loss is not finite at epoch 2"):
        train(images, tmp_path)
    assert load_detector(tmp_path / "best_model.pt").provenance["epoch"] == 1


def test_patience_ends_a_run_early(images, tmp_path, monkeypatch):
    from dfdlib.training import loop

    monkeypatch.setattr(loop.metrics, "binary_metrics", lambda _: {"auc": 0.5, "accuracy": 0.5})
    monkeypatch.setattr(
        loop._Run,
        "evaluate",
        lambda _: {"val_loss": 1.0, "val_auc": 0.5, "val_accuracy": 0.5, "val_seconds": 0.0},
    )
    _, history = train(images, tmp_path, epochs=9, patience=2)
    assert len(history) == 3


class _Reads(TorchDispatchMode):
    """Counts how often a number is read from a tensor: on a GPU, each waits for the device."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.n += operation is torch.ops.aten._local_scalar_dense.default
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("settings", [{}, {"augment": "faces", "mixup": 0.4, "category_smoothing": 0.1}])
def test_a_training_step_reads_nothing_back(images, tmp_path, settings):
    config = TrainConfig(**{**SETTINGS.__dict__, "batch_size": 8, **settings})
    run = _Run(new_detector(), images.split("train"), images.split("val"), config, tmp_path)
    batches = list(itertools.islice(run.train_loader, 3))
    with _Reads() as reads:
        for batch in batches:
            run.train_one_step(batch, update=True)
    assert reads.n == 0
    with _Reads() as reads:
        run.train_one_step(batches[0], update=True)[0].item()
    assert reads.n == 1, "the counter counts"


@pytest.mark.parametrize("unsafe", [False, True])
def test_onednn_is_off_where_it_would_write_past_its_memory(images, tmp_path, monkeypatch, unsafe):
    monkeypatch.setattr("dfdlib.training.loop.overruns_onednn", lambda _: unsafe)
    detector, found = new_detector(), set()
    detector.network.register_forward_pre_hook(lambda *_: found.add(torch.backends.mkldnn.enabled))
    config = dataclasses.replace(SETTINGS, epochs=1)
    few = images.split("train").head(32)
    fit(detector, few, images.split("val"), config, tmp_path)
    assert found == {not unsafe}
    assert torch.backends.mkldnn.enabled


@pytest.mark.parametrize("label", ["real", "fake"])
def test_a_missing_class_is_refused(images, tmp_path, label):
    one_class = images.subset((images.manifest["label"] == label).to_numpy())
    with pytest.raises(DfdError, match="the training split has no"):
        fit(new_detector(), one_class.split("train"), images.split("val"), SETTINGS, tmp_path)


def test_tiny_splits_train(images, tmp_path):
    """Two images of a class, fewer than a batch: still a run."""
    train_part, val_part = (
        images.split(name).subset(np.arange(len(images.split(name))) < 4) for name in ("train", "val")
    )
    history = fit(new_detector(), train_part, val_part, SETTINGS, tmp_path)
    assert np.isfinite(history["train_loss"]).all()


def test_losses_are_the_formulas():
    logits = Logits(torch.tensor([2.0, -1.0]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 3.0, 0.0]]))
    batch = {"fake": torch.tensor([1.0, 0.0]), "category": torch.tensor([0, -1])}
    losses = Losses(2.0, 0.5, torch.tensor([1.0, 3.0]), torch.ones(3))
    total, fake, category = losses(logits, batch)
    expected_fake = (3 * np.log1p(np.exp(-2.0)) + np.log1p(np.exp(-1.0))) / 2
    expected_category = -np.log(np.exp(1) / (np.exp(1) + 2))
    assert float(fake) == pytest.approx(expected_fake, rel=1e-5)
    assert float(category) == pytest.approx(expected_category, rel=1e-5), "an unknown category must not count"
    assert float(total) == pytest.approx(2 * expected_fake + 0.5 * expected_category, rel=1e-5)


def test_a_frozen_backbone_stays_as_it_is_to_the_last_statistic(images, tmp_path):
    before = new_detector()
    detector, history = train(images, tmp_path, freeze=-1)
    ours, theirs = weights(detector), weights(before)
    for name in ours:
        assert torch.equal(ours[name], theirs[name]) == name.startswith(("backbone", "normalize")), name
    assert np.isfinite(history["train_loss"]).all()


def test_parts_of_a_batch_add_up_to_its_step(images, tmp_path):
    """Without batch statistics and dropout, two halves give the gradient of the whole."""
    settings = {
        **SETTINGS.__dict__,
        "freeze": -1,
        "epochs": 1,
        "balance": "none",
        "category_loss_weight": 0.0,
        "schedule": "constant",
    }
    heads = []
    for changes in ({}, {"accumulate": 2}, {"batch_size": 8}):
        detector = new_detector(drop_rate=0.0)
        config = TrainConfig(**{**settings, **changes})
        fit(detector, images.split("train"), images.split("val"), config, tmp_path / str(len(heads)))
        heads.append(detector.network.heads.fake.weight)
    whole, halves, other = heads
    assert torch.allclose(whole, halves, atol=1e-5)
    assert not torch.allclose(whole, other, atol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"mixup": 0.4, "label_smoothing": 0.1},
        {"degrade": 0.5, "self_blend": 0.3, "shift": 0.1},
        {"balance": "oversample", "layer_decay": 0.7, "freeze": 1, "schedule": "plateau"},
        {"balance": "downsample", "monitor": "loss", "accumulate": 2},
    ],
)
def test_every_setting_trains(images, tmp_path, changes):
    _, history = train(images, tmp_path, **changes)
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]


SCRIPT = """
    import json, sys
    from accelerate import PartialState
    from dfdlib import create_detector, fit
    from dfdlib.data.dataset import ImageDataset
    from dfdlib.data.manifest import categories_of, read_manifest
    from dfdlib.training.settings import TrainConfig

    if __name__ == "__main__":
        images = ImageDataset(read_manifest(sys.argv[1]), 32, categories_of(read_manifest(sys.argv[1])))
        detector = create_detector("resnet10t", 32, images.categories, pretrained="none")
        settings = TrainConfig(epochs=3, batch_size=16, learning_rate=3e-3, precision="fp32")
        history = fit(detector, images.split("train"), images.split("val"), settings, sys.argv[2])
        state = PartialState()
        if state.is_main_process:
            columns = ["train_loss", "val_category_accuracy"]
            found = {"processes": state.num_processes, **history[columns].to_dict("list")}
            print("RESULT", json.dumps(found), flush=True)
"""


def test_two_processes_train_like_one(images, demo, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(SCRIPT))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    arguments = [str(script), str(root_of(demo) / "manifest.csv"), str(tmp_path / "two")]
    done = subprocess.run([*launch, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    two = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))[7:])
    _, one = train(images, tmp_path / "one")
    assert two.pop("processes") == 2
    assert one["train_loss"][0] == pytest.approx(two["train_loss"][0], rel=0.1)
    for name, values in two.items():
        assert np.abs(one[name] - values).max() < 0.35, name
    for name in ("one", "two"):
        assert (tmp_path / name / "best_model.pt").exists()
        assert not (tmp_path / name / "last.pt").exists()


def test_tensorboard_logs_are_written_when_asked(images, tmp_path):
    pytest.importorskip("tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(images, tmp_path, epochs=1, tensorboard=True)
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_category_that_training_lacks_can_be_met_in_the_test(images, tmp_path):
    table = images.manifest
    lacking = images.subset((table["split"] != "train") | (table["category"] != "vehicles"))
    detector, _ = train(lacking, tmp_path, epochs=1)
    test = predict(detector, images.split("test"))
    assert (test["category"] == "vehicles").any()
    assert np.isfinite(test["p_vehicles"]).all()
    assert 0 <= metrics.binary_metrics(test)["category_accuracy"] < 1


@pytest.mark.parametrize("balance", ["weights", "oversample", "downsample", "none"])
def test_a_handful_of_fakes_among_many_images_trains(images, tmp_path, balance):
    rare = images.manifest.index[
        (images.manifest["split"] == "train") & (images.manifest["label"] == "fake")
    ][2:]
    _, history = train(images.subset(~images.manifest.index.isin(rare)), tmp_path, epochs=1, balance=balance)
    assert np.isfinite(history[["train_loss", "val_loss"]].to_numpy()).all()


def test_the_precision_is_said_and_kept_by_a_resumed_run(images, tmp_path, monkeypatch, capsys):
    from dfdlib.training import loop

    chosen = Precision("bf16", "of the test")
    monkeypatch.setattr(
        loop,
        "choose_precision",
        lambda _, wanted: chosen if wanted == "auto" else Precision(wanted, "as asked"),
    )
    save = loop._Run.save

    def interrupted(self, improved):
        save(self, improved)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(images, tmp_path, precision="auto", epochs=2)
    assert "precision: bf16 (of the test)" in capsys.readouterr().out
    chosen = Precision("fp32", "another machine")
    detector, history = train(images, tmp_path, precision="auto", epochs=2)
    assert history["precision"].tolist() == ["bf16", "bf16"]
    assert detector.provenance["precision"] == "bf16"


@pytest.mark.parametrize("text", ["crop", "tiles, most=12, top=0.25"])
def test_native_squares_are_learned_and_all_of_them_judged(wide, tmp_path, text):
    tables = []
    for name in ("one", "two"):
        detector = create_detector("resnet10t", 32, pretrained="none", native=parse_fit(text))
        images = ImageDataset(wide, detector.fit)
        config = TrainConfig(epochs=2, batch_size=4, precision="fp32")
        history = fit(detector, images.split("train"), images.split("val"), config, tmp_path / name)
        tables.append(predict(detector, images.split("val")))
        scores = metrics.binary_metrics(tables[-1])
        assert scores["auc"] == pytest.approx(history["val_auc"].max()), "validated as it is judged"
    assert tables[0]["logit"].tolist() == tables[1]["logit"].tolist(), "the same squares were drawn"
    assert load_detector(tmp_path / "one" / BEST).fit == detector.fit
    with pytest.raises(DfdError, match=f"the detector looks at 32 px, bilinear, {text[:4]}"):
        predict(detector, ImageDataset(wide, 32))
