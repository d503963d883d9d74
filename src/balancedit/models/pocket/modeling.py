"""The pocket model: EfficientNet-Lite0 → projector → SmolLM2, an ordinary transformers model.

Letters: B rows, T tokens, P pictures in the batch, S side of a picture in pixels, N image tokens a
picture, F features an image token, D width of the language model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel, Cache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from balancedit.models.placeholders import GeneratesFromPictures, embed_with_pictures
from balancedit.models.pocket.concept_projector import ConceptProjector
from balancedit.models.pocket.configuration import PocketConfig
from balancedit.models.pocket.efficientnet import PocketVisionTower

SUMMARY_SIZE, AIM_SIZE = 1024, 128  # widths on the projector's way to the summary
SHARPNESS = 0.04  # temperature of the choice among words


class PocketProjector(nn.Module):
    """Features of a picture's cells to embeddings: `summary_tokens` about the whole, then the
    cells.

    Features are standardised by `mean` and `std`, measured in training and kept as buffers. A
    summary token is a mixture of word embeddings, all but one of them faint: the language model
    reads it as a word.
    """

    mean: Tensor  # (F,)
    std: Tensor  # (F,)
    words: Tensor  # (W, D), embeddings of the words a summary token can be

    def __init__(self, config: PocketConfig) -> None:
        super().__init__()
        features, width = PocketVisionTower.feature_size(), config.text_config.hidden_size
        cells = config.grid * config.grid
        self.summary_tokens = config.summary_tokens
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.linear_1 = nn.Linear(features, config.projector_size)
        self.linear_2 = nn.Linear(config.projector_size, width)
        self.position = nn.Parameter(torch.zeros(cells, width))
        self.summary = nn.Sequential(
            nn.Dropout(0.1),
            nn.Linear(2 * features, SUMMARY_SIZE),
            nn.GELU(),
            nn.Dropout(0.3),
            nn.Linear(SUMMARY_SIZE, config.summary_tokens * AIM_SIZE),
        )
        self.aim = nn.Linear(AIM_SIZE, width)
        self.register_buffer("words", torch.zeros(config.summary_words, width))

    def forward(self, features: Tensor) -> Tensor:
        """features: (P, G·G, F) -> (P, N, D)."""
        words = self.soft_words(self.aims(features))
        return torch.cat([words, self.cells(features)], dim=1)

    def cells(self, features: Tensor) -> Tensor:
        """(P, G·G, F) -> (P, G·G, D), a token for each cell."""
        standard = (features - self.mean) / self.std
        return self.linear_2(F.gelu(self.linear_1(standard))) + self.position

    def aims(self, features: Tensor) -> Tensor:
        """(P, G·G, F) -> (P, S, D), the direction of the word each summary token aims at.

        From the cells' mean and maximum, so that it matters little where a thing stands.
        """
        standard = (features - self.mean) / self.std
        pooled = torch.cat([standard.mean(1), standard.amax(1)], dim=-1)
        return self.aim(self.summary(pooled).view(len(features), self.summary_tokens, AIM_SIZE))

    def soft_words(self, aims: Tensor) -> Tensor:
        """(P, S, D) -> (P, S, D): a mixture of `words`, sharply peaked at the one aimed at."""
        likeness = F.normalize(aims, dim=-1) @ F.normalize(self.words, dim=-1).T
        return (likeness / SHARPNESS).softmax(dim=-1) @ self.words


class PocketPreTrainedModel(PreTrainedModel):
    """What the two classes below share with every transformers model."""

    config: PocketConfig
    config_class = PocketConfig
    base_model_prefix = "model"
    input_modalities = ("image", "text")  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    _no_split_modules = ["LlamaDecoderLayer", "InvertedResidual"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True


class PocketModel(PocketPreTrainedModel):
    """Vision tower, projector and language model, without the output head."""

    def __init__(self, config: PocketConfig) -> None:
        super().__init__(config)
        self.vision_tower = PocketVisionTower(config.grid)
        width = config.text_config.hidden_size
        self.multi_modal_projector: nn.Module = (
            ConceptProjector(config.grid, config.projector_size, width)
            if config.concepts
            else PocketProjector(config)
        )
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """pixel_values: (P, 3, S, S) -> (P, N, D) embeddings."""
        return self.multi_modal_projector(self.vision_tower(pixel_values))

    def embed(self, input_ids: Tensor, pixel_values: Tensor | None) -> Tensor:
        """(B, T) ids and pictures in the order of their placeholders -> (B, T, D) embeddings.

        Raises ValueError when pictures and placeholders do not match.
        """
        features = None if pixel_values is None else self.get_image_features(pixel_values)
        embedding = self.get_input_embeddings()
        return embed_with_pictures(input_ids, embedding, self.config.image_token_id, features)

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """input_ids: (B, T) with N placeholders a picture, or inputs_embeds: (B, T, D);
        pixel_values: (P, 3, S, S); attention_mask: (B, T with cache) -> hidden states (B, T, D)."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if inputs_embeds is None:
            assert input_ids is not None
            inputs_embeds = self.embed(input_ids, pixel_values)
        kwargs["return_dict"] = True
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **kwargs,
        )


class PocketForConditionalGeneration(PocketPreTrainedModel, GeneratesFromPictures, GenerationMixin):
    """The pocket model with its output head, for `generate`."""

    _tied_weights_keys = {  # noqa: RUF012
        "lm_head.weight": "model.language_model.embed_tokens.weight"
    }

    def __init__(self, config: PocketConfig) -> None:
        super().__init__(config)
        self.model = PocketModel(config)
        text = config.text_config
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """pixel_values: (P, 3, S, S) -> (P, N, D) embeddings."""
        return self.model.get_image_features(pixel_values)

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """Arguments as `PocketModel.forward`; labels: (B, T), -100 where nothing is scored;
        logits_to_keep: only the last so many positions (0: all) -> logits (B, kept, vocabulary)."""
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        kept: Any = logits_to_keep
        if isinstance(logits_to_keep, int):
            kept = slice(-logits_to_keep, None) if logits_to_keep else slice(None)
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.text_config.vocab_size
            )
        result = CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        return result if return_dict is not False else result.to_tuple()
