"""Pixtral's processor on Pillow, for where torchvision is missing: transformers' own class, which
Mistral 3 uses, cannot even be imported there."""

from __future__ import annotations

from typing import Any

from transformers import ProcessorMixin


class PixtralProcessor(ProcessorMixin):
    """Image processor and tokenizer in one. A picture of R × C merged patches becomes R lines of C
    placeholders; each line ends with the break token, the last one with the end token.

    patch_size: of the vision tower, in pixels; spatial_merge_size: patches a side that make one
    token. Same settings file as `transformers.PixtralProcessor`.
    """

    images_kwargs = {"return_tensors": "pt"}  # noqa: RUF012 (transformers' own convention)

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        patch_size: int = 16,
        spatial_merge_size: int = 1,
        chat_template: str | None = None,
        image_token: str = "[IMG]",
        image_break_token: str = "[IMG_BREAK]",
        image_end_token: str = "[IMG_END]",
        **kwargs: Any,
    ) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
        self.patch_size = patch_size
        self.spatial_merge_size = spatial_merge_size
        self.image_token = image_token
        self.image_break_token = image_break_token
        self.image_end_token = image_end_token
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)

    @property
    def _step(self) -> int:
        """Pixels a side that make one token."""
        return self.patch_size * self.spatial_merge_size

    def _process_images(self, images: Any, **kwargs: Any) -> tuple[Any, list[str]]:
        return super()._process_images(images, **kwargs | {"patch_size": self._step})

    def replace_image_token(self, image_inputs: dict, image_idx: int, **kwargs: Any) -> str:
        """What one image token in the text stands for."""
        height, width = image_inputs["image_sizes"][image_idx]
        line = self.image_token * int(width // self._step)
        lines = [line] * int(height // self._step)
        return self.image_break_token.join(lines) + self.image_end_token
