"""Each picture is encoded once, and what is kept is never stale."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import tiny
from balancedit import Editor
from balancedit.prefill.encodings import EncodedPictures, picture_encoders
from closeness import assert_same_text


@pytest.fixture
def seen(make_editor: Any) -> tuple[Editor, list[int]]:
    """An editor, and how many pictures each call of its vision encoder brought."""
    editor: Editor = make_editor()
    (encoder,) = picture_encoders(editor.model, editor.layer)
    sizes: list[int] = []
    forward = encoder.forward

    def counted(pixel_values: torch.Tensor, **kwargs: Any) -> Any:
        sizes.append(len(pixel_values))
        return forward(pixel_values, **kwargs)

    encoder.forward = counted  # type: ignore[method-assign]
    return editor, sizes


def test_a_picture_is_encoded_once_whatever_is_asked(seen: tuple[Editor, list[int]]) -> None:
    editor, sizes = seen
    one, two = tiny.picture(1), tiny.picture(2)
    editor.ask([one, two, one], ["what is it?", "what is it?", "who?"])
    assert sizes == [2]
    editor.ask([two, tiny.picture(3)], "what is it?")
    assert sizes == [2, 1]


@pytest.mark.kernels
def test_answers_are_those_of_a_fresh_model(make_editor: Any) -> None:
    pictures = [tiny.picture(i) for i in (1, 2, 1, 3)]
    editor: Editor = make_editor()
    want = [make_editor().ask(p, "what is it?").text for p in pictures]
    for _ in range(2):
        for answer, text, shown in zip(
            editor.ask(pictures, "what is it?"), want, pictures, strict=True
        ):
            assert_same_text(answer.text, text, editor, shown, "what is it?")


def test_changed_weights_are_noticed(seen: tuple[Editor, list[int]]) -> None:
    editor, sizes = seen
    editor.ask(tiny.picture(1), "what is it?")
    (encoder,) = picture_encoders(editor.model, editor.layer)
    with torch.no_grad():
        next(encoder.parameters()).mul_(1.5)
    editor.ask(tiny.picture(1), "what is it?")
    assert sizes == [1, 1]


class Encoder(nn.Module):
    """Doubles a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.eval()
        self.calls: list[int] = []
        self.scale = nn.Parameter(torch.tensor(2.0), requires_grad=False)

    def forward(self, pixel_values: torch.Tensor, sizes: Any = None) -> torch.Tensor:
        self.calls.append(len(pixel_values))
        return pixel_values * self.scale


class Packing(Encoder):
    """Puts all pictures into one row."""

    def forward(self, pixel_values: torch.Tensor, sizes: Any = None) -> torch.Tensor:
        return super().forward(pixel_values).reshape(1, -1)


def pictures(*values: float) -> torch.Tensor:
    return torch.stack([torch.full((3, 2, 2), v) for v in values])


def test_those_seen_longest_ago_are_forgotten() -> None:
    encoder = Encoder()
    kept = EncodedPictures([encoder], limit=2 * pictures(1.0).nbytes)
    with kept.reused():
        for value in (1.0, 2.0, 1.0, 3.0, 1.0, 2.0):
            assert torch.equal(encoder(pictures(value)), pictures(2 * value))
    assert encoder.calls == [1, 1, 1, 1]  # 1, 2, 3, and 2 again


def test_what_is_no_row_a_picture_is_left_alone() -> None:
    packing, described = Packing(), Encoder()
    with EncodedPictures([packing, described]).reused():
        for _ in range(2):
            assert packing(pictures(1, 2)).shape == (1, 24)
            described(pictures(1), sizes=torch.tensor([2]))
    assert len(described.calls) == 2


def test_gradients_go_through(make_editor: Any) -> None:
    encoder = Encoder()
    encoder.scale.requires_grad_(True)
    with EncodedPictures([encoder]).reused():
        for _ in range(2):
            encoder(pictures(1)).sum().backward()
    assert len(encoder.calls) == 2
    assert encoder.scale.grad is not None


def test_outside_the_context_the_encoder_is_its_own() -> None:
    encoder = Encoder()
    kept = EncodedPictures([encoder])
    with kept.reused(), kept.reused():
        encoder(pictures(1))
    assert "forward" not in vars(encoder)
