"""How the package is built: folders import downwards only, and no file outgrows its reader."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "balancedit"

#: Each folder or top-level module may import those before it, and itself.
ORDER = (
    *("version", "errors", "tables", "shapes", "types"),
    *("inputs", "files", "codebook", "layer", "prefill", "scope", "learning"),
    *("models", "store", "answering", "data", "methods"),
    *("occupancy", "holding", "teaching", "on_terms", "edited_model", "asked_model"),
    *("preview", "editor", "bench", "serving", "cli", "__main__"),
)

#: Lines of a file that needs to give no reason.
LONG = 300


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name without "balancedit."."""
    found = {}
    for path in SRC.rglob("*.py"):
        name = ".".join(path.relative_to(SRC).with_suffix("").parts)
        found[name.removesuffix(".__init__").removesuffix("__init__")] = path
    return found


def imported(path: Path) -> set[str]:
    """What a file imports of the package wherever it says so, late imports among them, but for
    what only a type checker reads."""
    tree = ast.parse(path.read_text())
    unseen = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    names = set()
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "balancedit":
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name for a in node.names if a.name.split(".")[0] == "balancedit"}
    return {name.removeprefix("balancedit").lstrip(".") for name in names}


def part(name: str) -> str:
    """The folder or top-level module that a dotted name belongs to."""
    return name.split(".")[0]


def test_every_part_has_its_place() -> None:
    assert {part(name) for name in modules() if name} <= {*ORDER, "assets"}


def test_folders_import_downwards() -> None:
    upwards = []
    for name, path in modules().items():
        if not name:  # the package itself gives its names when they are first asked for
            continue
        for other in imported(path):
            below = ORDER.index(part(name))
            if part(other) not in ORDER or ORDER.index(part(other)) > below:
                upwards.append(f"{name} imports {other or 'balancedit'}")
    assert not upwards


def test_the_check_sees_late_and_plain_imports(tmp_path: Path) -> None:
    file = tmp_path / "late.py"
    file.write_text(
        "def f():\n    from balancedit.cli import main\nimport balancedit.bench.runner\n"
    )
    assert imported(file) == {"cli.main", "bench.runner"}


def test_there_is_one_batch_size() -> None:
    """Prompts that go together are as many everywhere (`types.BATCH_SIZE`)."""
    own = []
    for path in [*SRC.rglob("*.py"), *(SRC.parents[1] / "studies").glob("*.py")]:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                names = {t.id.strip("_") for t in node.targets if isinstance(t, ast.Name)}
                own += [(path.name, name) for name in names & {"BATCH", "BATCH_SIZE", "ROWS"}]
    assert own == [("types.py", "BATCH_SIZE")]


@pytest.mark.parametrize("name", sorted(n for n in modules() if n))
def test_a_long_file_says_why(name: str) -> None:
    text = modules()[name].read_text()
    lines = text.count("\n")
    assert lines <= LONG or "This file is long because" in text, f"{name} has {lines} lines"
