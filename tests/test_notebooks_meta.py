"""The rules of CONTRIBUTING.md for notebooks, checked without running one."""

import ast
import dataclasses
import itertools
import json
import re
from pathlib import Path

import pytest

from dfdlib import DfdError, notebook

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RUNS = {
    "01-data-split": notebook.SplitRun,
    "02-resnet-binary": notebook.FrozenRun,
    "03-efficientnet-kfold": notebook.KfoldRun,
    "04-multitask-effv2": notebook.MultitaskRun,
    "05-lstm-finetune": notebook.ClipRun,
    "06-gradcam": notebook.ExplainRun,
}
SHARED = [field.name for field in dataclasses.fields(notebook.RunConfig)]
TAGS = {"parameters", "nbval-check-output", "nbval-ignore-output"}

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def source(cell):
    return "".join(cell["source"])


def text(path):
    """The markdown of a notebook."""
    cells = json.loads(path.read_text())["cells"]
    return "\n\n".join(source(cell) for cell in cells if cell["cell_type"] == "markdown")


def parameters(path):
    (cell,) = [cell for cell in code_cells(path) if "parameters" in cell["metadata"]["tags"]]
    return {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in ast.parse(source(cell)).body
    }


def test_name_and_kernel(path):
    assert re.fullmatch(r"\d\d-[a-z0-9-]+", path.stem)
    assert json.loads(path.read_text())["metadata"]["kernelspec"]["name"] == "python3"


def test_every_code_cell_has_one_known_tag(path):
    for cell in code_cells(path):
        assert len(cell["metadata"]["tags"]) == 1, source(cell)
        assert set(cell["metadata"]["tags"]) <= TAGS, source(cell)


def test_it_tells_and_the_library_does(path):
    lengths = []
    for cell in code_cells(path):
        for node in ast.walk(ast.parse(source(cell))):
            assert not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda)), source(cell)
        if "parameters" not in cell["metadata"]["tags"]:
            lengths.append(len(source(cell).splitlines()))
    assert max(lengths) <= 25
    assert sorted(lengths)[len(lengths) // 2] <= 8


def test_parameters_are_literals_and_exactly_the_settings_of_the_run(path):
    fields = [field.name for field in dataclasses.fields(RUNS[path.stem])]
    assert list(parameters(path)) == fields
    assert fields[: len(SHARED)] == SHARED or not issubclass(RUNS[path.stem], notebook.RunConfig)


def test_wrong_parameters_are_refused_before_any_work(path):
    run, stated = RUNS[path.stem], parameters(path)
    load = notebook.load_clips if run is notebook.ClipRun else notebook.load_manifest
    with pytest.raises(DfdError, match="the data folder no/such/folder does not exist"):
        load(run.from_notebook(stated | {"data_dir": "no/such/folder"}))
    if "epochs" in stated:
        with pytest.raises(DfdError, match="`epochs` is 0; it must be at least 1"):
            run.from_notebook(stated | {"epochs": 0})


def test_every_parameter_is_read_somewhere(path):
    library = [file.read_text() for file in (ROOT / "dfdlib").rglob("*.py")]
    library.append(
        Path(notebook.__file__).read_text().replace("self.", "run.")
    )  # what a run does with its own
    trained = {field.name for field in dataclasses.fields(notebook.TrainConfig)}
    told = "\n".join(source(cell) for cell in code_cells(path))
    for name in parameters(path):
        in_run = re.search(rf"\brun(\.{name}\b|, \"{name}\")", "\n".join([told, *library]))
        in_training = name in trained and any(re.search(rf"\bconfig\.{name}\b", text) for text in library)
        assert in_run or in_training, f"`{name}` is declared and never used"


def test_the_text_names_parameters_that_exist_and_other_values_of_them(path):
    stated = parameters(path)
    told = text(path)
    set_to = re.findall(r"`(\w+) = ([^`]+)`", told)
    names = [name for name, _ in set_to] + re.findall(r"-p (\w+)", told)
    assert not set(names) - set(stated)
    code = "\n".join(map(source, code_cells(path)))
    for name in re.findall(r"`([a-z][a-z_0-9]*)`", told):
        assert name in stated or re.search(rf"\b{name}\b", code), f"`{name}` is in the text and nowhere else"
    tries = re.findall(r"^\d\. Set `(\w+) = ([^`]+)`.*\?", told.split("**Try this**")[1], re.MULTILINE)
    assert 1 <= len(tries) <= 2, "one or two exercises, each of them changes one parameter and asks"
    for name, value in tries:
        assert type(ast.literal_eval(value)) is type(stated[name])
        assert ast.literal_eval(value) != stated[name], f"{name} has this value anyway"


def test_the_text_states_no_outcome_that_a_run_may_contradict(path):
    told = re.sub(r"`[^`]*`|\([^()]*\)|95 % ", "", text(path))  # code, links and citations, the intervals
    numbers = set(re.findall(r"\b\d+\.\d+|\d+ ?%", told))
    assert numbers <= {"0.5", "0.8"}, "numbers of a run are printed by a cell; these two are of definitions"
    counted = r"\b(\d+|two|three|four|five|six|eight|ten|twenty) (epochs|folds|minutes|seconds|parameters)\b"
    assert not re.search(counted, told)


def test_every_figure_is_followed_by_a_sentence(path):
    cells = json.loads(path.read_text())["cells"]
    for cell, following in itertools.pairwise(cells):
        code = source(cell)
        if cell["cell_type"] == "code" and "save_figure(" in code:
            read = "print(" in code[code.rindex("save_figure(") :]
            assert read or following["cell_type"] == "markdown", code


def test_it_was_run_from_top_to_bottom_without_errors(path):
    counts = [cell["execution_count"] for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))
    assert not [out for cell in code_cells(path) for out in cell["outputs"] if out["output_type"] == "error"]


def test_it_is_small_and_tells_nothing_of_the_machine_it_ran_on(path):
    text = path.read_text()
    assert len(text) < 2_500_000
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)
    assert "widgets" not in json.loads(text)["metadata"]


def test_colab_can_open_it(path):
    first = "".join(json.loads(path.read_text())["cells"][0]["source"])
    assert f"notebooks/{path.name}" in first
    assert "colab-badge.svg" in first
