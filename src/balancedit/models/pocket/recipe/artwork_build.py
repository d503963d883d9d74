"""Make the artwork extract from the public npm packages: `python -m …pocket.artwork_build OUT`.

Run once by a maintainer; users never need npm.  The five sets are fetched at pinned versions with
`npm pack`, checked against the recorded integrity hashes, matched by Unicode code point, narrowed
to the things of `selection.py` that all five draw, split into three parts, and written as one
xz-compressed JSON file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
import random
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from balancedit.models.pocket.selection import selection

# Style -> npm package, version, integrity of its archive.
SETS: dict[str, tuple[str, str, str]] = {
    "noto": (
        "@iconify-json/noto",
        "1.2.9",
        "DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
    ),
    "twemoji": (
        "@iconify-json/twemoji",
        "1.2.5",
        "uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==",
    ),
    "openmoji": (
        "@iconify-json/openmoji",
        "1.2.29",
        "vXdhkqcXVSO6suy+m9LbcUM3OdVyuNOtpV8/als/WqfkQIRxevL5Geb/g+6GH/Qwnq1OqksEmaDGTCmZ5nFKJQ==",
    ),
    "fluent-flat": (
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
    ),
    "fluent": (
        "@iconify-json/fluent-emoji",
        "1.2.7",
        "D8G6bKAyIsyxP1rzZtIWr/gg/fO4Rg1+DyCWlfqKK4h8W+4Em/Y0P6QYgJUQTlUcagzJvSyg+9OBv4hz4Hc/QA==",
    ),
}
NAMES = (
    "emoji-datasource",
    "16.0.0",
    "/qHKqK5Nr3+8zhgO6kHmF43Fm5C8HNn0AaFRIpgw8HF3+uF0Vfc8jgLI1ZQS5ba1vBzksS8NBCjHejwLb2D/Sg==",
)
SPLIT_SEED = 20240
SHARES = {"never-edited": 0.22, "edit-eval": 0.37}  # the rest is edit-train


def fetch(package: str, version: str, integrity: str, folder: Path) -> Path:
    """Download one npm archive into `folder` and check it.  Raises ValueError if it differs."""
    report = subprocess.run(
        ["npm", "pack", f"{package}@{version}", "--silent"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    archive = folder / report.stdout.strip().splitlines()[-1]
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != integrity:
        raise ValueError(f"{package} {version}: the archive's hash is {digest}, not {integrity}")
    return archive


def member(archive: Path, name: str) -> Any:
    """One JSON file out of an npm archive."""
    with tarfile.open(archive) as tar:
        handle = tar.extractfile(f"package/{name}")
        if handle is None:
            raise ValueError(f"{archive.name} holds no {name}")
        return json.load(handle)


def slug_of(characters: dict[str, str], codepoint: str) -> str | None:
    """The icon drawn for a code point; variation selectors are written or not by taste."""
    code = codepoint.lower()
    return characters.get(code) or characters.get(code.replace("-fe0f", ""))


def body_of(icons: dict[str, Any], slug: str) -> str | None:
    """An icon's SVG body, following aliases."""
    while slug not in icons["icons"]:
        if slug not in icons.get("aliases", {}):
            return None
        slug = icons["aliases"][slug]["parent"]
    return icons["icons"][slug]["body"]


def assign_splits(rows: list[dict[str, Any]]) -> None:
    """Give each row its part, in proportion within each subgroup, at least one never edited."""
    chance = random.Random(SPLIT_SEED)
    by_subgroup: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_subgroup[row["subgroup"]].append(row)
    for members in by_subgroup.values():
        chance.shuffle(members)
        never = max(1, round(SHARES["never-edited"] * len(members))) if len(members) > 1 else 0
        evaluated = round(SHARES["edit-eval"] * len(members)) if len(members) > 1 else 0
        for place, row in enumerate(members):
            row["split"] = (
                "never-edited"
                if place < never
                else "edit-eval"
                if place < never + evaluated
                else "edit-train"
            )


def build(folder: Path) -> dict[str, Any]:
    """Fetch everything into `folder` and return the extract."""
    icons: dict[str, Any] = {}
    characters: dict[str, dict[str, str]] = {}
    styles: dict[str, dict[str, Any]] = {}
    for style, (package, version, integrity) in SETS.items():
        archive = fetch(package, version, integrity, folder)
        icons[style] = member(archive, "icons.json")
        characters[style] = member(archive, "chars.json")
        info = member(archive, "info.json")
        styles[style] = {
            "package": package,
            "version": version,
            "integrity": f"sha512-{integrity}",
            "licence": info["license"]["spdx"],
            "author": info["author"]["name"],
            "title": info["name"],
            "side": icons[style]["width"],
        }
    characters["fluent"] = characters["fluent-flat"]  # same names; its own table is empty
    rows: list[dict[str, Any]] = []
    entries = member(fetch(*NAMES, folder), "emoji.json")
    for entry in sorted(entries, key=lambda item: item["sort_order"]):
        subgroup = entry["subcategory"]
        slug = slug_of(characters["noto"], entry["unified"])
        thing = selection().chosen(slug, subgroup) if slug is not None else None
        if thing is None:
            continue
        svg = {
            style: body_of(icons[style], slug_of(characters[style], entry["unified"]) or "")
            for style in SETS
        }
        if all(svg.values()):
            rows.append(
                {
                    "name": thing[0],
                    "group": thing[1],
                    "subgroup": subgroup,
                    "codepoint": entry["unified"],
                    "svg": svg,
                }
            )
    assign_splits(rows)
    return {"format": 1, "split_seed": SPLIT_SEED, "styles": styles, "things": rows}


def main() -> None:
    """Write the extract where the command line says and print its checksum."""
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        extract = build(Path(folder))
    text = json.dumps(extract, ensure_ascii=False, separators=(",", ":"))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 26}]
    packed = lzma.compress(text.encode(), format=lzma.FORMAT_XZ, filters=filters)
    target.write_bytes(packed)
    digest = hashlib.sha256(packed).hexdigest()
    print(f"{len(extract['things'])} things, {len(packed)} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
