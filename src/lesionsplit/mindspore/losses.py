"""Parts of objectives, each a pure function or a small cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import mindspore
import numpy as np
from mindspore import Tensor, nn, ops

Values: TypeAlias = tuple[Tensor, ...]
"""Terms of a loss, each a scalar, not yet weighted. They are no dict, as in the twin: a graph of MindSpore 2.10 that
fills one returns its first values again and again."""

CRITIC_TERMS = ("critic", "penalty")
"""Of `CriticLoss`."""

TINY = 1e-30
"""Smallest squared norm: the root has no derivative at 0, where PyTorch's norm has the derivative 0."""

SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32) / 4
"""Scaled so that a step of height one has magnitude one."""


def weighted_sum(terms: Values, weights: Sequence[float]) -> Tensor:
    """The loss: the sum of every term times its weight."""
    return sum([weights[at] * terms[at] for at in range(len(terms))])


def edge_weight(image: Tensor) -> Tensor:
    """``(1 + |Sobel|)**2`` of (B, 1, H, W), same shape: the weight of edges (authors' code)."""
    kernels = Tensor(np.stack([SOBEL, SOBEL.T])[:, None])
    gradient = ops.conv2d(ops.pad(image, (1, 1, 1, 1), mode="replicate"), kernels)
    return ops.square(1 + ops.sqrt(ops.square(gradient).sum(axis=1, keepdims=True)))


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Mean squared deviation of the critic's slope from one, between ``real`` and ``fake``, both (B, C, H, W).

    The slope at an image is the gradient's norm over all pixels and channels (Gulrajani et al. 2017, eq. 3). ``mix``,
    (B, 1, 1, 1), 0 to 1, says where between the two.
    """

    def total(images: Tensor) -> Tensor:
        return critic(images).sum()

    gradient = mindspore.grad(total)(fake + mix * (real - fake))
    squares = ops.square(gradient.reshape((gradient.shape[0], -1))).sum(axis=1)
    return ops.square(ops.sqrt(ops.maximum(squares, TINY)) - 1).mean()


class CriticLoss(nn.Cell):
    """The critic and its loss (eq. 3) in one cell."""

    def __init__(self, critic: nn.Cell) -> None:
        super().__init__()
        self.critic = critic

    def construct(self, real: Tensor, fake: Tensor, order: Tensor, mix: Tensor) -> Values:
        """Terms of `CRITIC_TERMS`: mean D(fake) - mean D(real), and the penalty between each real and one fake.

        Args:
            real: (B, 1, H, W).
            fake: as many or more.
            order: (B,), int32, the fake for each real.
            mix: as in `gradient_penalty`.
        """
        partners = ops.gather(fake, order, 0)
        critic = self.critic(fake).mean() - self.critic(real).mean()
        return critic, gradient_penalty(self.critic, real, partners, mix)
