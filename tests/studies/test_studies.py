"""The commands under studies/, each at its smallest size: that they run to their end on what the
library is now. Their figures are nobody's business here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(p.name for p in (ROOT / "studies").glob("*.py") if p.name != "illustrated.py")
SMALLEST = {
    "choose_scope.py": ["--n", "2", "--out", "scope.json"],
    "edit_speed.py": ["--n", "1", "--firsts", "1"],
    "editing_quality.py": ["--n", "1", "--quick"],
    "editing_speed.py": ["--n", "1", "--many", "2", "--repeats", "1", "--no-slow"],
    "explained.py": ["--n", "2", "--out", "."],
    "key_map.py": ["--n", "6", "--out", "."],
    "loading.py": ["--rounds", "1"],
    "paper_cost.py": [],
    "picture_table.py": ["--kinds", "name", "--methods", "ft,balancedit", "--out", "."],
    "pocket_photos.py": ["--limit", "1"],
    "preview_cost.py": ["--logged", "60", "--samples", "4", "--edits", "1", "--held", "1"],
    "probing.py": ["--edits", "1", "--rounds", "1"],
    "raw_cost.py": ["--rounds", "1"],
    "routing_trace.py": [],
    "same_answer.py": ["--n", "4", "--things", "2", "--style", "noto", "--out", "same-answer"],
    "serving_load.py": [
        "--n",
        "4",
        "--clients",
        "2",
        "--rounds",
        "1",
        "--oracle",
        "4",
        "--overload",
        "0",
    ],
    "scope_cost.py": ["--held", "3", "--repeats", "1", "--samples", "4"],
}
#: With tests of their own: tests/models/test_full_size.py, tests/models/pocket/test_serving.py,
#: tests/store/test_store_scale.py.
ELSEWHERE = {"full_size.py", "held_edits.py", "store_scale.py"}


def test_every_command_has_a_smallest_size() -> None:
    assert {*SMALLEST, *ELSEWHERE} == set(COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("command", SMALLEST)
def test_it_runs_to_its_end(command: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "studies" / command), *SMALLEST[command]],
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()
