"""From images to the predictions table: in order, by one detector or several, and what was seen in training."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from dfdlib import DfdError, create_detector, predict
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import categories_of, content_digests, root_of
from dfdlib.evaluation.files import judge_files
from dfdlib.evaluation.predictions import DecodedRows, in_training, judge_rows, predict_ensemble
from dfdlib.evaluation.robustness import predict_degraded
from dfdlib.evaluation.tables import joint_decision
from dfdlib.images.degrade import DEGRADATIONS
from dfdlib.images.picture import read_picture
from dfdlib.images.tiles import parse_fit
from dfdlib.models.decision import Decision
from dfdlib.models.forward import judge

CATEGORIES = ("animals", "human_faces", "vehicles")


@pytest.fixture
def images(demo):
    return ImageDataset(demo, 32, categories_of(demo)).split("test")


def new_detector(seed=0, categories=CATEGORIES, size=32, **settings):
    detector = create_detector("resnet10t", size, categories, pretrained="none", seed=seed)
    detector.decision = Decision(**settings)
    return detector


def test_the_table_is_of_the_images_in_order(images):
    detector = new_detector(threshold=0.4, temperature=2.0, band=(0.3, 0.6))
    table = predict(detector, images, batch_size=7)
    assert list(table["path"]) == list(images.manifest["path"])
    assert list(table.columns[: images.manifest.shape[1]]) == list(images.manifest.columns)
    logits = judge(detector, images.__getitems__(range(len(images)))["image"])
    assert table["logit"].to_numpy() == pytest.approx(logits.fake.numpy(), abs=1e-4)
    assert table["p_fake"].to_numpy() == pytest.approx(detector.decision.p_fake(table["logit"]))
    assert table["verdict"].tolist() == detector.decision.verdicts(table["p_fake"]).tolist()
    assert (table["predicted_category"] == np.array(CATEGORIES)[logits.category.argmax(1)]).all()


def test_no_image_makes_an_empty_table_of_the_same_columns(images):
    detector = new_detector()
    none = predict(detector, images.subset(np.zeros(len(images), bool)))
    assert len(none) == 0
    assert list(none.columns) == list(predict(detector, images).columns)


def test_images_of_training_are_marked(images):
    detector = new_detector()
    assert not predict(detector, images)["in_training"].any(), "nothing is known of its training"
    detector.training_digests = content_digests(images.manifest.iloc[[2, 5]])
    table = predict(detector, images)
    assert np.flatnonzero(table["in_training"]).tolist() == [2, 5]
    other = new_detector(seed=1)
    other.training_digests = content_digests(images.manifest.iloc[[0]])
    together = predict_ensemble([detector, other], images)
    assert np.flatnonzero(together["in_training"]).tolist() == [0, 2, 5]


def test_a_missing_file_was_not_in_training(tmp_path):
    detector = new_detector()
    detector.training_digests = np.array([0])
    assert in_training(detector, pd.DataFrame({"path": ["gone.png"], "root": str(tmp_path)})).tolist() == [
        False
    ]


def test_an_ensemble_averages_calibrated_logits(images):
    detectors = [new_detector(0, temperature=2.0, threshold=0.4), new_detector(1, threshold=0.6)]
    apart = [predict(detector, images) for detector in detectors]
    together = predict_ensemble(detectors, images)
    expected = (apart[0]["logit"] / 2 + apart[1]["logit"]) / 2
    assert together["logit"].to_numpy() == pytest.approx(expected.to_numpy())
    decision = joint_decision(detectors)
    assert together["predicted"].tolist() == decision.labels(decision.p_fake(expected)).tolist()


def test_detectors_that_do_not_fit_together_are_refused(images):
    for other, message in (
        (new_detector(size=48), "one input size"),
        (new_detector(categories=()), "same categories"),
    ):
        with pytest.raises(DfdError, match=message):
            predict_ensemble([new_detector(), other], images)


def test_images_fitted_otherwise_are_refused(demo):
    bicubic = ImageDataset(demo, (32, "bicubic"), CATEGORIES)
    with pytest.raises(
        DfdError, match=r"fitted to 32 px, bicubic, .* looks at 32 px, bilinear, whole images"
    ):
        predict(new_detector(), bicubic)


def test_frames_of_a_row_are_averaged():
    detector = new_detector()
    pixels = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    rows = pd.DataFrame({"path": ["a", "b"]})
    alone = judge(detector, pixels)
    (table,) = judge_rows([detector], [DecodedRows(rows, {detector.fit: pixels}, {detector.fit: [2, 3]})])
    expected = [alone.fake[:2].mean().item(), alone.fake[2:].mean().item()]
    assert table["logit"].tolist() == pytest.approx(expected, abs=1e-5)
    category = alone.category[2:].mean(0).softmax(0)
    names = [f"p_{name}" for name in CATEGORIES]
    assert table.loc[1, names].to_numpy(float) == pytest.approx(category.numpy(), abs=1e-5)


def test_predictions_take_views(images):
    detector = new_detector()
    plain, viewed = predict(detector, images), predict(detector, images, tta=("flip", "crop"))
    assert list(plain.columns) == list(viewed.columns)
    assert not np.allclose(plain["logit"], viewed["logit"])
    with pytest.raises(DfdError, match="unknown view `flop`; did you mean `flip`"):
        predict(detector, images, tta=("flop",))


def test_tiles_are_pooled_alike_from_files_and_data_sets(wide):
    tiles = create_detector("resnet10t", 32, pretrained="none", native=parse_fit("tiles, top=0.25"))
    images = ImageDataset(wide, tiles.fit)
    table = predict(tiles, images, batch_size=3)
    logits = []
    for row in (0, 5):
        views = torch.from_numpy(read_picture(root_of(wide) / wide["path"][row]).views(*tiles.fit))
        with torch.inference_mode():
            of_tiles = tiles.network.eval()(views.permute(0, 3, 1, 2)).fake
        logits.append(float(of_tiles.sort().values[-round(len(views) / 4) :].mean()))
    assert table["logit"].iloc[[0, 5]].tolist() == pytest.approx(logits, abs=1e-4)
    whole = replace(tiles, native=None)
    alone, together = (
        pd.concat(judge_files(chosen, wide), ignore_index=True) for chosen in ([tiles], [whole, tiles])
    )
    assert alone["logit"].tolist() == pytest.approx(table["logit"].tolist(), abs=1e-4)
    assert alone["judged"][0] == "30 overlapping squares, the whole picture, reduced to 248 × 74 pixels"
    assert together["judged"][0] == f"the middle square; {alone['judged'][0]}"
    other = predict(whole, ImageDataset(wide, 32))["logit"]
    assert together["logit"].tolist() == pytest.approx(((other + table["logit"]) / 2).tolist(), abs=1e-4)
    degraded = predict_degraded({"tiles": tiles}, wide, {"blur": DEGRADATIONS["blur"]})
    assert next(degraded)[2]["logit"].tolist() == pytest.approx(table["logit"].tolist(), abs=1e-4)
