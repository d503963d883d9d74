"""The figure of a data set's statistics, and the sheet of samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from published import mmedit_records, write_mmedit, write_pictures

from balancedit.data import plots, statistics
from balancedit.data.catalogue import find
from balancedit.errors import DataError


@pytest.fixture
def samples(tmp_path: Path):
    write_mmedit(tmp_path, mmedit_records(4))
    made = find(str(tmp_path)).read("vqa-eval")
    write_pictures(made)
    return made


def test_the_figure_shows_the_counts(samples, tmp_path: Path) -> None:
    described = {"eval": statistics.describe(samples)}
    plots.draw_statistics(described, tmp_path / "a.svg")
    plots.draw_statistics(described, tmp_path / "a.png")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert np.asarray(Image.open(tmp_path / "a.png").convert("L")).std() > 5


def test_the_sheet_holds_the_pictures(samples, tmp_path: Path) -> None:
    plots.draw_sheet(samples, tmp_path / "a.png", n=2)
    shown = Image.open(tmp_path / "a.png").convert("RGB")
    colours = {colour for _, colour in shown.getcolors(shown.width * shown.height)}
    # Every picture is of one colour, with 90 as its green: six of them, two rows of three.
    assert len([c for c in colours if c[1] == 90]) >= 5


def test_a_file_that_cannot_be_written(samples, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        plots.draw_sheet(samples, tmp_path / "none" / "a.png", n=1)
    with pytest.raises(DataError, match=r"give a \.png"):
        plots.draw_sheet(samples, tmp_path / "a.doc", n=1)
