"""A strided 1 x 1 convolution that is safe in channels-last layout on a CPU."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

SAFE_INPUTS = 16
"""Input features from which oneDNN's own strided 1 x 1 convolution stays in its memory, on every x86 processor."""


class StridedPointwiseConv(nn.Conv2d):
    """`nn.Conv2d` of kernel 1 x 1 without padding; (B, inputs, H, W) to (B, outputs, h, w), h = ceil(H / stride).

    With fewer than `SAFE_INPUTS` inputs, it drops the pixels that the stride skips before it convolves, which is the
    same function. The reason: for a strided 1 x 1 convolution in channels-last layout, oneDNN 3.12 (torch 2.13) writes
    past its workspace in the gradient of the weights (``jit_1x1``, backward_weights) if there are fewer inputs than a
    vector register holds, 8 with AVX2 and 16 with AVX-512. The gradient is then wrong or the process crashes, often
    later and elsewhere. Upstream: https://github.com/uxlfoundation/oneDNN/issues/6035, open at the time of writing.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel_size=1, stride=stride, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """Features at the kept pixels."""
        if self.in_channels >= SAFE_INPUTS:
            return super().forward(features)
        rows, columns = self.stride
        return F.conv2d(features[:, :, ::rows, ::columns], self.weight, self.bias)
