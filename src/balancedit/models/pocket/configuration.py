"""The configuration of the pocket model."""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig, PreTrainedConfig


class PocketConfig(PreTrainedConfig):
    """A frozen EfficientNet-Lite0, a projector and a Llama-type language model.

    grid: G, the picture is cut into G × G cells, an image token each. summary_tokens: image tokens
    about
    the whole picture, before those. summary_words: words a summary token can be. projector_size:
    width of the projector's hidden layer. concepts: whether the summary tells concepts
    (`ConceptProjector`). image_token_id: placeholder in `input_ids`, outside the
    language model's vocabulary.
    """

    model_type = "balancedit_pocket"
    sub_configs = {"text_config": LlamaConfig}  # noqa: RUF012 (transformers' own convention)

    def __init__(
        self,
        text_config: dict[str, Any] | LlamaConfig | None = None,
        grid: int = 3,
        projector_size: int = 768,
        summary_tokens: int = 6,
        summary_words: int = 1,
        image_token_id: int = 49152,
        concepts: bool = False,
        **kwargs: Any,
    ) -> None:
        if isinstance(text_config, dict):
            text_config = LlamaConfig(**text_config)
        self.text_config = text_config if text_config is not None else LlamaConfig()
        self.grid = grid
        self.projector_size = projector_size
        self.summary_tokens = summary_tokens
        self.summary_words = summary_words
        self.image_token_id = image_token_id
        self.concepts = concepts
        kwargs.setdefault("tie_word_embeddings", True)
        super().__init__(**kwargs)

    @property
    def image_tokens(self) -> int:
        """N, image tokens a picture."""
        return self.summary_tokens + self.grid * self.grid
