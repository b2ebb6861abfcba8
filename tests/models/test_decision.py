"""The decision rule: from logits to probabilities, labels and verdicts, at every edge."""

import dataclasses

import numpy as np
import pytest
from scipy.special import logit

from dfdlib.models.decision import CANT_TELL, Decision


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_raw_logits_are_divided_by_the_temperature(temperature):
    raw = np.array([-300.0, -1.5, 0.0, 2.0, 900.0])
    p_fake = Decision(temperature=temperature).p_fake(raw)
    assert p_fake == pytest.approx(1 / (1 + np.exp(-raw / temperature)), abs=1e-12)
    assert p_fake[2] == 0.5
    assert ((p_fake >= 0) & (p_fake <= 1)).all()


def test_probabilities_have_double_precision():
    logits = np.float32([15, 16])
    p_fake = Decision().p_fake(logits)
    assert p_fake.dtype == np.float64
    assert logit(p_fake) == pytest.approx([15, 16])


def test_an_image_at_the_threshold_is_called_fake():
    decision = Decision(0.4)
    p_fake = np.array([0, np.nextafter(0.4, 0), 0.4, 1])
    assert decision.is_fake(p_fake).tolist() == [False, False, True, True]
    assert decision.labels(p_fake).tolist() == ["real", "real", "fake", "fake"]
    assert decision.is_fake(np.float32([0.4])).tolist() == [True], "0.4 in single precision is a little more"


def test_without_a_band_the_verdict_is_the_label():
    p_fake = np.linspace(0, 1, 11)
    assert Decision(0.3).verdicts(p_fake).tolist() == Decision(0.3).labels(p_fake).tolist()


def test_the_band_takes_its_lower_end_and_leaves_its_upper_one():
    decision = Decision(0.5, band=(0.3, 0.6))
    p_fake = [np.nextafter(0.3, 0), 0.3, 0.49, 0.5, np.nextafter(0.6, 0), 0.6]
    assert decision.verdicts(p_fake).tolist() == ["real", *[CANT_TELL] * 4, "fake"]
    assert decision.labels(p_fake).tolist() == ["real"] * 3 + ["fake"] * 3


def test_an_empty_band_and_one_of_everything():
    p_fake = [0, 0.5, 1]
    assert Decision(0.5, band=(0.5, 0.5)).verdicts(p_fake).tolist() == ["real", "fake", "fake"]
    everything = (0.0, float(np.nextafter(1, 2)))
    assert Decision(0.5, band=everything).verdicts(p_fake).tolist() == [CANT_TELL] * 3


def test_of_no_images_nothing_is_said():
    decision = Decision(band=(0.3, 0.6))
    for of in (decision.p_fake, decision.is_fake, decision.labels, decision.verdicts):
        assert of(np.empty(0)).shape == (0,)


def test_a_decision_is_a_value():
    assert Decision(0.4, 2.0, (0.3, 0.6)) == Decision(0.4, 2.0, (0.3, 0.6)) != Decision(0.4, 2.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Decision().threshold = 0.2
