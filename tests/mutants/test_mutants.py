"""Every deliberate fault turns some test red, and none of those tests is red without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mutants.check import PACKAGE, TESTS, changed_files
from mutants.faults import FAULTS, Fault


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What came of every fault, by name."""
    table = tmp_path_factory.mktemp("mutants") / "table.json"
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-m", "mutants.check", "--json", str(table)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert table.exists(), ran.stdout + ran.stderr
    return {one["name"]: one["outcome"] for one in json.loads(table.read_text())}


def test_the_tests_pass_without_a_fault(outcomes: dict[str, str]) -> None:
    assert outcomes["unchanged"] == "passed"


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS])
def test_a_fault_is_caught(outcomes: dict[str, str], name: str) -> None:
    assert outcomes[name] == "caught"


def test_a_fault_whose_text_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("a = 1\nb = 1\n")
    gone = Fault("gone", "nothing", (("c = 1", "c = 2"),), ())
    with pytest.raises(LookupError, match=r"'gone'.*found nowhere"):
        changed_files(gone, tmp_path)
    twice = Fault("twice", "nothing", ((" = 1", " = 2"),), ())
    with pytest.raises(LookupError, match=r"found one\.py, one\.py"):
        changed_files(twice, tmp_path)


def test_the_package_tried_is_this_one() -> None:
    import balancedit

    assert Path(balancedit.__file__).parent == PACKAGE
