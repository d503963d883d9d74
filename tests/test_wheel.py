"""The wheel holds all that the package is, so that an installed one lacks nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", ".*")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a wheel that is built of this tree, by name."""
    pytest.importorskip("hatchling", reason="hatchling comes with the extra `dev`")
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE", ".gitignore"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "src", tree / "src", ignore=NOT_SHIPPED)
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_every_file_of_the_package_is_in_it(wheel: dict[str, bytes]) -> None:
    package = ROOT / "src" / "balancedit"
    files = {
        str(path.relative_to(package.parent)): path
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert {"balancedit/py.typed", "balancedit/models/pocket/assets/selection.json"} <= set(files)
    inside = {name for name in wheel if ".dist-info/" not in name}
    assert inside == set(files)
    assert [name for name, path in files.items() if wheel[name] != path.read_bytes()] == []


def test_the_command_and_the_licences_are_in_it(wheel: dict[str, bytes]) -> None:
    about = {name.partition(".dist-info/")[2]: text for name, text in wheel.items()}
    assert b"\nbalancedit = balancedit.cli.main:main\n" in about["entry_points.txt"]
    for name in ("LICENSE", "NOTICE"):
        assert about[f"licenses/{name}"] == (ROOT / name).read_bytes()
