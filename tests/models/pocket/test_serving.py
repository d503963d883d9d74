from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_benchmark_of_serving_runs(tmp_path: Path) -> None:
    out = tmp_path / "serving"
    command = [sys.executable, "studies/held_edits.py", "--held", "0", "--held", "600"]
    command += ["--repeats", "2", "--probes", "60", "--samples", "12", "--out", str(out)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3], capture_output=True)
    found = json.loads(out.with_suffix(".json").read_text())
    assert [row["held"] for row in found["rows"]] == [0, 600]
    agreement = found["rows"][1]["agreement"]
    assert agreement["same_match"] == agreement["same_decision"] == agreement["probes"] == 60
    assert 0 < agreement["fire"] < 60
    assert out.with_suffix(".svg").exists()
    assert out.with_suffix(".png").exists()
