"""JSON that was cut short or damaged: always an error that names a byte, never another one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from balancedit.data.reading import read_json
from balancedit.errors import DataError

WHOLE = json.dumps(
    [{"a": "é \u2028", "b": [1.5, -2, True, None], "c": {}}], ensure_ascii=False
).encode()


@pytest.mark.parametrize("size", range(len(WHOLE)))
def test_cut_anywhere(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(WHOLE[:size])
    with pytest.raises(DataError) as raised:
        read_json(path)
    (byte,) = re.findall(r"at byte (\d+)", str(raised.value))
    assert size - 5 <= int(byte) <= size  # "tru" may be a damaged word as well as a cut one


def test_whole_with_and_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for start in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(start + WHOLE)
        assert read_json(path)[0] == json.loads(WHOLE)
