"""Protocols of generalisation: who trains, who is judged, and that nobody is judged on what trained it."""

from functools import partial

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from dfdlib import DfdError, create_detector
from dfdlib.data.manifest import content_digests, files_of
from dfdlib.evaluation.bootstrap import bootstrap_metrics
from dfdlib.evaluation.predictions import predict
from dfdlib.training import generalise as protocols
from dfdlib.training.memory import remember
from dfdlib.training.settings import TrainConfig

NEW = partial(create_detector, "resnet10t", 24, pretrained="none")
GENERATORS = {"one": ("ProGAN", "StyleGAN"), "two": ("glide", "sd_v1_4")}


@pytest.fixture
def manifest(write_images):
    """Of each of two sources and three splits, 4 real images and 2 fakes of each of two generators."""
    rows = []
    for source, names in GENERATORS.items():
        for split in ("train", "val", "test"):
            rows += [(source, split, "real", None, i) for i in range(4)]
            rows += [(source, split, "fake", name, i) for name in names for i in range(2)]
    table = pd.DataFrame(rows, columns=["source", "split", "label", "generator", "i"])
    parts = zip(*(table[name] for name in ("source", "split", "label", "generator", "i")), strict=True)
    table["path"] = ["/".join(f"{part}" for part in row) + ".png" for row in parts]
    return table.assign(category=None, group=table["path"], root=str(write_images(table["path"])))


@pytest.fixture
def trained(monkeypatch):
    """Put what only remembers its images in place of training; return the splits that it was given, by name."""
    given = {}

    def instead(detector, train, val, _config, _out_dir, name):
        remember(detector, train, val)
        given[name] = detector, train.manifest, val.manifest
        return detector, None

    monkeypatch.setattr(protocols, "train_or_load", instead)
    return given


def relations(plan):
    return [[plan.relation(row, column) for column in plan.tested_on] for row in plan.trained_on]


def test_data_sets_become_one_manifest(tmp_path):
    for seed, name in enumerate(
        f"{s}/{label}/{i}.png" for s in "ab" for label in ("real", "fake") for i in range(8)
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), np.uint8)
        cv2.imwrite(str(tmp_path / name), image)
    joined = protocols.open_sources([tmp_path / "a", tmp_path / "b"])
    assert joined["path"].is_unique
    assert joined["group"].is_unique
    assert all(file.is_file() for file in files_of(joined))
    assert joined["source"].value_counts().to_dict() == {"a": 16, "b": 16}
    fake = joined["label"] == "fake"
    assert (joined.loc[fake, "generator"] == joined.loc[fake, "source"]).all()
    assert joined.loc[~fake, "generator"].isna().all()
    with pytest.raises(DfdError, match="two data sets are called a; rename"):
        protocols.open_sources([tmp_path / "a", tmp_path / "b" / ".." / "a"])


def test_each_source_trains_and_judges_its_own(manifest):
    plan = protocols.plan(manifest, "sources")
    for name in GENERATORS:
        assert set(manifest.loc[plan.trained_on[name], "source"]) == {name}
        assert (plan.trained_on[name] == plan.tested_on[name]).all()
    assert relations(plan) == [["seen", "unseen"], ["unseen", "seen"]]


def test_sources_train_together_and_one_is_left_out(manifest):
    plan = protocols.plan(manifest, "pooled")
    assert list(plan.trained_on) == ["all", "all but one", "all but two"]
    assert plan.trained_on["all"].all()
    assert set(manifest.loc[plan.trained_on["all but one"], "source"]) == {"two"}
    assert list(plan.tested_on) == list(GENERATORS)
    assert relations(plan) == [["seen", "seen"], ["unseen", "seen"], ["seen", "unseen"]]


def test_a_generator_that_is_left_out_is_judged_beside_the_real_images_of_its_source(manifest):
    plan = protocols.plan(manifest, "generators")
    assert list(plan.trained_on) == ["all", *(f"all but {name}" for name in plan.tested_on)]
    assert sorted(plan.tested_on) == sorted(sum(GENERATORS.values(), ()))
    for name, rows in plan.tested_on.items():
        assert not (plan.trained_on[f"all but {name}"] & rows & (manifest["label"] == "fake")).any()
        assert plan.trained_on[f"all but {name}"].sum() == len(manifest) - 6
        judged = manifest[rows]
        assert judged["source"].nunique() == 1
        assert judged["label"].value_counts().to_dict() == {"real": 12, "fake": 6}
    unseen = np.array(relations(plan)) == "unseen"
    assert not unseen[0].any()
    assert (unseen[1:] == np.eye(4, dtype=bool)).all()


def test_older_generators_train_and_newer_ones_judge(manifest):
    plan = protocols.plan(manifest, "released")
    assert list(plan.trained_on) == ["up to 2017-10", "up to 2018-12", "up to 2021-12"]
    assert list(plan.tested_on) == ["2017-10", "2018-12", "2021-12", "2022-08"]
    assert relations(plan)[1] == ["seen", "seen", "next", "later"]
    fakes = manifest[plan.trained_on["up to 2018-12"] & (manifest["label"] == "fake")]
    assert set(fakes["generator"]) == {"ProGAN", "StyleGAN"}
    periods = protocols.plan(manifest, "released", window=2)
    assert list(periods.tested_on) == ["2017-10 to 2018-12", "2021-12 to 2022-08"]


def test_the_manifest_overrules_the_table_of_dates(manifest, capsys):
    stated = manifest.assign(released=manifest["generator"].map({"ProGAN": "2024-01-31"}))
    assert list(protocols.plan(stated, "released").tested_on) == ["2018-12", "2021-12", "2022-08", "2024-01"]
    mine = manifest.assign(generator=manifest["generator"].replace("glide", "mine"))
    plan = protocols.plan(mine, "released")
    assert "left out: mine, of unknown date" in capsys.readouterr().out
    for rows in (*plan.trained_on.values(), *plan.tested_on.values()):
        assert "mine" not in set(mine.loc[rows, "generator"])


def test_what_cannot_be_compared_is_refused(manifest):
    one = manifest.assign(
        source="one", generator=manifest["generator"].where(manifest["generator"].isna(), "x")
    )
    no_val = manifest[(manifest["split"] != "val") | (manifest["source"] == "one")]
    for table, protocol, message in (
        (one, "sources", "at least two data sets, and there is one"),
        (one, "generators", "at least two generators, and there is x"),
        (one, "released", "generators of two periods, and there are 0"),
        (manifest.assign(released="soon"), "released", "'soon' in its column `released`"),
        (no_val, "sources", "`two` has no fake and no real image in its val split"),
        (manifest, "source", "did you mean `sources`"),
    ):
        with pytest.raises(DfdError, match=message):
            protocols.plan(table, protocol)


@pytest.mark.parametrize("protocol", protocols.PROTOCOLS)
def test_no_cell_is_judged_on_what_trained_it(manifest, trained, tmp_path, protocol):
    train, test = (
        manifest["path"].str.startswith(f"two/{split}/real").idxmax() for split in ("train", "test")
    )
    files = files_of(manifest)
    files[test].write_bytes(files[train].read_bytes())
    table = protocols.generalise(manifest, protocol, NEW, TrainConfig(), tmp_path, resamples=5)
    assert set(table["n_real"]) == {4, 3}, "a copy of a training image is not judged"
    plan = protocols.plan(manifest.drop(index=test).reset_index(drop=True), protocol)
    assert len(table) == len(plan.trained_on) * len(plan.tested_on)
    kept = manifest.drop(index=test)
    for detector, learned, held_out in trained.values():
        assert set(learned["split"]) == {"train"}
        assert set(held_out["split"]) == {"val"}
        in_test = kept[kept["split"] == "test"]
        assert not np.isin(content_digests(in_test), detector.training_digests).any()


def test_a_cell_is_the_mean_over_the_seeds_with_an_interval_over_groups(manifest, trained, tmp_path):
    for seeds in (1, 2):
        table = protocols.generalise(
            manifest, "sources", NEW, TrainConfig(seed=3), tmp_path, seeds, resamples=50
        )
        cell = table[(table["trained_on"] == "one") & (table["tested_on"] == "two")].iloc[0]
        images = (
            protocols.ImageDataset(manifest, 24)
            .subset((manifest["source"] == "two").to_numpy())
            .split("test")
        )
        detectors = [trained[f"sources-one-seed{seed}"][0] for seed in range(3, 3 + seeds)]
        judged = [
            predict(detector, protocols.ImageDataset(images.manifest, detector.fit)) for detector in detectors
        ]
        each = [roc_auc_score(one["label"] == "fake", one["p_fake"]) for one in judged]
        assert cell["auc"] == pytest.approx(np.mean(each))
        assert (cell["n"], cell["n_real"], cell["n_fake"], cell["n_groups"], cell["seeds"]) == (
            8,
            4,
            4,
            8,
            seeds,
        )
        assert cell["auc_low"] <= cell["auc"] <= cell["auc_high"]
        if seeds == 1:
            row = bootstrap_metrics(judged[0], ["auc"], 50).loc["auc"]
            assert tuple(cell[["auc_low", "auc_high"]]) == pytest.approx(tuple(row[["low", "high"]]))
            assert np.isnan(cell["auc_sd"])
        else:
            assert cell["auc_sd"] == pytest.approx(np.std(each, ddof=1))
    with pytest.raises(DfdError, match="must be at least 1"):
        protocols.generalise(manifest, "sources", NEW, TrainConfig(), tmp_path, seeds=0)


def test_the_sentence_says_what_the_numbers_say():
    rows = [("a", "a", "seen", 0.9, 0.8), ("a", "b", "next", 0.6, 0.55), ("a", "c", "later", 0.1, 0.0)]
    rows += [("b", "c", "next", 0.4, 0.3)]  # an interval below one half counts too
    table = pd.DataFrame(rows, columns=["trained_on", "tested_on", "relation", "auc", "auc_low"])
    assert protocols.finding(table.assign(auc_high=table["auc"] + 0.05), "released") == (
        "On the generators of the period after its training a detector has a mean AUC of 0.500, against 0.900 on what "
        "it was trained on; 1 of 2 intervals do not lie above 0.5, and the lowest AUC is 0.400 [0.300, 0.450] (trained on b, "
        "tested on c)."
    )
