"""VLKEB: edits of which entity a picture shows, with questions that need the new fact (Huang et al.
2024, "VLKEB: A Large Vision-Language Model Knowledge Editing Benchmark", arXiv 2403.07350).

MMEDIT's fields, pictures in a folder an entity, and in some files `port_new`: a list of
`{"port_type": "1-hop", "Q&A": {"Question", "Answer"}}`, asked about the edit's own picture; in
`eval_edit_onehop.json` of `{"port_edit_q", "port_edit_a", "port_q", "port_a"}`, where the first two
are a further fact that its authors also edit, and the question is `port_q`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

from balancedit.data import mmedit, reading
from balancedit.data.problems import Report
from balancedit.data.reading import Contents, Fields
from balancedit.data.sample import EditSample, LocalityProbe, PortabilityProbe
from balancedit.files.names import is_directory, is_file

NAME = "vlkeb"
ABOUT = "which entity a picture shows, with portability (Huang et al. 2024)"
FILES = {
    "eval": "eval.json",
    "eval-multihop": "eval_multihop.json",
    "eval-onehop": "eval_edit_onehop.json",
    "train": "train.json",
}
FOLDERS = ("VLKEB_images", "mmkb_images")  # the published name, and the one its code has
LAYOUT = (
    f"{', '.join(FILES.values())} (any of them) beside the folder VLKEB_images/ or mmkb_images/ "
    "with a folder an entity (m.0104lr/google_15.jpg)"
)


def parts(directory: Path) -> dict[str, Path]:
    """The parts whose file is there."""
    paths = {part: directory / name for part, name in FILES.items()}
    return {part: path for part, path in paths.items() if is_file(path)}


def read(directory: Path, part: str, report: Report) -> Contents:
    """The samples of a part; pictures are not looked at. Raises `DataError`."""
    path = parts(directory)[part]
    root = next((directory / f for f in FOLDERS if is_directory(directory / f)), directory)
    values, sha256 = reading.read_list(path)

    def make(fields: Fields) -> EditSample:
        return _sample(fields, root, f"{part}/{fields.number}")

    return reading.build(reading.indexed(path, values), make, report, {path.name: sha256})


def _sample(fields: Fields, root: Path, name: str) -> EditSample:
    """One record; a picture shows the entity whose folder it lies in."""
    sample = mmedit.sample(fields, root, name, "entity")
    return replace(
        sample,
        shows=_entity(sample.shows),
        locality=tuple(_about_entity(probe) for probe in sample.locality),
        portability=tuple(
            PortabilityProbe(sample.image, *_asked(hop)) for hop in fields.children("port_new")
        ),
    )


def _asked(hop: Fields) -> tuple[str, str]:
    """The question and answer of a hop, in either form."""
    if hop.has("Q&A") or not hop.has("port_q"):
        pair = hop.child("Q&A")
        return pair.text("Question"), pair.text("Answer")
    return hop.text("port_q"), hop.text("port_a")


def _about_entity(probe: LocalityProbe) -> LocalityProbe:
    return replace(probe, shows=_entity(probe.shows)) if probe.shows else probe


def _entity(image: str) -> str:
    return PurePosixPath(image).parts[0]
