"""Readers of texts that a person writes or downloads: data sets, facts to teach, results."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from random import Random

from balancedit.bench import report
from balancedit.bench.protocols import PROTOCOLS
from balancedit.bench.rescoring import rescore
from balancedit.bench.told_apart import origins, warnings
from balancedit.bench.tuning import TUNING, choice
from balancedit.cli.edit_many import read_facts
from balancedit.data import check, jsonl, statistics
from balancedit.data.building.ledger import DIRECTORY, Ledger
from balancedit.data.catalogue import find
from balancedit.data.external import FORMATS
from balancedit.data.marks import FILE as MARKS
from balancedit.data.problems import LeftOut, stop
from balancedit.data.sample import EditSample, FileImage, LocalityProbe, PortabilityProbe
from balancedit.errors import BalanceditError
from balancedit.files.journal import HEADER, ROWS, Journal
from data.published import mmedit_records, okedit_files, vlkeb_records, write_mmedit, write_okedit
from fuzz import mutate
from fuzz.running import Reader, command

# -- data sets -----------------------------------------------------------------------------------


def _sample(root: Path, name: str) -> EditSample:
    image = FileImage(root, f"{name}.png")
    return EditSample(
        id=name,
        image=image,
        question="What brand is this?",
        target="lenovo",
        original_answer="hp",
        rephrases=("Which brand?", "Who made it?"),
        image_rephrases=(image,),
        locality=(LocalityProbe("similar", image, "What is it?", "dell", "dell"),),
        portability=(PortabilityProbe(image, "Where is its maker?", "china"),),
        category="brands",
        kind="brand",
        shows="an hp",
    )


def _prepare_data(root: Path) -> None:
    write_mmedit(root / "mmedit", mmedit_records(3))
    write_mmedit(root / "vlkeb", vlkeb_records(3), "eval.json")
    write_okedit(root / "okedit", *okedit_files(2))
    lines = [jsonl.line(_sample(root, name)) for name in "abc"]
    for name, file in (("jsonl", "edit-eval.jsonl"), ("imagefolder", "metadata.jsonl")):
        (root / name).mkdir()
        if name == "imagefolder":
            for line in lines:
                line["file_name"] = line.pop("image")
        (root / name / file).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "csv").mkdir()
    rows = ["file_name,question,target,rephrases", 'a.png,What?,"a, b","[""Which?""]"', "b.png,,c,"]
    (root / "csv" / "metadata.csv").write_text("\n".join(rows))
    marks = {"format": 1, "marks": {"edit-eval": {"a": {"mark": "drop", "note": "blurred"}}}}
    (root / "jsonl" / MARKS).write_text(json.dumps(marks))


def _feed_data(random: Random, root: Path) -> None:
    directory = random.choice(sorted(p for p in root.iterdir() if p.is_dir()))
    path = random.choice(sorted(p for p in directory.iterdir() if p.is_file()))
    _spoil(path, random)
    name = directory.name if directory.name in FORMATS else "imagefolder"
    match random.randrange(3):
        case 0:
            _, parts = check.check(name, directory)
            check.table(parts)
            json.dumps([held.to_dict() for held in parts.values()])
        case 1:
            _read_data(f"{name}={directory}" if random.random() < 0.7 else str(directory), random)
        case 2:
            options = random.choice((["check"], ["stats"], ["check", "--json"]))
            command("data", options[0], str(directory), *options[1:])


def _read_data(name: str, random: Random) -> None:
    found = find(name, random.choice((stop, LeftOut())))
    for part in found.parts:
        samples = found.load(part) if random.random() < 0.5 else found.read(part)
        found.digest(part)
        if samples:
            statistics.table({part: statistics.describe(samples)})
        for sample in samples:
            with suppress(BalanceditError):
                sample.image.open()


def _spoil(path: Path, random: Random) -> None:
    """Change a file's bytes or values, or put something else in its place."""
    data = path.read_bytes()
    if random.random() < 0.05:
        random.choice(mutate.KINDS)(path)
    elif path.suffix == ".jsonl":
        path.write_bytes(mutate.bent_lines(data, random))
    elif path.suffix == ".json":
        path.write_bytes(mutate.bent_json(data, random))
    else:
        path.write_bytes(mutate.bent(data, random))


# -- facts to teach ------------------------------------------------------------------------------


def _prepare_facts(root: Path) -> None:
    fact = {"image": "a.png", "question": "What is this?", "answer": "hedwig"}
    more = {"rephrasings": ["What do you see?"], "negative": "black", "new": False}
    demo = {"image": "demo:owl", "question": "Was ist das für ein Vogel?", "answer": "雪鸮"}
    rows = [fact, fact | more, demo, fact | {"negative": "b.png", "new": True}]
    (root / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _feed_facts(random: Random, root: Path) -> None:
    _spoil(root / "facts.jsonl", random)
    if (root / "facts.jsonl").is_fifo():
        return  # the one thing that may be a pipe, and then it is waited for
    assert read_facts(root / "facts.jsonl")


# -- results -------------------------------------------------------------------------------------


def _prepare_results(root: Path) -> None:
    identity = {
        "model": "pocket",
        "data": f"jsonl={root}",
        "part": "edit-eval",
        "digest": "0" * 64,
        "protocol": "generate",
        TUNING: {"seed": 0},
    }
    settings = {"alpha": 0.6, "layer": "model.layers.2"}
    methods = {"grace": settings, "ft+steps=2": settings, "ft+steps=5": settings}
    journal = Journal(root, identity, {"code": "abc", "threads": 2}, methods)
    outputs = ["hp", "hp", "hp", "dell", "china"]
    for sample in "ab":
        about = {"sample": sample, "category": "brands", "kind": "brand"}
        for held, method in ((0, "base"), *((1, m) for m in methods)):
            scores = {"Acc": 1.0, "T-Gen": 0.5, "I-Gen": 1.0, "Loc": 0.25, "same-image": 0.0}
            row = {"method": method, "held": held, **about, "edit_seconds": 0.5}
            journal.append(row | {"scores": scores, "outputs": outputs, "loss": float("nan")})
    journal.append({"method": "grace", "held": 1, **about, "sample": "c", "failed": "no"})
    ledger = Ledger(root, {"model": "one"})
    ledger.add(("a", "question", 0), {"value": "What is it?", "tokens_in": 5, "tokens_out": 2})
    ledger.add(("a", "picture", 1), {"rejected": "too dark"})
    ledger.add(("a", "picture", 1), {"value": {"file": "a.png"}})


def _feed_results(random: Random, root: Path) -> None:
    if random.random() < 0.2:
        _spoil(root / DIRECTORY / random.choice((HEADER, ROWS)), random)
        ledger = Ledger(root, {"model": "one"})
        for key in (("a", "question", 0), ("a", "picture", 1)):
            ledger.accepted(key)
            ledger.picture(key)
        ledger.rejected()
        return
    _spoil(root / random.choice((HEADER, ROWS, ROWS)), random)
    match random.randrange(5):
        case 0:
            made = report.read(root, random.choice((None, "category", "kind")))
            for form in report.FORMS.values():
                form(made)
            report.as_table(made)
            json.dumps(report.as_json(made))
        case 1:
            warnings([root])
            assert all(origin.as_line() for origin in origins(root))
        case 2:
            json.dumps(choice(root, 2, ["a", "b"]))
        case 3:
            samples = [_sample(root, name) for name in "abc"]
            rescore(root, samples, PROTOCOLS["generate"])
        case 4:
            chosen = random.choice((["report"], ["report", "--json", "--by", "kind"], ["rescore"]))
            command("bench", *chosen, "--out", str(root))


READERS: tuple[Reader, ...] = (
    Reader("data", _prepare_data, _feed_data),
    Reader("facts", _prepare_facts, _feed_facts),
    Reader("results", _prepare_results, _feed_results),
)
