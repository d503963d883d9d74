"""Readers of MEND's files: a trained network, and where its training stands."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import torch

from balancedit.bench.mend_state import STATE, Progress, read_state, write_state
from balancedit.methods.mend_network import MendNetwork, TrainedFor, load_network, save_network
from fuzz import mutate
from fuzz.running import Reader

NETWORK = "mend.safetensors"


def _network() -> tuple[MendNetwork, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = MendNetwork(6, 4, rank=2)
    return network, torch.optim.Adam(network.parameters())


def _prepare(root: Path) -> None:
    network, adam = _network()
    about = TrainedFor("pocket", "f" * 64, "layer", "data", "0" * 64, 5, {"lr": 0.1})
    save_network(root / NETWORK, network, about)
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    adam.step()
    write_state(root / STATE, network, adam, network.state_dict(), Progress(step=1))


def _feed(random: Random, root: Path) -> None:
    path = root / random.choice((NETWORK, STATE))
    data = path.read_bytes()
    if random.random() < 0.1:
        random.choice(mutate.KINDS)(path)
    elif random.random() < 0.3:
        path.write_bytes(mutate.bent(data, random))
    else:
        size = int.from_bytes(data[:8], "little")
        header = mutate.bent_json(data[8 : 8 + size], random)
        path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + size :])
    if path.name == NETWORK:
        _, trained_for, _ = load_network(path)
        json.dumps(trained_for.config)
    else:
        read_state(path, *_network(), torch.device("cpu"))


READERS: tuple[Reader, ...] = (Reader("networks", _prepare, _feed),)
