"""Cross-validation: no image is judged by a detector that saw it, and nothing is trained twice."""

from functools import partial

import numpy as np
import pytest
from scipy.special import expit

from dfdlib import DfdError, create_detector, load_detector, predict
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import categories_of, root_of
from dfdlib.evaluation.predictions import predict_ensemble
from dfdlib.evaluation.tables import joint_decision
from dfdlib.training.crossval import cross_validate
from dfdlib.training.settings import TrainConfig

SETTINGS = TrainConfig(epochs=2, batch_size=16, learning_rate=3e-3, precision="fp32")


@pytest.fixture(scope="module")
def images(demo):
    return ImageDataset(demo, 32, categories_of(demo))


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("folds")
    return out_dir, cross_validate(partial(new_detector, images), known(images), SETTINGS, out_dir, 3)


def known(images):
    return images.subset(images.manifest["split"] != "test")


def new_detector(images, seed):
    return create_detector("resnet10t", 32, images.categories, pretrained="none", seed=seed)


def test_every_image_is_judged_once_by_a_fold_that_did_not_see_it(images, trained):
    _, result = trained
    table = result.out_of_fold
    assert sorted(table["path"]) == sorted(known(images).manifest["path"])
    assert (table.groupby("group")["fold"].nunique() == 1).all()
    assert set(table["root"]) == {str(root_of(images.manifest))}
    assert table["in_training"].all(), "they chose the best epoch of their fold"
    again = predict(
        result.detectors[1], images.subset(images.manifest["path"].isin(table["path"][table["fold"] == 1]))
    )
    ours = table[table["fold"] == 1].set_index("path")["p_fake"]
    assert np.allclose(again.set_index("path")["p_fake"].loc[ours.index], ours, atol=1e-6)


def test_the_table_of_folds_agrees_with_the_files(trained):
    out_dir, result = trained
    assert list(result.folds["fold"]) == [0, 1, 2]
    assert result.folds["n"].sum() == len(result.out_of_fold)
    names = {file.name for file in out_dir.iterdir()}
    assert names == {
        f"{stem}_fold{i}{end}"
        for i in range(3)
        for stem, end in (("best_model", ".pth"), ("training_log", ".csv"))
    }
    assert load_detector(out_dir / "best_model_fold2.pth").decision == result.detectors[2].decision


def test_every_fold_starts_from_weights_of_its_own(trained):
    _, result = trained
    assert [one.provenance["settings"]["seed"] for one in result.detectors] == [0, 1, 2]


def test_a_finished_fold_is_not_trained_again(images, trained, monkeypatch):
    out_dir, result = trained
    monkeypatch.setattr("dfdlib.training.crossval.fit", lambda *_: pytest.fail("trained again"))
    again = cross_validate(partial(new_detector, images), known(images), SETTINGS, out_dir, 3)
    assert again.folds.equals(result.folds)
    assert np.allclose(again.out_of_fold["p_fake"], result.out_of_fold["p_fake"], rtol=0, atol=1e-6)


def test_other_settings_train_the_folds_again(images, trained, monkeypatch, capsys):
    out_dir, _ = trained
    calls = []

    def count(*arguments):
        calls.append(arguments)
        raise DfdError("enough")

    monkeypatch.setattr("dfdlib.training.crossval.fit", count)
    other = TrainConfig(**{**SETTINGS.__dict__, "epochs": 3})
    with pytest.raises(DfdError, match="enough"):
        cross_validate(partial(new_detector, images), known(images), other, out_dir, 3)
    assert len(calls) == 1
    assert "of other data or settings" in capsys.readouterr().out


def test_another_input_size_trains_the_folds_again(demo, trained, monkeypatch, capsys):
    out_dir, _ = trained
    larger = ImageDataset(demo, 48, categories_of(demo))

    def stop(*_):
        raise DfdError("enough")

    def new(seed):
        return create_detector("resnet10t", 48, larger.categories, pretrained="none", seed=seed)

    monkeypatch.setattr("dfdlib.training.crossval.fit", stop)
    with pytest.raises(DfdError, match="enough"):
        cross_validate(new, known(larger), SETTINGS, out_dir, 3)
    assert "of other data or settings" in capsys.readouterr().out


def test_an_ensemble_averages_logits(images, trained):
    _, result = trained
    test = images.split("test")
    apart = [predict(detector, test) for detector in result.detectors]
    together = predict_ensemble(result.detectors, test)
    temperatures = [detector.decision.temperature for detector in result.detectors]
    calibrated = [t["logit"] / temperature for t, temperature in zip(apart, temperatures, strict=True)]
    assert np.allclose(together["logit"], np.mean(calibrated, 0))
    assert np.allclose(together["p_fake"], expit(together["logit"]))
    names = [f"p_{name}" for name in images.categories]
    assert np.allclose(together[names].sum(axis=1), 1)
    assert set(together["predicted_category"]) <= set(images.categories)
    threshold = joint_decision(result.detectors).threshold
    assert (together["predicted"] == np.where(together["p_fake"] >= threshold, "fake", "real")).all()


def test_detectors_that_do_not_fit_together_are_refused(images):
    other = create_detector("resnet10t", 48, images.categories, pretrained="none")
    with pytest.raises(DfdError, match="one input size"):
        predict_ensemble([new_detector(images, seed=0), other], images.split("test"))
