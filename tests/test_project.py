"""The project itself: packages in step, arrows between modules, a light import, no path of one machine."""

import ast
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "dfdlib"


def test_the_import_is_light():
    code = "import time; t = time.time(); import dfdlib, sys; print(time.time() - t, *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *modules = done.stdout.split()
    assert float(seconds) < 2
    assert not {"torch", "matplotlib", "flask", "IPython"} & set(modules)


def test_every_function_is_small_enough_to_read():
    for file in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{file}: {node.name}"


def test_public_functions_have_types_and_docstrings():
    for file in LIBRARY.rglob("*.py"):
        tree = ast.parse(file.read_text())
        assert ast.get_docstring(tree), file
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{file}: {node.name}"
                assert node.returns is not None, f"{file}: {node.name}"
                arguments = [*node.args.args, *node.args.kwonlyargs]
                assert all(argument.annotation for argument in arguments), f"{file}: {node.name}"


ROOMS = sorted(file.parent.name for file in LIBRARY.glob("*/__init__.py"))


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_every_name_that_a_room_offers_exists(room):
    face = importlib.import_module(f"dfdlib.{room}".rstrip("."))
    offered = getattr(face, "__all__", [])
    for name in offered:
        assert getattr(face, name) is not None, name
    modules = {module.name for module in pkgutil.iter_modules(face.__path__)}
    if room:  # the library itself offers its rooms
        assert not modules & set(offered), "a function and a module of one name hide each other"


def packages():
    text = (ROOT / "pyproject.toml").read_text()
    section = text[text.index("dependencies = [") : text.index("tensorboard = [")]
    return re.findall(r'^\s*"([A-Za-z0-9-]+)>=', section, re.MULTILINE)


def test_readme_and_environment_list_the_packages_of_pyproject():
    readme = (ROOT / "README.md").read_text()
    listed = readme[readme.index("<!-- packages -->") : readme.index("<!-- /packages -->")]
    assert sorted(re.findall(r"`([A-Za-z0-9-]+)`", listed)) == sorted(packages())
    environment = (ROOT / "environment.yml").read_text()
    assert "-e .[notebooks,test]" in environment, "environment.yml takes its packages from pyproject.toml"


def tracked_files():
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).exists()]


def test_no_path_of_one_machine_is_in_the_repository():
    pattern = re.compile(r"/(home|Users)/\w|/(root|work)/|C:\\\\|\.\./shared")
    spelt_out = (
        "test_project.py",
        "test_notebooks_meta.py",
        "test_hard_images.py",
    )  # these name what they forbid
    for file in tracked_files():
        if file.suffix in (".py", ".md", ".toml", ".yml", ".ipynb", "") and file.name not in spelt_out:
            found = pattern.search(file.read_text(errors="ignore"))
            assert not found, f"{file}: {found.group() if found else ''}"


def test_tracked_files_are_small():
    for file in tracked_files():
        assert file.stat().st_size < (2_500_000 if file.suffix == ".ipynb" else 400_000), file


@pytest.mark.parametrize("where", ["checkout", "notebooks", "elsewhere"])
def test_folders_are_found_from_any_working_directory(where, tmp_path, monkeypatch):
    from dfdlib.core import paths

    for name in ("DFD_DATA_DIR", "DFD_REPORTS_DIR", "DFD_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    here = {"checkout": ROOT, "notebooks": ROOT / "notebooks", "elsewhere": tmp_path}[where]
    monkeypatch.chdir(here)
    home = tmp_path if where == "elsewhere" else ROOT
    assert paths.data_root() == home / "data"
    assert paths.reports_root() == home / "reports"
    assert os.fspath(paths.cache_root()).startswith(os.fspath(home / "data"))
