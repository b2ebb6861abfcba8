"""Learning from failures without forgetting the rest."""

import json

import numpy as np
import pandas as pd
import pytest

from dfdlib import DfdError, create_detector, fit, load_detector, predict
from dfdlib.data.dataset import ImageDataset
from dfdlib.training.finetune import before_and_after, failures, learn_from_failures, save_failures
from dfdlib.training.memory import learn_familiarity
from dfdlib.training.settings import TrainConfig

SETTINGS = TrainConfig(epochs=3, batch_size=8, learning_rate=3e-3, precision="fp32")


@pytest.fixture(scope="module")
def images(demo):
    return ImageDataset(demo, 32)


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    detector = create_detector("resnet10t", 32, pretrained="none")
    fit(detector, images.split("train"), images.split("val"), SETTINGS, tmp_path_factory.mktemp("first"))
    return detector


def table(rows):
    made = pd.DataFrame(rows, columns=["path", "label", "p_fake"])
    made["logit"] = np.log(made["p_fake"] / (1 - made["p_fake"]))
    made["predicted"] = np.where(made["p_fake"] >= 0.5, "fake", "real")
    return made


PREDICTIONS = table(
    [("a", "fake", 0.4), ("b", "real", 0.2), ("c", "real", 0.99), ("d", None, 0.9), ("e", "fake", 0.8)]
)


def test_failures_are_the_wrong_ones_the_surest_first():
    assert list(failures(PREDICTIONS)["path"]) == ["c", "a"]


def test_failures_are_written_with_the_probability_of_what_was_said(tmp_path):
    save_failures(PREDICTIONS, tmp_path / "failures.json")
    assert json.loads((tmp_path / "failures.json").read_text()) == [
        {"file": "c", "true_label": "real", "predicted_label": "fake", "probability": 0.99},
        {"file": "a", "true_label": "fake", "predicted_label": "real", "probability": 0.6},
    ]


def test_failures_are_learned_and_the_file_is_a_detector(images, trained, tmp_path):
    val = images.split("val")
    before = predict(trained, val)
    wrong = failures(before)
    seen, learned = [], []

    def remember_size(detector, train, val):
        learned.append(len(train))
        learn_familiarity(detector, train, val)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dfdlib.training.finetune.fit", lambda *given: seen.append(given) or fit(*given))
        for module in ("loop", "finetune"):
            patch.setattr(f"dfdlib.training.{module}.learn_familiarity", remember_size)
        learn_from_failures(
            trained, images, wrong, TrainConfig(**{**SETTINGS.__dict__, "epochs": 8}), tmp_path, replay=3
        )
    after = predict(load_detector(tmp_path / "best_model_finetuned.pth"), val)
    ((_, train, kept, _, _),) = seen
    assert set(wrong["path"]) <= set(train.manifest["path"])
    assert len(train) == 4 * len(wrong)
    assert load_detector(tmp_path / "best_model_finetuned.pth").familiarity is not None
    assert learned == [len(train), len(images.split("train")) + len(wrong)], (
        "not familiar with failures alone"
    )
    replayed = train.manifest[train.manifest["split"] == "train"]["label"].value_counts()
    assert abs(replayed["fake"] - replayed["real"]) <= 1
    assert not set(kept.manifest["group"]) & set(train.manifest["group"])
    shown = before_and_after(before, after, wrong, {"test": (before, after)}).set_index(["set", "detector"])
    assert shown.loc[("failures", "before"), "accuracy"] == 0
    assert shown.loc[("failures", "after"), "accuracy"] > 0
    assert shown.loc[("validation", "before"), "n"] == len(val)
    assert shown.loc[("validation without them", "before"), "accuracy"] == 1


def test_the_test_split_teaches_nothing(images, trained, tmp_path):
    with pytest.raises(DfdError, match="test split must teach nothing"):
        learn_from_failures(trained, images, images.split("test").manifest, SETTINGS, tmp_path)
    with pytest.raises(DfdError, match="no failure to learn from"):
        learn_from_failures(trained, images, images.manifest.iloc[:0], SETTINGS, tmp_path)
