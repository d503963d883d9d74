"""Pictures in a prompt as placeholder tokens outside the language model's vocabulary.

Letters: B rows, T tokens, P pictures in the batch, N image tokens a picture, D width of the
language model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin


def embed_with_pictures(
    input_ids: Tensor, embedding: nn.Module, placeholder: int, features: Tensor | None
) -> Tensor:
    """(B, T) ids and (P, N, D) features of the pictures, in the order of their placeholders ->
    (B, T, D) embeddings. Raises ValueError when pictures and placeholders do not match."""
    at = input_ids == placeholder
    embeds = embedding(input_ids.masked_fill(at, 0))
    pictures, tokens = (0, 0) if features is None else features.shape[:2]
    if int(at.sum()) != pictures * tokens:
        raise ValueError(
            f"{int(at.sum())} image placeholders for {pictures} pictures of {tokens} tokens each"
        )
    if features is None:
        return embeds
    return embeds.masked_scatter(at[..., None], features.to(embeds))


class GeneratesFromPictures(GenerationMixin):
    """`generate` of a model whose rows may have none or several pictures, beam searches included.

    Its configuration has `image_token_id` and `image_tokens`, N.
    """

    config: Any

    def _expand_inputs_for_generation(  # type: ignore[override]
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Tensor | None = None,
        **model_kwargs: Any,
    ) -> tuple[Tensor | None, dict[str, Any]]:
        """Repeat every row, each repetition with all of its row's pictures; transformers repeats
        pictures one by one."""
        pictures = model_kwargs.pop("pixel_values", None)
        if pictures is not None and input_ids is not None:
            placeholders = (input_ids == self.config.image_token_id).sum(dim=1)
            per_row = (placeholders // self.config.image_tokens).tolist()
            pictures = torch.cat([p for p in pictures.split(per_row) for _ in range(expand_size)])
        parent: Any = super()
        expanded, kept = parent._expand_inputs_for_generation(
            expand_size=expand_size,
            is_encoder_decoder=is_encoder_decoder,
            input_ids=input_ids,
            **model_kwargs,
        )
        if pictures is not None:
            kept["pixel_values"] = pictures
        return expanded, kept
