"""Calibration: bins and thresholds by hand, the band's promise on both sides of its edges."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import binom, binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score

from dfdlib import DfdError
from dfdlib.evaluation import calibration, metrics
from dfdlib.evaluation.tables import with_decision
from dfdlib.models.decision import CANT_TELL, Decision


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
        }
    )
    return with_decision(table, Decision(0.6))


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
        metrics.tpr_at_fpr(*metrics.curves(truth, p_fake), rate)[0]
    )


def test_false_alarms_that_cannot_be_promised_are_refused():
    with pytest.raises(DfdError, match="2 of 4 real images have a p_fake of 1: no threshold"):
        calibration.threshold_for_false_alarms([0, 0, 0, 0, 1], [1, 1, 0.2, 0.3, 0.4], 0.25)
    for truth, rate in (([1, 1], 0.1), ([0, 1], 1), ([0, 1], -0.1)):
        with pytest.raises(DfdError, match="a false-alarm rate in"):
            calibration.threshold_for_false_alarms(truth, [0.2, 0.4], rate)
    near = np.nextafter(1, 0)
    assert near < calibration.threshold_for_false_alarms([0, 1], [near, 1], 0) <= 1


def test_a_false_alarm_rate_needs_three_times_its_inverse_of_real_images():
    truth, logits = np.r_[np.zeros(299), np.ones(50)], np.linspace(-3, 3, 349)
    with pytest.raises(DfdError, match=r"there are 299 real images .* about 300 are needed"):
        calibration.calibrate(truth, logits, false_alarms=0.01)
    with pytest.raises(DfdError, match="infinitely many are needed"):
        calibration.calibrate(truth, logits, false_alarms=0)
    truth, logits = np.r_[0, truth], np.r_[-4, logits]
    assert calibration.calibrate(truth, logits, false_alarms=0.01).threshold > 0
    with pytest.raises(DfdError, match="there are 30 real images"):
        calibration.calibrate(truth, logits, false_alarms=0.01, groups=np.arange(350) // 10)


def test_the_bound_of_false_alarms_is_that_of_clopper_and_pearson():
    for k, n in ((0, 300), (3, 300), (7, 40)):
        assert binom.cdf(k, n, calibration.false_alarms_below(k, n)) == pytest.approx(0.05)
    assert calibration.false_alarms_below(0, 300) == pytest.approx(3 / 300, rel=0.01)
    assert calibration.false_alarms_below(5, 5) == 1


def test_a_band_of_nonsense_is_refused():
    for truth, threshold, accuracy in (([], 0.5, 0.9), ([1], 0, 0.9), ([1], 2, 0.9), ([1], 0.5, 90)):
        with pytest.raises(DfdError, match="a band needs images"):
            calibration.abstain_band(truth, [0.5] * len(truth), threshold, accuracy)


def test_the_threshold_is_the_middle_of_the_best_gap():
    assert calibration.choose_threshold([1, 0, 1, 0], [0.9, 0.2, 0.6, 0.1]) == pytest.approx(0.4)
    # both cuts make one mistake; the wider gap wins
    assert calibration.choose_threshold([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.9]) == pytest.approx(0.6)
    assert calibration.choose_threshold([1, 1], [0.9, 0.8]) == 0.5
    assert calibration.choose_threshold([], []) == 0.5


def test_the_threshold_has_the_best_balanced_accuracy():
    truth, p_fake = truth_and_score(predictions(300, seed=3))
    p_fake = np.round(p_fake, 2)
    chosen = balanced_accuracy_score(truth, p_fake >= calibration.choose_threshold(truth, p_fake))
    best = max(balanced_accuracy_score(truth, p_fake >= cut) for cut in np.linspace(-0.005, 1.005, 102))
    assert chosen == pytest.approx(best)


def test_the_threshold_splits_neighbouring_floats():
    real, fake = np.nextafter(np.nextafter(1, 0), 0), np.nextafter(1, 0)
    assert real < calibration.choose_threshold([0, 1], [real, fake]) <= fake


def test_the_temperature_is_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    truth = rng.random(20_000) < expit(logits)
    for temperature in (0.5, 1, 3):
        assert calibration.fit_temperature(truth, logits * temperature) == pytest.approx(
            temperature, rel=0.05
        )


def test_the_temperature_stays_in_its_range():
    low, high = calibration.TEMPERATURES
    assert calibration.fit_temperature([0, 1, 1, 0], [-3, 5, 2, -1]) == pytest.approx(low, rel=1e-3)
    assert calibration.fit_temperature([0, 1, 1, 0], [30, -50, -20, 10]) == pytest.approx(high, rel=1e-3)
    assert calibration.fit_temperature([1, 1], [3, 4]) == 1
    with pytest.raises(DfdError, match="infinite"):
        calibration.fit_temperature([0, 1], [-np.inf, 1])


def test_the_error_is_that_of_the_table_of_reliability():
    table = predictions(scale=2)
    bins = calibration.reliability(table, metrics.ECE_BINS)
    noise = bins["share_fake"] * (1 - bins["share_fake"]) / bins["n"]
    squared = (bins["p_fake"] - bins["share_fake"]) ** 2 - noise
    expected = np.sqrt((bins["n"] * squared).sum() / 1000)
    assert metrics.binary_metrics(table)["ece"] == pytest.approx(expected, rel=0.02)


def test_the_temperature_brings_the_error_down_and_changes_no_order():
    table = predictions(4000, scale=3)
    truth, p_fake = truth_and_score(table)
    temperature = calibration.fit_temperature(truth, table["logit"])
    after = with_decision(table, Decision(0.6, temperature))
    assert temperature == pytest.approx(3, rel=0.1)
    before, then = metrics.binary_metrics(table), metrics.binary_metrics(after)
    assert before["ece"] > 0.1
    assert then["ece"] < 0.03
    assert then["auc"] == before["auc"]
    assert after["logit"].equals(table["logit"])
    back = with_decision(after, Decision(0.6))
    assert back["p_fake"].to_numpy() == pytest.approx(p_fake)


def test_the_band_by_hand():
    p_fake = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
    band = calibration.abstain_band([0, 0, 0, 1, 0, 1, 1, 1], p_fake, 0.5, 0.9)
    assert band == pytest.approx((0.35, 0.65))
    said = Decision(0.5, band=band).verdicts([0.1, band[0], 0.5, band[1], 1])
    assert said.tolist() == ["real", "can't tell", "can't tell", "fake", "fake"]
    assert (Decision(0.5, band=band).verdicts(p_fake) != CANT_TELL).mean() == 0.75


def test_the_band_keeps_its_promise():
    truth, p_fake = truth_and_score(predictions(3000, seed=1))
    band = calibration.abstain_band(truth, p_fake, 0.5, 0.9)
    said = Decision(0.5, band=band).verdicts(p_fake)
    right = (p_fake >= 0.5) == truth
    for side in (p_fake >= 0.5, p_fake < 0.5):
        assert right[side & (said == CANT_TELL)].mean() < 0.9 <= right[side & (said != CANT_TELL)].mean()
    # calibrated scores are right with their own probability
    assert band == pytest.approx((0.1, 0.9), abs=0.05)
    wider = calibration.abstain_band(truth, p_fake, 0.5, 0.97)
    assert wider[0] < band[0] < band[1] < wider[1]


def test_the_band_starts_at_the_threshold():
    truth, p_fake = truth_and_score(predictions(3000, seed=1))
    low, high = calibration.abstain_band(truth, p_fake, 0.2, 0.9)
    assert low <= 0.2 < 0.85 < high
    none = calibration.abstain_band(truth, p_fake, 0.5, 0)
    assert none == (0.5, 0.5)
    assert Decision(0.5, band=none).verdicts([0.499, 0.5]).tolist() == ["real", "fake"]


def test_where_nothing_is_sure_no_verdict_is_given():
    band = calibration.abstain_band([1, 1, 0, 0], [0, 0.2, 0.8, 1], 0.5, 0.9)
    assert band[0] == 0
    assert band[1] > 1
    assert set(Decision(0.5, band=band).verdicts([0, 0.2, 0.5, 1])) == {CANT_TELL}
    one_side = calibration.abstain_band([0, 0], [0.1, 0.2], 0.5, 0.9)  # no fake verdict was ever tried
    assert Decision(0.5, band=one_side).verdicts([0.1, 0.9]).tolist() == ["real", "can't tell"]


def test_the_band_is_of_plain_numbers():
    band = calibration.abstain_band(*truth_and_score(predictions()), 0.5, 0.99)
    assert all(type(value) is float for value in band)


def test_a_decision_is_fitted_by_its_parts():
    table = predictions(2000, seed=2, scale=2)
    truth, logits = truth_and_score(table)[0], table["logit"].to_numpy()
    fitted = calibration.calibrate(truth, logits)
    assert fitted.temperature == calibration.fit_temperature(truth, logits) == pytest.approx(2, rel=0.15)
    p_fake = fitted.p_fake(logits)
    assert fitted.threshold == calibration.choose_threshold(truth, p_fake)
    assert fitted.band == calibration.abstain_band(truth, p_fake, fitted.threshold, 0.9)
    strict = calibration.calibrate(truth, logits, false_alarms=0.02, min_accuracy=0.95)
    assert strict.temperature == fitted.temperature
    assert strict.is_fake(p_fake)[truth == 0].mean() <= 0.02
    assert strict.threshold > fitted.threshold
    assert strict.band == calibration.abstain_band(truth, p_fake, strict.threshold, 0.95)


def test_a_decision_keeps_how_real_images_score():
    truth, logits = np.arange(1000) % 2, np.arange(1000.0) / 100 - 5
    decision = calibration.calibrate(truth, logits)
    assert len(decision.real_logits) == 200
    for share in (0.1, 0.5, 0.9):
        score = np.quantile(decision.p_fake(logits[truth == 0]), 1 - share)
        assert decision.reals_as_high(score) == pytest.approx(share, abs=0.01)
    assert Decision().reals_as_high(0.5) is None
