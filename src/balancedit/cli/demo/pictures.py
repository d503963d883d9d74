"""The demo's pictures, rendered from the open artwork: ``python -m balancedit.cli.demo.pictures``.

They ship with the package as PNG files, so that the demo needs no renderer; this command, which
needs the extra `artwork`, makes the same files again.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

#: file name -> (thing, artist's style, background)
PICTURES: dict[str, tuple[str, str, str]] = {
    "owl": ("owl", "noto", "yellow"),
    "owl-twemoji": ("owl", "twemoji", "blue"),
    "owl-openmoji": ("owl", "openmoji", "orange"),
    "owl-fluent": ("owl", "fluent", "green"),
    "parrot": ("parrot", "noto", "yellow"),
    "swan": ("swan", "twemoji", "blue"),
    "elephant": ("elephant", "fluent", "pink"),
}
SIDE = 224  # pixels

_ATTRIBUTION = """# The demo's pictures

Rendered by `python -m balancedit.cli.demo.pictures` on plain backgrounds, otherwise unchanged,
from these open emoji sets:

| pictures | artwork | author | licence |
|---|---|---|---|
{rows}

A picture made from artwork under CC-BY-SA-4.0 is itself under CC-BY-SA-4.0.
"""


def folder() -> Path:
    """Where the pictures lie in the package."""
    return Path(str(files("balancedit") / "assets" / "demo"))


def make(target: Path) -> None:
    """Render every picture into `target`, with the attribution beside them."""
    from balancedit.models.pocket import artwork

    target.mkdir(parents=True, exist_ok=True)
    by_style: dict[str, list[str]] = {}
    for name, (thing, style, background) in PICTURES.items():
        picture = artwork.render(thing, style, size=SIDE, background=background)
        picture.save(target / f"{name}.png", optimize=True)
        by_style.setdefault(style, []).append(f"{name}.png")
    sets = artwork.credits()
    rows = [
        f"| {', '.join(names)} | {sets[s]['title']} ({sets[s]['package']} {sets[s]['version']}) "
        f"| {sets[s]['author']} | {sets[s]['licence']} |"
        for s, names in sorted(by_style.items())
    ]
    (target / "ATTRIBUTION.md").write_text(_ATTRIBUTION.format(rows="\n".join(rows)))


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else folder())
