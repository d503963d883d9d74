"""Figures of results: what is drawn, read back from the SVG; what each needs; the same bytes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from balancedit.bench.plot_style import folded, marks, style
from balancedit.bench.plots import FIGURES, FigureUnavailable, Shown, plot
from balancedit.bench.report import read
from balancedit.errors import InputError, ResultsError
from balancedit.files.journal import Journal

IDENTITY = {"model": "pocket", "protocol": "generate", "data": "okedit-pocket", "part": "edit-eval"}
HARD = ("same-image", "unrelated", "no-image", "black")
EIGHT = (
    "ft",
    "ike",
    "mend:paper",
    "grace",
    "grace@model.language_model.layers.25.mlp.up_proj",
    "balancedit",
    "balancedit:paper+alpha=0.3+negative=white",
    "balancedit+negative=white",
)
SVG = "{http://www.w3.org/2000/svg}"


def write(
    directory: Path,
    methods: Iterable[str],
    held: Iterable[int] = (1,),
    edits: int = 4,
    kinds: Iterable[str] = HARD,
    settings: dict[str, Any] | None = None,
) -> Path:
    """Results in which every second probe of every second edit is as it should be."""
    journal = Journal(directory, IDENTITY, {}, settings)
    for method, size in [("base", 0)] + [(m, n) for m in methods for n in held]:
        for k in range(edits):
            head = {"method": method, "held": size, "sample": str(k)}
            measures = ("Acc", "T-Gen", "I-Gen", "Loc", *kinds)
            scores = {m: float((k + i) % 2) for i, m in enumerate(measures)}
            journal.append(head | {"category": "animal", "kind": "name", "scores": scores})
    return directory


def ids(path: Path, kind: str) -> list[str]:
    """What the figure's bars or lines show."""
    found = [node.get("id", "") for node in ET.parse(path).iter()]
    return [name.removeprefix(f"{kind}:") for name in found if name.startswith(f"{kind}:")]


def texts(path: Path) -> list[str]:
    return [node.text or "" for node in ET.parse(path).iter(f"{SVG}text")]


def test_a_bar_for_each_method_and_measure_and_the_run_named(tmp_path: Path) -> None:
    directory = write(tmp_path / "r", ["ft", "grace"])
    made = plot(directory, tmp_path, ["methods"])
    assert [p.name for p in made.paths] == ["methods.svg", "methods.png"]
    bars = ids(tmp_path / "methods.svg", "bar")
    assert len(bars) == 3 * 5
    assert {"base:Acc", "ft:T-Gen", "grace:HM"} <= set(bars)
    said = " ".join(texts(tmp_path / "methods.svg"))
    for part in ("protocol: generate", "model: pocket", "okedit-pocket edit-eval", "n = 4 edits"):
        assert part in said
    assert "95 % intervals" in said
    assert Image.open(tmp_path / "methods.png").width > 800


def test_bars_are_as_long_as_the_means(tmp_path: Path) -> None:
    journal = Journal(tmp_path, IDENTITY, {})
    head = {"method": "ft", "held": 1, "sample": "a", "category": "animal", "kind": "name"}
    journal.append(head | {"scores": {"Acc": 1.0, "T-Gen": 0.25, "I-Gen": 0.5, "Loc": 0.5}})
    path = plot(tmp_path, tmp_path, ["methods"]).paths[0]

    def width(name: str) -> float:
        (bar,) = (n for n in ET.parse(path).iter() if n.get("id") == f"bar:ft:{name}")
        numbers = [float(x) for x in bar[0].get("d", "").split() if x not in "MLz"]
        return max(numbers[::2]) - min(numbers[::2])

    assert width("T-Gen") / width("Acc") == pytest.approx(0.25, abs=1e-3)
    assert width("HM") / width("Acc") == pytest.approx(3 / (4 + 2 + 2), abs=1e-3)
    assert {"100.0", "25.0", "50.0", "37.5"} <= set(texts(path))


def test_a_measure_nobody_has_is_a_dash_and_failures_are_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path, IDENTITY, {})
    head = {"method": "ft", "held": 1, "category": "animal", "kind": "name"}
    journal.append(head | {"sample": "a", "failed": "the loss became nan"})
    journal.append(head | {"sample": "b", "scores": {"Acc": 1.0, "T-Gen": 1.0, "I-Gen": 1.0}})
    path = plot(tmp_path, tmp_path, ["methods"]).paths[0]
    assert ids(path, "bar") == ["ft:Acc", "ft:T-Gen", "ft:I-Gen"]
    assert texts(path).count("–") == 2
    assert any("(failed: ft 1)" in text for text in texts(path))


def test_a_bar_for_each_kind_of_locality(tmp_path: Path) -> None:
    directory = write(tmp_path / "r", ["ft"], kinds=("black", "same-image"))
    plot(directory, tmp_path, ["kinds"])
    assert ids(tmp_path / "kinds.svg", "bar") == ["ft:Loc", "ft:same-image", "ft:black"]
    assert "same picture, other question" in texts(tmp_path / "kinds.svg")


def test_a_line_for_each_method_against_the_edits_held(tmp_path: Path) -> None:
    directory = write(tmp_path / "r", ["ft", "grace"], held=(1, 2, 4))
    plot(directory, tmp_path, ["held"])
    lines = ids(tmp_path / "held.svg", "line")
    assert sorted(lines) == sorted(
        f"{method}:{m}" for method in ("ft", "grace") for m in ("HM", "T-Gen", "I-Gen", "Loc")
    )
    said = texts(tmp_path / "held.svg")
    assert [said.count(size) for size in "124"] == [4, 4, 4]
    assert any("2 held: n = 4 edits" in text for text in said)


def test_methods_and_measures_may_be_chosen(tmp_path: Path) -> None:
    directory = write(tmp_path / "r", ["ft", "grace"], held=(1, 2), kinds=("same-image",))
    chosen = Shown(methods=("ft",), measures=("HM", "same-image", "Loc"))
    plot(directory, tmp_path, ["held"], chosen)
    assert ids(tmp_path / "held.svg", "line") == ["ft:HM", "ft:same-image", "ft:Loc"]
    with pytest.raises(InputError, match="no method 'grase'; nearest: grace"):
        plot(directory, tmp_path, ["held"], Shown(methods=("grase",)))
    with pytest.raises(InputError, match="no measure 'portability'"):
        plot(directory, tmp_path, ["held"], Shown(measures=("portability",)))


def test_a_sweep_takes_the_option_from_names_and_from_recorded_settings(tmp_path: Path) -> None:
    names = ["balancedit:paper", "balancedit:paper+alpha=0.3", "balancedit:paper+alpha=0.05"]
    others = ["grace", "balancedit+alpha=0.3", "balancedit+key=last"]
    directory = write(tmp_path / "r", names + others, settings={names[0]: {"alpha": 0.2}})
    plot(directory, tmp_path, ["sweep"])
    said = texts(tmp_path / "sweep.svg")
    assert {"0.05", "0.2", "0.3", "balancedit:paper", "alpha"} <= set(said)
    assert {name.rsplit(":", 1)[0] for name in ids(tmp_path / "sweep.svg", "line")} == {names[0]}


def test_a_sweep_of_another_option_has_a_panel_for_each_method(tmp_path: Path) -> None:
    names = [f"{m}+steps={n}@layers.2" for m in ("ft", "grace") for n in (1, 10, 100)]
    directory = write(tmp_path / "r", names)
    plot(directory, tmp_path, ["sweep"], Shown(option="steps"))
    lines = ids(tmp_path / "sweep.svg", "line")
    assert len(lines) == 2 * 4
    assert "grace@layers.2:HM" in lines


def test_all_that_the_results_allow_and_why_not_the_others(tmp_path: Path) -> None:
    made = plot(write(tmp_path / "r", ["ft"], kinds=()), tmp_path / "figures")
    assert {p.stem for p in made.paths} == {"methods"}
    assert set(made.left_out) == set(FIGURES) - {"methods"}
    assert "--sequential" in made.left_out["held"]


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ("methods", "--sequential 1"),
        ("kinds", "--sequential 1"),
        ("held", "at least two numbers"),
        ("sweep", r"balancedit\+alpha="),
    ],
)
def test_a_figure_says_what_it_needs(tmp_path: Path, figure: str, said: str) -> None:
    directory = write(tmp_path / "r", ["ft"], held=(4,))
    with pytest.raises(FigureUnavailable, match=said):
        plot(directory, tmp_path / "figures", [figure])
    assert not (tmp_path / "figures").exists()


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nearest: sweep"):
        plot(tmp_path, tmp_path, ["sweeep"])
    with pytest.raises(ResultsError, match="bench run"):
        plot(tmp_path, tmp_path)
    empty = tmp_path / "empty"
    Journal(empty, IDENTITY, {})
    with pytest.raises(FigureUnavailable, match="nothing to draw"):
        plot(empty, tmp_path)
    Journal(tmp_path / "nameless", {"model": "pocket"}, {}).append(
        {"method": "ft", "held": 1, "sample": "a", "scores": {}}
    )
    with pytest.raises(ResultsError, match="their protocol"):
        plot(tmp_path / "nameless", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="cannot write"):
        plot(write(tmp_path / "r", ["ft"]), tmp_path / "file", ["methods"])


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    directory = write(tmp_path / "r", ["ft", "grace"])
    first = plot(directory, tmp_path / "a", ["methods"])
    second = plot(directory, tmp_path / "b", ["methods"])
    for one, other in zip(first.paths, second.paths, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert "dc:date" not in first.paths[0].read_text()


def test_labels_of_eight_methods_do_not_overlap(tmp_path: Path) -> None:
    report = read(write(tmp_path, EIGHT, held=(1, 2, 3)))
    for draw in (FIGURES["methods"], FIGURES["held"]):
        with style():
            figure = draw(report, Shown())
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text()]
            boxes = [t.get_window_extent(canvas.get_renderer()) for t in found]
        names = "".join(t.get_text() for t in found).replace("\n", "")
        assert all(name in names for name in EIGHT)
        for box in boxes:
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.x1
        for one, other in combinations(boxes, 2):
            wide = min(one.x1, other.x1) - max(one.x0, other.x0)
            high = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert wide <= 0 or high <= 1.5, (one, other)  # lines of text may touch


def test_marks_differ_without_colour() -> None:
    found = marks(11)
    assert len({(m.marker, m.dash) for m in found}) == 11
    assert len({m.hatch for m in found[:8]}) == 8
    assert len({m.colour for m in found[:8]}) == 8


def test_names_fold_where_their_parts_join() -> None:
    assert folded("grace", 2) == "grace"
    name = "grace@model.language_model.layers.25.mlp.up_proj"
    lines = folded(name, 1.7).split("\n")
    assert lines[0].startswith("grace@model.")
    assert "".join(lines) == name
    assert max(len(line) for line in folded("x" * 99, 1.7).split("\n")) <= 30
