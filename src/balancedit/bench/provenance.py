"""What a benchmark's figures may depend on beside what was run, and what they cost."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers

from balancedit.bench.report import as_json, read
from balancedit.data.catalogue import DataSet
from balancedit.files.journal import read_header, read_results
from balancedit.models.loading import LoadedModel
from balancedit.version import __version__


def subject(loaded: LoadedModel, data: DataSet, part: str) -> dict[str, str]:
    """The model, its layer and the data that results are about: other ones are another run."""
    return {
        "model": loaded.name,
        "fingerprint": loaded.fingerprint(),
        "layer": loaded.layer,
        "data": data.name,
        "part": part,
        "digest": data.digest(part),
    }


def formerly(loaded: LoadedModel) -> dict[str, str]:
    """What of `subject` earlier versions called otherwise, as their results have it."""
    return {"fingerprint": loaded.former_fingerprint()}


def code_revision(package: Path = Path(__file__).parents[1]) -> str:
    """Which code this is: what git calls the commit of the package's own repository, with
    "+changes" behind it where the package's files differ from that; else the package's version.

    A repository that merely surrounds an installed package says nothing about it.
    """
    # A hook's variables would make git look at another repository.
    plain = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}

    def git(*asked: str) -> str:
        command = ("git", "-C", str(package), *asked)
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) / "src" / package.name != package.resolve():
            return __version__
        changes = git("status", "--porcelain", "--", ".")
        return git("describe", "--always", "--abbrev=12") + ("+changes" if changes else "")
    except (OSError, subprocess.SubprocessError):
        return __version__


def provenance(loaded: LoadedModel) -> dict[str, Any]:
    """Code, versions and machine."""
    device = loaded.device
    return {
        "code": code_revision(),
        "balancedit": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "revision": getattr(loaded.model.config, "_commit_hash", None),
        "seed": 0,  # of the bootstrap; answers are greedy, and methods that draw name their own
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def summary(directory: Path, loaded: LoadedModel) -> dict[str, Any]:
    """All figures of a results directory with their intervals, seconds by method and phase, and the
    most memory this process held, in MiB."""
    seconds: dict[str, dict[str, float]] = {}
    for row in read_results(directory):
        phases = seconds.setdefault(f"{row['method']}, {row['held']} held", {})
        for phase in ("edit_seconds", "probe_seconds"):
            if phase in row:
                phases[phase] = round(phases.get(phase, 0.0) + row[phase], 3)
    header = read_header(directory)
    return {
        "methods": header.get("methods", {}),
        "about": provenance(loaded),
        "seconds": seconds,
        "peak_memory_mib": _peak_memory(loaded.device),
        **as_json(read(directory)),
    }


def _peak_memory(device: torch.device) -> dict[str, int]:
    unit = 2**20 if sys.platform == "darwin" else 2**10  # getrusage counts bytes there, else KiB
    peak = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit}
    if device.type == "cuda":
        peak["device"] = torch.cuda.max_memory_allocated(device) // 2**20
    return peak
