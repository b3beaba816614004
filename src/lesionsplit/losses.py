"""Pieces of objectives, each a pure function or a small module; no method in particular."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Terms = dict[str, Tensor]
"""Terms of a loss by name, each a scalar, not yet weighted."""


def weighted_sum(terms: Terms, weights: Mapping[str, float]) -> Tensor:
    """The loss: every term times the weight of its name. A term that nobody weighed is a KeyError."""
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def overlap_loss(chance: Tensor, truth: Tensor) -> Tensor:
    """One less the soft Dice of two batches (B, 1, H, W), 0 to 1, over all of their pixels; a scalar.

    One pixel is added above and below the line, so that nothing found where nothing is costs nothing.
    """
    both = (chance * truth).sum()
    loss: Tensor = 1 - (2 * both + 1) / (chance.sum() + truth.sum() + 1)
    return loss


def edge_weight(image: Tensor) -> Tensor:
    """``(1 + |Sobel|)**2`` of (B, 1, H, W), same shape: how much more an edge counts (authors' code).

    The Sobel gradient is scaled so that a step of height one has magnitude one.
    """
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=image.device) / 4
    kernels = torch.stack([across, across.T]).unsqueeze(1).to(image.dtype)
    gradient = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernels)
    magnitude = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
    weight: Tensor = (1 + magnitude).square()
    return weight


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """How far the critic is from having slope one between ``real`` and ``fake``, both (B, C, H, W).

    The slope of an image is the norm over all of its pixels and channels (Gulrajani et al. 2017,
    eq. 3), which makes the penalty of a linear critic with weights w exactly (|w| - 1)**2.
    """
    mix = torch.rand(len(real), 1, 1, 1, dtype=real.dtype, device=real.device)
    between = torch.lerp(fake, real, mix).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    steepness: Tensor = torch.linalg.vector_norm(slope.flatten(1), dim=1)
    return (steepness - 1).square().mean()


class CriticLoss(nn.Module):
    """The critic together with the loss it is trained on (eq. 3), as one module.

    The penalty differentiates the critic inside the loss. Neither DDP nor Fabric allows that from
    outside a module they have wrapped, so it is this module that they wrap, not the critic.
    """

    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, real: Tensor, fake: Tensor) -> Terms:
        """``critic``: mean D(fake) - mean D(real); ``penalty``: between each real and one fake drawn at random."""
        with torch.autocast(real.device.type, enabled=False):  # second derivatives need float32
            real, fake = real.float(), fake.float()
            partners = fake[torch.randperm(len(fake), device=fake.device)[: len(real)]]
            return {
                "critic": self.critic(fake).mean() - self.critic(real).mean(),
                "penalty": gradient_penalty(self.critic, real, partners),
            }
