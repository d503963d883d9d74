from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("key_type", ["float32", "float16"])
def test_the_benchmark_of_large_stores_runs(tmp_path: Path, key_type: str) -> None:
    out = tmp_path / "s.json"
    command = [sys.executable, "studies/store_scale.py", "--edits", "20", "--rounds", "2"]
    command += ["--more", "2", "--key-width", "8", "--key-type", key_type, "--out", str(out)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], capture_output=True)
    found = json.loads(out.read_text())
    assert [len(one["commits"]) for one in found["rounds"]] == [2, 2]
    assert all(one["open"] > 0 for one in found["rounds"])
