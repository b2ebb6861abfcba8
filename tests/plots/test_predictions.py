"""Figures: what is drawn, not only that something is."""

import os
import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from sklearn.metrics import auc as area

from dfdlib import DfdError, plots
from dfdlib.evaluation import bootstrap, metrics
from dfdlib.evaluation.tables import with_decision
from dfdlib.images.decode import read_image, write_image
from dfdlib.models.decision import Decision


@pytest.fixture
def predictions(tmp_path):
    """Twenty-four images of two categories and two generators on disk, three of them mistaken."""
    rng, rows = np.random.default_rng(0), []
    for i in range(24):
        label, category = ("real", "fake")[i % 2], ("animals", "human_faces")[i // 2 % 2]
        wrong = i in (4, 9, 15)
        logit = (2 + i / 10) * (1 if (label == "fake") != wrong else -1)
        rows.append((f"{label}/a_rather_long_file_name_{i:04d}.png", label, category, f"g{i // 2}", logit))
        write_image(tmp_path / rows[-1][0], rng.integers(0, 255, (8, 8, 3), np.uint8))
    table = pd.DataFrame(rows, columns=["path", "label", "category", "group", "logit"])
    fakes = np.where(np.arange(24) % 4 == 1, "splicing", "gan_upsampling")
    table["generator"] = np.where(table["label"] == "fake", fakes, None)
    table = with_decision(table, Decision(0.3))
    table["predicted_category"] = table["category"].where(table.index != 0, "human_faces")
    return table.assign(split="test", root=str(tmp_path)).sample(frac=1, random_state=0)


@pytest.fixture
def history():
    return pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "train_loss": [0.7, 0.5, 0.3],
            "val_loss": [0.8, 0.6, 0.65],
            "val_auc": [0.5, 0.8, 0.79],
            "val_accuracy": [0.5, 0.7, 0.7],
            "best": [False, True, False],
        }
    )


def line(axis, start):
    found = [found for found in axis.lines if str(found.get_label()).startswith(start)]
    assert len(found) == 1, start
    return found[0]


def legend(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def shown(axes):
    return [axis for axis in axes if axis.images]


def draw_all(predictions, history):
    return [
        plots.image_grid(predictions),
        plots.learning_curves(history),
        plots.confusion(predictions),
        plots.confusion(predictions, "category"),
        plots.roc(predictions),
        plots.generator_bars(predictions),
        plots.worst_mistakes(predictions),
    ]


def test_no_figure_stays_open_and_no_setting_is_changed(predictions, history):
    theirs, before = plt.figure(), dict(mpl.rcParams)
    draw_all(predictions, history)
    with pytest.raises(DfdError):
        plots.image_grid(predictions.assign(path="missing.png"))
    assert plt.get_fignums() == [theirs.number]
    assert dict(mpl.rcParams) == before
    plt.close(theirs)


def test_a_dark_style_does_not_reach_our_figures(predictions, history):
    with plt.style.context("dark_background"):
        figures = draw_all(predictions, history)
        for figure in figures:
            figure.draw_without_rendering()
    for figure in figures:
        assert to_hex(figure.get_facecolor()) == "#ffffff"
        for axis in figure.axes:
            ticks = [*axis.get_xticklabels(), *axis.get_yticklabels()]
            assert {to_hex(text.get_color()) for text in ticks} <= {"#000000"}
            assert to_hex(axis.xaxis.label.get_color()) == "#000000"


def test_no_texts_overlap(predictions, history):
    wrong = predictions.assign(predicted=predictions["label"].map({"real": "fake", "fake": "real"}))
    for figure in [
        *draw_all(predictions, history),
        *(plots.worst_mistakes(wrong, n) for n in (1, 2, 12)),
    ]:
        figure.draw_without_rendering()
        texts = [text for axis in figure.axes for text in (axis.title, axis.xaxis.label, axis.yaxis.label)]
        texts = [text for text in [*texts, figure._suptitle] if text is not None and text.get_text()]
        boxes = [text.get_window_extent() for text in texts if text.get_visible()]
        for i, box in enumerate(boxes):
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.y1 <= figure.bbox.y1
            assert not any(box.overlaps(other) for other in boxes[:i])


def test_texts_can_be_read_on_a_page(predictions, history):
    """At 100 dots per inch a figure fills at most 1,200 pixels, and 9 points are 12 of them."""
    for figure in draw_all(predictions, history):
        assert figure.get_figwidth() <= 12
        texts = [text for text in figure.findobj(mpl.text.Text) if text.get_text()]
        assert min(text.get_fontsize() for text in texts) >= 9


def test_a_grid_shows_every_generator_and_each_fake_beside_its_original(predictions):
    fakes = predictions[predictions["label"] == "fake"]
    kinds = ["a", "b", "c", "d"]
    many = predictions.assign(generator=None)
    many.loc[fakes.index, "generator"] = [kinds[i // 2 % 4] for i in fakes.index]
    figure = plots.image_grid(many, n_columns=4)
    assert {axis.get_title() for axis in figure.axes} == {"real", *kinds}
    pixels = {row["path"]: read_image(f"{row['root']}/{row['path']}") for _, row in many.iterrows()}
    where = [
        next(path for path, image in pixels.items() if np.array_equal(image, axis.images[0].get_array()))
        for axis in figure.axes
    ]
    group = many.set_index("path")["group"]
    assert all(group[real] == group[fake] for real, fake in zip(where[::2], where[1::2], strict=True))


def test_grid_has_a_row_a_category_with_fakes_beside_reals(predictions):
    figure = plots.image_grid(predictions, n_columns=6, seed=1)
    assert len(shown(figure.axes)) == 12
    for row, category in ((figure.axes[:6], "animals"), (figure.axes[6:], "human faces")):
        assert row[0].get_ylabel() == category
        titles = [axis.get_title() for axis in row]
        assert titles[::2] == ["real"] * 3
        assert set(titles[1::2]) <= {"splicing", "gan upsampling"}
    again, other = plots.image_grid(predictions, 6, seed=1), plots.image_grid(predictions, 6, seed=2)
    pixels = [[axis.images[0].get_array() for axis in each.axes] for each in (figure, again, other)]
    assert np.array_equal(pixels[0], pixels[1])
    assert not np.array_equal(pixels[0], pixels[2])


def test_grid_without_categories_or_fakes(predictions):
    assert len(plots.image_grid(predictions.assign(category=None)).axes) == 8
    reals = plots.image_grid(predictions[predictions["label"] == "real"], n_columns=4)
    assert [axis.get_title() for axis in reals.axes] == ["real"] * 8


def test_grid_names_an_image_that_cannot_be_read(predictions):
    with pytest.raises(DfdError, match=r"missing\.png"):
        plots.image_grid(predictions.assign(path="missing.png"))


def test_curves_show_the_history_and_its_best_epoch(history):
    left, right = plots.learning_curves(history).axes
    assert line(left, "training").get_ydata().tolist() == [0.7, 0.5, 0.3]
    assert line(left, "validation").get_ydata().tolist() == [0.8, 0.6, 0.65]
    assert line(right, "AUC").get_ydata().tolist() == [0.5, 0.8, 0.79]
    assert line(right, "best epoch (2)").get_xdata() == [2, 2]
    assert "accuracy category" not in legend(right)


def test_curves_of_one_epoch_have_markers_and_one_tick(history):
    figure = plots.learning_curves(history.head(1).assign(best=True, val_category_accuracy=0.9))
    for axis in figure.axes:
        low, high = axis.get_xlim()
        assert [tick for tick in axis.get_xticks() if low <= tick <= high] == [1]
    assert line(figure.axes[1], "accuracy category").get_marker() == "^"
    with pytest.raises(DfdError, match="at least one epoch"):
        plots.learning_curves(history.head(0))


def test_confusion_counts_the_true_label_in_rows(predictions):
    axis = plots.confusion(predictions).axes[0]
    # image 4 is real; 9 and 15 are fake
    assert [text.get_text() for text in axis.texts] == ["11\n91.7 %", "1\n8.3 %", "2\n16.7 %", "10\n83.3 %"]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["real", "fake"]
    assert axis.get_ylabel() == "true"
    assert axis.get_title() == "87.5 % right (n = 24)"


def test_confusion_of_the_category(predictions):
    axis = plots.confusion(predictions, "category").axes[0]
    assert [text.get_text().split("\n")[0] for text in axis.texts] == ["11", "1", "0", "12"]
    part = predictions[(predictions["label"] == "real") & (predictions["category"] == "animals")]
    assert [text.get_text().split("\n")[0] for text in plots.confusion(part, "category").axes[0].texts] == [
        *("5", "1", "0", "0")
    ]
    with pytest.raises(DfdError, match="does not predict the category"):
        plots.confusion(predictions.drop(columns="predicted_category"), "category")
    with pytest.raises(DfdError, match="whose category is known"):
        plots.confusion(predictions.assign(category=None), "category")
    with pytest.raises(DfdError, match="not of 'split'"):
        plots.confusion(predictions, "split")


def test_roc_marks_threshold_eer_and_generators(predictions):
    axis = plots.roc(predictions).axes[0]
    fake, score = predictions["label"] == "fake", predictions["p_fake"]
    x, y = line(axis, "all").get_data()
    assert area(x, y) == pytest.approx(metrics.auc(fake, score))
    low, high = bootstrap.auc_interval(predictions)
    assert f"{metrics.auc(fake, score):.3f} (95 %: {low:.3f} to {high:.3f})" in line(axis, "all").get_label()
    marked = np.ravel(line(axis, "threshold 0.30").get_data())
    assert marked == pytest.approx([1 / 12, 10 / 12])
    rate = metrics.eer(fake, score)
    assert np.ravel(line(axis, "EER").get_data()) == pytest.approx([rate, 1 - rate])
    table = bootstrap.by_generator(predictions)
    for name in ("splicing", "gan_upsampling"):
        x, y = line(axis, name.replace("_", " ")).get_data()
        assert area(x, y) == pytest.approx(table.loc[name, "auc"])
    assert axis.get_title() == "ROC, 12 real and 12 fake images"


def test_roc_leaves_out_what_is_missing_or_too_much(predictions):
    assert len(plots.roc(predictions.assign(generator=None)).axes[0].lines) == 4
    assert len(plots.roc(predictions, max_generators=1).axes[0].lines) == 4
    with pytest.raises(DfdError, match="one class"):
        plots.roc(predictions[predictions["label"] == "fake"])


def test_generator_bars_are_the_table(predictions):
    axis = plots.generator_bars(predictions).axes[0]
    table = bootstrap.by_generator(predictions).sort_values("auc")
    assert axis.lines[0].get_xdata().tolist() == table["auc"].tolist()
    expected = [f"{name.replace('_', ' ')} (n = {n})" for name, n in table["n"].items()]
    assert [text.get_text() for text in axis.get_yticklabels()] == expected
    for table in (predictions.assign(generator=None), predictions[predictions["label"] == "fake"]):
        with pytest.raises(DfdError, match="whose generator is known"):
            plots.generator_bars(table)


def test_mistakes_come_surest_first(predictions):
    figure = plots.worst_mistakes(predictions)
    axes = shown(figure.axes)
    assert [axis.get_title().split("\n")[0] for axis in axes] == [
        *("fake called real", "fake called real", "real called fake")
    ]
    expected = [f"p_fake {1 / (1 + np.exp(logit)):.3f}" for logit in (3.5, 2.9, -2.4)]
    assert [axis.get_title().split("\n")[1] for axis in axes] == expected
    assert axes[0].get_xlabel() == "gan upsampling\n…ng_file_name_0015.png"
    assert figure.get_suptitle() == "The 3 most confident of 3 mistakes in 24 images"
    assert len(shown(plots.worst_mistakes(predictions, n=2).axes)) == 2


def test_mistakes_are_found_by_position_where_the_index_repeats(predictions):
    repeated = predictions.set_axis([0] * len(predictions))
    assert len(shown(plots.worst_mistakes(repeated).axes)) == 3


def test_no_mistakes_are_said_in_words(predictions):
    right = predictions[predictions["label"] == predictions["predicted"]]
    assert plots.worst_mistakes(right).axes[0].texts[0].get_text() == "No mistakes in 21 images."


def test_names_are_no_formulas(predictions):
    odd = predictions.assign(generator=predictions["generator"].replace("splicing", "a$b_{$"))
    for draw in (plots.image_grid, plots.roc, plots.generator_bars, plots.worst_mistakes):
        draw(odd).draw_without_rendering()


@pytest.mark.parametrize(
    "draw",
    [
        plots.image_grid,
        plots.confusion,
        plots.roc,
        plots.generator_bars,
        plots.worst_mistakes,
    ],
)
def test_a_table_without_labels_is_refused(predictions, draw):
    with pytest.raises(DfdError, match="known"):
        draw(predictions.assign(label=None))
    with pytest.raises(DfdError, match="known"):
        draw(predictions.head(0))


def test_importing_the_library_does_not_import_matplotlib():
    code = "import sys, dfdlib, dfdlib.evaluation.metrics, dfdlib.reports.report; sys.exit('matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == 0
