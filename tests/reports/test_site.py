"""The page over all runs, and the job that runs the notebooks."""

import json
import re
import shutil

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dfdlib import DfdError, create_detector, save_detector
from dfdlib.cli.app import main
from dfdlib.core import paths
from dfdlib.evaluation.comparison import paired_bootstrap
from dfdlib.models.decision import Decision
from dfdlib.reports.notebooks import Executed, notebook_files, run_notebook
from dfdlib.reports.report import Report
from dfdlib.reports.site import build_site, find_runs, with_interval
from dfdlib.training.settings import TrainConfig


@pytest.fixture
def predictions(tmp_path):
    rng = np.random.default_rng(0)
    label = np.array(["real", "fake"])[np.arange(60) % 2]
    logit = rng.normal(np.where(label == "fake", 1.5, -1.5))
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(60)], "label": label, "logit": logit})
    table = table.assign(
        p_fake=1 / (1 + np.exp(-logit)), category="<b>cats</b>", split="test", group=table["path"]
    )
    table["generator"] = np.where(label == "fake", "gan", None)
    table["predicted"] = np.where(logit > 0, "fake", "real")
    return table.assign(root=str(tmp_path), threshold=0.5)


@pytest.fixture
def reports(tmp_path, predictions):
    """Two runs, one with a detector and a figure."""
    for name in ("04-multitask-effv2", "other"):
        report = Report(name, TrainConfig(), tmp_path / "reports" / name)
        report.save_metrics(predictions, {"test": predictions})
    folder = tmp_path / "reports" / "04-multitask-effv2"
    detector = create_detector("cnn", 32, ("cats", "dogs"))
    detector.decision = Decision(band=(0.4, 0.6))
    save_detector(detector, folder / "best_model.pt")
    Image.new("RGB", (900, 600), "red").save(folder / "roc.png")
    return tmp_path / "reports"


def test_the_page_has_every_run_and_needs_nothing_else(reports):
    page = build_site(reports)
    text = page.read_text()
    assert page == reports / "index.html"
    for run in find_runs(reports):
        assert f'id="{run.name}"' in text
        assert with_interval(run.scores, "auc") in text
    assert "Model card: best_model.pt" in text
    assert "from 0.400 to 0.600" in text
    assert '<a href="04-multitask-effv2/roc.png"' in text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text), "no other host"
    assert re.findall(r'<img src="data:image/webp;base64,', text)
    assert "&lt;b&gt;cats" in text
    assert "<b>cats" not in text


def test_tables_are_folded_and_scroll_by_keyboard(reports):
    text = build_site(reports).read_text()
    assert "<details open" not in text
    for table in re.findall(r"<div[^>]*>\s*<table", text):
        assert 'tabindex="0" role="region" aria-label="' in table
    assert "<main>" in text


def change(folder, **entries):
    file = folder / "metrics.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


def test_a_run_says_what_it_was_and_its_best_detector_stands_first(reports):
    models = [
        {"name": name, "n": n, "auc": auc, "low": auc - 0.1, "high": auc + 0.01}
        for name, n, auc in (("weak", 60, 0.6), ("strong", 60, 1.0), ("on other images", 59, 1.0))
    ]
    settings = {"epochs": 20, "cnn_epochs": 2, "finetune_epochs": 0}
    change(reports / "other", models=models, settings=settings)
    change(reports / "04-multitask-effv2", settings={"epochs": 6})
    runs = {run.name: run for run in find_runs(reports)}
    assert [one["name"] for one in runs["other"].models] == ["strong", "weak"]
    assert runs["other"].kind == "smoke run: 20 epochs, 2 epochs (cnn)"
    assert runs["04-multitask-effv2"].kind == "full run: 6 epochs"
    assert runs["04-multitask-effv2"].models[0]["auc"] == runs["04-multitask-effv2"].scores["auc"]
    change(reports / "04-multitask-effv2", settings={})
    assert find_runs(reports)[0].kind == "no training"
    text = build_site(reports).read_text()
    assert text.index('data-run="other"') < text.index('data-run="04-multitask-effv2"')
    assert "strong, test, n = 60" in text


def test_runs_on_the_same_images_are_compared_in_pairs(reports, predictions):
    worse = predictions.assign(p_fake=predictions["p_fake"].sample(frac=1, random_state=0).to_numpy())
    for name, table in (("other", predictions), ("04-multitask-effv2", worse), ("third", predictions[:40])):
        report = Report(name, TrainConfig(), reports / name)
        report.save_metrics(table, {"test": table})
        report.save_predictions(table)
    assert "group" in pd.read_csv(reports / "other" / "test.csv")
    text = build_site(reports).read_text()
    paired = json.loads(re.search(r"paired = (.*);", text).group(1))
    ((names, found),) = paired.items()
    assert names == "other 04-multitask-effv2", "the third has other images"
    expected = paired_bootstrap(predictions, worse, "auc")
    assert found["auc"]["difference"] == pytest.approx(expected.difference)
    assert [found["auc"][end] for end in ("low", "high")] == pytest.approx([expected.low, expected.high])


@pytest.fixture
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    browser, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (browser and driver):
        pytest.skip("needs Chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    page = webdriver.Chrome(service=webdriver.ChromeService(driver), options=options)
    yield page
    page.quit()


def test_the_page_sorts_filters_compares_and_enlarges(reports, predictions, browser):
    for name in ("04-multitask-effv2", "other"):
        Report(name, TrainConfig(), reports / name).save_predictions(predictions)
    size = {"height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**size, "width": 390})
    browser.get(build_site(reports).as_uri())

    def names():
        return browser.execute_script(
            "return [...document.querySelectorAll('#runs tbody tr')].filter((row) => !row.hidden)"
            ".map((row) => row.dataset.run)"
        )

    def run(script):
        return browser.execute_script(script)

    assert run("return document.documentElement.scrollWidth") <= 390, "nothing is cut off"
    for order in (["04-multitask-effv2", "other"], ["other", "04-multitask-effv2"]):
        run("document.querySelector('#runs thead button').click()")
        assert names() == order
    run(
        "const box = document.getElementById('filter'); box.value = 'multi';box.dispatchEvent(new Event('input'))"
    )
    assert names() == ["04-multitask-effv2"]
    assert run("return document.getElementById('other').hidden")
    run(
        "const box = document.getElementById('filter'); box.value = ''; box.dispatchEvent(new Event('input'))"
    )
    run("document.querySelectorAll('#runs input').forEach((box) => box.click())")
    assert "paired" in run("return document.getElementById('comparison').innerText")
    run("document.querySelector('section .figures button').click()")
    assert run("return document.querySelector('dialog').open")
    assert run("return document.querySelector('dialog img').alt") == "roc of 04-multitask-effv2"
    run("document.querySelector('dialog button[value=\"0\"]').click()")
    assert not run("return document.querySelector('dialog').open")
    assert not browser.get_log("browser")


def test_a_page_elsewhere_links_to_nothing_that_it_cannot_reach(reports, tmp_path):
    text = build_site(reports, tmp_path / "site" / "page.html").read_text()
    assert not re.findall(r'href="(?!#|data:)', text)


def test_what_is_wrong_comes_first(reports, predictions):
    flipped = predictions.assign(label=predictions["label"].map({"real": "fake", "fake": "real"}))
    Report("flipped", TrainConfig(), reports / "flipped").save_metrics(flipped, {"test": flipped})
    (reports / "broken").mkdir()
    (reports / "broken" / "metrics.json").write_text("{half")
    failed = [Executed("05-lstm-finetune", 97.6, "DfdError: <no clips>")]
    text = build_site(reports, executed=failed).read_text()
    assert "labels reversed" in text
    assert "cannot be read" in text
    assert "05-lstm-finetune failed</strong> after 1 min 38 s: DfdError: &lt;no clips&gt;" in text


def test_nothing_to_show_is_told(tmp_path, monkeypatch, capsys):
    with pytest.raises(DfdError, match=r"holds no metrics\.json"):
        build_site(tmp_path)
    monkeypatch.setenv("DFD_REPORTS_DIR", str(tmp_path))
    assert main(["report", "--build-only"]) == 1
    assert "metrics.json" in capsys.readouterr().err


def test_intervals_as_text():
    assert with_interval({"auc": 0.5, "auc_95": [0.4, 0.6]}, "auc") == "0.500 [0.400, 0.600]"
    assert with_interval({"auc": 0.5, "auc_95": [None, None]}, "auc") == "0.500"
    assert with_interval({"auc": None}, "auc") == "–"


def notebook(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)


def test_a_failure_does_not_stop_the_series(tmp_path, monkeypatch, capsys):
    (tmp_path / "dfdlib").mkdir()
    write = "import pathlib; pathlib.Path('../reports/02-works/metrics.json').write_text('{\"seconds\": 1}')"
    notebook(tmp_path / "notebooks" / "01-breaks.ipynb", "print('before')", "raise ValueError('on purpose')")
    notebook(tmp_path / "notebooks" / "02-works.ipynb", write)
    monkeypatch.chdir(tmp_path)
    for name in ("DFD_DATA_DIR", "DFD_REPORTS_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert main(["report"]) == 1
    err = capsys.readouterr().err
    assert "ValueError: on purpose" in err
    assert "01-breaks failed" in err
    text = (paths.reports_root() / "index.html").read_text()
    assert "01-breaks failed" in text
    assert 'id="02-works"' in text
    assert "before" in (paths.reports_root() / "01-breaks" / "01-breaks.html").read_text()
    assert json.loads((paths.reports_root() / "02-works" / "metrics.json").read_text())["seconds"] == 1


def test_notebooks_are_named_by_number(tmp_path, monkeypatch):
    assert [file.stem[:2] for file in notebook_files(["04", "06-gradcam"])] == ["04", "06"]
    assert len(notebook_files()) == 6
    with pytest.raises(DfdError, match="did you mean `06-gradcam`"):
        notebook_files(["06-gradcan"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DfdError, match="checkout"):
        notebook_files()


def test_a_notebook_that_cannot_be_read_is_a_failure_too(tmp_path, monkeypatch):
    (tmp_path / "07-none.ipynb").write_text("{}")
    monkeypatch.setenv("DFD_REPORTS_DIR", str(tmp_path / "out"))
    assert run_notebook(tmp_path / "07-none.ipynb").error
