"""The machine: what a report says of it."""

import os
from importlib.metadata import version
from pathlib import Path

import pytest

from dfdlib.core import machine


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("/usr/bin/dfd", "dfd scan 'my photos'"),
        ("/x/dfdlib/__main__.py", "python -m dfdlib scan 'my photos'"),
        ("/x/ipykernel_launcher.py", None),
    ],
)
def test_the_command_can_be_typed_again(monkeypatch, program, expected):
    monkeypatch.setattr("sys.argv", [program, "scan", "my photos"])
    assert machine.command() == expected


def test_versions_name_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(machine, "_PACKAGES", ("torch", "no-such-package"))
    found = machine.versions()
    assert found["torch"] == version("torch")
    assert found["no-such-package"] is None
    assert found["machine"] == f"{machine.cpu_name()}, {os.cpu_count()} cores"
    assert machine.cpu_name()


def test_an_installed_package_has_no_commit(monkeypatch, tmp_path):
    installed = tmp_path / "site-packages" / "dfdlib" / "core" / "machine.py"
    monkeypatch.setattr(machine, "__file__", str(installed))
    assert machine._commit() is None


def test_a_checkout_has_a_commit():
    if not (Path(machine.__file__).parents[2] / ".git").exists():
        pytest.skip("not a checkout")
    assert machine.versions()["commit"] == machine._commit()
    assert machine._commit()
