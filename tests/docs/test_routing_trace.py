"""docs/routing.md shows what studies/routing_trace.py prints."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from balancedit import Editor

ROOT = Path(__file__).parents[2]
COMMAND = "studies/routing_trace.py"
DECIMAL = re.compile(r"\d+\.\d+")


@pytest.fixture
def study() -> Any:
    spec = importlib.util.spec_from_file_location("routing_trace", ROOT / COMMAND)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_what_is_printed(pocket: Editor, study: Any) -> None:
    page = (ROOT / "docs" / "routing.md").read_text()
    (shown,) = re.findall(rf"```console\n\$ python {COMMAND}\n(.*?)```", page, re.DOTALL)
    printed = list(study.trace(Editor.on(pocket._loaded)))
    assert [DECIMAL.sub("X", line) for line in printed] == [
        DECIMAL.sub("X", line) for line in shown.splitlines()
    ]
    numbers = [[float(n) for n in DECIMAL.findall(text)] for text in ("\n".join(printed), shown)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.02)
