"""Which code made a result, as git says or the package."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import balancedit
from balancedit.bench.provenance import code_revision


def git(folder: Path, *command: str) -> str:
    named = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ("git", "-C", str(folder), *named, *command), check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose package is in src, as this project's is."""
    package = tmp_path / "src/balancedit"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("1\n")
    (tmp_path / "notes").write_text("1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_the_commit_and_whether_the_package_differs(repository: Path) -> None:
    package, commit = repository / "src/balancedit", git(repository, "rev-parse", "HEAD")
    said = code_revision(package)
    assert len(said) == 12
    assert commit.startswith(said)
    (repository / "notes").write_text("2\n")  # results and notes are no code
    assert code_revision(package) == said
    (package / "new.py").write_text("2\n")
    assert code_revision(package) == f"{said}+changes"


def test_a_tag_is_named(repository: Path) -> None:
    git(repository, "tag", "-a", "v9", "-m", "nine")
    assert code_revision(repository / "src/balancedit") == "v9"


def test_a_hook_s_variables_point_elsewhere(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    said = code_revision(repository / "src/balancedit")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert code_revision(repository / "src/balancedit") == said


def test_an_installed_package_has_its_version(repository: Path, tmp_path: Path) -> None:
    inside = repository / ".venv/lib/balancedit"
    inside.mkdir(parents=True)
    assert code_revision(inside) == balancedit.__version__
    assert code_revision(tmp_path / "nowhere") == balancedit.__version__
