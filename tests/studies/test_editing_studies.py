"""The editing studies' steps, on a tiny model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_speed_benchmark_times_every_way(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    options = ["--model", "tiny", "--n", "1", "--many", "3", "--repeats", "1"]
    done = subprocess.run(
        [
            sys.executable,
            "studies/editing_speed.py",
            *options,
            "--out",
            str(tmp_path / "f.json"),
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    taken = json.loads((tmp_path / "f.json").read_text())["seconds an edit"]
    assert {name: len(found) for name, found in taken.items()} == dict.fromkeys(taken, 1)
    assert {"reference loop", "full, all steps", "edit_many, low rank"} <= taken.keys()
    assert all(found[0] > 0 for found in taken.values())
