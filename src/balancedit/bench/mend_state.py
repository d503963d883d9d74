"""Where the training of MEND's network stands: one file that a killed run goes on from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from balancedit.errors import ResultsError
from balancedit.files.durable import write_durably
from balancedit.files.regular import check_regular
from balancedit.methods.mend_network import MendNetwork

STATE = "state.safetensors"


@dataclass
class Progress:
    """How far training is. best: validation loss at `best_step`; checks_since: looks at the
    validation edits since then."""

    step: int = 0
    best_step: int = 0
    best: float = math.inf
    checks_since: int = 0


def write_state(
    path: Path,
    network: MendNetwork,
    adam: torch.optim.Optimizer,
    best: Mapping[str, torch.Tensor],
    progress: Progress,
) -> None:
    """Put everything that training goes on from on the disk. best: the best network's tensors by
    name. Raises `ResultsError`."""
    tensors = {f"network.{n}": t for n, t in network.state_dict().items()}
    tensors |= {f"best.{n}": t for n, t in best.items()}
    for i, state in adam.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{n}": t for n, t in state.items()}
    flat = {n: t.detach().cpu().clone() for n, t in tensors.items()}
    header = {"progress": json.dumps(asdict(progress))}
    try:
        write_durably(path, safetensors.torch.save(flat, metadata=header))
    except OSError as error:
        raise ResultsError(f"cannot write '{path}': {error}") from error


def read_state(
    path: Path, network: MendNetwork, adam: torch.optim.Optimizer, device: torch.device
) -> tuple[dict[str, torch.Tensor], Progress]:
    """Take over into network and optimiser what an earlier run left; the best network's tensors by
    name, none where there was no look yet, and how far it was. Raises `ResultsError` for a damaged
    file."""
    try:
        check_regular(path)
    except FileNotFoundError:
        return {}, Progress()
    except OSError as error:
        raise ResultsError(f"'{path}' cannot be read ({error.strerror}); remove it") from error
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
        tensors = safetensors.torch.load_file(path)
        network.load_state_dict(_under("network.", tensors))
        held = adam.state_dict()
        for name, t in _under("adam.", tensors).items():
            i, field = name.split(".")
            held["state"].setdefault(int(i), {})[field] = t
        adam.load_state_dict(held)
        return {n: t.to(device) for n, t in _under("best.", tensors).items()}, progress
    except (
        OSError,
        safetensors.SafetensorError,
        KeyError,
        ValueError,
        TypeError,
        RuntimeError,
    ) as error:
        raise ResultsError(
            f"'{path}' is damaged ({type(error).__name__}); delete it to train from the start"
        ) from error


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
