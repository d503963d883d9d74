"""MEND's network and what it is fed; how a trained one is kept, found and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

import tiny
from balancedit import Editor
from balancedit.errors import ModelLoadError, StoreMismatchError
from balancedit.learning.loop import answer_loss, with_answer
from balancedit.methods.mend import gradients
from balancedit.methods.mend_network import (
    MendNetwork,
    RunningNorm,
    TrainedFor,
    load_network,
    save_network,
)
from contract import QUESTION, A


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# -- normalisation -------------------------------------------------------------------------------


def test_the_norm_of_parts_is_that_of_the_whole() -> None:
    x = 3 + 2 * normal(40, 5)
    norm = RunningNorm(5)
    for part in (x[:1], x[1:1], x[1:17], x[17:]):
        norm.observe(part)
    torch.testing.assert_close(norm(x), (x - x.mean(0)) / x.std(0))


def test_too_little_is_not_normalised() -> None:
    norm, x = RunningNorm(3), normal(4, 3)
    assert torch.equal(norm(x), x)
    norm.observe(x[:1])
    assert torch.equal(norm(x), x)


def test_a_dimension_that_never_varied_passes_as_nothing() -> None:
    norm = RunningNorm(2)
    norm.observe(torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]))
    torch.testing.assert_close(norm(torch.tensor([[2.5, 7.0]])), torch.tensor([[0.5, 0.0]]))


# -- the network ---------------------------------------------------------------------------------


def test_it_starts_as_the_identity_and_still_trains() -> None:
    network = MendNetwork(5, 3, rank=4, lr=0.1)
    u, delta = normal(6, 5), normal(6, 3, seed=1)
    update = network(u, delta)
    torch.testing.assert_close(update, -0.1 * delta.T @ u)
    update.square().sum().backward()
    for layer in network.layers:
        assert bool((layer.u.grad.abs().sum(1) > 0).all()), "a plain ReLU has no gradient at 0"
    assert network.lr.grad != 0


def test_the_rank_is_at_most_the_width() -> None:
    assert MendNetwork(5, 3).rank == 8
    assert MendNetwork(5, 3, rank=2).layers[0].v.shape == (2, 8)


def test_its_gradient_is_right() -> None:
    network = MendNetwork(4, 3, rank=3, lr=0.5).double()
    network.observe(normal(9, 4, dtype=torch.float64), normal(9, 3, seed=1, dtype=torch.float64))
    with torch.no_grad():
        for i, parameter in enumerate(network.parameters()):
            parameter.add_(0.3 * normal(*parameter.shape, seed=i, dtype=torch.float64))
    names = [name for name, _ in network.named_parameters()]

    def update(u: torch.Tensor, delta: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = functional_call(
            network, dict(zip(names, values, strict=True)), (u, delta)
        )
        return made

    values = [p.detach().clone().requires_grad_(True) for p in network.parameters()]
    u = normal(2, 4, seed=2, dtype=torch.float64).requires_grad_(True)
    delta = normal(2, 3, seed=3, dtype=torch.float64).requires_grad_(True)
    assert torch.autograd.gradcheck(update, (u, delta, *values))


@pytest.mark.parametrize("normalised", [False, True])
def test_an_untrained_update_lowers_the_loss(normalised: bool) -> None:
    """The sign, on a layer whose output is classified."""
    weight, network = normal(3, 6), MendNetwork(6, 3, rank=2, lr=1e-3)
    edits = []
    for seed in range(8):
        u = normal(1, 6, seed=seed)
        y = (u @ weight.T).requires_grad_(True)
        target = torch.tensor([seed % 3])
        loss = F.cross_entropy(y, target)
        (delta,) = torch.autograd.grad(loss, y)
        edits.append((u, delta, target, loss.item()))
        if normalised:
            network.observe(u, delta)
    for u, delta, target, before in edits:
        after = F.cross_entropy(u @ (weight + network(u, delta)).T, target)
        assert after < before


# -- what it is fed ------------------------------------------------------------------------------


def test_tokens_add_up_to_the_gradient_of_the_weight(make: Any) -> None:
    editor = make("ft")
    loaded = editor._loaded
    layer = editor.model.get_submodule(editor.layer)
    answer = loaded.prompter.answer_ids("ab", loaded.eos)
    inputs = loaded.prompter.inputs([A], [QUESTION])
    found = gradients(editor.model, layer, inputs, answer)
    loss = answer_loss(editor.model, with_answer(editor.model, inputs, answer), answer)
    (expected,) = torch.autograd.grad(loss, layer.weight)
    torch.testing.assert_close(found.delta.T @ found.u, expected, rtol=1e-4, atol=1e-6)
    assert found.loss == pytest.approx(loss.item())
    assert len(found.u) == len(answer), "of the last block, only these tokens reach the loss"


def test_one_edit_adds_the_networks_update(make: Any, network: Path) -> None:
    editor = make("mend")
    loaded = editor._loaded
    layer = editor.model.get_submodule(editor.layer)
    answer = loaded.prompter.answer_ids("ab", loaded.eos)
    found = gradients(editor.model, layer, loaded.prompter.inputs([A], [QUESTION]), answer)
    edit = editor.edit(A, QUESTION, "ab")
    with torch.no_grad():
        expected = layer.weight + load_network(network)[0](found.u, found.delta)
    torch.testing.assert_close(editor._method.routing.layer.tensors(edit.id)["weight"], expected)
    assert (edit.steps, edit.negative) == (1, "none")


# -- files ---------------------------------------------------------------------------------------


def test_a_network_is_kept_in_half_precision(tmp_path: Path) -> None:
    network = MendNetwork(5, 3, rank=4)
    network.observe(1e-5 * normal(9, 5), 1e-6 * normal(9, 3, seed=1))
    about = TrainedFor("m", "f", "a.b", "data part", "d", 7, {"rank": 4})
    save_network(tmp_path / "n.safetensors", network, about)
    again, trained_for, digest = load_network(tmp_path / "n.safetensors")
    assert (trained_for, len(digest)) == (about, 64)
    for name, t in again.state_dict().items():
        expected = network.state_dict()[name]
        assert torch.equal(t, expected.half().float() if t.dim() == 2 else expected), name


def test_files_that_are_no_network(tmp_path: Path, make: Any) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelLoadError, match=r"other\.safetensors' is no MEND network"):
        make("mend", network=other)
    with pytest.raises(ModelLoadError, match="balancedit bench train-mend"):
        Editor.load("pocket", method="mend", network=tmp_path / "missing.safetensors")


def test_without_a_network_the_command_that_makes_one_is_said(make: Any, family: str) -> None:
    layer = tiny.BEFORE_LAST[family]
    with pytest.raises(ModelLoadError, match=rf"train-mend --model .* --layer {layer} --out DIR"):
        make("mend", network=None, layer=layer)


def test_a_network_of_another_layer_or_model_is_refused(
    make: Any, family: str, network: Path
) -> None:
    with pytest.raises(ModelLoadError, match=r"was trained for .* not for .*layers\.1"):
        make("mend", layer=tiny.BEFORE_LAST[family])
    other = tiny.load(family, seed=1)
    with pytest.raises(
        ModelLoadError, match="was trained for another weight at that layer, that of tiny"
    ):
        Editor.on(other, method="mend", network=network)


def test_a_network_knows_its_weight_in_half_precision_too(make: Any, network: Path) -> None:
    made, weight = load_network(network)[0], make("ft")._method.routing.layer.base_weight
    assert made.belongs_to(weight)
    assert made.belongs_to(weight.bfloat16())
    assert not made.belongs_to(weight + 0.05 * weight.std() * normal(*weight.shape))
    assert not made.belongs_to(weight[1:])


def test_a_store_belongs_to_its_network(make: Any, network: Path, tmp_path: Path) -> None:
    make("mend", edits=tmp_path / "edits").edit(A, QUESTION, "ab")
    made, about, _ = load_network(network)
    made.lr.data.mul_(2)
    save_network(tmp_path / "another.safetensors", made, about)
    with pytest.raises(StoreMismatchError, match="network is"):
        make("mend", edits=tmp_path / "edits", network=tmp_path / "another.safetensors")
