"""Calibration: bins and thresholds by hand, the band's promise on both sides of its edges."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from dfdlib import DfdError
from dfdlib.evaluation import calibration, tables
from dfdlib.evaluation.calibration import AbstainBand


@pytest.fixture(autouse=True)
def _no_warnings(recwarn):
    yield
    assert not [str(warning.message) for warning in recwarn]


def predictions(n=1000, seed=0, scale=1.0, group_size=1):
    """Predictions whose logits are `scale` times too large."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(0, 2, n)
    fake = rng.random(n) < expit(raw)
    table = pd.DataFrame(
        {
            "label": np.where(fake, "fake", "real"),
            "group": [f"g{i // group_size}" for i in range(n)],
            "logit": scale * raw,
            "p_fake": expit(scale * raw),
        }
    )
    table.attrs["threshold"] = 0.6
    return table


def truth_and_score(table):
    return (table["label"] == "fake").to_numpy(int), table["p_fake"].to_numpy()


def test_reliability_agrees_with_scikit_learn():
    table = predictions()
    bins = calibration.reliability(table, 8)
    share, p_fake = calibration_curve(*truth_and_score(table), n_bins=8, strategy="quantile")
    assert bins["share_fake"].tolist() == pytest.approx(share)
    assert bins["p_fake"].tolist() == pytest.approx(p_fake)
    assert bins["n"].tolist() == [125] * 8
    wilson = binomtest(int(bins["share_fake"][3] * 125 + 0.5), 125).proportion_ci(method="wilson")
    assert (bins["low"][3], bins["high"][3]) == pytest.approx((wilson.low, wilson.high))


def test_reliability_counts_a_group_once():
    alone, grouped = predictions(group_size=1), predictions(group_size=1000)
    assert calibration.reliability(grouped, 5)["n_groups"].tolist() == [1] * 5
    assert calibration.reliability(alone.assign(group=None), 5)["n_groups"].tolist() == [200] * 5
    widths = [calibration.reliability(table, 5).eval("high - low") for table in (alone, grouped)]
    assert (widths[1] > 4 * widths[0]).all()


def test_reliability_of_little():
    assert len(calibration.reliability(predictions(1))) == 1
    assert len(calibration.reliability(predictions().assign(p_fake=0.5))) == 1
    with pytest.raises(DfdError, match="needs labelled images"):
        calibration.reliability(predictions().assign(label=None))
    with pytest.raises(DfdError, match="needs labelled images and bins"):
        calibration.reliability(predictions(), 0)
    with pytest.raises(DfdError, match="lack the columns group"):
        calibration.reliability(predictions().drop(columns="group"))


def test_the_calibration_error_is_that_of_the_bins():
    table = predictions(scale=2)
    bins = calibration.reliability(table, 12)
    expected = (bins["n"] * (bins["p_fake"] - bins["share_fake"]).abs()).sum() / 1000
    assert calibration.ece(*truth_and_score(table), n_bins=12) == pytest.approx(expected)
    assert calibration.ece([0, 1, 1, 1], [0.5] * 4) == pytest.approx(0.25)
    assert calibration.ece([1], [0.9]) == pytest.approx(0.1)
    assert np.isnan(calibration.ece([], []))
    with pytest.raises(DfdError, match="look like logits"):
        calibration.ece([1], [1.9])


def test_the_temperature_brings_the_error_down_and_changes_no_verdict():
    table = predictions(4000, scale=3)
    truth, _ = truth_and_score(table)
    temperature = calibration.fit_temperature(truth, table["logit"])
    after = calibration.with_temperature(table, temperature)
    assert temperature == pytest.approx(3, rel=0.1)
    assert calibration.ece(*truth_and_score(table)) > 0.1
    assert calibration.ece(*truth_and_score(after)) < 0.03
    called = [one["p_fake"] >= one.attrs["threshold"] for one in (table, after)]
    assert (called[0] == called[1]).all()
    assert logit(after.attrs["threshold"]) == pytest.approx(logit(0.6) / temperature)
    assert table.attrs["threshold"] == 0.6
    back = calibration.with_temperature(after, 1 / temperature)
    assert back["p_fake"].to_numpy() == pytest.approx(table["p_fake"].to_numpy())
    for wrong in (0, -1, np.nan, np.inf):
        with pytest.raises(DfdError, match="a number above 0"):
            calibration.with_temperature(table, wrong)


def test_the_threshold_for_false_alarms_by_hand():
    truth, p_fake = [0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.4, 0.8, 0.5, 0.9]
    chosen = [
        calibration.threshold_for_false_alarms(truth, p_fake, rate) for rate in (0, 0.25, 0.3, 0.5, 0.8)
    ]
    assert chosen == pytest.approx([0.85, 0.45, 0.45, 0.3, 0.15])


@pytest.mark.parametrize("rate", [0, 0.01, 0.05, 0.3])
@pytest.mark.parametrize("decimals", [2, 12])
def test_the_false_alarms_are_kept_and_no_fake_is_given_away(rate, decimals):
    truth, p_fake = truth_and_score(predictions(500, seed=3))
    p_fake = p_fake.round(decimals)
    threshold = calibration.threshold_for_false_alarms(truth, p_fake, rate)
    called = p_fake >= threshold
    assert called[truth == 0].mean() <= rate
    assert called[truth == 1].mean() == pytest.approx(
        bootstrap.hit_rate_at(*bootstrap.curves(truth, p_fake), rate)[0]
    )


def test_false_alarms_that_cannot_be_promised_are_refused():
    with pytest.raises(DfdError, match="2 of 4 real images have a p_fake of 1: no threshold"):
        calibration.threshold_for_false_alarms([0, 0, 0, 0, 1], [1, 1, 0.2, 0.3, 0.4], 0.25)
    for truth, rate in (([1, 1], 0.1), ([0, 1], 1), ([0, 1], -0.1)):
        with pytest.raises(DfdError, match="a false-alarm rate in"):
            calibration.threshold_for_false_alarms(truth, [0.2, 0.4], rate)
    near = np.nextafter(1, 0)
    assert near < calibration.threshold_for_false_alarms([0, 1], [near, 1], 0) <= 1


def verdicts(p_fake, band, threshold=0.5):
    return tables.verdicts(p_fake, threshold, (band.low, band.high))


def test_the_band_by_hand():
    p_fake = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
    band = calibration.abstain_band([0, 0, 0, 1, 0, 1, 1, 1], p_fake, 0.5, 0.9)
    assert (band.low, band.high) == pytest.approx((0.35, 0.65))
    assert (band.accuracy, band.coverage, band.n) == (1, 0.75, 8)
    said = verdicts([0.1, band.low, 0.5, band.high, 1], band)
    assert said.tolist() == ["real", "can't tell", "can't tell", "fake", "fake"]


def test_the_band_keeps_its_promise():
    table = predictions(3000, seed=1)
    truth, p_fake = truth_and_score(table)
    band = calibration.abstain_band(truth, p_fake, 0.5, 0.9)
    said = verdicts(p_fake, band)
    right = (p_fake >= 0.5) == truth
    for side in (p_fake >= 0.5, p_fake < 0.5):
        assert (
            right[side & (said == "can't tell")].mean() < 0.9 <= right[side & (said != "can't tell")].mean()
        )
    # calibrated scores are right with their own probability
    assert (band.low, band.high) == pytest.approx((0.1, 0.9), abs=0.05)
    assert band.accuracy == pytest.approx(right[said != "can't tell"].mean())
    assert band.coverage == pytest.approx((said != "can't tell").mean())
    wider = calibration.abstain_band(truth, p_fake, 0.5, 0.97)
    assert wider.low < band.low < band.high < wider.high


def test_the_band_starts_at_the_threshold():
    truth, p_fake = truth_and_score(predictions(3000, seed=1))
    band = calibration.abstain_band(truth, p_fake, 0.2, 0.9)
    assert band.low <= 0.2 < 0.85 < band.high
    none = calibration.abstain_band(truth, p_fake, 0.5, 0)
    assert (none.low, none.high, none.coverage) == (0.5, 0.5, 1)
    assert verdicts([0.499, 0.5], none).tolist() == ["real", "fake"]


def test_where_nothing_is_sure_no_verdict_is_given():
    band = calibration.abstain_band([1, 1, 0, 0], [0, 0.2, 0.8, 1], 0.5, 0.9)
    assert (band.low, band.coverage) == (0, 0)
    assert np.isnan(band.accuracy)
    assert set(verdicts([0, 0.2, 0.5, 1], band)) == {"can't tell"}
    one_side = calibration.abstain_band([0, 0], [0.1, 0.2], 0.5, 0.9)  # no fake verdict was ever tried
    assert verdicts([0.1, 0.9], one_side).tolist() == ["real", "can't tell"]


def test_the_band_can_be_stored():
    band = calibration.abstain_band(*truth_and_score(predictions()), 0.5, 0.99)
    again = AbstainBand(**json.loads(json.dumps(dataclasses.asdict(band))))
    assert again == band
    assert all(type(value) in (float, int) for value in dataclasses.asdict(band).values())


def test_a_band_of_nonsense_is_refused():
    for truth, threshold, accuracy in (([], 0.5, 0.9), ([1], 0, 0.9), ([1], 2, 0.9), ([1], 0.5, 90)):
        with pytest.raises(DfdError, match="a band needs images"):
            calibration.abstain_band(truth, [0.5] * len(truth), threshold, accuracy)
