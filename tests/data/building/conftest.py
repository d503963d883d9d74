"""An endpoint that replays written replies, and twenty facts in OK-VQA's format."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
import replay
from published import okedit_files, write_okedit, write_picture

from balancedit.data.sample import FileImage


@pytest.fixture
def endpoint() -> Iterator[replay.Endpoint]:
    """An OpenAI-compatible endpoint in this process."""
    made = replay.Endpoint()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def okvqa(tmp_path: Path) -> Path:
    """OK-VQA's files with twenty questions and their pictures."""
    directory = tmp_path / "okvqa"
    annotations, questions = okedit_files(20)
    for record in annotations["annotations"]:
        for name in [k for k in record if k.startswith(("counterfact", "locality"))]:
            del record[name]
        name = f"val2014/COCO_val2014_{record['image_id']:012d}.jpg"
        write_picture(FileImage(directory, name), record["image_id"])
    for record in questions["questions"]:
        del record["rephrased_questions"]
    write_okedit(directory, annotations, questions)
    return directory
