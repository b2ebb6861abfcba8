"""Robustness: the same numbers as degrading by hand, at the right place, and the same again."""

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dfdlib import DfdError, create_detector, plots, predict
from dfdlib.data.dataset import ImageDataset
from dfdlib.data.manifest import files_of, root_of
from dfdlib.evaluation import bootstrap, metrics
from dfdlib.evaluation.robustness import measure_robustness, predict_degraded, steps_of
from dfdlib.images.decode import read_image, write_image
from dfdlib.images.degrade import DEGRADATIONS, Degradation
from dfdlib.images.faces import cut_square
from dfdlib.images.picture import fit_image, read_picture
from dfdlib.models.decision import Decision
from dfdlib.models.detector import Detector
from dfdlib.models.networks import Logits

DARKER = Degradation(
    lambda image, level: (image * (1 - level)).astype(np.uint8), (0.5, 1), "share taken", unmodified=0
)


class Brightness(nn.Module):
    """Calls bright images fake, and remembers how many it saw."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        assert images.dtype == torch.uint8
        return Logits((images.float().mean((1, 2, 3)) - 127.5) / 20, None)


class Detail(Brightness):
    """Calls images with fine detail fake, which blur and resizing take away."""

    def forward(self, images):
        steps = images.float().diff(dim=-1).abs().mean((1, 2, 3))
        return Logits((steps - 20) / 4, None)


def detector(network=Brightness, size=24, **settings):
    return Detector(network(), "cnn", {}, size, **settings)


@pytest.fixture(autouse=True)
def _no_warnings(recwarn):
    yield
    assert not [str(warning.message) for warning in recwarn]


@pytest.fixture
def photos(tmp_path):
    """40 images of several sizes in 20 groups; fakes are a little brighter and have more detail."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(40):
        fake = i % 2
        shape = (30 + i % 3, 40 - i % 5, 3)
        smooth = cv2.GaussianBlur(rng.normal(0, 60, shape), (0, 0), 3) * 3 + rng.normal(115, 12)
        image = smooth + 18 * fake + rng.normal(0, 14 + 5 * fake, shape)
        write_image(tmp_path / f"{i}.png", np.clip(image, 0, 255).astype(np.uint8))
        rows.append((f"{i}.png", "fake" if fake else "real", None, "test", f"g{i // 2}", None))
    columns = ["path", "label", "category", "split", "group", "generator"]
    return pd.DataFrame(rows, columns=columns).assign(root=str(tmp_path))


def curve(table, name, degradation):
    return table[(table["detector"] == name) & (table["degradation"] == degradation)]


def test_numbers_agree_with_degrading_each_image_by_hand(photos):
    network = create_detector("resnet10t", 32, pretrained="none", seed=1)
    network.decision = Decision(threshold=0.4, temperature=2.0)
    chosen = {name: DEGRADATIONS[name] for name in ("jpeg", "noise", "crop")}
    got = list(predict_degraded({"net": network}, photos, chosen))
    assert [str(step) for _, step, _ in got] == [str(step) for step in steps_of(chosen)]  # NaN ≠ NaN
    for _, step, predictions in got:
        pixels = []
        for path in photos["path"]:
            image = read_image(root_of(photos) / path)  # the whole image, not the fitted one, is degraded
            if step.degraded:
                image = chosen[step.degradation].apply(image, step.level)
            pixels.append(fit_image(image, 32))
        images = torch.from_numpy(np.stack(pixels)).movedim(-1, 1)
        with torch.inference_mode():
            expected = network.network.eval()(images).fake.numpy()
        assert predictions["logit"].to_numpy() == pytest.approx(expected, abs=1e-4)
        assert list(predictions["path"]) == list(photos["path"])
        p_fake = predictions["p_fake"].to_numpy()
        assert p_fake == pytest.approx(1 / (1 + np.exp(-expected / 2)), abs=1e-4)
        assert list(predictions["predicted"] == "fake") == list(p_fake >= 0.4)


def test_the_first_point_is_what_predict_says(photos):
    network = create_detector("resnet10t", 32, pretrained="none", seed=1)
    expected = predict(network, ImageDataset(photos, 32))
    whole = measure_robustness({"net": network}, photos, {"blur": DEGRADATIONS["blur"]}, resamples=30, seed=3)
    row = whole.iloc[0]
    judged = bootstrap.bootstrap_metrics(expected, ["auc", "balanced_accuracy"], 30, seed=3)
    for name, one in judged.iterrows():
        assert row[[name, f"{name}_low", f"{name}_high"]].tolist() == pytest.approx(
            one[["value", "low", "high"]].tolist()
        )
    assert (row["n"], row["n_groups"], row["degraded"]) == (40, 20, False)


def test_the_table_has_a_row_a_detector_and_point(photos):
    few = {name: DEGRADATIONS[name] for name in ("jpeg", "blur", "repost")}
    table = measure_robustness({"a": detector(), "b": detector(Detail, 16)}, photos, few, resamples=10)
    assert list(table) == [
        *("detector", "degradation", "level", "unit", "degraded", "n", "n_groups"),
        *("auc", "auc_low", "auc_high"),
        *("balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high"),
    ]
    assert list(table["detector"]) == ["a"] * 15 + ["b"] * 15
    assert curve(table, "b", "blur")["level"].tolist() == [0, 0.5, 1, 2, 3]
    jpeg = curve(table, "b", "jpeg")
    assert jpeg["level"].tolist()[1:] == [100, 90, 75, 50, 30]
    assert np.isnan(jpeg["level"].iloc[0]), "JPEG of quality 100 is not the image as it is"
    assert set(jpeg["unit"]) == {"JPEG quality"}
    for name in "ab":
        first = table[(table["detector"] == name) & ~table["degraded"]]
        assert len(first) == 3
        assert first["auc"].nunique() == 1
        assert (curve(table, name, "blur")["degraded"]).tolist() == [False] + [True] * 4
    assert (table["auc_low"] <= table["auc"]).all()
    assert (table["auc"] <= table["auc_high"]).all()
    assert table[["n", "n_groups"]].drop_duplicates().to_numpy().tolist() == [[40, 20]]


def test_images_as_they_are_are_judged_once(photos):
    one = detector()
    measure_robustness({"one": one}, photos, DEGRADATIONS, resamples=5)
    n_levels = sum(len(degradation.levels) for degradation in DEGRADATIONS.values())
    assert one.network.seen == 40 * (n_levels + 1)


def test_a_detector_of_detail_suffers_from_blur_and_one_of_brightness_does_not(photos):
    table = measure_robustness(
        {"detail": detector(Detail), "bright": detector()}, photos, {"blur": DEGRADATIONS["blur"]}, 20
    )
    detail, bright = curve(table, "detail", "blur"), curve(table, "bright", "blur")
    assert detail["auc"].iloc[0] > 0.95
    assert detail["balanced_accuracy"].iloc[-1] == 0.5, "all is called real at its own threshold"
    assert bright["auc"].iloc[-1] == pytest.approx(bright["auc"].iloc[0], abs=0.05)


def test_black_images_tell_nothing_and_thresholds_are_the_detectors_own(photos):
    low, high = detector(decision=Decision(1e-4)), detector(decision=Decision(0.5))
    table = measure_robustness({"low": low, "high": high}, photos, {"dark": DARKER}, resamples=10)
    assert curve(table, "high", "dark")["auc"].iloc[-1] == 0.5
    half = [curve(table, name, "dark").iloc[1] for name in ("low", "high")]
    assert half[0]["auc"] == half[1]["auc"] > 0.5
    pixels = [
        fit_image((read_image(root_of(photos) / path) * 0.5).astype(np.uint8), 24) for path in photos["path"]
    ]
    p_fake = 1 / (1 + np.exp(-(np.array([image.mean() for image in pixels]) - 127.5) / 20))
    truth = (photos["label"] == "fake").to_numpy()
    for row, threshold in zip(half, (1e-4, 0.5), strict=True):
        called = p_fake >= threshold
        expected = (called[truth].mean() + (~called[~truth]).mean()) / 2
        assert row["balanced_accuracy"] == pytest.approx(expected)
        assert row["auc"] == pytest.approx(metrics.auc(truth, p_fake))


def test_a_second_call_in_another_order_gives_the_same(photos):
    few = {name: DEGRADATIONS[name] for name in ("noise", "repost")}
    first = measure_robustness({"a": detector(Detail)}, photos, few, resamples=20, seed=5)
    again = measure_robustness({"a": detector(Detail)}, photos, few, resamples=20, seed=5)
    pd.testing.assert_frame_equal(first, again)
    shuffled = photos.sample(frac=1, random_state=0)
    values = measure_robustness({"a": detector(Detail)}, shuffled, few, resamples=20, seed=5)
    pd.testing.assert_frame_equal(first, values, rtol=1e-9)
    other = measure_robustness({"a": detector(Detail)}, photos, few, resamples=20, seed=6)
    assert not first["auc_low"].equals(other["auc_low"])


def test_chunks_and_threads_change_nothing(photos, monkeypatch):
    few = {"noise": DEGRADATIONS["noise"]}
    whole = [one for *_, one in predict_degraded({"a": detector(Detail)}, photos, few)]
    monkeypatch.setattr("dfdlib.evaluation.robustness._MOST_AT_ONCE", 7)
    parts = [one for *_, one in predict_degraded({"a": detector(Detail)}, photos, few, workers=3)]
    for one, other in zip(whole, parts, strict=True):
        assert np.allclose(one["logit"], other["logit"], atol=1e-5)


def test_unlabelled_and_unreadable_images_are_left_out_and_the_rest_stays_in_place(photos):
    (root_of(photos) / "4.png").write_bytes(b"no image")
    expected = measure_robustness(
        {"a": detector()}, photos.drop(index=[4, 9]), {"dark": DARKER}, resamples=10
    )
    photos.loc[9, "label"] = None
    with pytest.warns(UserWarning, match=r"1 of 39 images cannot be read and are left out, e\.g\. .*4\.png"):
        table = measure_robustness({"a": detector()}, photos, {"dark": DARKER}, resamples=10)
    pd.testing.assert_frame_equal(table, expected)
    assert set(table["n"]) == {38}


def test_at_most_so_many_images(photos):
    table = measure_robustness({"a": detector()}, photos, {"dark": DARKER}, resamples=5, max_images=12)
    assert table["n"].iloc[0] <= 12
    assert table["n_groups"].iloc[0] < 20
    fakes = photos[photos["label"] == "fake"]
    assert measure_robustness({"a": detector()}, fakes, {"dark": DARKER}, resamples=5)["auc"].isna().all()


def test_what_cannot_be_judged_is_refused(photos):
    one = {"a": detector()}
    for wrong, message in (
        (lambda: measure_robustness({}, photos), "no detector"),
        (lambda: measure_robustness({"clip": detector(n_frames=8)}, photos), "`clip` looks at clips"),
        (lambda: measure_robustness(one, photos, {}), "no degradation"),
        (
            lambda: measure_robustness(one, photos, {"x": Degradation(DARKER.apply, (), "")}),
            "`x` has no level",
        ),
        (lambda: measure_robustness(one, photos, resamples=0), "needs resamples"),
        (lambda: measure_robustness(one, photos.assign(label=None)), "needs labelled images"),
        (
            lambda: measure_robustness(one, photos.assign(path="gone.png")),
            "none of the 40 images can be read",
        ),
        (
            lambda: measure_robustness(
                one, photos, {"x": Degradation(lambda image, _: image / 255, (1,), "x")}
            ),
            "must return uint8",
        ),
    ):
        with pytest.raises(DfdError, match=message):
            wrong()


def test_curves_show_what_the_table_holds(photos):
    few = {name: DEGRADATIONS[name] for name in ("jpeg", "blur")}
    table = measure_robustness({"plain": detector(), "cost_$b": detector(Detail)}, photos, few, resamples=10)
    for metric, name in (("auc", "AUC"), ("balanced_accuracy", "balanced accuracy")):
        figure = plots.robustness_curves(table, metric)
        jpeg, blur = figure.axes
        assert (jpeg.get_ylabel(), jpeg.get_xlabel(), blur.get_xlabel()) == (
            name,
            "JPEG quality",
            "blur, σ in pixels",
        )
        assert [tick.get_text() for tick in blur.get_xticklabels()] == ["0", "0.5", "1", "2", "3"]
        assert [tick.get_text() for tick in jpeg.get_xticklabels()] == [
            "as is",
            "100",
            "90",
            "75",
            "50",
            "30",
        ]
        chance, *lines = blur.get_lines()
        assert list(chance.get_ydata()) == [0.5, 0.5]
        for line, bands, who in zip(lines, blur.collections, ("plain", "cost_$b"), strict=True):
            rows = curve(table, who, "blur")
            assert line.get_ydata() == pytest.approx(rows[metric].to_numpy())
            ends = bands.get_paths()[0].vertices
            for place, (low, high) in enumerate(rows[[f"{metric}_low", f"{metric}_high"]].to_numpy()):
                here = ends[ends[:, 0] == place, 1]
                assert (here.min(), here.max()) == pytest.approx((low, high))
            low, high = blur.get_ylim()
            assert low <= rows[f"{metric}_low"].min()
            assert high > rows[f"{metric}_high"].max()
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert texts == ["chance", "plain", r"cost \$b"]
        caption = figure.get_supxlabel()
        assert "n = 40 images of 20 groups" in caption
        assert "95 % interval over groups" in caption


def test_curves_that_cannot_be_drawn_are_refused(photos):
    table = measure_robustness({"a": detector()}, photos, {"dark": DARKER}, resamples=5)
    with pytest.raises(DfdError, match="curves are of auc or balanced_accuracy"):
        plots.robustness_curves(table, "eer")
    with pytest.raises(DfdError, match="no value is known"):
        plots.robustness_curves(table.assign(auc=np.nan))
    many = pd.concat([table.assign(detector=str(i)) for i in range(9)])
    with pytest.raises(DfdError, match="9 detectors cannot be distinguished"):
        plots.robustness_curves(many)


def test_faces_are_found_before_images_suffer(crowd, green_faces):
    faces = green_faces()
    labelled = crowd.iloc[:2].assign(label=["real", "fake"], group=["a", "b"])
    network = create_detector("resnet10t", 32, pretrained="none", faces=faces)
    whole, step, judged = list(predict_degraded({"net": network}, labelled, {"blur": DEGRADATIONS["blur"]}))[
        :2
    ][1]
    assert step.degraded
    assert whole == "net"
    pixels = []
    for file in files_of(labelled):
        picture = read_picture(file)
        crop = cut_square(picture.pixels, picture.squares(faces)[0])
        pixels.append(fit_image(DEGRADATIONS["blur"].apply(crop, step.level), 32))
    with torch.inference_mode():
        expected = network.network.eval()(torch.from_numpy(np.stack(pixels)).movedim(-1, 1)).fake.numpy()
    assert judged["logit"].to_numpy() == pytest.approx(expected, abs=1e-4)
