"""MiniGPT-4: EVA ViT-g and Q-Former, as in transformers' BLIP-2 → linear projection → Llama.

Letters: B rows, T tokens, P pictures in the batch, S side of a picture in pixels, N image tokens a
picture, D width of the language model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    Blip2QFormerModel,
    Blip2VisionModel,
    Cache,
    GenerationMixin,
    PreTrainedModel,
)

from balancedit.models.minigpt4.configuration import MiniGPT4Config
from balancedit.models.placeholders import GeneratesFromPictures, embed_with_pictures


class MiniGPT4ForConditionalGeneration(PreTrainedModel, GeneratesFromPictures, GenerationMixin):
    """The whole model. Its modules are named as in the published checkpoints where these have a
    name (`llama_proj`), and as in transformers' BLIP-2 elsewhere."""

    config: MiniGPT4Config
    config_class = MiniGPT4Config
    input_modalities = ("image", "text")  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    _no_split_modules = ["LlamaDecoderLayer", "Blip2EncoderLayer"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    _keep_in_fp32_modules = ["query_tokens", "qformer"]  # noqa: RUF012 (as BLIP-2's)

    def __init__(self, config: MiniGPT4Config) -> None:
        super().__init__(config)
        width = config.qformer_config.hidden_size
        self.vision_model = Blip2VisionModel._from_config(config.vision_config)
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, width))
        self.qformer = Blip2QFormerModel._from_config(config.qformer_config)
        self.llama_proj = nn.Linear(width, config.text_config.hidden_size)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.post_init()

    @property
    def dtype(self) -> torch.dtype:
        """The model's own type, also where query tokens and Q-Former are kept in float32; it is
        what a saved model is loaded in."""
        return self.llama_proj.weight.dtype

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """pixel_values: (P, 3, S, S) -> (P, N, D) embeddings."""
        seen = self.vision_model(pixel_values=pixel_values, return_dict=True).last_hidden_state
        queries = self.query_tokens.expand(len(seen), -1, -1).to(self.qformer.dtype)
        summary = self.qformer(
            query_embeds=queries,
            encoder_hidden_states=seen.to(self.qformer.dtype),
            return_dict=True,
        ).last_hidden_state
        return self.llama_proj(summary.to(self.llama_proj.weight.dtype))

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
        **kwargs: Any,
    ) -> Any:
        """input_ids: (B, T) with N placeholders a picture, or inputs_embeds: (B, T, D);
        pixel_values: (P, 3, S, S); attention_mask: (B, T with cache); labels: (B, T), -100 where
        nothing is scored; logits_to_keep: only the last so many positions (0: all). Returns the
        language model's output, logits (B, kept, vocabulary)."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if inputs_embeds is None:
            assert input_ids is not None
            features = None if pixel_values is None else self.get_image_features(pixel_values)
            inputs_embeds = embed_with_pictures(
                input_ids, self.get_input_embeddings(), self.config.image_token_id, features
            )
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            labels=labels,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )
