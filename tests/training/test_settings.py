"""Settings: what is refused, and how the refusal reads."""

import dataclasses

import pytest

from dfdlib import DfdError
from dfdlib.notebook import MultitaskRun
from dfdlib.training.settings import TrainConfig

PARAMETERS = {
    "data_dir": "",
    "out_dir": "",
    "epochs": 1,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "augment": "light",
    "image_size": 64,
    "faces": "",
    "backbone": "resnet18",
    "pretrained": "auto",
    "weights": "",
    "fallback": "",
    "seed": 0,
    "max_images": 0,
    "workers": 0,
    "fit": "resize",
    "residual": True,
    "stem_stride": 1,
    "fake_loss_weight": 1.0,
    "category_loss_weight": 0.3,
    "category_smoothing": 0.1,
    "precision": "auto",
    "robustness_images": 8,
}


def test_a_notebook_becomes_settings():
    namespace = {**PARAMETERS, "_i1": "a cell", "In": ["a"], "Path": dict, "pd": pytest}
    run = MultitaskRun.from_notebook(namespace)
    assert dataclasses.asdict(run) == PARAMETERS


def test_a_misspelt_parameter_is_refused_and_the_nearest_named():
    with pytest.raises(DfdError, match=r"unknown parameter `epoch`; did you mean `epochs`"):
        MultitaskRun.from_notebook({**PARAMETERS, "epoch": 20})


def test_a_parameter_like_none_other_lists_them_all():
    with pytest.raises(DfdError, match="Known: data_dir, out_dir"):
        MultitaskRun.from_notebook({**PARAMETERS, "zzz": 1})


def test_a_missing_parameter_is_named():
    namespace = {name: value for name, value in PARAMETERS.items() if name != "seed"}
    with pytest.raises(DfdError, match="`seed` must be set"):
        MultitaskRun.from_notebook(namespace)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 0, "at least 1"),
        ("epochs", "20", "a whole number"),
        ("epochs", True, "a whole number"),
        ("learning_rate", "fast", "a number"),
        ("learning_rate", True, "a number"),
        ("fake_loss_weight", float("nan"), "at least 0"),
        ("learning_rate", 0.0, "above 0"),
        ("pretrained", "yes", "one of auto, none"),
        ("precision", "fp23", "did you mean `fp32`"),
        ("image_size", 3, "at least 16"),
        ("fake_loss_weight", -1.0, "at least 0"),
        ("residual", 1, "True or False"),
        ("max_images", -1, "at least 0"),
        ("backbone", 18, "text"),
        ("category_smoothing", 1.0, "below 1"),
        ("augment", "forensics", "did you mean `forensic`"),
    ],
)
def test_a_wrong_value_is_refused(name, value, message):
    with pytest.raises(DfdError, match=message) as caught:
        MultitaskRun.from_notebook({**PARAMETERS, name: value})
    assert f"`{name}`" in str(caught.value)


@pytest.mark.parametrize("value", ["norms", -2, 1.5])
def test_what_freezes_is_a_number_or_a_word(value):
    assert TrainConfig(freeze="norm").freeze == "norm"
    with pytest.raises(DfdError, match=r"`freeze` is .*; it must be .* or `norm`"):
        TrainConfig(freeze=value)


def test_text_and_whole_numbers_serve_as_numbers():
    run = MultitaskRun.from_notebook({**PARAMETERS, "learning_rate": "1e-4"})  # as YAML reads it
    assert run.learning_rate == 1e-4
    run = MultitaskRun.from_notebook({**PARAMETERS, "fake_loss_weight": 2})
    assert run.training().fake_loss_weight == 2.0


def test_training_takes_over_every_shared_setting():
    run = MultitaskRun.from_notebook({**PARAMETERS, "epochs": 7, "seed": 5, "precision": "fp32"})
    config = run.training(patience=3)
    assert (config.epochs, config.seed, config.precision, config.patience) == (7, 5, "fp32", 3)
    assert config.batch_size == PARAMETERS["batch_size"]


def test_an_error_shows_no_traceback_in_a_notebook():
    assert DfdError("a folder is missing")._render_traceback_() == ["DfdError: a folder is missing"]


def test_train_config_checks_itself():
    with pytest.raises(DfdError, match=r"`ema_decay` is 1\.0; it must be below 1"):
        TrainConfig(ema_decay=1.0)
    with pytest.raises(DfdError, match="`accumulate` is 3; it must divide `batch_size`, 16"):
        TrainConfig(accumulate=3)
    with pytest.raises(DfdError, match="unknown parameter `epoch`; did you mean `epochs`"):
        TrainConfig(epoch=3)


def test_train_config_is_a_frozen_dataclass():
    config = TrainConfig(epochs=7)
    assert TrainConfig(**dataclasses.asdict(config)) == config
    assert dataclasses.replace(config, seed=1).seed == 1
    with pytest.raises(DfdError, match="`epochs` is 0"):
        dataclasses.replace(config, epochs=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.epochs = 3
