"""MEND's network: from what one edit's loss says about a weight to an update of that weight.

For each token the loss gives the layer's input u and the gradient δ at its output; their outer
products add up to the weight's gradient. Both are normalised by the mean and variance seen in
training, concatenated, and passed through two residual layers of low rank that start as the
identity. The update is −lr · Σ δ̃ ũᵀ over the tokens, with lr learned too. How the network is
trained is not known here.

Source: Mitchell et al., *Fast Model Editing at Scale* (2022), Section 3, and its repository
(`algs/mend.py`). Two differences: an update is subtracted, so that the untrained network descends
(theirs adds, and leaves the sign to learning); a dimension that never varied in training is passed
as 0, where theirs divides by nearly nothing.

Letters: T = tokens, D, O = the layer's input and output widths, W = D + O, R = rank.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from balancedit.errors import ModelLoadError
from balancedit.files.durable import digest, write_durably
from balancedit.files.regular import read_whole

_EPS = 1e-7  # added to a standard deviation (source)
_ROUNDING = 0.005  # share of a sketch's norm that rounding may change; bfloat16 changes 0.002
_HEADER = "mend"  # the metadata's name in a network's file


class RunningNorm(nn.Module):
    """Subtracts the mean and divides by the standard deviation of every vector observed so far;
    vectors pass as they are until two were observed. width: D."""

    count: torch.Tensor  # () float32, vectors observed
    mean: torch.Tensor  # (D,)
    squares: torch.Tensor  # (D,) sum of squared deviations from the mean

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("squares", torch.zeros(width))

    @torch.no_grad()
    def observe(self, x: torch.Tensor) -> None:
        """Take (T, D) more vectors into account."""
        if not len(x):
            return
        mean = x.mean(0)
        total = self.count + len(x)
        apart = mean - self.mean
        self.squares += (x - mean).square().sum(0) + apart.square() * self.count * len(x) / total
        self.mean += apart * len(x) / total
        self.count.copy_(total)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, D) -> (T, D)."""
        if self.count < 2:
            return x
        std = (self.squares / (self.count - 1)).sqrt()
        return torch.where(std > 0, (x - self.mean) / (std + _EPS), 0)


class ResidualLowRank(nn.Module):
    """x + max(0, (U V x + b)·s + t), with U = 0 at the start: the identity."""

    def __init__(self, width: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.zeros(width, rank))
        self.v = nn.Parameter(torch.randn(rank, width, generator=generator))
        self.bias = nn.Parameter(torch.zeros(width))
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, W) -> (T, W). The maximum is a clamp, which passes gradient at 0 where a ReLU has
        none: from U = 0 that is everywhere."""
        low_rank = F.linear(F.linear(x, self.v), self.u, self.bias)
        return x + (low_rank * self.scale + self.shift).clamp(min=0)


class MendNetwork(nn.Module):
    """The network of one weight (O, D). rank: at most W. lr: where the learned step size starts.

    It knows the weight it belongs to by a sketch, (O,), not by a digest: weights that are computed
    when a model is first loaded differ in their last bits from machine to machine.
    """

    sketch: torch.Tensor

    def __init__(
        self, d_in: int, d_out: int, rank: int = 1920, lr: float = 1e-4, seed: int = 0
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        width = d_in + d_out
        self.d_in, self.d_out, self.rank = d_in, d_out, min(rank, width)
        self.of_input, self.of_gradient = RunningNorm(d_in), RunningNorm(d_out)
        self.layers = nn.Sequential(
            ResidualLowRank(width, self.rank, generator),
            ResidualLowRank(width, self.rank, generator),
        )
        self.lr = nn.Parameter(torch.tensor(lr))
        self.register_buffer("sketch", torch.zeros(d_out))

    def belong_to(self, weight: torch.Tensor) -> None:
        """Take (O, D) as the weight that the network is for."""
        self.sketch.copy_(_sketch(weight))

    def belongs_to(self, weight: torch.Tensor) -> bool:
        """Whether a weight is the network's own, up to rounding to half precision."""
        sketch = _sketch(weight).to(self.sketch)
        if sketch.shape != self.sketch.shape:
            return False
        return bool((sketch - self.sketch).norm() <= _ROUNDING * self.sketch.norm())

    def observe(self, u: torch.Tensor, delta: torch.Tensor) -> None:
        """Take one edit's tokens into the normalisation. u: (T, D), delta: (T, O)."""
        self.of_input.observe(u)
        self.of_gradient.observe(delta)

    def forward(self, u: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
        """u: (T, D), delta: (T, O) -> (O, D), what to add to the weight."""
        normal = torch.cat([self.of_input(u), self.of_gradient(delta)], dim=1)
        u, delta = self.layers(normal).split([self.d_in, self.d_out], dim=1)
        return -self.lr * (delta.T @ u)


def _sketch(weight: torch.Tensor) -> torch.Tensor:
    """(O, D) -> (O,) float32: each row's sum with weights from -1 to 1."""
    return weight.float() @ torch.linspace(-1, 1, weight.shape[1], device=weight.device)


@dataclass(frozen=True)
class TrainedFor:
    """What a trained network belongs to, and where it comes from."""

    model: str  # its name, for people
    fingerprint: str  # `LoadedModel.fingerprint`, of its day; for people, `belongs_to` decides
    layer: str
    data: str  # data set and part
    digest: str  # of that data
    steps: int  # training steps taken
    config: Mapping[str, Any]  # how it was trained, plain JSON types


def save_network(path: Path, network: MendNetwork, trained_for: TrainedFor) -> None:
    """Write a network, matrices in half precision; there whole or not at all. Raises OSError."""
    tensors = {
        name: (t.half() if t.dim() == 2 else t).detach().cpu().contiguous()
        for name, t in network.state_dict().items()
    }
    header = {_HEADER: json.dumps(asdict(trained_for))}
    write_durably(path, safetensors.torch.save(tensors, metadata=header))


def load_network(path: Path) -> tuple[MendNetwork, TrainedFor, str]:
    """A network in float32, what it was trained for, and the SHA-256 of its file. Raises
    `ModelLoadError` for a file that is missing, damaged or something else."""
    try:
        data = read_whole(path)
        with safetensors.safe_open(path, framework="pt") as file:  # a regular file, as read above
            header = json.loads((file.metadata() or {})[_HEADER])
        trained_for = TrainedFor(**{f.name: header[f.name] for f in fields(TrainedFor)})
        state = {name: t.float() for name, t in safetensors.torch.load(data).items()}
        d_in, d_out = len(state["of_input.mean"]), len(state["of_gradient.mean"])
        network = MendNetwork(d_in, d_out, rank=state["layers.0.u"].shape[1])
        network.load_state_dict(state)
    except FileNotFoundError as error:
        raise ModelLoadError(f"there is no MEND network '{path}'; {how_to_train()}") from error
    except OSError as error:
        raise ModelLoadError(f"cannot read the MEND network '{path}' ({error})") from error
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ModelLoadError(
            f"'{path}' is no MEND network, or a damaged one; {how_to_train()}"
        ) from error
    return network.eval(), trained_for, digest(data)


def how_to_train(model: str | None = None, layer: str | None = None) -> str:
    """The command that makes a network, as part of a sentence."""
    of = f" --model {model}" if model else ""
    at = f" --layer {layer}" if layer else ""
    return f"make one with `balancedit bench train-mend{of}{at} --out DIR`"
